//! The members of a JWK (RFC 7517 §4) that decide about a public key. Strangers send JWKs, so nothing else is kept.

use serde::de::{IgnoredAny, MapAccess};
use serde::{Deserialize, Deserializer};

use super::public_key::UnusableKey;
use crate::util::lenient_json::{self, Lenient};

/// The members that only a private or symmetric key has (RFC 7518 §6).
const PRIVATE: [&str; 8] = ["d", "k", "p", "q", "dp", "dq", "qi", "oth"];
/// Longest text that is kept. A modulus of 4096 bits has 683 characters; an RSA key of up to three times that length gets
/// the message about RSA keys.
const TEXT_MAX: usize = 2 * 1024;

/// A JWK before it is checked. Every JSON value can be read as one.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Jwk {
    pub(super) kty: Member,
    pub(super) crv: Member,
    pub(super) x: Member,
    pub(super) y: Member,
    pub(super) n: Member,
    pub(super) e: Member,
    /// `use`
    pub(super) usage: Member,
    pub(super) alg: Member,
    pub(super) kid: Member,
    is_private: bool,
    /// It is not an object, or has a member twice.
    is_malformed: bool,
}

/// A member whose value is to be a string.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) enum Member {
    /// Absent, or null.
    #[default]
    Absent,
    Text(Box<str>),
    /// Something else, or a text that is too long.
    Unusable,
}

impl Jwk {
    /// The key without its `kid`, where nothing is found by it.
    #[must_use]
    pub fn without_key_id(self) -> Self {
        Self { kid: Member::Absent, ..self }
    }

    /// Whether it can be a public key.
    pub(super) fn check_form(&self) -> Result<(), UnusableKey> {
        if self.is_private {
            Err(UnusableKey::Private)
        } else if self.is_malformed {
            Err(UnusableKey::Malformed)
        } else {
            Ok(())
        }
    }
}

impl Member {
    pub(super) fn required(&self) -> Result<&str, UnusableKey> {
        self.optional()?.ok_or(UnusableKey::Malformed)
    }

    pub(super) fn optional(&self) -> Result<Option<&str>, UnusableKey> {
        match self {
            Self::Absent => Ok(None),
            Self::Text(text) => Ok(Some(text)),
            Self::Unusable => Err(UnusableKey::Malformed),
        }
    }
}

impl Lenient for Jwk {
    fn other() -> Self {
        Self { is_malformed: true, ..Self::default() }
    }

    fn object<'de, M: MapAccess<'de>>(mut members: M) -> Result<Self, M::Error> {
        let mut jwk = Self::default();
        while let Some(name) = members.next_key::<String>()? {
            let member = match name.as_str() {
                "kty" => &mut jwk.kty,
                "crv" => &mut jwk.crv,
                "x" => &mut jwk.x,
                "y" => &mut jwk.y,
                "n" => &mut jwk.n,
                "e" => &mut jwk.e,
                "use" => &mut jwk.usage,
                "alg" => &mut jwk.alg,
                "kid" => &mut jwk.kid,
                other => {
                    members.next_value::<IgnoredAny>()?;
                    jwk.is_private |= PRIVATE.contains(&other);
                    continue;
                }
            };
            // RFC 7517 §4: names are unique.
            jwk.is_malformed |= *member != Member::Absent;
            *member = members.next_value()?;
        }
        Ok(jwk)
    }
}

impl Lenient for Member {
    fn other() -> Self {
        Self::Unusable
    }

    fn text(text: &str) -> Self {
        if text.len() > TEXT_MAX { Self::Unusable } else { Self::Text(text.into()) }
    }

    fn null() -> Self {
        Self::Absent
    }
}

impl<'de> Deserialize<'de> for Jwk {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        lenient_json::read(deserializer)
    }
}

impl<'de> Deserialize<'de> for Member {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        lenient_json::read(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Jwk {
        serde_json::from_str(json).unwrap()
    }

    fn of_type(kty: &str) -> Jwk {
        Jwk { kty: Member::Text(kty.into()), ..Jwk::default() }
    }

    #[test]
    fn nothing_is_kept_of_what_a_public_key_does_not_need() {
        let nested = format!("[{}1]", r#"{"":0},"#.repeat(10_000));
        let long = "A".repeat(TEXT_MAX + 1);
        assert_eq!(
            read(&format!(r#"{{"kty": "EC", "x5c": {nested}, "key_ops": {nested}, "other": {nested}}}"#)),
            of_type("EC")
        );
        for value in [nested.as_str(), "7", "-7", "0.5", "true", "{\"a\": {}}", &format!("\"{long}\"")] {
            let jwk = read(&format!(r#"{{"x": {value}, "kty": "EC"}}"#));
            assert_eq!(jwk, Jwk { x: Member::Unusable, ..of_type("EC") }, "{value:.100}");
            assert_eq!(jwk.x.required(), Err(UnusableKey::Malformed));
        }
        for value in [nested.as_str(), "7", "null", "\"text\"", "false"] {
            assert_eq!(read(value), Jwk::other(), "{value:.100}");
        }
    }

    #[test]
    fn a_member_that_is_null_is_absent_and_one_that_is_repeated_makes_the_key_malformed() {
        assert_eq!(read(r#"{"kty": "EC", "kid": null}"#), of_type("EC"));
        assert_eq!(read(r#"{"kty": "EC", "kty": "RSA"}"#).check_form(), Err(UnusableKey::Malformed));
        assert_eq!(of_type("EC").check_form(), Ok(()));
    }

    #[test]
    fn a_private_member_is_found_whatever_its_value_and_the_others_are() {
        for name in PRIVATE {
            for text in [format!(r#"{{"{name}": "AAAA"}}"#), format!(r#"{{"x": 1, "x": 1, "{name}": null}}"#)] {
                assert_eq!(read(&text).check_form(), Err(UnusableKey::Private), "{text}");
            }
        }
    }
}
