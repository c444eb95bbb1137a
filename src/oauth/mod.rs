//! The OAuth 2.0 token endpoint, and forward authentication, as types and decisions: no HTTP framework, no Kubernetes.
//!
//! ```text
//! body, Authorization ──▶ form ──▶ request ──▶ credentials ──▶ authenticate ──▶ authorize ──▶ claims ──▶ response
//!                                                                   │ client::Clients
//!                                                                   └ hashing, signer (bounded, off the async threads)
//! ```
//!
//! [`token::TokenService`] walks that line; every way to leave it early is an [`error::TokenError`], and one match
//! there says what each looks like on the wire. [`forward_auth`] answers proxies from the same parts.

pub mod authenticate;
pub mod authorize;
pub mod bearer;
pub mod claims;
pub mod client;
pub mod credentials;
pub mod error;
pub mod form;
pub mod forward_auth;
pub mod hashing;
pub mod introspect;
pub mod issuer;
pub mod manage;
pub mod metadata;
pub mod past;
pub mod request;
pub mod response;
pub mod revoke;
pub mod scope;
mod signer;
pub mod token;
pub mod userinfo;
