//! Streams that limit the bytes read without a result.
//!
//! Below TLS, because rustls keeps up to 64 KiB of an incomplete handshake message, before the handshake and at any
//! time after it. The limit applies to the bytes that were read since the last plaintext.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustls::ServerConnection;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// A stream that reads no more than an allowance. After that it returns nothing and wakes no task, so the caller must
/// check the remaining allowance after each poll.
struct Metered<S> {
    stream: S,
    left: usize,
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let wanted = buf.remaining().min(self.left);
        if wanted == 0 && buf.remaining() > 0 {
            return Poll::Pending;
        }
        let mut limited = ReadBuf::new(buf.initialize_unfilled_to(wanted));
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut limited))?;
        let read = limited.filled().len();
        buf.advance(read);
        self.left -= read;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

fn too_many() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "too many bytes without application data")
}

/// A TLS stream whose allowance is reset with each plaintext.
pub(super) struct Guarded<S> {
    stream: TlsStream<Metered<S>>,
    allowance: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Guarded<S> {
    /// Completes the handshake of a stream that reads no more than `handshake` bytes before that, and no more than
    /// `allowance` at any time after it.
    ///
    /// # Errors
    /// Errors of the stream and of TLS, and one for too many bytes.
    pub(super) async fn accept(
        acceptor: &TlsAcceptor,
        stream: S,
        handshake: usize,
        allowance: usize,
    ) -> io::Result<Self> {
        let mut accept = acceptor.accept(Metered { stream, left: handshake });
        // The bytes after the handshake may be in the same packet: the limit applies only while the handshake is
        // incomplete.
        let accepted = poll_fn(|cx| match Pin::new(&mut accept).poll(cx) {
            Poll::Pending if accept.get_ref().is_some_and(|metered| metered.left == 0) => Poll::Ready(Err(too_many())),
            polled => polled,
        });
        let mut stream = accepted.await?;
        stream.get_mut().0.left = allowance;
        Ok(Self { stream, allowance })
    }

    /// The negotiated parameters.
    pub(super) fn session(&mut self) -> &mut ServerConnection {
        self.stream.get_mut().1
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        let allowance = self.allowance;
        let left = &mut self.stream.get_mut().0.left;
        match polled {
            Poll::Pending if *left == 0 => Poll::Ready(Err(too_many())),
            Poll::Ready(Ok(())) if buf.filled().len() > before => {
                *left = allowance;
                Poll::Ready(Ok(()))
            }
            polled => polled,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn no_more_than_the_allowance_is_read() {
        let (mut client, server) = tokio::io::duplex(100);
        client.write_all(&[7; 60]).await.unwrap();
        let mut metered = Metered { stream: server, left: 50 };
        let mut read = [0; 64];
        assert_eq!(metered.read(&mut read).await.unwrap(), 50);
        assert!(metered.read(&mut read).now_or_never().is_none());
        metered.left = 50;
        assert_eq!(metered.read(&mut read).await.unwrap(), 10);
    }
}
