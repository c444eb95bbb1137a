//! A stream that reports its traffic.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use memchr::memmem;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::http::activity::Activity;
use crate::http::response;

/// The stream of an HTTP/1.1 connection, without TLS.
///
/// hyper has one timer for an idle connection and for the head of a request; [`Activity`] distinguishes them by the
/// bytes that arrive. hyper also sends a bare response for a head that it cannot parse, which no service sees: the
/// stream withholds that response, so that a complete one can replace it.
pub(super) struct Observed<S> {
    stream: S,
    activity: Arc<Activity>,
    /// The withheld response.
    held: Vec<u8>,
}

impl<S> Observed<S> {
    pub(super) fn new(stream: S, activity: Arc<Activity>) -> Self {
        Self { stream, activity, held: Vec::new() }
    }

    /// The stream, and the withheld response of hyper; empty if there is none.
    pub(super) fn into_parts(self) -> (S, Vec<u8>) {
        (self.stream, self.held)
    }

    /// Withholds a response that hyper made.
    fn holds(&mut self, bytes: &[u8]) -> bool {
        let is_own = self.held.is_empty() && is_written_by_hyper(bytes);
        if is_own {
            self.held = bytes.to_vec();
        }
        is_own
    }
}

/// Whether this is a response that no service made. hyper answers a malformed head with 400, 414 or 431 and no body,
/// always in one write, and nothing follows. All of our responses have an id.
fn is_written_by_hyper(bytes: &[u8]) -> bool {
    let is_refusal = bytes.starts_with(b"HTTP/1.") && bytes.get(9) == Some(&b'4') && bytes.ends_with(b"\r\n\r\n");
    is_refusal && memmem::find(bytes, response::X_REQUEST_ID.as_str().as_bytes()).is_none()
}

impl<S: AsyncRead + Unpin> AsyncRead for Observed<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            self.activity.received();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Observed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.holds(buf) {
            return Poll::Ready(Ok(buf.len()));
        }
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.held.is_empty() {
            // The response is not written yet.
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let [head] = bufs
            && self.holds(head)
        {
            return Poll::Ready(Ok(head.len()));
        }
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const OF_HYPER: &[u8] = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

    #[test]
    fn only_an_error_response_without_a_request_id_and_a_body_is_attributed_to_hyper() {
        assert!(is_written_by_hyper(OF_HYPER));
        for ours in [
            &b"HTTP/1.1 401 Unauthorized\r\nx-request-id: 1\r\ncontent-length: 0\r\n\r\n"[..],
            b"HTTP/1.1 100 Continue\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
            b"HTTP/1.1 400 in the middle of a body",
            b"{\"a\":\"HTTP/1.1 400\"}",
            b"",
        ] {
            assert!(!is_written_by_hyper(ours), "{}", String::from_utf8_lossy(ours));
        }
    }

    #[tokio::test]
    async fn a_withheld_response_is_not_sent_and_the_stream_stays_open() {
        let (mut client, server) = tokio::io::duplex(1024);
        let mut observed = Observed::new(server, Activity::new());
        observed.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        observed.write_all(OF_HYPER).await.unwrap();
        observed.shutdown().await.unwrap();
        let (mut stream, held) = observed.into_parts();
        assert_eq!(held, OF_HYPER);
        stream.write_all(b"more").await.unwrap();
        drop(stream);
        let mut sent = Vec::new();
        client.read_to_end(&mut sent).await.unwrap();
        assert_eq!(sent, b"HTTP/1.1 200 OK\r\n\r\nmore");
    }
}
