//! MACs under the install key: `<key id>.<base64url of HMAC-SHA-256>`. Each purpose has a derived key, so that a MAC
//! proves nothing for another purpose.

use std::fmt;

use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::crypto::install_key::{InstallKey, InstallKeyError, InstallKeys};

/// The key of one purpose, derived from one install key.
pub(super) struct MacKey(hmac::Key);

impl MacKey {
    /// Derives it (RFC 5869); `None` if the library refuses its input, whose length is correct.
    pub(super) fn derive(install_key: &[u8; 32], purpose: &[u8]) -> Option<Self> {
        let mut key = Zeroizing::new([0; 32]);
        let extracted = Salt::new(HKDF_SHA256, &[]).extract(install_key);
        extracted.expand(&[purpose], HKDF_SHA256).ok()?.fill(key.as_mut_slice()).ok()?;
        Some(Self(hmac::Key::new(hmac::HMAC_SHA256, key.as_slice())))
    }

    /// Each part is preceded by its length, so that no two lists of parts have the same encoding.
    pub(super) fn tag(&self, parts: &[&[u8]]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            context.update(part);
        }
        context.sign()
    }
}

impl fmt::Debug for MacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MacKey").finish_non_exhaustive()
    }
}

/// The MAC on `parts` under the current install key. `purpose` selects the derived key.
pub(super) fn sign(
    keys: &InstallKeys,
    purpose: fn(&InstallKey) -> &MacKey,
    parts: &[&[u8]],
) -> Result<String, InstallKeyError> {
    let key = keys.current().ok_or(InstallKeyError::NoCurrent)?;
    Ok(format!("{}.{}", key.id(), URL_SAFE_NO_PAD.encode(purpose(key).tag(parts))))
}

/// Whether a key of this install created `mac` on `parts`. The comparison takes constant time.
pub(super) fn verify(keys: &InstallKeys, purpose: fn(&InstallKey) -> &MacKey, mac: &str, parts: &[&[u8]]) -> bool {
    let Some((id, tag)) = mac.split_once('.') else { return false };
    let Some(key) = keys.all().find(|key| key.id() == id) else { return false };
    let Ok(tag) = URL_SAFE_NO_PAD.decode(tag) else { return false };
    purpose(key).tag(parts).as_ref().ct_eq(&tag).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_shows_no_key() {
        let shown = format!("{:?}", MacKey::derive(&[213; 32], b"a purpose").unwrap());
        assert_eq!(shown, "MacKey { .. }");
    }
}
