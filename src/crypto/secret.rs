//! Values of generated client secrets.
//!
//! ```text
//! pst_ k7Qd0m2x _ 43 characters base64url   6 characters base62
//!      id         256 random bits           CRC-32 of everything before it
//! ```
//!
//! The id selects the only verifier to try. The checksum rejects typing errors and guesses before any hash. The prefix
//! is for leak scanners. Only `A-Z a-z 0-9 _ -` occur, so the form-encoded and the raw spelling are the same.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret as _, SecretString};
use zeroize::{Zeroize as _, Zeroizing};

use crate::crypto::random;

/// Prefix of every generated value.
pub const PREFIX: &str = "pst_";
/// Length of the version id in characters.
const ID_LEN: usize = 8;
/// 32 random bytes as unpadded base64url.
const RANDOM_LEN: usize = 43;
/// The smallest number of base62 digits that holds 32 bits.
const CHECKSUM_LEN: usize = 6;
const VALUE_LEN: usize = PREFIX.len() + ID_LEN + 1 + RANDOM_LEN + CHECKSUM_LEN;

/// A secret value: redacted in `Debug`, not serialisable, wiped on drop.
#[derive(Clone)]
pub struct SecretValue(SecretString);

impl SecretValue {
    /// Wraps an existing value, for example read back from the delivered Secret.
    #[must_use]
    pub fn new(value: String) -> Self {
        Self(SecretString::from(value))
    }

    /// A new value that contains the id of its version.
    #[must_use]
    pub fn generate() -> (VersionId, Self) {
        let id = VersionId::generate();
        let mut bytes = Zeroizing::new(random::bytes::<32>());
        let mut value = String::with_capacity(VALUE_LEN);
        value.push_str(PREFIX);
        value.push_str(&id.0);
        value.push('_');
        URL_SAFE_NO_PAD.encode_string(bytes.as_slice(), &mut value);
        bytes.zeroize();
        let checksum = checksum(&value);
        value.extend(checksum.map(char::from));
        (id, Self::new(value))
    }

    /// The value: the only accessor, for easy audit.
    #[must_use]
    pub fn expose_secret(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue([REDACTED])")
    }
}

/// Id of one version of a secret: eight characters of `A-Z a-z 0-9`. Public; it is part of the value and of status.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct VersionId(String);

/// Characters that an imported value may contain.
pub const IMPORTED_LENGTH: RangeInclusive<usize> = 16..=256;

impl VersionId {
    /// A new id.
    #[must_use]
    pub fn generate() -> Self {
        Self(random::alphanumeric::<ID_LEN>())
    }
}

impl fmt::Display for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for VersionId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// A text that is not the id of a version.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a version id is {ID_LEN} characters of A-Z, a-z and 0-9")]
pub struct MalformedVersionId;

impl FromStr for VersionId {
    type Err = MalformedVersionId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() == ID_LEN && text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(MalformedVersionId)
        }
    }
}

/// A value with the form of a generated secret and a correct checksum. Only a verifier shows whether the secret
/// exists.
#[derive(Clone, Copy)]
pub struct PresentedSecret<'a> {
    value: &'a str,
    id: &'a str,
}

impl<'a> PresentedSecret<'a> {
    /// The version that it names.
    #[must_use]
    pub fn version_id(&self) -> &'a str {
        self.id
    }

    /// The whole value.
    #[must_use]
    pub fn expose_secret(&self) -> &'a str {
        self.value
    }
}

impl fmt::Debug for PresentedSecret<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PresentedSecret").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A value that cannot be a generated secret: wrong prefix, length, alphabet or checksum.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the value does not have the form of a generated secret")]
pub struct MalformedSecret;

/// Checks form and checksum of a presented value and returns the version that it names.
///
/// # Errors
/// [`MalformedSecret`] for a value that [`SecretValue::generate`] did not make, or that was mistyped.
pub fn parse(value: &str) -> Result<PresentedSecret<'_>, MalformedSecret> {
    if value.len() != VALUE_LEN || !value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)) {
        return Err(MalformedSecret);
    }
    let rest = value.strip_prefix(PREFIX).ok_or(MalformedSecret)?;
    let (id, rest) = rest.split_at_checked(ID_LEN).ok_or(MalformedSecret)?;
    let (covered, written) = value.split_at_checked(VALUE_LEN - CHECKSUM_LEN).ok_or(MalformedSecret)?;
    let well_formed = id.bytes().all(|byte| byte.is_ascii_alphanumeric()) && rest.starts_with('_');
    if well_formed && written.as_bytes() == checksum(covered) {
        Ok(PresentedSecret { value, id })
    } else {
        Err(MalformedSecret)
    }
}

/// CRC-32 of `covered` in base62, most significant digit first.
fn checksum(covered: &str) -> [u8; CHECKSUM_LEN] {
    let mut rest = crc32fast::hash(covered.as_bytes());
    let mut digits = [b'0'; CHECKSUM_LEN];
    for digit in digits.iter_mut().rev() {
        let value = u8::try_from(rest % 62).unwrap_or_default();
        *digit = match value {
            0..=9 => b'0' + value,
            10..=35 => b'A' + (value - 10),
            _ => b'a' + (value - 36),
        };
        rest /= 62;
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_value_parses_and_names_its_version() {
        let (id, value) = SecretValue::generate();
        let presented = parse(value.expose_secret()).unwrap();
        assert_eq!(presented.version_id(), id.as_ref());
        assert_eq!(presented.expose_secret(), value.expose_secret());
        assert_eq!(value.expose_secret().len(), 62);
        assert_eq!(id.to_string().parse::<VersionId>().unwrap(), id);
    }

    #[test]
    fn a7_values_contain_256_random_bits_and_never_repeat() {
        let values: std::collections::BTreeSet<String> =
            (0..1000).map(|_| SecretValue::generate().1.expose_secret().to_owned()).collect();
        assert_eq!(values.len(), 1000);
        let (_, value) = SecretValue::generate();
        let random = &value.expose_secret()[13..56];
        assert_eq!(URL_SAFE_NO_PAD.decode(random).unwrap().len() * 8, 256);
    }

    #[test]
    fn a7_every_single_typing_error_is_noticed() {
        let (_, value) = SecretValue::generate();
        let value = value.expose_secret();
        for position in 0..value.len() {
            for replacement in ['x', 'Y', '0', '-', '_', ' ', '%', 'é'] {
                let mut typed: Vec<char> = value.chars().collect();
                if typed[position] == replacement {
                    continue;
                }
                typed[position] = replacement;
                let typed: String = typed.into_iter().collect();
                assert_eq!(parse(&typed).err(), Some(MalformedSecret), "position {position}, {replacement:?}");
            }
        }
    }

    #[test]
    fn truncated_extended_and_empty_values_are_malformed() {
        let (_, value) = SecretValue::generate();
        let value = value.expose_secret();
        for wrong in ["", "pst_", &value[..61], &format!("{value}0"), &value[4..]] {
            assert_eq!(parse(wrong).err(), Some(MalformedSecret));
        }
    }

    #[test]
    fn only_characters_that_both_encodings_spell_alike_occur() {
        for _ in 0..100 {
            let (_, value) = SecretValue::generate();
            assert!(value.expose_secret().bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)));
        }
    }

    #[test]
    fn debug_output_shows_no_value() {
        let (_, value) = SecretValue::generate();
        let shown = format!("{value:?} {:?}", parse(value.expose_secret()).unwrap());
        assert!(!shown.contains(&value.expose_secret()[13..]), "{shown}");
    }
}
