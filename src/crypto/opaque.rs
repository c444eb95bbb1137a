//! Opaque access tokens: the claims, encrypted and authenticated, so that every replica can read every token without a
//! table.
//!
//! `pat_` + base64url(key id ‖ nonce ‖ ciphertext ‖ tag)
//!
//! AES-256-GCM-SIV (RFC 8452), under keys that seal nothing else. Nonces are random, and there may be more tokens than
//! GCM allows messages for one key. With SIV a repeated nonce reveals only whether two tokens have the same content, and
//! no two have.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use crate::crypto::random;

/// Prefix of every opaque token; leak scanners search for it.
pub const PREFIX: &str = "pat_";
/// Name of the algorithm in the records of the keys.
pub const ALGORITHM: &str = "A256GCMSIV";
/// Characters of a key id.
const KEY_ID_LEN: usize = 8;

/// A key that encrypts opaque tokens.
pub struct TokenKey {
    id: String,
    key: RandomizedNonceKey,
}

/// Why a token key cannot be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TokenKeyError {
    /// The id has the wrong form.
    #[error("the id of a token key is {KEY_ID_LEN} characters of A-Z, a-z and 0-9")]
    Id,
    /// The key has the wrong length.
    #[error("a token key is 32 bytes long")]
    Length,
}

impl TokenKey {
    /// A key read back from where it is kept.
    ///
    /// # Errors
    /// [`TokenKeyError`]
    pub fn new(id: &str, key: &[u8]) -> Result<Self, TokenKeyError> {
        if id.len() != KEY_ID_LEN || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(TokenKeyError::Id);
        }
        let key = RandomizedNonceKey::new(&AES_256_GCM_SIV, key).map_err(|_| TokenKeyError::Length)?;
        Ok(Self { id: id.to_owned(), key })
    }

    /// Its id, which its tokens contain. Public.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }
}

/// A new key: its id and its bytes, for a Secret of the operator. Wiped on drop.
#[must_use]
pub fn generate() -> (String, Zeroizing<[u8; 32]>) {
    (random::alphanumeric::<KEY_ID_LEN>(), Zeroizing::new(random::bytes()))
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The token keys of an install, replaced atomically.
#[derive(Clone, Debug, Default)]
pub struct TokenKeys {
    sealing: Option<Arc<TokenKey>>,
    accepted: Vec<Arc<TokenKey>>,
}

impl TokenKeys {
    /// The keys whose tokens are accepted. The one with the id `sealing` encrypts new tokens; `None`: no key does.
    #[must_use]
    pub fn new(accepted: impl IntoIterator<Item = TokenKey>, sealing: Option<&str>) -> Self {
        let accepted: Vec<Arc<TokenKey>> = accepted.into_iter().map(Arc::new).collect();
        let sealing = accepted.iter().find(|key| Some(key.id()) == sealing).map(Arc::clone);
        Self { sealing, accepted }
    }

    /// One new key.
    ///
    /// # Errors
    /// [`TokenKeyError`]
    pub fn generate() -> Result<Self, TokenKeyError> {
        let (id, key) = generate();
        Ok(Self::new([TokenKey::new(&id, key.as_slice())?], Some(&id)))
    }

    /// The keys without those with these ids.
    #[must_use]
    pub fn without(&self, ids: &BTreeSet<&str>) -> Self {
        let is_kept = |key: &&Arc<TokenKey>| !ids.contains(key.id());
        Self {
            sealing: self.sealing.iter().find(is_kept).cloned(),
            accepted: self.accepted.iter().filter(is_kept).cloned().collect(),
        }
    }

    /// Whether new tokens can be encrypted.
    #[must_use]
    pub fn can_seal(&self) -> bool {
        self.sealing.is_some()
    }
}

/// A token with `claims`; `None` if no key encrypts, or the encryption failed.
#[must_use]
pub fn seal(keys: &TokenKeys, claims: &[u8]) -> Option<String> {
    let key = keys.sealing.as_ref()?;
    let mut sealed = Vec::with_capacity(claims.len() + AES_256_GCM_SIV.tag_len());
    sealed.extend_from_slice(claims);
    let nonce = key.key.seal_in_place_append_tag(Aad::from(key.id()), &mut sealed).ok()?;
    let bytes = [key.id().as_bytes(), nonce.as_ref(), &sealed].concat();
    let mut token = String::with_capacity(PREFIX.len() + bytes.len() * 4 / 3 + 2);
    token.push_str(PREFIX);
    URL_SAFE_NO_PAD.encode_string(bytes, &mut token);
    Some(token)
}

/// The claims of a token that a key of this install encrypted; `None` for every other text.
#[must_use]
pub fn open(keys: &TokenKeys, token: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = URL_SAFE_NO_PAD.decode(token.strip_prefix(PREFIX.as_bytes())?).ok()?;
    let (head, sealed) = bytes.split_at_mut_checked(KEY_ID_LEN + NONCE_LEN)?;
    let (id, nonce) = head.split_at_checked(KEY_ID_LEN)?;
    let key = keys.accepted.iter().find(|key| key.id().as_bytes() == id)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let length = key.key.open_in_place(nonce, Aad::from(key.id()), sealed).ok()?.len();
    bytes.drain(..KEY_ID_LEN + NONCE_LEN);
    bytes.truncate(length);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLAIMS: &[u8] = br#"{"sub":"x"}"#;

    #[test]
    fn o1_a_sealed_token_is_opened_with_any_key_of_the_install() {
        let key = |id, byte| TokenKey::new(id, &[byte; 32]).unwrap();
        let before = TokenKeys::new([key("oldoldol", 1)], Some("oldoldol"));
        let token = seal(&before, CLAIMS).unwrap();
        assert!(token.starts_with(PREFIX) && !token.contains("sub"));
        let both = TokenKeys::new([key("newnewne", 2), key("oldoldol", 1)], Some("newnewne"));
        assert_eq!(open(&both, token.as_bytes()).as_deref(), Some(CLAIMS));
        let after = TokenKeys::new([key("newnewne", 2)], Some("newnewne"));
        assert_eq!(open(&after, token.as_bytes()), None);
        let another = TokenKeys::new([key("oldoldol", 3)], Some("oldoldol"));
        assert_eq!(open(&another, token.as_bytes()), None, "the same id is not the same key");
    }

    #[test]
    fn a_key_that_is_only_accepted_encrypts_nothing() {
        let keys = TokenKeys::new([TokenKey::new("oldoldol", &[1; 32]).unwrap()], None);
        assert!(!keys.can_seal() && seal(&keys, CLAIMS).is_none());
    }

    #[test]
    fn a_malformed_key_is_refused() {
        assert_eq!(TokenKey::new("short", &[1; 32]).unwrap_err(), TokenKeyError::Id);
        assert_eq!(TokenKey::new("oldoldo-", &[1; 32]).unwrap_err(), TokenKeyError::Id);
        assert_eq!(TokenKey::new("oldoldol", &[1; 31]).unwrap_err(), TokenKeyError::Length);
    }

    #[test]
    fn o1_the_same_claims_give_another_token_each_time() {
        let keys = TokenKeys::generate().unwrap();
        assert_ne!(seal(&keys, CLAIMS), seal(&keys, CLAIMS));
    }

    #[test]
    fn o1_a_token_that_is_changed_or_cut_anywhere_is_invalid() {
        let keys = TokenKeys::generate().unwrap();
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
