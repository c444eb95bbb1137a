//! The MAC on a delivered value. It proves that this install delivered the value, in this Secret, for this
//! ClientSecret.
//!
//! `<key id>.<base64url of HMAC-SHA-256>`
//!
//! The key is derived from the install key for this purpose only. A client that can write Secrets can copy the MAC,
//! but not create one: in another Secret, for another ClientSecret, version or time of issue, or with another value,
//! the MAC does not verify.

use std::fmt;

use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::crypto::install_key::{InstallKey, InstallKeyError, InstallKeys};

/// The purpose of the derived key. A change of the list of parts needs another number.
const PURPOSE: &[u8] = b"postern delivered secret 1";

/// The delivery key of one install key.
pub(super) struct DeliveryKey(hmac::Key);

impl DeliveryKey {
    /// Derives it (RFC 5869); `None` if the library refuses its input, whose length is correct.
    pub(super) fn derive(install_key: &[u8; 32]) -> Option<Self> {
        let mut key = Zeroizing::new([0; 32]);
        let extracted = Salt::new(HKDF_SHA256, &[]).extract(install_key);
        extracted.expand(&[PURPOSE], HKDF_SHA256).ok()?.fill(key.as_mut_slice()).ok()?;
        Some(Self(hmac::Key::new(hmac::HMAC_SHA256, key.as_slice())))
    }
}

impl fmt::Debug for DeliveryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeliveryKey").finish_non_exhaustive()
    }
}

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
    /// Each part is preceded by its length, so that no two deliveries have the same encoding.
    fn tag(&self, key: &InstallKey) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&key.deliveries.0);
        let issued_at = self.issued_at.to_be_bytes();
        let texts = [self.namespace, self.name, self.version, self.value].map(str::as_bytes);
        for part in [self.owner.as_slice(), &issued_at].into_iter().chain(texts) {
            context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            context.update(part);
        }
        context.sign()
    }
}

/// The MAC on `delivery`, under the current install key.
///
/// # Errors
/// [`InstallKeyError::NoCurrent`]
pub fn sign(keys: &InstallKeys, delivery: &Delivery<'_>) -> Result<String, InstallKeyError> {
    let key = keys.current().ok_or(InstallKeyError::NoCurrent)?;
    Ok(format!("{}.{}", key.id(), URL_SAFE_NO_PAD.encode(delivery.tag(key))))
}

/// Whether a key of this install created `mac` for `delivery`. The comparison takes constant time.
#[must_use]
pub fn verify(keys: &InstallKeys, mac: &str, delivery: &Delivery<'_>) -> bool {
    let Some((id, tag)) = mac.split_once('.') else { return false };
    let Some(key) = keys.all().find(|key| key.id() == id) else { return false };
    let Ok(tag) = URL_SAFE_NO_PAD.decode(tag) else { return false };
    delivery.tag(key).as_ref().ct_eq(&tag).into()
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

    #[test]
    fn debug_output_shows_no_key() {
        let shown = format!("{:?}", DeliveryKey::derive(&[213; 32]).unwrap());
        assert_eq!(shown, "DeliveryKey { .. }");
    }
}
