//! `application/x-www-form-urlencoded` (RFC 6749 Appendix B): bytes to UTF-8 pairs, strictly.

use std::borrow::Cow;

use percent_encoding::percent_decode;

use crate::oauth::error::RequestError;

/// More parameters than any request needs; limits the search for repeated names.
const PARAMETERS_MAX: usize = 64;

/// A decoded body. No `Debug`: it holds credentials.
pub struct Form<'a> {
    pairs: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl<'a> Form<'a> {
    /// Decodes a body.
    ///
    /// A raw space is accepted (librdkafka sends `scope=a b`). A `%` without two hexadecimal digits is accepted too,
    /// and kept.
    ///
    /// # Errors
    /// [`RequestError::NotUtf8`], [`RequestError::TooManyParameters`], and [`RequestError::Repeated`] for any repeated
    /// name, known or not (RFC 6749 §3.2), except `resource` (RFC 8707 §2).
    pub fn parse(body: &'a [u8]) -> Result<Self, RequestError> {
        let mut pairs: Vec<(Cow<'a, str>, Cow<'a, str>)> = Vec::with_capacity(8);
        let mut rest = body;
        while !rest.is_empty() {
            let pair;
            (pair, rest) = cut(rest, b'&');
            if pair.is_empty() {
                continue;
            }
            if pairs.len() == PARAMETERS_MAX {
                return Err(RequestError::TooManyParameters);
            }
            let (name, value) = cut(pair, b'=');
            let decoded = |half| decode(half).ok_or(RequestError::NotUtf8);
            let (name, value) = (decoded(name)?, decoded(value)?);
            if name != "resource" && pairs.iter().any(|(known, _)| *known == name) {
                return Err(RequestError::Repeated);
            }
            pairs.push((name, value));
        }
        Ok(Self { pairs })
    }

    /// The values of a parameter, without empty ones: a parameter without a value counts as absent (RFC 6749 §3.2).
    pub(crate) fn all<'f>(&'f self, name: &'f str) -> impl Iterator<Item = &'f str> {
        self.pairs
            .iter()
            .filter(move |(known, value)| known == name && !value.is_empty())
            .map(|(_, value)| value.as_ref())
    }

    /// Every parameter, in order, including empty ones.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(name, value)| (name.as_ref(), value.as_ref()))
    }

    /// The value of a parameter that can occur once.
    pub(crate) fn one(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_ref()).filter(|v| !v.is_empty())
    }
}

/// The text before the first `mark`, and the text after it.
fn cut(bytes: &[u8], mark: u8) -> (&[u8], &[u8]) {
    match memchr::memchr(mark, bytes).and_then(|at| bytes.split_at_checked(at)) {
        Some((before, from_mark)) => (before, from_mark.get(1..).unwrap_or_default()),
        None => (bytes, &[]),
    }
}

/// Decodes one name or value. `None`: not UTF-8.
pub(crate) fn decode(encoded: &[u8]) -> Option<Cow<'_, str>> {
    if memchr::memchr2(b'+', b'%', encoded).is_none() {
        return std::str::from_utf8(encoded).ok().map(Cow::Borrowed);
    }
    let spaced: Vec<u8> = encoded.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    // At once: a buffer that grows could take twice as much.
    let mut decoded = Vec::with_capacity(spaced.len());
    decoded.extend(percent_decode(&spaced));
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one(body: &[u8], name: &str) -> Option<String> {
        Form::parse(body).ok().unwrap().one(name).map(str::to_owned)
    }

    #[test]
    fn t3_plus_and_percent_are_decoded_and_a_raw_space_is_tolerated() {
        assert_eq!(one(b"scope=a+b%20c d", "scope").as_deref(), Some("a b c d"));
        assert_eq!(one("a%C3%A9=%e2%82%ac".as_bytes(), "aé").as_deref(), Some("€"));
        assert_eq!(one(b"a=b=c", "a").as_deref(), Some("b=c"));
    }

    #[test]
    fn t3_a_percent_sign_that_starts_no_byte_stays() {
        for text in ["100%", "%zz", "%4", "%%34"] {
            let expected = if text == "%%34" { "%4" } else { text };
            assert_eq!(one(format!("a={text}").as_bytes(), "a").as_deref(), Some(expected));
        }
    }

    #[test]
    fn t3_bytes_that_are_not_utf8_are_refused() {
        for body in [&b"a=\xff"[..], b"a=%FF", b"%ff=a", b"a=%C3"] {
            assert_eq!(Form::parse(body).err(), Some(RequestError::NotUtf8));
        }
    }

    #[test]
    fn t4_a_repeated_name_is_refused_whatever_its_value_except_resource() {
        for body in [&b"a=1&a=2"[..], b"a=1&b=2&%61=1", b"a=&a=1", b"audience=a&audience=b", b"scope=a&scope=a"] {
            assert_eq!(Form::parse(body).err(), Some(RequestError::Repeated));
        }
        let form = Form::parse(b"resource=a&resource=b&resource=").ok().unwrap();
        assert_eq!(form.all("resource").collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn t5_an_empty_value_is_an_absent_parameter() {
        assert_eq!(one(b"scope=&x", "scope"), None);
        assert_eq!(one(b"scope", "scope"), None);
        assert_eq!(one(b"", "scope"), None);
        assert_eq!(one(b"&&=x&scope=a&", "scope").as_deref(), Some("a"), "nothing between two marks is no parameter");
    }

    #[test]
    fn t6_names_are_case_sensitive() {
        assert_eq!(one(b"Scope=a", "scope"), None);
    }

    #[test]
    fn t10_too_many_parameters_are_refused_before_they_are_compared() {
        let body: Vec<String> = (0..10_000).map(|number| format!("p{number}=")).collect();
        assert_eq!(Form::parse(body.join("&").as_bytes()).err(), Some(RequestError::TooManyParameters));
    }

    proptest! {
        #[test]
        fn any_encoded_value_is_decoded_to_the_original(value in any::<String>()) {
            let encoded: String = form_urlencoded::byte_serialize(value.as_bytes()).collect();
            let decoded = decode(encoded.as_bytes());
            prop_assert_eq!(decoded.as_deref(), Some(value.as_str()));
        }

        #[test]
        fn any_bytes_are_decoded_or_refused(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Form::parse(&body);
        }
    }
}
