//! Postern: machine credentials for Kubernetes as custom resources, and the OAuth 2.0 token endpoint that honours them.
//!
//! ```text
//! YAML ──watch──▶ model ──▶ controller (gather ─▶ plan ─▶ apply) ──▶ Secret, status      the holder of the lease
//!                   └─────▶ index (compile ─▶ swap) ◀── oauth ◀── http                    every replica
//! ```
//!
//! The two halves never import each other: they communicate only through API objects. `docs/architecture.md` lists the
//! modules that each module may use; `tests/layering.rs` enforces the list.

pub mod api;
pub mod chain;
pub mod cli;
pub mod clock;
pub mod connection;
pub mod controller;
pub mod crypto;
pub mod explain;
pub mod http;
pub mod index;
pub mod keystore;
pub mod model;
pub mod oauth;
pub mod plan;
pub mod pool;
pub mod rate;
pub mod run;
pub mod shares;
pub mod telemetry;
