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
mod answer;
mod audit;
mod audit_limit;
mod auth;
mod body;
pub mod budget;
mod connection;
mod connections;
mod discovery;
pub mod endpoint;
mod guarded;
mod head;
pub mod health;
mod introspect;
mod manage;
pub mod memory;
pub mod metrics;
mod network;
mod observed;
mod pending;
mod places;
mod rejection;
mod revoke;
pub mod router;
mod sent;
pub mod server;
mod shown;
pub mod small_server;
mod source;
pub mod tls;
mod token;
mod upload;
mod userinfo;
