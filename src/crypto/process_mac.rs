//! Remembers successes: a keyed digest of a value that passed the expensive check. The key exists only in this
//! process, so the digest is useless elsewhere and reveals nothing about the value.

use std::sync::OnceLock;

use aws_lc_rs::hmac;
use subtle::ConstantTimeEq as _;

use crate::crypto::random;

/// A digest made by [`of`].
pub type Mac = [u8; 32];

/// The digest of `parts`. Each part is preceded by its length, so that no two lists of parts have the same encoding.
#[must_use]
pub fn of(parts: &[&[u8]]) -> Mac {
    static KEY: OnceLock<hmac::Key> = OnceLock::new();
    let key = KEY.get_or_init(|| hmac::Key::new(hmac::HMAC_SHA256, &random::bytes::<32>()));
    let mut context = hmac::Context::with_key(key);
    for part in parts {
        context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(part);
    }
    let mut mac = [0; 32];
    for (to, from) in mac.iter_mut().zip(context.sign().as_ref()) {
        *to = *from;
    }
    mac
}

/// Whether two digests are equal, in constant time.
#[must_use]
pub fn equal(left: &Mac, right: &Mac) -> bool {
    left.ct_eq(right).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_parts_give_equal_digests_within_a_process() {
        assert!(equal(&of(&[b"a", b"b"]), &of(&[b"a", b"b"])));
        assert!(!equal(&of(&[b"a", b"b"]), &of(&[b"a", b"c"])));
    }

    #[test]
    fn the_same_bytes_in_other_parts_give_another_digest() {
        assert!(!equal(&of(&[b"ab", b"c"]), &of(&[b"a", b"bc"])));
        assert!(!equal(&of(&[b"a", b""]), &of(&[b"a"])));
    }
}
