//! Requests to hosts that tenants name: an https client that reaches only what the operator allows.
//!
//! ```text
//! URL ─▶ policy (https, listed host) ─▶ resolve once ─▶ address check ─▶ dial that address ─▶ TLS ─▶ bounded response
//! ```
//!
//! A tenant must not reach through Postern what the tenant cannot reach otherwise (server-side request forgery, SSRF). So the
//! checked address is the one that is dialled: there is no second resolution, no redirect, no proxy and no connection pool.
//! It knows nothing of what is requested, and of Kubernetes.

mod address;
mod client;
mod error;
mod policy;
mod resolve;
mod tls;

#[cfg(test)]
pub(crate) mod test_server;
#[cfg(test)]
mod tests;

pub use client::{Client, Response};
pub use error::RequestError;
pub use policy::{HostRule, MalformedHost, Policy};
pub use resolve::{Resolve, SystemResolver};
