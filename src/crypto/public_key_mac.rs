//! The MAC on a public key in the status of a ClientSecret. It proves that this install generated the key pair, for this
//! version of this ClientSecret.
//!
//! A client that can write status can copy the MAC, but not create one: on another key, for another ClientSecret, another
//! version or another algorithm, the MAC does not verify.

use crate::crypto::install_key::{InstallKey, InstallKeyError, InstallKeys};
use crate::crypto::install_mac::{self, MacKey};

/// The purpose of the derived key. A change of the list of parts needs another number.
pub(super) const PURPOSE: &[u8] = b"postern public key 1";

/// The input of the MAC: everything that a public key in status stands for.
#[derive(Clone, Copy)]
pub struct IssuedKey<'a> {
    /// UID of the ClientSecret.
    pub owner: [u8; 16],
    /// Id of the version, which is the `kid`.
    pub version: &'a str,
    /// `alg` of the key.
    pub algorithm: &'a str,
    /// Its RFC 7638 thumbprint.
    pub thumbprint: &'a str,
}

impl IssuedKey<'_> {
    fn parts(&self) -> [&[u8]; 4] {
        [&self.owner, self.version.as_bytes(), self.algorithm.as_bytes(), self.thumbprint.as_bytes()]
    }
}

fn purpose(key: &InstallKey) -> &MacKey {
    &key.public_keys
}

/// The MAC on `key`, under the current install key.
///
/// # Errors
/// [`InstallKeyError::NoCurrent`]
pub fn sign(keys: &InstallKeys, key: &IssuedKey<'_>) -> Result<String, InstallKeyError> {
    install_mac::sign(keys, purpose, &key.parts())
}

/// Whether a key of this install created `mac` for `key`. The comparison takes constant time.
#[must_use]
pub fn verify(keys: &InstallKeys, mac: &str, key: &IssuedKey<'_>) -> bool {
    install_mac::verify(keys, purpose, mac, &key.parts())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::delivery_mac::{self, Delivery};

    const ISSUED: IssuedKey<'static> = IssuedKey {
        owner: [7; 16],
        version: "k7Qd0m2x",
        algorithm: "RS256",
        thumbprint: "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs",
    };

    fn keys(id: &str, byte: u8) -> InstallKeys {
        InstallKeys::new(vec![InstallKey::new(id, [byte; 32]).unwrap()], id).unwrap()
    }

    #[test]
    fn a_mac_is_valid_only_for_one_key_of_one_version_of_one_object() {
        let keys = keys("AAAAAAAA", 1);
        let mac = sign(&keys, &ISSUED).unwrap();
        assert!(verify(&keys, &mac, &ISSUED));
        let others = [
            IssuedKey { owner: [8; 16], ..ISSUED },
            IssuedKey { version: "k7Qd0m2y", ..ISSUED },
            IssuedKey { algorithm: "PS256", ..ISSUED },
            IssuedKey { thumbprint: "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xt", ..ISSUED },
            // The same bytes, split into other parts.
            IssuedKey { version: "k7Qd0m2xR", algorithm: "S256", ..ISSUED },
        ];
        for other in others {
            assert!(!verify(&keys, &mac, &other));
        }
    }

    #[test]
    fn only_a_key_of_the_install_signs_a_mac_and_an_old_key_still_verifies_it() {
        let mac = sign(&keys("oldoldol", 1), &ISSUED).unwrap();
        let key = |id, byte| InstallKey::new(id, [byte; 32]).unwrap();
        let both = InstallKeys::new(vec![key("newnewne", 2), key("oldoldol", 1)], "newnewne").unwrap();
        assert!(verify(&both, &mac, &ISSUED));
        assert!(sign(&both, &ISSUED).unwrap().starts_with("newnewne."));
        assert!(!verify(&keys("newnewne", 2), &mac, &ISSUED), "the key is gone");
        assert!(!verify(&keys("oldoldol", 3), &mac, &ISSUED), "the same id is not the same key");
    }

    #[test]
    fn the_mac_of_a_delivered_value_proves_no_public_key() {
        let keys = keys("AAAAAAAA", 1);
        let delivery = Delivery {
            owner: ISSUED.owner,
            namespace: "billing",
            name: "blue",
            version: ISSUED.version,
            issued_at: 0,
            value: ISSUED.thumbprint,
        };
        assert!(!verify(&keys, &delivery_mac::sign(&keys, &delivery).unwrap(), &ISSUED));
    }
}
