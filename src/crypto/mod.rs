//! Everything made of key material: secret values and their verifiers, signing keys and tokens, certificates.
//!
//! ```text
//! secret ──value──▶ install_key ──verifier──▶ status         signing ──▶ keyset ──▶ jwt
//!    └────────────▶ mac (remembers one success per process)  tls (the endpoint's own certificate)
//! ```
//!
//! Boundary: bytes in, bytes out. No Kubernetes, no HTTP, no I/O; time is an argument, and randomness comes from
//! [`random`] alone.

mod der;
pub mod install_key;
pub mod jwt;
pub mod keyset;
pub mod mac;
pub mod random;
pub mod secret;
pub mod signing;
pub mod tls;
