//! Host names to addresses.

use std::io;
use std::net::SocketAddr;

use futures::future::BoxFuture;

/// A resolver of host names. The client asks it once for each request.
pub trait Resolve: Send + Sync + 'static {
    /// The addresses of a domain name, with this port.
    ///
    /// # Errors
    /// The name does not exist, or the name server does not answer.
    fn resolve(&self, domain: String, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>>;
}

/// The resolver of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    /// The name is complete: the final dot keeps the search list of the pod away. With it, a Service of a tenant could
    /// answer for a public name.
    fn resolve(&self, domain: String, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        Box::pin(async move { Ok(tokio::net::lookup_host((format!("{domain}."), port)).await?.collect()) })
    }
}
