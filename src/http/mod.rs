//! The endpoint on the network: connections, paths, answers.
//!
//! ```text
//! server ──▶ connection ──▶ router ──▶ token ─────▶ oauth::token ──▶ audit (one line), metrics
//!   │ tls      │ admission    │  ├───▶ auth ──────▶ oauth::forward_auth ──▶ the same
//!   │          │              │  ├───▶ manage ────▶ oauth::manage ──▶ the same
//!   │          │              │  └───▶ discovery (metadata, keys)
//!   │          │              └──────▶ answer (every response is built there)
//!   └──────────┴─ connections, activity: who has how many, and who uses them; budget: how many there may be
//! admin: /livez /readyz /metrics on a listener of their own
//! ```
//!
//! Knows the protocol (`oauth`) and nothing of Kubernetes.

mod activity;
pub mod admin;
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
mod introspect;
mod manage;
pub mod memory;
mod network;
mod pending;
mod revoke;
pub mod router;
mod sent;
pub mod server;
mod shares;
mod shown;
mod source;
pub mod tls;
mod token;
mod userinfo;
