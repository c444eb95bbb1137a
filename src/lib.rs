//! Postern: machine credentials for Kubernetes as custom resources, and the OAuth 2.0 token endpoint that honours them.
//!
//! ```text
//! YAML ──watch──▶ cache ──▶ controller (gather ─▶ plan ─▶ apply) ──▶ Secret, status      the holder of the lease
//!                   └─────▶ read_model (compile ─▶ swap) ◀── oauth ◀── http               every replica
//! ```
//!
//! The two halves never import each other: they communicate only through API objects. `docs/architecture.md` lists the
//! modules that each module may use; `tests/layering.rs` enforces the list.

pub mod api;
pub mod cache;
pub mod cli;
pub mod clock;
pub mod controller;
pub mod crypto;
pub mod explain;
pub mod http;
pub mod key_sets;
pub mod keystore;
pub mod kube_client;
pub mod oauth;
pub mod outbound;
pub mod plan;
pub mod read_model;
pub mod replica_state;
pub mod run;
pub mod telemetry;
pub mod util;
