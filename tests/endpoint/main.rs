//! The endpoint from outside: a real server on a loopback socket, raw requests, hand-made records. One test per item
//! of the acceptance list, with its id in the name.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "in tests a panic is the report; clippy's own exception covers test functions, not their helpers"
)]

mod assertions;
mod audit;
mod authentication;
mod captured_logs;
mod certificates;
mod discovery;
mod dpop;
mod dpop_resources;
mod federated;
mod floods;
mod forward_auth;
mod forward_auth_tokens;
mod grants;
mod health;
mod http_client;
mod imported;
mod introspection;
mod jwt_bearer_grant;
mod key_pairs;
mod large_tokens;
mod lockout;
mod methods;
mod operations;
mod proofs;
mod rate_limits;
mod rejected;
mod responses;
mod secret_purposes;
mod self_service;
mod server;
mod service_account_tokens;
mod sessions;
mod smuggling;
mod tls;
mod tokens;
mod transport;
mod userinfo;
