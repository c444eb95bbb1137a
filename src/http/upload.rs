//! The body of a request, whose unread rest is discarded.
//!
//! A handler can answer before it has read the body, because the body is too long or not needed. If the connection
//! were closed then, the kernel would reset it because of the unread bytes, and a client that writes everything before
//! it reads would lose the response. So the rest is discarded, up to a bound, while the response is sent.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::header::EXPECT;
use axum::http::{Request, Version};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::http::activity::Activity;

/// Bytes that are discarded: sixteen times the default limit of a body.
pub(super) const LEFT_BYTES_MAX: usize = 1024 * 1024;
/// Maximum time for discarding, …
pub(super) const LEFT_TIME_MAX: Duration = Duration::from_secs(10);
/// … and the longest gap without a byte: several round trips.
pub(super) const LEFT_GAP_MAX: Duration = Duration::from_secs(2);

/// A body whose rest is discarded when it is dropped.
pub(super) struct Upload {
    /// `None`: no bytes remain.
    body: Option<Incoming>,
    is_http_2: bool,
    /// The client sends no byte before the first read (`Expect: 100-continue`), and there was none.
    waits: bool,
    activity: Arc<Activity>,
}

impl Upload {
    /// The request with such a body. HTTP/2 ends a stream without ending the connection, so nothing is discarded there.
    pub(super) fn of(request: Request<Incoming>, activity: &Arc<Activity>) -> Request<Self> {
        let (is_http_2, waits) = (request.version() == Version::HTTP_2, request.headers().contains_key(EXPECT));
        request.map(|body| Self { body: Some(body), is_http_2, waits, activity: Arc::clone(activity) })
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        self.waits = false;
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(cx);
        if let Poll::Ready(None | Some(Err(_))) = &polled {
            self.body = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let is_left = |body: &Incoming| !self.is_http_2 && !self.waits && !body.is_end_stream();
        let Some(body) = self.body.take().filter(is_left) else { return };
        // Without a runtime the process is ending.
        let Ok(runtime) = Handle::try_current() else { return };
        let activity = Arc::clone(&self.activity);
        // The task ends with the connection, whose slot it does not use: a new connection may take the slot.
        runtime.spawn(async move {
            let _ = timeout(LEFT_TIME_MAX, discard(body)).await;
            activity.discarded();
        });
    }
}

async fn discard(mut body: Incoming) {
    let mut left = LEFT_BYTES_MAX;
    while let Ok(Some(Ok(frame))) = timeout(LEFT_GAP_MAX, body.frame()).await {
        let Some(rest) = left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) else { return };
        left = rest;
    }
}
