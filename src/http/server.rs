//! Accepts connections and serves a router on them, within limits, until told to stop.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{self, pin};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service as _;

use crate::http::answer::{self, RequestId};
use crate::http::streams::Streams;
use crate::oauth::error::{TokenError, Unavailable};

/// The address that a request came from, among its extensions.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// Bounds of a server's connections.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ServerLimits {
    /// Connections at the same time; any more wait in the kernel's backlog. Also requests at the same time, of which an
    /// HTTP/2 connection may carry many; any more get 503.
    pub connections: usize,
    /// Longest TLS handshake.
    pub tls_handshake: Duration,
    /// Longest wait for the head of a request; also how long an idle connection is kept, and one that takes nothing of
    /// what is written to it.
    pub header_read: Duration,
    /// Longest head of a request in bytes; at least 8192.
    pub header_bytes: usize,
    /// Longest time for requests in flight to end once the server is told to stop.
    pub shutdown: Duration,
}

impl Default for ServerLimits {
    /// 4096 connections of some 20 KiB, and as many requests; ten seconds for a handshake; thirty for a head, which is hyper's own default
    /// and longer than clients let a connection idle between two uses in a row; 32 KiB, which holds every header that
    /// proxies add; and twenty seconds to stop, which leaves ten of the thirty that Kubernetes gives a pod.
    fn default() -> Self {
        Self {
            connections: 4096,
            tls_handshake: Duration::from_secs(10),
            header_read: Duration::from_secs(30),
            header_bytes: 32 * 1024,
            shutdown: Duration::from_secs(20),
        }
    }
}

/// How long to let go after `accept` failed, which is when the process is out of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);
/// Requests at the same time on one HTTP/2 connection; the least that RFC 9113 §6.5.2 recommends.
const STREAMS_MAX: u32 = 100;
/// Headers of a request, as in hyper's HTTP/1.1. In HTTP/2 one byte can stand for a header, which takes 72 here.
const HEADERS_MAX: usize = 100;
/// How often a silent HTTP/2 connection is asked whether it is still there.
const PING_EVERY: Duration = Duration::from_secs(30);
/// How long a client that is told to go may take to hear it; a round trip is enough.
const GOODBYE: Duration = Duration::from_secs(5);

/// Serves until `shutdown`: then it stops accepting, lets requests in flight end, and returns when they have, or when
/// the time for it is over. With `tls`, HTTP/2 or HTTP/1.1 by ALPN; without, HTTP/1.1.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    router: Router,
    limits: ServerLimits,
    shutdown: CancellationToken,
) {
    let connections = Arc::new(Semaphore::new(limits.connections));
    let requests = Arc::new(Semaphore::new(limits.connections));
    let acceptor = tls.map(TlsAcceptor::from);
    let open = TaskTracker::new();
    let overdue = CancellationToken::new();
    let next = async || {
        let permit = Arc::clone(&connections).acquire_owned().await.ok();
        (permit, listener.accept().await)
    };
    while let Some((permit, accepted)) = shutdown.run_until_cancelled(next()).await {
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "could not accept a connection");
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        let (router, requests, shutdown) = (router.clone(), Arc::clone(&requests), shutdown.clone());
        let connection = Connection { peer, router, requests, limits, shutdown };
        let (acceptor, overdue) = (acceptor.clone(), overdue.clone());
        open.spawn(async move {
            let _permit = permit;
            overdue.run_until_cancelled(connection.serve(stream, acceptor)).await;
        });
    }
    drop(listener);
    open.close();
    if tokio::time::timeout(limits.shutdown, open.wait()).await.is_err() {
        tracing::warn!("requests were still in flight when the time to stop was over");
        overdue.cancel();
    }
}

struct Connection {
    peer: SocketAddr,
    router: Router,
    /// Places of requests, shared by all connections.
    requests: Arc<Semaphore>,
    limits: ServerLimits,
    shutdown: CancellationToken,
}

impl Connection {
    async fn serve(self, stream: TcpStream, acceptor: Option<TlsAcceptor>) {
        // Answers are written whole; waiting for more to send would only delay them.
        let _ = stream.set_nodelay(true);
        // hyper waits for ever for a client that does not read.
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(self.limits.header_read));
        let stream = Box::pin(stream);
        let Some(acceptor) = acceptor else {
            return self.http1(stream).await;
        };
        let handshake = tokio::time::timeout(self.limits.tls_handshake, acceptor.accept(stream)).await;
        match handshake {
            Ok(Ok(stream)) if stream.get_ref().1.alpn_protocol() == Some(b"h2") => self.http2(stream).await,
            Ok(Ok(stream)) => self.http1(stream).await,
            Ok(Err(error)) => tracing::debug!(peer = %self.peer, %error, "TLS handshake failed"),
            Err(_) => tracing::debug!(peer = %self.peer, "TLS handshake took too long"),
        }
    }

    async fn http1(self, stream: impl AsyncRead + AsyncWrite + Unpin + 'static) {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new());
        http.header_read_timeout(self.limits.header_read);
        // hyper panics below 8192.
        http.max_buf_size(self.limits.header_bytes.max(8192));
        let service = service_fn(|request| self.call(request));
        let mut connection = http.serve_connection(TokioIo::new(stream), service);
        let ended = tokio::select! {
            ended = &mut connection => ended,
            () = self.shutdown.cancelled() => {
                pin::Pin::new(&mut connection).graceful_shutdown();
                (&mut connection).await
            }
        };
        if ended.is_err() {
            // hyper just lets go, also of a connection that was idle for too long. TLS wants a goodbye before the end
            // (close_notify, RFC 8446 §6.1), by which a client tells it from an attack.
            let mut stream = connection.into_parts().io.into_inner();
            let _ = tokio::time::timeout(GOODBYE, stream.shutdown()).await;
        }
        self.ended(ended);
    }

    /// hyper has no timer for the preface, for the first request, or for a connection that nobody uses: pings tell only
    /// whether the client is there.
    async fn http2(self, stream: impl AsyncRead + AsyncWrite + Unpin + 'static) {
        let mut http = http2::Builder::new(TokioExecutor::new());
        http.timer(TokioTimer::new());
        http.max_concurrent_streams(STREAMS_MAX);
        http.max_header_list_size(u32::try_from(self.limits.header_bytes).unwrap_or(u32::MAX));
        http.keep_alive_interval(PING_EVERY);
        let streams = Streams::new();
        let service = service_fn(|request| streams.during(self.call(request)));
        let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.shutdown.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
            () = streams.unused_for(self.limits.header_read) => {
                connection.as_mut().graceful_shutdown();
                let goodbye = tokio::time::timeout(GOODBYE.min(self.limits.header_read), connection);
                // Whoever does not even say goodbye is cut off.
                goodbye.await.unwrap_or(Ok(()))
            }
        };
        self.ended(ended);
    }

    fn ended(&self, ended: hyper::Result<()>) {
        if let Err(error) = ended {
            tracing::debug!(peer = %self.peer, %error, "connection ended");
        }
    }

    fn call(&self, mut request: Request<Incoming>) -> impl Future<Output = Result<Response, Infallible>> + use<> {
        let (mut router, place) = (self.router.clone(), Arc::clone(&self.requests).try_acquire_owned());
        request.extensions_mut().insert(Peer(self.peer));
        async move {
            let Ok(_place) = place else {
                let overloaded = TokenError::from(Unavailable::Overloaded).on_the_wire();
                return Ok(answer::error(&RequestId::new(), &overloaded));
            };
            if request.headers().len() > HEADERS_MAX {
                return Ok(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE.into_response());
            }
            router.call(request).await
        }
    }
}
