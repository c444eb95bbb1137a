//! Postern: machine credentials for Kubernetes.
pub mod api;
pub mod clock;
pub mod model;
pub mod plan;
pub mod controller;
pub mod crypto;
