//! Postern: machine credentials for Kubernetes.
pub mod api;
pub mod cli;
pub mod clock;
pub mod model;
pub mod plan;
pub mod controller;
pub mod crypto;
pub mod index;
pub mod oauth;
pub mod run;
