//! Accepts connections and serves a router on them, within limits, until shutdown.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use rustls::ServerConfig;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::http::activity::Activity;
use crate::http::admission::Admission;
pub use crate::http::admission::Sharing;
use crate::http::budget::{self, Bounds};
pub use crate::http::client_certificate::CertificateHeader;
use crate::http::connection::{Connection, Shared};
use crate::http::connections::Connections;
use crate::http::router::Routes;
use crate::util::source_network::Network;

/// Limits of a server's connections.
#[derive(Clone, Debug)]
pub struct ServerLimits {
    /// Connections at the same time. When all slots are used, idle connections are closed for new ones.
    pub connections: usize,
    /// Connections in the TLS handshake. When all slots are used, new connections replace the oldest.
    pub arrivals: usize,
    /// Requests at the same time that are processed, that wait for their body, and for public documents: the same
    /// limit for each. Further requests get 503.
    pub requests: usize,
    /// How callers are identified.
    pub sharing: Sharing,
    /// Longest head of a request in bytes; at least 8192.
    pub header_bytes: usize,
    /// Timeouts.
    pub timeouts: Timeouts,
    /// Longest time for requests in flight after the shutdown signal.
    pub shutdown: Duration,
}

/// Timeouts for what the client does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Timeouts {
    /// Longest TLS handshake.
    pub tls_handshake: Duration,
    /// Longest time for the head of a request, from its first byte.
    pub header_read: Duration,
    /// How long an idle connection is kept.
    pub idle: Duration,
    /// Longest time for a client to read a response, from when it is available.
    pub response: Duration,
}

impl Default for Timeouts {
    /// Ten seconds for a handshake; thirty for a head, which is hyper's own default, and thirty for a response. An
    /// idle connection is kept for longer than load balancers reuse theirs: AWS and nginx 60 s, Azure 4 min, Google
    /// 600 s, which recommends 620 s for its backends. That is safe because idle connections are closed for new ones.
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { tls_handshake: seconds(10), header_read: seconds(30), idle: seconds(620), response: seconds(30) }
    }
}

impl ServerLimits {
    /// Limits that fit into the memory. Twenty seconds for shutdown, which leaves ten of the thirty that Kubernetes
    /// gives a pod.
    #[must_use]
    pub fn within(bounds: &Bounds) -> Self {
        Self {
            connections: bounds.connections,
            arrivals: bounds.arrivals,
            requests: bounds.requests,
            sharing: Sharing::default(),
            header_bytes: budget::HEAD,
            timeouts: Timeouts::default(),
            shutdown: Duration::from_secs(20),
        }
    }
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self::within(&Bounds::unlimited())
    }
}

/// Pause after `accept` failed, which happens when the process is out of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);
/// Backlog of the listener, the same as for Rust's own listeners.
const BACKLOG: u32 = 1024;

/// A listener whose connections have buffers of the budgeted size. At `[::]` it also accepts IPv4. If IPv6 is off, it
/// listens at `0.0.0.0` instead.
///
/// # Errors
/// Errors of creating and binding the socket.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    bind(address).or_else(|error| {
        let ipv4 = without_ipv6(address, &error).ok_or(error)?;
        tracing::info!("IPv6 is off on this node: listening at {ipv4} instead of {address}");
        bind(ipv4)
    })
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if address.is_ipv6() {
        // The default is a setting of the node (net.ipv6.bindv6only).
        SockRef::from(&socket).set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_reuseaddr(true)?;
    // Connections inherit the sizes. Set before the TCP handshake, which negotiates the window scale.
    socket.set_send_buffer_size(budget::SOCKET_BUFFER)?;
    socket.set_recv_buffer_size(budget::SOCKET_BUFFER)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// The IPv4 address to use when listening at all addresses fails with this error, because there is no IPv6: a kernel
/// without IPv6 has no such sockets, and a sandbox may have the sockets and no address.
fn without_ipv6(address: SocketAddr, error: &io::Error) -> Option<SocketAddr> {
    let is_off = matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL));
    let is_any = address.is_ipv6() && address.ip().is_unspecified();
    (is_off && is_any).then(|| (Ipv4Addr::UNSPECIFIED, address.port()).into())
}

