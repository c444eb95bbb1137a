//! The MAC on a delivered value. It proves that this install delivered the value, in this Secret, for this
//! ClientSecret.
//!
//! A client that can write Secrets can copy the MAC, but not create one: in another Secret, for another ClientSecret,
//! version or time of issue, or with another value, the MAC does not verify.

use crate::crypto::install_key::{InstallKey, InstallKeyError, InstallKeys};
use crate::crypto::install_mac::{self, MacKey};

/// The purpose of the derived key. A change of the list of parts needs another number.
pub(super) const PURPOSE: &[u8] = b"postern delivered secret 1";

/// The input of the MAC: everything that identifies the value of one version in one Secret.
#[derive(Clone, Copy)]
pub struct Delivery<'a> {
    /// UID of the ClientSecret.
    pub owner: [u8; 16],
    /// Namespace of the Secret.
    pub namespace: &'a str,
    /// Name of the Secret.
    pub name: &'a str,
    /// Id of the version.
    pub version: &'a str,
    /// When the version was issued, in seconds since the epoch.
    pub issued_at: i64,
    /// The secret value.
    pub value: &'a str,
}

impl Delivery<'_> {
    fn with_parts<T>(&self, work: impl FnOnce(&[&[u8]]) -> T) -> T {
        let issued_at = self.issued_at.to_be_bytes();
        let [namespace, name, version, value] =
            [self.namespace, self.name, self.version, self.value].map(str::as_bytes);
        work(&[&self.owner, &issued_at, namespace, name, version, value])
    }
}

fn purpose(key: &InstallKey) -> &MacKey {
    &key.deliveries
}

/// The MAC on `delivery`, under the current install key.
///
/// # Errors
/// [`InstallKeyError::NoCurrent`]
pub fn sign(keys: &InstallKeys, delivery: &Delivery<'_>) -> Result<String, InstallKeyError> {
    delivery.with_parts(|parts| install_mac::sign(keys, purpose, parts))
}

/// Whether a key of this install created `mac` for `delivery`. The comparison takes constant time.
#[must_use]
pub fn verify(keys: &InstallKeys, mac: &str, delivery: &Delivery<'_>) -> bool {
    delivery.with_parts(|parts| install_mac::verify(keys, purpose, mac, parts))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELIVERY: Delivery<'static> = Delivery {
        owner: [7; 16],
        namespace: "billing",
        name: "blue",
        version: "k7Qd0m2x",
        issued_at: 1_795_312_800,
        value: "pst_k7Qd0m2x_value",
    };

    fn key(id: &str, byte: u8) -> InstallKey {
        InstallKey::new(id, [byte; 32]).unwrap()
    }

    fn keys(id: &str, byte: u8) -> InstallKeys {
        InstallKeys::new(vec![key(id, byte)], id).unwrap()
    }

    #[test]
    fn a_mac_is_valid_only_for_one_value_of_one_version_of_one_object() {
        let keys = keys("AAAAAAAA", 1);
        let mac = sign(&keys, &DELIVERY).unwrap();
        assert!(verify(&keys, &mac, &DELIVERY));
        let others = [
            Delivery { owner: [8; 16], ..DELIVERY },
            Delivery { namespace: "payments", ..DELIVERY },
            Delivery { name: "green", ..DELIVERY },
            Delivery { version: "k7Qd0m2y", ..DELIVERY },
            Delivery { issued_at: DELIVERY.issued_at + 1, ..DELIVERY },
            Delivery { value: "pst_k7Qd0m2x_other", ..DELIVERY },
            // The same bytes, split into other parts.
            Delivery { namespace: "billingb", name: "lue", ..DELIVERY },
        ];
        for other in others {
            assert!(!verify(&keys, &mac, &other));
        }
    }

    #[test]
    fn only_a_key_of_the_install_signs_a_mac_and_an_old_key_still_verifies_it() {
        let mac = sign(&keys("oldoldol", 1), &DELIVERY).unwrap();
        let both = InstallKeys::new(vec![key("newnewne", 2), key("oldoldol", 1)], "newnewne").unwrap();
        assert!(verify(&both, &mac, &DELIVERY));
        assert!(sign(&both, &DELIVERY).unwrap().starts_with("newnewne."));
        assert!(!verify(&keys("newnewne", 2), &mac, &DELIVERY), "the key is gone");
        assert!(!verify(&keys("oldoldol", 3), &mac, &DELIVERY), "the same id is not the same key");
    }

    #[test]
    fn a_mac_that_is_changed_or_cut_anywhere_is_invalid() {
        let keys = keys("AAAAAAAA", 1);
        let mac = sign(&keys, &DELIVERY).unwrap();
        for at in 0..mac.len() {
            let mut changed = mac.clone().into_bytes();
            changed[at] = if changed[at] == b'B' { b'C' } else { b'B' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(!verify(&keys, &changed, &DELIVERY), "{changed}");
            assert!(!verify(&keys, &mac[..at], &DELIVERY), "cut at {at}");
        }
        for nonsense in ["", ".", "AAAAAAAA.", &format!("{mac}="), &format!("{mac}A")] {
            assert!(!verify(&keys, nonsense, &DELIVERY), "{nonsense}");
        }
    }

    #[test]
    fn the_mac_is_plain_hkdf_and_hmac() {
        // Computed with Python's hmac and hashlib: RFC 5869 without a salt, then HMAC-SHA-256 over the parts.
        assert_eq!(
            sign(&keys("AAAAAAAA", 1), &DELIVERY).unwrap(),
            "AAAAAAAA.mO_6fNqGELNgcRMgDQQnl-qamDb8gkYzcU-vN9JuOEU"
        );
    }
}
