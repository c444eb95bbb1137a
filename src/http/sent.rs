//! A response that keeps a guard until it is sent.
//!
//! hyper and h2 drop a body when they have its last chunk, and may keep that chunk until the client reads it. So the
//! chunks contain the guard: it is dropped with the last of their bytes.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use hyper::body::{Body as HttpBody, Frame, SizeHint};

/// A body whose chunks contain a guard.
pub(super) struct Sent<G> {
    body: Body,
    guard: Option<G>,
}

impl<G> Sent<G> {
    /// The body; `guard` is dropped when the body is sent completely or cancelled.
    pub(super) fn new(body: Body, guard: G) -> Self {
        // No chunk of an empty body is ever polled.
        let guard = Some(guard).filter(|_| !body.is_end_stream());
        Self { body, guard }
    }
}

impl<G: Clone + Send + Sync + Unpin + 'static> HttpBody for Sent<G> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        let guard = if this.body.is_end_stream() { this.guard.take() } else { this.guard.clone() };
        polled.map(|frame| {
            frame.map(|frame| Ok(frame?.map_data(|bytes| Bytes::from_owner(Chunk { bytes, _guard: guard }))))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

struct Chunk<G> {
    bytes: Bytes,
    _guard: Option<G>,
}

impl<G> AsRef<[u8]> for Chunk<G> {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn the_guard_lives_as_long_as_the_last_byte() {
        let guard = Arc::new(());
        let mut sent = Sent::new(Body::from("token"), Arc::clone(&guard));
        assert_eq!(sent.size_hint().exact(), Some(5));
        let mut chunk = sent.frame().await.unwrap().unwrap().into_data().unwrap();
        assert!(sent.is_end_stream());
        drop(sent);
        let rest = chunk.split_off(4);
        drop(chunk);
        assert_eq!((&rest[..], Arc::strong_count(&guard)), (&b"n"[..], 2));
        drop(rest);
        assert_eq!(Arc::strong_count(&guard), 1);
    }

    #[tokio::test]
    async fn an_empty_body_and_an_abandoned_body_release_the_guard() {
        let guard = Arc::new(());
        let empty = Sent::new(Body::empty(), Arc::clone(&guard));
        assert_eq!((Arc::strong_count(&guard), empty.is_end_stream()), (1, true));
        drop(Sent::new(Body::from("token"), Arc::clone(&guard)));
        assert_eq!(Arc::strong_count(&guard), 1);
    }
}
