//! Opaque access tokens: the claims, encrypted and authenticated, so that every replica can read every token without a
//! table.
//!
//! `pat_` + base64url(key id ‖ nonce ‖ ciphertext ‖ tag)
//!
//! AES-256-GCM-SIV (RFC 8452), under a key that is derived from the install key for this purpose only. Nonces are
//! random, and there may be more tokens than GCM allows messages for one key. With SIV a repeated nonce reveals only
//! whether two tokens have the same content, and no two have.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use crate::crypto::install_key::{InstallKeys, KEY_ID_LEN};

/// Prefix of every opaque token; leak scanners search for it.
pub const PREFIX: &str = "pat_";
/// The purpose of the derived key. A change of the format needs another number.
const PURPOSE: &[u8] = b"postern opaque access token 1";

/// The token key of one install key.
pub(super) struct TokenKey(RandomizedNonceKey);

impl TokenKey {
    /// Derives it (RFC 5869); `None` if the library refuses its input, whose length is correct.
    pub(super) fn derive(install_key: &[u8; 32]) -> Option<Self> {
        let mut key = Zeroizing::new([0; 32]);
        let extracted = Salt::new(HKDF_SHA256, &[]).extract(install_key);
        extracted.expand(&[PURPOSE], HKDF_SHA256).ok()?.fill(key.as_mut_slice()).ok()?;
        RandomizedNonceKey::new(&AES_256_GCM_SIV, key.as_slice()).ok().map(Self)
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenKey").finish_non_exhaustive()
    }
}

/// A token with `claims`, under the current install key; `None` if there is no key, or the encryption failed.
#[must_use]
pub fn seal(keys: &InstallKeys, claims: &[u8]) -> Option<String> {
    let key = keys.current()?;
    let mut sealed = Vec::with_capacity(claims.len() + AES_256_GCM_SIV.tag_len());
    sealed.extend_from_slice(claims);
    let nonce = key.tokens.0.seal_in_place_append_tag(Aad::from(key.id()), &mut sealed).ok()?;
    let bytes = [key.id().as_bytes(), nonce.as_ref(), &sealed].concat();
    let mut token = String::with_capacity(PREFIX.len() + bytes.len() * 4 / 3 + 2);
    token.push_str(PREFIX);
    URL_SAFE_NO_PAD.encode_string(bytes, &mut token);
    Some(token)
}

/// The claims of a token that a key of this install encrypted; `None` for every other text.
#[must_use]
pub fn open(keys: &InstallKeys, token: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = URL_SAFE_NO_PAD.decode(token.strip_prefix(PREFIX.as_bytes())?).ok()?;
    let (head, sealed) = bytes.split_at_mut_checked(KEY_ID_LEN + NONCE_LEN)?;
    let (id, nonce) = head.split_at_checked(KEY_ID_LEN)?;
    let key = keys.all().find(|key| key.id().as_bytes() == id)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let length = key.tokens.0.open_in_place(nonce, Aad::from(key.id()), sealed).ok()?.len();
    bytes.drain(..KEY_ID_LEN + NONCE_LEN);
    bytes.truncate(length);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::install_key::InstallKey;

    const CLAIMS: &[u8] = br#"{"sub":"x"}"#;

    #[test]
    fn o1_a_sealed_token_is_opened_with_any_key_of_the_install() {
        let key = |id, byte| InstallKey::new(id, [byte; 32]).unwrap();
        let before = InstallKeys::new(vec![key("oldoldol", 1)], "oldoldol").unwrap();
        let token = seal(&before, CLAIMS).unwrap();
        assert!(token.starts_with(PREFIX) && !token.contains("sub"));
        let both = InstallKeys::new(vec![key("newnewne", 2), key("oldoldol", 1)], "newnewne").unwrap();
        assert_eq!(open(&both, token.as_bytes()).as_deref(), Some(CLAIMS));
        let after = InstallKeys::new(vec![key("newnewne", 2)], "newnewne").unwrap();
        assert_eq!(open(&after, token.as_bytes()), None);
        let another = InstallKeys::new(vec![key("oldoldol", 3)], "oldoldol").unwrap();
        assert_eq!(open(&another, token.as_bytes()), None, "the same id is not the same key");
    }

    #[test]
    fn o1_the_same_claims_give_another_token_each_time() {
        let keys = InstallKeys::generate().unwrap();
        assert_ne!(seal(&keys, CLAIMS), seal(&keys, CLAIMS));
    }

    #[test]
    fn o1_a_token_that_is_changed_or_cut_anywhere_is_invalid() {
        let keys = InstallKeys::generate().unwrap();
        let token = seal(&keys, CLAIMS).unwrap().into_bytes();
        for at in 0..token.len() {
            let mut changed = token.clone();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(open(&keys, &changed), None, "byte {at}");
            assert_eq!(open(&keys, &token[..at]), None, "cut at {at}");
        }
        for more in [&b"A"[..], b"=", b" ", b".A"] {
            assert_eq!(open(&keys, &[&token, more].concat()), None);
        }
        assert_eq!(open(&keys, &vec![b'A'; 1 << 20]), None);
    }
}
