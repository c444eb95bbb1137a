//! Nonces that every replica can check without shared state: a time, and a MAC on it.
//!
//! base64url(period ‖ first 128 bits of HMAC-SHA-256)
//!
//! The key is derived from the install key for this purpose only. Nobody else can predict a nonce, so whoever signs one
//! signs after its period began. All callers get the same nonce in one period: a nonce proves a time, not a caller.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use subtle::ConstantTimeEq as _;

use crate::crypto::install_key::{InstallKey, InstallKeys};

/// The purpose of the derived key. A change of the format needs another number.
pub(super) const PURPOSE: &[u8] = b"postern nonce 1";
/// Length of a period in seconds. A caller needs a new nonce that often.
const PERIOD_S: i64 = 60;
/// Bytes of the MAC in a nonce.
const TAG_LEN: usize = 16;

/// Why a nonce is not accepted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum InvalidNonce {
    /// No key of this install made it.
    Unknown,
    /// It is of another time.
    Expired,
}

/// The nonce of the current period; `None` if there is no key.
#[must_use]
pub fn current(keys: &InstallKeys, now: Timestamp) -> Option<String> {
    let period = period(now);
    let tag = tag(keys.current()?, period);
    Some(URL_SAFE_NO_PAD.encode([period.to_be_bytes().as_slice(), &tag].concat()))
}

/// Checks that this install made the nonce in the current period or in the one before. A replica whose clock is ahead
/// may have made it in the next one.
///
/// # Errors
/// [`InvalidNonce`]
pub fn check(keys: &InstallKeys, nonce: &str, now: Timestamp) -> Result<(), InvalidNonce> {
    let bytes = URL_SAFE_NO_PAD.decode(nonce).map_err(|_| InvalidNonce::Unknown)?;
    let (issued, presented) = bytes.split_first_chunk().ok_or(InvalidNonce::Unknown)?;
    let issued = i64::from_be_bytes(*issued);
    if !keys.all().any(|key| tag(key, issued).ct_eq(presented).into()) {
        return Err(InvalidNonce::Unknown);
    }
    let age = period(now).saturating_sub(issued);
    if (-1..=1).contains(&age) { Ok(()) } else { Err(InvalidNonce::Expired) }
}

fn period(now: Timestamp) -> i64 {
    now.as_second().div_euclid(PERIOD_S)
}

fn tag(key: &InstallKey, period: i64) -> [u8; TAG_LEN] {
    let tag = key.nonces.tag(&[&period.to_be_bytes()]);
    tag.as_ref().first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn x2_a_nonce_is_valid_in_its_period_and_in_the_next_at_every_replica() {
        let key = |id, byte| InstallKey::new(id, [byte; 32]).unwrap();
        let keys = InstallKeys::new(vec![key("oldoldol", 1)], "oldoldol").unwrap();
        let nonce = current(&keys, at(6_000)).unwrap();
        assert_eq!(current(&keys, at(6_059)), Some(nonce.clone()));
        for (now, expected) in [
            (5_939, Err(InvalidNonce::Expired)),
            (5_940, Ok(())),
            (6_000, Ok(())),
            (6_119, Ok(())),
            (6_120, Err(InvalidNonce::Expired)),
            (60_000, Err(InvalidNonce::Expired)),
        ] {
            assert_eq!(check(&keys, &nonce, at(now)), expected, "{now}");
        }
        let after_rotation = InstallKeys::new(vec![key("newnewne", 2), key("oldoldol", 1)], "newnewne").unwrap();
        assert_eq!(check(&after_rotation, &nonce, at(6_000)), Ok(()), "made with the key before");
    }

    #[test]
    fn x2_a_nonce_that_is_changed_cut_or_of_another_install_is_unknown() {
        let keys = InstallKeys::generate().unwrap();
        let nonce = current(&keys, at(6_000)).unwrap();
        for at_byte in 0..nonce.len() {
            let mut changed = nonce.clone().into_bytes();
            changed[at_byte] = if changed[at_byte] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(check(&keys, &changed, at(6_000)), Err(InvalidNonce::Unknown), "byte {at_byte}");
            assert_eq!(check(&keys, &nonce[..at_byte], at(6_000)), Err(InvalidNonce::Unknown), "cut at {at_byte}");
        }
        assert_eq!(check(&keys, &format!("{nonce}AA"), at(6_000)), Err(InvalidNonce::Unknown));
        let other = InstallKeys::generate().unwrap();
        assert_eq!(check(&other, &nonce, at(6_000)), Err(InvalidNonce::Unknown));
    }
}
