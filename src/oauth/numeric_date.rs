//! NumericDate (RFC 7519 §2): seconds since 1970, also with a fraction.

use jiff::SignedDuration;

/// The time since 1970. A date out of range is the nearest that there is.
pub(super) fn since_epoch(date: f64) -> SignedDuration {
    let nearest = if date > 0.0 { SignedDuration::MAX } else { SignedDuration::MIN };
    SignedDuration::try_from_secs_f64(date).unwrap_or(nearest)
}
