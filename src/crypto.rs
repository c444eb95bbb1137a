//! Key material: secret values and their verifiers, signing keys and tokens, certificates.
//!
//! ```text
//! secret ──value──▶ install_key ──verifier──▶ status         signing ──▶ keyset ──▶ jwt
//!    │                  ├──▶ opaque                          certificate ──▶ ca ──▶ own_certificate
//!    │                  ├──▶ nonce (for callers that must prove that a request is new)
//!    │                  └──▶ install_mac ──▶ delivery_mac (on what is delivered)
//! key_pair                               ├──▶ public_key_mac (on public keys in status)
//!    │                                   └──▶ attempt_mac (of wrong secrets)
//!    └────────────▶ mac (remembers successes per process)        client_certificate ──▶ client_ca (who issued it)
//! ```
//!
//! Boundary: bytes in, bytes out. No Kubernetes, no HTTP, no I/O; time is an argument, and only [`random`] provides
//! randomness.

pub(crate) mod attempt_mac;
pub mod ca;
pub mod certificate;
pub mod client_ca;
pub mod client_certificate;
pub mod delivery_mac;
mod der;
pub mod distinguished_name;
pub mod install_key;
mod install_mac;
pub mod jwk;
pub mod jwt;
pub mod key_pair;
pub mod keyset;
pub mod nonce;
pub mod opaque;
pub mod own_certificate;
pub mod process_mac;
pub mod public_key;
pub mod public_key_mac;
pub mod random;
pub mod secret;
pub mod signing;
mod verifier;
pub mod x5c;
