//! The HTTP endpoint: connections, paths, responses.
//!
//! ```text
//! server ──▶ connection ──▶ router ──▶ token ─────▶ oauth::token ──▶ audit (one line), metrics
//!   │ tls      │ admission    │  ├───▶ auth ──────▶ oauth::forward_auth ──▶ the same
//!   │          │              │  ├───▶ manage ────▶ oauth::manage ──▶ the same
//!   │          │              │  └───▶ discovery (metadata, keys)
//!   │          ├─ head ───────┴─▶ rejection (no handler sees it) ──▶ audit
//!   │          │              └──────▶ answer (every response is built there)
//!   └──────────┴─ connections, activity, observed: who has how many, and who uses them; budget: how many there may be
//! health, metrics: each on a separate listener, by small_server
//! ```
//!
//! Uses the protocol (`oauth`), and does not depend on Kubernetes.

mod activity;
mod admission;
mod any_client_certificate;
mod audit;
mod audit_limit;
mod body;
pub mod budget;
mod client_certificate;
pub mod client_ip;
mod connection;
mod connections;
mod discovery;
mod dpop;
mod forward_auth;
mod guarded;
mod head;
pub mod health;
mod introspection;
pub mod memory;
pub mod metrics;
mod observed;
mod redact;
mod rejection;
mod request_guard;
mod response;
mod revocation;
pub mod router;
mod self_service;
mod sent;
pub mod server;
mod slots;
pub mod small_server;
pub mod state;
pub mod tls;
mod token;
mod upload;
mod userinfo;
