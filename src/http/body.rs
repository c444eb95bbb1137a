//! Reads the body of a token request within its limits.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http_body_util::BodyExt as _;

use crate::http::budget::Bounds;
use crate::http::slots::{Places, Slot};
use crate::oauth::error::{RequestError, TokenError, Unavailable};
use crate::util::source_network::Network;

/// Maximum of every body that is always allowed: a form with a secret, scopes and resources is shorter.
const SMALL: usize = 4 * 1024;

/// Bounds of one request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RequestLimits {
    /// Longest body in bytes.
    pub body_bytes: usize,
    /// Bodies of more than a few KiB at the same time.
    pub large_bodies: usize,
    /// Longest time for the body to arrive.
    pub body_read: Duration,
}

impl Default for RequestLimits {
    /// 64 KiB, which holds any form with any assertion; ten seconds, which suits slow links and not slow attackers.
    fn default() -> Self {
        let large_bodies = Bounds::unlimited().large_bodies;
        Self { body_bytes: 64 * 1024, large_bodies, body_read: Duration::from_secs(10) }
    }
}

/// Whether the request declares a form (RFC 6749 §4.4.2): the media type in any case, with any parameters.
pub(crate) fn is_form(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(only), None) = (types.next(), types.next()) else { return false };
    let media_type = only.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
    media_type.trim_ascii().eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
}

/// The declared length of the request's body.
pub(crate) fn announced_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// A body that has arrived. A long one has a slot for as long as it exists: the request decodes it into copies, and may then
/// wait for the API server or for a hash.
pub(crate) struct Received {
    bytes: Vec<u8>,
    _slot: Option<Slot<Network>>,
}

impl Deref for Received {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Reads bodies. However many there are at the same time, and in whatever chunks they arrive, long bodies use a bounded part
/// of the memory, and short bodies never wait for long ones.
pub(crate) struct Bodies {
    limits: RequestLimits,
    /// Slots of long bodies.
    large: Arc<Places<Network>>,
}

impl Bodies {
    pub(crate) fn new(limits: RequestLimits) -> Self {
        Self { limits, large: Places::new(limits.large_bodies) }
    }

    /// The whole body, with this declared length, from a caller at this address.
    ///
    /// # Errors
    /// A [`RequestError`] about the body, or [`Unavailable::Overloaded`] when there are too many long ones.
    pub(crate) async fn read(
        &self,
        announced: Option<u64>,
        source: Option<IpAddr>,
        body: Body,
    ) -> Result<Received, TokenError> {
        if announced
            .is_some_and(|length| usize::try_from(length).map_or(true, |length| length > self.limits.body_bytes))
        {
            return Err(RequestError::BodyTooLarge.into());
        }
        let read = tokio::time::timeout(self.limits.body_read, self.collect(source, body)).await;
        read.unwrap_or_else(|_| Err(RequestError::BodyTimeout.into()))
    }

    /// Copies and drops each chunk: a chunk of one byte may keep a whole page of the read buffer alive.
    async fn collect(&self, source: Option<IpAddr>, mut body: Body) -> Result<Received, TokenError> {
        let (mut all, mut slot) = (Vec::new(), None);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| RequestError::BodyIncomplete)?;
            let Some(piece) = frame.data_ref() else { continue };
            let length = all.len() + piece.len();
            if length > self.limits.body_bytes {
                return Err(RequestError::BodyTooLarge.into());
            }
            if length > SMALL && slot.is_none() {
                let network = Network::of(source.unwrap_or(Ipv4Addr::UNSPECIFIED.into()));
                slot = Some(self.large.take(&network).ok_or(Unavailable::Overloaded)?);
                // As much as its slot allows.
                all.reserve_exact(self.limits.body_bytes - all.len());
            }
            all.extend_from_slice(piece);
        }
        Ok(Received { bytes: all, _slot: slot })
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::body::Bytes;
    use futures::StreamExt as _;

    use super::*;

    /// One byte of a page. The page is counted while a reference to it exists.
    struct Page(Arc<AtomicUsize>);

    impl AsRef<[u8]> for Page {
        fn as_ref(&self) -> &[u8] {
            &[b'a'; 4096]
        }
    }

    impl Drop for Page {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn a_body_of_tiny_frames_keeps_none_of_the_buffers_that_they_arrived_in() {
        let (held, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (now, highest) = (Arc::clone(&held), Arc::clone(&most));
        let pieces = futures::stream::iter(0..5_000).map(move |_| {
            highest.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            Ok::<_, Infallible>(Bytes::from_owner(Page(Arc::clone(&now))).slice(..1))
        });
        let bodies = Bodies::new(RequestLimits::default());
        let read = bodies.read(None, None, Body::from_stream(pieces)).await;
        assert_eq!(read.ok().map(|body| body.len()), Some(5_000));
        assert_eq!(held.load(Ordering::Relaxed), 0);
        assert!(most.load(Ordering::Relaxed) <= 2, "{most:?} pages at once");
    }

    #[tokio::test]
    async fn t10_a_long_body_has_its_slot_until_it_is_dropped() {
        let bodies = Bodies::new(RequestLimits { large_bodies: 1, ..RequestLimits::default() });
        let read = async |length: usize| bodies.read(None, None, Body::from(vec![b'a'; length])).await;
        let long = read(SMALL + 1).await.ok().unwrap();
        let refused = read(SMALL + 1).await.err();
        assert!(matches!(refused, Some(TokenError::Unavailable(Unavailable::Overloaded))), "{refused:?}");
        assert_eq!(read(SMALL).await.ok().unwrap().len(), SMALL, "a short one needs none");
        drop(long);
        assert!(read(SMALL + 1).await.is_ok());
    }
}
