//! The server of health and metrics: plain HTTP/1.1, few connections, one request each.
//!
//! When all slots are in use, a new connection replaces the oldest one. So idle connections, however many, cannot
//! block a request, which takes milliseconds.

use std::collections::VecDeque;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// Connections at the same time. The clients are a kubelet and a few Prometheus servers.
const CONNECTIONS_MAX: usize = 32;
/// Size of a request's head in bytes; the minimum of hyper.
const HEAD_BYTES_MAX: usize = 8192;
/// Longest life of a connection. A scrape takes milliseconds, and the default timeout of Prometheus is ten seconds.
const LIFE_MAX: Duration = Duration::from_secs(15);
/// Pause after `accept` failed, which happens when the process is out of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// Serves until `shutdown`, and then closes all open connections.
pub async fn serve(listener: TcpListener, router: Router, shutdown: CancellationToken) {
    let mut open = VecDeque::with_capacity(CONNECTIONS_MAX);
    while let Some(accepted) = shutdown.run_until_cancelled(listener.accept()).await {
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "could not accept a connection");
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        open.retain(|connection: &AbortOnDropHandle<()>| !connection.is_finished());
        if open.len() >= CONNECTIONS_MAX {
            open.pop_front();
        }
        open.push_back(AbortOnDropHandle::new(tokio::spawn(answer(stream, router.clone()))));
    }
}

async fn answer(stream: TcpStream, router: Router) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(LIFE_MAX).max_buf_size(HEAD_BYTES_MAX).keep_alive(false);
    let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    if let Ok(Err(error)) = tokio::time::timeout(LIFE_MAX, connection).await {
        tracing::debug!(%error, "connection ended");
    }
}
