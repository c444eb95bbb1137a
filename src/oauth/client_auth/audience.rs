//! The audience of an assertion, read in bounded memory: anyone can send one.

use serde::de::SeqAccess;
use serde::{Deserialize, Deserializer};

use crate::util::lenient_json::{self, Lenient};

/// Most audiences of one assertion. Clients of ZITADEL's JWT profile send one or two.
const AUDIENCES_MAX: usize = 16;

/// `aud` of an assertion: a string, or a list of strings (RFC 7519 §4.1.3).
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Audience {
    One(Box<str>),
    Several(Vec<Box<str>>),
    /// Something else, or a list that is too long or contains something else. It is nobody's audience.
    Unusable,
}

impl Audience {
    /// The audience, if `aud` is one string.
    pub(super) fn single(&self) -> Option<&str> {
        match self {
            Self::One(audience) => Some(audience),
            Self::Several(_) | Self::Unusable => None,
        }
    }

    /// Every audience.
    pub(super) fn all(&self) -> impl Iterator<Item = &str> {
        let audiences = match self {
            Self::One(audience) => std::slice::from_ref(audience),
            Self::Several(audiences) => audiences.as_slice(),
            Self::Unusable => &[],
        };
        audiences.iter().map(AsRef::as_ref)
    }

    /// The audience, if `aud` is one string or a list of one string.
    pub(super) fn only(&self) -> Option<&str> {
        let mut audiences = self.all();
        audiences.next().filter(|_| audiences.next().is_none())
    }
}

/// An element of a list; `None`: not a string.
struct Element(Option<Box<str>>);

impl Lenient for Element {
    fn other() -> Self {
        Self(None)
    }

    fn text(text: &str) -> Self {
        Self(Some(text.into()))
    }
}

impl Lenient for Audience {
    fn other() -> Self {
        Self::Unusable
    }

    fn text(text: &str) -> Self {
        Self::One(text.into())
    }

    fn list<'de, L: SeqAccess<'de>>(mut list: L) -> Result<Self, L::Error> {
        let mut audiences = Vec::new();
        while let Some(Element(element)) = list.next_element()? {
            match element {
                Some(audience) if audiences.len() < AUDIENCES_MAX => audiences.push(audience),
                _ => {
                    lenient_json::skip_list(&mut list)?;
                    return Ok(Self::Unusable);
                }
            }
        }
        Ok(Self::Several(audiences))
    }
}

impl<'de> Deserialize<'de> for Element {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        lenient_json::read(deserializer)
    }
}

impl<'de> Deserialize<'de> for Audience {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        lenient_json::read(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Audience {
        serde_json::from_str(json).unwrap()
    }

    fn list(length: usize) -> String {
        format!("[{}]", vec![r#""a""#; length].join(","))
    }

    #[test]
    fn an_audience_is_a_string_or_a_list_of_strings() {
        let (one, list_of_one, several, none) = (read(r#""a""#), read(r#"["a"]"#), read(r#"["a", "b"]"#), read("[]"));
        assert_eq!([one.single(), list_of_one.single(), several.single()], [Some("a"), None, None]);
        assert_eq!([one.only(), list_of_one.only(), several.only(), none.only()], [Some("a"), Some("a"), None, None]);
        assert_eq!(several.all().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(read(&list(AUDIENCES_MAX)).all().count(), AUDIENCES_MAX);
    }

    #[test]
    fn nothing_is_kept_of_another_value_or_of_a_long_list() {
        let objects = format!("[{}{{}}]", r#"{"":0},"#.repeat(8_000));
        let nested = format!("{}{}", "[".repeat(100), "]".repeat(100));
        for json in [
            objects.as_str(),
            &nested,
            &list(AUDIENCES_MAX + 1),
            r#"["a", 7]"#,
            r#"[null, "a"]"#,
            r#"[["a"]]"#,
            r#"{"a": "a"}"#,
            "7",
            "-7",
            "0.5",
            "true",
        ] {
            let read = read(json);
            assert_eq!(read, Audience::Unusable, "{json:.100}");
            assert_eq!((read.single(), read.only(), read.all().count()), (None, None, 0));
        }
    }
}
