//! Accepts connections and serves a router on them, within limits, until told to stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpSocket};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::http::activity::Activity;
use crate::http::admission::Admission;
pub use crate::http::admission::Sharing;
use crate::http::budget::{self, Bounds};
use crate::http::connection::{Connection, Shared};
use crate::http::connections::Connections;
use crate::http::network::Network;

/// Bounds of a server's connections.
#[derive(Clone, Debug)]
pub struct ServerLimits {
    /// Connections at the same time. When all are used, idle ones make room for new ones.
    pub connections: usize,
    /// Connections whose TLS handshake is not complete. When all are used, new ones take the place of the oldest.
    pub arrivals: usize,
    /// Requests at the same time that are worked on, that wait for their body, and for public documents: as many of each.
    /// Any more get 503.
    pub requests: usize,
    /// Who is counted for what.
    pub sharing: Sharing,
    /// Longest head of a request in bytes; at least 8192.
    pub header_bytes: usize,
    /// How long what may take.
    pub timeouts: Timeouts,
    /// Longest time for requests in flight to end once the server is told to stop.
    pub shutdown: Duration,
}

/// How long a client may take for its part.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Timeouts {
    /// Longest TLS handshake.
    pub tls_handshake: Duration,
    /// Longest wait for the head of a request; also how long an idle connection is kept.
    pub header_read: Duration,
    /// Longest time for an answer to be taken, from when it is there.
    pub response: Duration,
}

impl Default for Timeouts {
    /// Ten seconds for a handshake; thirty for a head, which is hyper's own default and longer than clients let a
    /// connection idle between two uses in a row, and as many for an answer.
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { tls_handshake: seconds(10), header_read: seconds(30), response: seconds(30) }
    }
}

impl ServerLimits {
    /// Within what the memory allows. Twenty seconds to stop, which leaves ten of the thirty that Kubernetes gives a pod.
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

/// How long to let go after `accept` failed, which is when the process is out of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);
/// Connections that the kernel keeps until they are accepted, as Rust's own listeners have it.
const BACKLOG: u32 = 1024;

/// A listener whose connections have buffers of the size that the budget counts with.
///
/// # Errors
/// Those of the socket, and of binding it.
pub fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    // Connections inherit them. Set before the handshake of TCP, which agrees on the scale of the window.
    socket.set_send_buffer_size(budget::SOCKET_BUFFER)?;
    socket.set_recv_buffer_size(budget::SOCKET_BUFFER)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves until `shutdown`: then it stops accepting, lets requests in flight end, and returns when they have, or when
/// the time for it is over. With `tls`, HTTP/2 or HTTP/1.1 by ALPN; without, HTTP/1.1.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    router: Router,
    limits: ServerLimits,
    shutdown: CancellationToken,
) {
    let sharing = limits.sharing.clone();
    let arrivals = Connections::of_arrivals(limits.arrivals);
    let shared = Arc::new(Shared {
        router,
        admission: Admission::new(limits.requests, limits.sharing),
        connections: Connections::new(limits.connections),
        timeouts: limits.timeouts,
        header_bytes: limits.header_bytes,
        acceptor: tls.map(TlsAcceptor::from),
        shutdown: shutdown.clone(),
    });
    let open = TaskTracker::new();
    let overdue = CancellationToken::new();
    while let Some(accepted) = shutdown.run_until_cancelled(listener.accept()).await {
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "could not accept a connection");
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        let origin = (!sharing.is_trusted(peer.ip())).then(|| Network::of(peer.ip()));
        let activity = Activity::new();
        // Nothing of an arrival is in use, so the oldest always makes room.
        let Some(arrival) = arrivals.enter(origin, &activity) else { continue };
        let connection = Connection { shared: Arc::clone(&shared), peer, origin, activity };
        let overdue = overdue.clone();
        open.spawn(async move {
            overdue.run_until_cancelled(connection.serve(stream, arrival)).await;
        });
    }
    drop(listener);
    open.close();
    if tokio::time::timeout(limits.shutdown, open.wait()).await.is_err() {
        tracing::warn!("requests were still in flight when the time to stop was over");
        overdue.cancel();
    }
}
