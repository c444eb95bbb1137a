//! The endpoint on the network: connections, paths, answers.
//!
//! ```text
//! server ──▶ router ──▶ token ─────▶ oauth::token ──▶ audit (one line), metrics
//!   │ tls      │  ├───▶ auth ──────▶ oauth::forward_auth ──▶ the same
//!   │          │  ├───▶ manage ────▶ oauth::manage ──▶ the same
//!   │          │  └───▶ discovery (metadata, keys)
//!   │          └──────▶ answer (every response is built there)
//! admin: /livez /readyz /metrics on a listener of their own
//! ```
//!
//! Knows the protocol (`oauth`) and nothing of Kubernetes.

pub mod admin;
mod answer;
mod audit;
mod auth;
mod body;
mod discovery;
pub mod endpoint;
mod introspect;
mod manage;
mod pending;
mod revoke;
pub mod router;
pub mod server;
mod shown;
mod source;
mod streams;
pub mod tls;
mod token;
mod userinfo;
