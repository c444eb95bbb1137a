//! The OAuth 2.0 token endpoint, and forward authentication, as types and decisions: no HTTP framework, no Kubernetes.
//!
//! ```text
//! body, Authorization ──▶ form ──▶ request ──▶ credentials ──▶ authenticate ──▶ authorize ──▶ claims ──▶ response
//!                                                                   │ client_record::Clients
//!                                                                   └ hashing, signer (bounded, off the async threads)
//! ```
//!
//! [`token::AuthorizationServer`] runs these steps. Every failure is an [`error::TokenError`], and one match in that module
//! defines what the caller gets for each. [`forward_auth`] answers proxies with the same parts.

pub mod access_token;
pub mod authorization_header;
pub mod authorize;
pub mod claims;
pub mod client_auth;
pub mod client_record;
pub mod client_store;
pub mod cluster_tokens;
pub mod confirmation;
pub mod denial_rule;
pub mod dpop;
pub mod error;
mod failure_limit;
pub mod form;
pub mod forward_auth;
pub mod hash_pool;
pub mod introspection;
pub mod issuer;
pub mod lockout;
pub mod metadata;
mod method_uses;
pub mod mtls_url;
mod numeric_date;
pub mod request;
pub mod response;
pub mod revocation;
pub mod scope;
pub mod self_service;
pub mod server_keys;
mod signer;
pub mod token;
pub(crate) mod token_checks;
pub mod token_limit;
pub mod tombstones;
pub mod userinfo;
