//! One connection: its handshake, its protocol and its end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::http::header::{CONNECTION, HeaderValue, RETRY_AFTER};
use axum::http::{Response, StatusCode, Version};
use axum::response::IntoResponse as _;
use futures::FutureExt as _;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::Service as _;

use crate::http::activity::{Activity, Open};
use crate::http::admission::{Admission, Ticket};
use crate::http::budget::{H2_CONNECTION, H2_STREAM, HANDSHAKE_READ, RECORD_READ, TLS_WRITE};
use crate::http::client_certificate;
use crate::http::connections::{Connections, Origin, Seat};
use crate::http::guarded::Guarded;
use crate::http::observed::Observed;
use crate::http::response;
use crate::http::response::RequestId;
use crate::http::router::Routes;
use crate::http::sent::Sent;
use crate::http::server::Timeouts;
use crate::http::upload::Upload;
use crate::http::{head, rejection};
use crate::oauth::client_auth::PresentedCertificate;
use crate::oauth::error::{RETRY_AFTER_S, TokenError, Unavailable};

/// Requests at the same time on one HTTP/2 connection.
const STREAMS_MAX: u32 = 32;
/// Reset streams of one connection that are remembered: the default of h2 for those that the client reset, and a
/// sixteenth of it for those that the server reset.
const RESET_BY_CLIENT_MAX: usize = 20;
const RESET_BY_US_MAX: usize = 64;
/// How often a silent HTTP/2 connection gets a ping, and the timeout for its reply.
const PING_EVERY: Duration = Duration::from_secs(30);
const PONG_WITHIN: Duration = Duration::from_secs(20);
/// How long a client has to receive a shutdown notice; a round trip is enough.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// How often an arrived connection tries to get a slot.
const SEAT_RETRY: Duration = Duration::from_millis(10);

/// State that the connections of a server share.
pub(super) struct Shared {
    pub(super) routes: Routes,
    pub(super) admission: Arc<Admission>,
    pub(super) connections: Arc<Connections>,
    pub(super) timeouts: Timeouts,
    /// Longest head of a request.
    pub(super) header_bytes: usize,
    pub(super) shutdown: CancellationToken,
}

/// An accepted connection.
pub(super) struct Connection {
    pub(super) shared: Arc<Shared>,
    pub(super) peer: SocketAddr,
    pub(super) origin: Origin,
    pub(super) activity: Arc<Activity>,
    /// `None`: plain HTTP.
    pub(super) acceptor: Option<TlsAcceptor>,
    /// The certificate that the client presented in the handshake.
    pub(super) certificate: Option<Arc<PresentedCertificate>>,
}

