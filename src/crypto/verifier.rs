//! The text of a verifier: `<strength>.<key id>.<salt and hash>`, for example
//! `g1.kWpiUsnE.1O0yewgEuJJF8a-g2NwjXNrEgQfACuPbYw-AfhvvkiivsS0YILmSfDrivuh9sGZm`.
//!
//! The strength fixes algorithm, version and cost, so a forged verifier cannot ask for more. Salt and hash are
//! base64url (RFC 4648 §5) without padding.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::install_key::{HashCost, KEY_ID_LEN, is_key_id};

/// Bytes of the salt, as RFC 9106 §3.1 recommends.
pub(super) const SALT_LEN: usize = 16;
/// Bytes of the hash.
pub(super) const HASH_LEN: usize = 32;

/// What a verifier contains.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Verifier<'a> {
    pub(super) strength: HashCost,
    pub(super) key_id: &'a str,
    pub(super) salt: [u8; SALT_LEN],
    pub(super) hash: [u8; HASH_LEN],
}

impl<'a> Verifier<'a> {
    /// Reads a verifier; `None`: [`Verifier::text`] does not write this text.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let (strength, rest) = text.split_once('.')?;
        let strength = HashCost::ALL.into_iter().find(|known| known.name() == strength)?;
        let (key_id, bytes) = rest.split_at_checked(KEY_ID_LEN).filter(|(id, _)| is_key_id(id))?;
        let mut both = [0; SALT_LEN + HASH_LEN];
        let length = URL_SAFE_NO_PAD.decode_slice(bytes.strip_prefix('.')?, &mut both).ok()?;
        if length != both.len() {
            return None;
        }
        let (salt, hash) = both.split_at(SALT_LEN);
        Some(Self { strength, key_id, salt: salt.try_into().ok()?, hash: hash.try_into().ok()? })
    }

    /// The text.
    pub(super) fn text(&self) -> String {
        let bytes = URL_SAFE_NO_PAD.encode([&self.salt[..], &self.hash].concat());
        format!("{}.{}.{bytes}", self.strength.name(), self.key_id)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_written_verifier_is_parsed_and_any_other_text_is_refused(
            imported: bool, key_id in "[A-Za-z0-9]{8}", salt: [u8; SALT_LEN], hash: [u8; HASH_LEN], at in 0_usize..76,
        ) {
            let strength = if imported { HashCost::Imported } else { HashCost::Generated };
            let verifier = Verifier { strength, key_id: &key_id, salt, hash };
            let text = verifier.text();
            prop_assert_eq!(text.len(), 76);
            prop_assert_eq!(Verifier::parse(&text), Some(verifier));
            prop_assert!(Verifier::parse(&text[..at]).is_none(), "cut at {}", at);
            for other in [format!("{text}A"), format!("{text}="), format!("x{text}"), text.replacen('.', "..", 1)] {
                prop_assert!(Verifier::parse(&other).is_none(), "{}", other);
            }
        }
    }

    #[test]
    fn another_form_is_refused() {
        let text = Verifier { strength: HashCost::Generated, key_id: "AAAAAAAA", salt: [1; 16], hash: [2; 32] }.text();
        for (from, to) in [
            ("g1", "g2"),
            ("g1", "G1"),
            ("g1", ""),
            ("AQ", "+Q"),
            ("AQ", "é"),
            ("AAAAAAAA", "AAAAAAA"),
            ("AAAAAAAA", "AAAA.AAA"),
            ("AAAAAAAA", "AAAA\nAAA"),
        ] {
            let other = text.replacen(from, to, 1);
            assert_ne!(other, text);
            assert!(Verifier::parse(&other).is_none(), "{other}");
        }
        for nonsense in ["", ".", "..", "plain", "g1.AAAAAAAA.", "$argon2id$v=19$m=8,t=1,p=1$c2FsdA$aGFzaA"] {
            assert!(Verifier::parse(nonsense).is_none(), "{nonsense}");
        }
    }
}
