//! The endpoint from outside: a real server on a loopback socket, raw requests, hand-made records. One test per item
//! of the acceptance list, with its id in the name.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "in tests a panic is the report; clippy's own exception covers test functions, not their helpers"
)]

mod audit;
mod authentication;
mod discovery;
mod floods;
mod forward_auth;
mod forward_auth_tokens;
mod grants;
mod health;
mod imported;
mod introspection;
mod large_tokens;
mod log;
mod manage;
mod operations;
mod purpose;
mod raw;
mod rejected;
mod responses;
mod sessions;
mod smuggling;
mod tls;
mod tokens;
mod transport;
mod userinfo;
mod world;
