//! Limits the token requests of a client, after it has authenticated: nobody else can use them up.

use std::num::NonZeroU32;

use crate::oauth::error::Unavailable;
use crate::util::timing::rate_limit::{Bucket, Rate, whole_seconds};

/// The limit of a client, and what it has used of it in this process. Part of its record, so clients need no table.
#[derive(Debug)]
pub struct TokenLimit {
    per_minute: NonZeroU32,
    bucket: Bucket,
}

impl TokenLimit {
    /// So many requests a minute, of which none was sent yet.
    #[must_use]
    pub fn new(per_minute: NonZeroU32) -> Self {
        Self { per_minute, bucket: Bucket::new(Rate::per_minute(per_minute)) }
    }

    /// Requests a minute.
    #[must_use]
    pub fn per_minute(&self) -> NonZeroU32 {
        self.per_minute
    }

    /// Counts a request.
    ///
    /// # Errors
    /// [`Unavailable::TokenLimit`]
    pub(super) fn take(&self) -> Result<(), Unavailable> {
        self.bucket.take().map_err(|wait| Unavailable::TokenLimit(whole_seconds(wait)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn q2_a_client_gets_its_requests_at_once_and_then_evenly() {
        let limit = TokenLimit::new(NonZeroU32::new(6).unwrap());
        assert_eq!((0..10).filter(|_| limit.take().is_ok()).count(), 6);
        assert_eq!(limit.take(), Err(Unavailable::TokenLimit(NonZeroU32::new(10).unwrap())));
        tokio::time::advance(Duration::from_secs(20)).await;
        assert_eq!((0..10).filter(|_| limit.take().is_ok()).count(), 2);
    }
}