/// A socket that accepts connections, and their TLS. With TLS, HTTP/2 or HTTP/1.1 by ALPN; without, HTTP/1.1.
#[derive(Debug)]
pub struct Listener {
    /// The socket.
    pub socket: TcpListener,
    /// `None`: plain HTTP.
    pub tls: Option<Arc<ServerConfig>>,
}

/// Serves until `shutdown`. Then it stops accepting and waits for requests in flight, until they end or the shutdown
/// timeout expires. The limits apply to all listeners together.
pub async fn serve(listeners: Vec<Listener>, routes: Routes, limits: ServerLimits, shutdown: CancellationToken) {
    let server = Server {
        sharing: limits.sharing.clone(),
        arrivals: Connections::of_arrivals(limits.arrivals),
        shared: Arc::new(Shared {
            routes,
            admission: Admission::new(limits.requests, limits.sharing),
            connections: Connections::new(limits.connections),
            timeouts: limits.timeouts,
            header_bytes: limits.header_bytes,
            shutdown,
        }),
        open: TaskTracker::new(),
        overdue: CancellationToken::new(),
    };
    join_all(listeners.into_iter().map(|listener| server.accept(listener))).await;
    server.open.close();
    if tokio::time::timeout(limits.shutdown, server.open.wait()).await.is_err() {
        tracing::warn!("requests were still in flight when the shutdown grace period ended");
        server.overdue.cancel();
    }
}

/// What all listeners share.
struct Server {
    sharing: Sharing,
    arrivals: Arc<Connections>,
    shared: Arc<Shared>,
    open: TaskTracker,
    /// Ends the connections that outlive the shutdown timeout.
    overdue: CancellationToken,
}

impl Server {
    /// Accepts connections until shutdown.
    async fn accept(&self, Listener { socket, tls }: Listener) {
        let acceptor = tls.map(TlsAcceptor::from);
        while let Some(accepted) = self.shared.shutdown.run_until_cancelled(socket.accept()).await {
            match accepted {
                // IPv4 at a dual-stack socket.
                Ok((stream, peer)) => {
                    self.connect(stream, SocketAddr::new(peer.ip().to_canonical(), peer.port()), acceptor.clone());
                }
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "could not accept a connection");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }

    fn connect(&self, stream: TcpStream, peer: SocketAddr, acceptor: Option<TlsAcceptor>) {
        let origin = (!self.sharing.is_trusted(peer.ip())).then(|| Network::of(peer.ip()));
        let activity = Activity::new();
        // No arriving connection is in use, so the oldest can always be closed.
        let Some(arrival) = self.arrivals.enter(origin, &activity) else { return };
        let shared = Arc::clone(&self.shared);
        let connection = Connection { shared, peer, origin, activity, acceptor, certificate: None };
        let overdue = self.overdue.clone();
        self.open.spawn(async move {
            overdue.run_until_cancelled(connection.serve(stream, arrival)).await;
        });
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;
    use std::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn the_ipv6_wildcard_listener_also_accepts_ipv4_whatever_the_default_of_the_node() {
        let listener = listen((Ipv6Addr::UNSPECIFIED, 0).into()).unwrap();
        let port = listener.local_addr().unwrap().port();
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        if listener.local_addr().unwrap().is_ipv6() {
            assert!(!SockRef::from(&listener).only_v6().unwrap());
            TcpStream::connect((Ipv6Addr::LOCALHOST, port)).unwrap();
        }
    }

    #[test]
    fn the_wildcard_address_falls_back_to_ipv4_without_ipv6_and_not_after_any_other_error() {
        let without = |address: &str, code| without_ipv6(address.parse().unwrap(), &io::Error::from_raw_os_error(code));
        let ipv4 = Some("0.0.0.0:8443".parse().unwrap());
        assert_eq!(without("[::]:8443", libc::EAFNOSUPPORT), ipv4);
        assert_eq!(without("[::]:8443", libc::EADDRNOTAVAIL), ipv4);
        assert_eq!(without("[::]:8443", libc::EADDRINUSE), None);
        assert_eq!(without("[::]:8443", libc::EACCES), None);
        assert_eq!(without("[::1]:8443", libc::EADDRNOTAVAIL), None, "one address is meant as it is");
        assert_eq!(without("192.0.2.1:8443", libc::EADDRNOTAVAIL), None);
    }
}