impl Connection {
    /// Serves it until it ends. `arrival` is its slot until it gets one for established connections.
    pub(super) async fn serve(mut self, stream: TcpStream, arrival: Seat) {
        // Responses are written whole; waiting for more data would only delay them.
        let _ = stream.set_nodelay(true);
        // hyper waits indefinitely for a client that does not read.
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(self.shared.timeouts.response));
        let stream = Box::pin(stream);
        let arrives = tokio::time::timeout(self.shared.timeouts.tls_handshake, async {
            let established = self.handshake(stream).await?;
            Some((established, self.seat().await))
        });
        let Some(Ok(Some(((established, certificate), seat)))) = arrival.evicted().run_until_cancelled(arrives).await
        else {
            return tracing::debug!(peer = %self.peer, "connection ended before it was established");
        };
        drop(arrival);
        self.certificate = certificate;
        match established {
            Established::Plain(stream) => self.http1(stream, seat).await,
            Established::Http1(stream) => self.http1(stream, seat).await,
            Established::Http2(stream) => self.http2(stream, seat).await,
        }
    }

    /// The connection, and the certificate of the client.
    async fn handshake(&self, stream: Socket) -> Option<(Established, Option<Arc<PresentedCertificate>>)> {
        let Some(acceptor) = &self.acceptor else { return Some((Established::Plain(stream), None)) };
        match Guarded::accept(acceptor, stream, HANDSHAKE_READ, RECORD_READ).await {
            Ok(mut stream) => {
                let tls = stream.session();
                tls.set_buffer_limit(Some(TLS_WRITE));
                let is_http2 = tls.alpn_protocol() == Some(b"h2");
                let certificate = tls.peer_certificates().map(client_certificate::of_connection);
                let stream = Box::new(stream);
                let established = if is_http2 { Established::Http2(stream) } else { Established::Http1(stream) };
                Some((established, certificate))
            }
            Err(error) => {
                tracing::debug!(peer = %self.peer, %error, "TLS handshake failed");
                None
            }
        }
    }

    /// A slot for established connections, as soon as one is free.
    async fn seat(&self) -> Seat {
        loop {
            if let Some(seat) = self.shared.connections.enter(self.origin, &self.activity) {
                return seat;
            }
            tokio::time::sleep(SEAT_RETRY).await;
        }
    }

    async fn http1(self, stream: impl AsyncRead + AsyncWrite + Unpin + 'static, seat: Seat) {
        let Timeouts { header_read, idle, response, .. } = self.shared.timeouts;
        let stream = Observed::new(stream, Arc::clone(&self.activity));
        let mut http = http1::Builder::new();
        // hyper's timer starts at the end of the previous request: it applies to heads and to idle connections.
        http.header_read_timeout(None);
        // One read may be longer than the head. hyper panics below 8192.
        http.max_header_size(self.shared.header_bytes).max_buf_size(self.shared.header_bytes.max(8192));
        let service = service_fn(|request| self.call(request));
        let mut connection = http.serve_connection(TokioIo::new(stream), service);
        let ended = tokio::select! {
            ended = &mut connection => Some(ended),
            () = self.shared.shutdown.cancelled() => {
                Pin::new(&mut connection).graceful_shutdown();
                Some((&mut connection).await)
            }
            () = seat.evicted().cancelled() => {
                // Another connection already has its slot: the client gets only what the socket accepts immediately.
                let _ = connection.into_parts().io.into_inner().shutdown().now_or_never();
                return tracing::debug!(peer = %self.peer, "idle connection made room for another one");
            }
            () = self.activity.misused(response) => return self.cut_off(),
            () = self.activity.overdue(header_read, idle) => None,
        };
        let (mut stream, held) = connection.into_parts().io.into_inner().into_parts();
        if !held.is_empty() {
            // The request is unknown, so a trusted proxy has not named its source.
            let source = self.origin.is_some().then(|| self.peer.ip());
            let rejected =
                rejection::reject_unreadable(stream, &held, &self.shared.routes.audit, source, CLOSE_TIMEOUT);
            // Boxed, because few connections need it and each would reserve the space.
            let _ = seat.evicted().run_until_cancelled(Box::pin(rejected)).await;
        } else if !matches!(ended, Some(Ok(()))) {
            // hyper does not close the TLS session. A client needs close_notify to rule out a truncation attack (RFC
            // 8446 §6.1).
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, stream.shutdown()).await;
        }
        let Some(ended) = ended else {
            return tracing::debug!(peer = %self.peer, "connection ended: no request for too long");
        };
        self.ended(ended);
    }

    /// hyper has no timer for the preface, for the first request, or for an unused connection: pings only show whether
    /// the client responds.
    async fn http2(self, stream: impl AsyncRead + AsyncWrite + Unpin + 'static, seat: Seat) {
        let http = self.http2_builder();
        let service = service_fn(|request| self.call(request));
        let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
        let Timeouts { idle, response, .. } = self.shared.timeouts;
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.shared.shutdown.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
            () = seat.evicted().cancelled() => {
                connection.as_mut().graceful_shutdown();
                let _ = connection.now_or_never();
                return tracing::debug!(peer = %self.peer, "idle connection made room for another one");
            }
            () = self.activity.misused(response) => return self.cut_off(),
            () = self.activity.wait_idle(idle) => {
                connection.as_mut().graceful_shutdown();
                let goodbye = tokio::time::timeout(CLOSE_TIMEOUT.min(idle), connection);
                // A client that does not close the connection in time is disconnected.
                goodbye.await.unwrap_or(Ok(()))
            }
        };
        self.ended(ended);
    }

    /// Sets every size: the defaults of hyper are for few, trusted clients.
    fn http2_builder(&self) -> http2::Builder<TokioExecutor> {
        let mut http = http2::Builder::new(TokioExecutor::new());
        http.timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS_MAX)
            .max_header_list_size(u32::try_from(self.shared.header_bytes).unwrap_or(u32::MAX))
            .initial_stream_window_size(H2_STREAM)
            .initial_connection_window_size(H2_CONNECTION)
            .max_frame_size(H2_STREAM)
            .max_send_buf_size(H2_STREAM as usize)
            .max_pending_accept_reset_streams(RESET_BY_CLIENT_MAX)
            .max_local_error_reset_streams(RESET_BY_US_MAX)
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PONG_WITHIN);
        http
    }

    fn cut_off(&self) {
        tracing::debug!(peer = %self.peer, "connection closed: the client does not read responses");
    }

    fn ended(&self, ended: hyper::Result<()>) {
        if let Err(error) = ended {
            tracing::debug!(peer = %self.peer, %error, "connection ended");
        }
    }

    fn call(&self, request: Request<Incoming>) -> impl Future<Output = Answer> + use<> {
        let mut request = Upload::of(request, &self.activity);
        let arrived = self.shared.admission.admit(self.peer, &request, self.certificate.as_ref());
        let (shared, mut open) = (Arc::clone(&self.shared), self.activity.open());
        async move {
            let version = request.version();
            let Some(arrived) = arrived else { return Ok(overloaded(version, open)) };
            let (ticket, source) = (arrived.ticket.clone(), arrived.source);
            request.extensions_mut().insert(arrived);
            let response = match head::check(&request) {
                // Errors are impossible: the router always responds.
                Ok(()) => shared.routes.router.clone().call(request).await?,
                Err(rejection) => {
                    let mut response = rejection::reject(&shared.routes.audit, source, rejection);
                    if version != Version::HTTP_2 {
                        // The next bytes of such a client are ambiguous too.
                        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                    }
                    response
                }
            };
            open.answered();
            let guard = Arc::new(InFlight { _open: open, _ticket: Some(ticket) });
            Ok(response.map(|body| Sent::new(body, guard)))
        }
    }
}

type Socket = Pin<Box<TimeoutStream<TcpStream>>>;
type Answer = Result<Response<Sent<Arc<InFlight>>>, Infallible>;

/// A connection whose protocol is known.
enum Established {
    Plain(Socket),
    Http1(Box<Guarded<Socket>>),
    Http2(Box<Guarded<Socket>>),
}

/// State that lasts until a response is sent.
struct InFlight {
    _open: Open,
    /// `None`: there was no slot.
    _ticket: Option<Ticket>,
}

/// 503 for a request without a slot. In HTTP/2 without a body: the server would have to buffer it for a client with a
/// closed window.
fn overloaded(version: Version, mut open: Open) -> Response<Sent<Arc<InFlight>>> {
    open.answered();
    let guard = Arc::new(InFlight { _open: open, _ticket: None });
    let response = if version == Version::HTTP_2 {
        let mut response = StatusCode::SERVICE_UNAVAILABLE.into_response();
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S.get()));
        response
    } else {
        response::error(&RequestId::new(), &TokenError::from(Unavailable::Overloaded).to_response())
    };
    response.map(|body| Sent::new(body, guard))
}
