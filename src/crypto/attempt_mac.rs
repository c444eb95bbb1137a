//! Fingerprints of wrong secrets: replicas compare what they were presented, and publish nothing that could be tried.

use crate::crypto::install_key::{InstallKey, InstallKeys};
use crate::crypto::install_mac::MacKey;

/// The purpose of the derived key. A change of the list of parts needs another number.
pub(super) const PURPOSE: &[u8] = b"postern wrong secret 1";

fn purpose(key: &InstallKey) -> &MacKey {
    &key.attempts
}

/// The fingerprint of `value`, presented for the Application with this UID: 64 bits of a MAC under the current install key;
/// `None`: there is no key. The same value has another fingerprint at another client.
pub(crate) fn fingerprint(keys: &InstallKeys, application: &str, value: &str) -> Option<u64> {
    let tag = purpose(keys.current()?).tag(&[application.as_bytes(), value.as_bytes()]);
    tag.as_ref().first_chunk().map(|first| u64::from_be_bytes(*first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_depends_on_the_value_the_client_and_the_key() {
        let (keys, others) = (InstallKeys::generate().unwrap(), InstallKeys::generate().unwrap());
        let known = fingerprint(&keys, "uid", "wrong");
        assert_eq!(fingerprint(&keys, "uid", "wrong"), known);
        for other in [
            fingerprint(&keys, "uid", "wron"),
            fingerprint(&keys, "uidw", "rong"),
            fingerprint(&others, "uid", "wrong"),
        ] {
            assert!(other.is_some() && other != known);
        }
    }
}
