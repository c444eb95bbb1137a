//! A JWK Set (RFC 7517 §5) that a host returned.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use hyper::header::HeaderValue;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::problem::Problem;
use crate::crypto::jwk::Jwk;
use crate::crypto::public_key::{PublicKey, UnusableKey};
use crate::outbound::Response;
use crate::util::lenient_json::{self, object};

/// Maximum number of keys of a set, as of `spec.auth.jwks`.
pub const KEYS_MAX: usize = 20;

/// The keys of a set that can verify assertions, in their order.
pub type Keys = Arc<[Arc<PublicKey>]>;

/// A response, decoded.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// `None`: the set has not changed (status 304).
    pub(super) document: Option<Document>,
    pub(super) etag: Option<HeaderValue>,
    pub(super) max_age: Option<Duration>,
}

/// The content of a JWK Set.
#[derive(Debug, Default)]
pub struct Document {
    /// The keys that can verify assertions, in their order.
    pub keys: Keys,
    /// Why there are no keys.
    pub problem: Option<Problem>,
    /// The same document again is no change.
    pub(super) digest: Vec<u8>,
}

impl Answer {
    /// Decodes a response. Takes some milliseconds, so no lock may be held.
    ///
    /// # Errors
    /// As [`Document::read`].
    pub(super) fn decode(response: Response) -> Result<Self, Problem> {
        let Response { body, etag, max_age } = response;
        let document = body.map(|body| Document::read(&body)).transpose()?;
        Ok(Self { document, etag, max_age })
    }
}

impl Document {
    /// Reads a body. Keys of other types and for other purposes are ignored (RFC 7517 §5). A set with a private key is
    /// refused whole: whoever reads the URL has the key.
    ///
    /// # Errors
    /// [`Problem::NotAKeySet`]: an error page, for example. It does not replace the keys that were fetched earlier. Every
    /// [`Document`] does.
    pub fn read(body: &[u8]) -> Result<Self, Problem> {
        let set: Set = object(body).ok_or(Problem::NotAKeySet)?;
        let (keys, problem) = match set.keys.usable() {
            Ok(keys) => (keys, None),
            Err(problem) => (Keys::default(), Some(problem)),
        };
        Ok(Self { keys, problem, digest: digest(&SHA256, body).as_ref().to_vec() })
    }
}

/// The body.
#[derive(Deserialize)]
struct Set {
    keys: Listed,
}

/// The keys of a set.
struct Listed {
    /// The first [`KEYS_MAX`].
    first: Vec<Jwk>,
    /// The number of all.
    count: usize,
}

impl Listed {
    fn usable(&self) -> Result<Keys, Problem> {
        if self.count > KEYS_MAX {
            return Err(Problem::TooManyKeys(self.count));
        }
        let mut keys = Vec::new();
        for jwk in &self.first {
            match PublicKey::new(jwk) {
                Ok(key) => keys.push(Arc::new(key)),
                Err(UnusableKey::Private) => return Err(Problem::PrivateKey),
                Err(_) => {}
            }
        }
        if keys.is_empty() { Err(Problem::NoUsableKey) } else { Ok(keys.into()) }
    }
}

impl<'de> Deserialize<'de> for Listed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ListVisitor)
    }
}

/// Keeps no more keys than a set may have, however many the body has room for.
struct ListVisitor;

impl<'de> Visitor<'de> for ListVisitor {
    type Value = Listed;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of keys")
    }

    fn visit_seq<L: SeqAccess<'de>>(self, mut list: L) -> Result<Listed, L::Error> {
        let mut first = Vec::new();
        while first.len() < KEYS_MAX {
            let Some(jwk) = list.next_element()? else { return Ok(Listed { count: first.len(), first }) };
            first.push(jwk);
        }
        let count = first.len() + lenient_json::skip_list(&mut list)?;
        Ok(Listed { first, count })
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::{Value, json};

    use super::*;

    fn key(kid: impl Into<Value>) -> Value {
        let pair = rcgen::KeyPair::generate().unwrap();
        let coordinate = |range| URL_SAFE_NO_PAD.encode(&pair.public_key_raw()[range]);
        json!({"kty": "EC", "crv": "P-256", "kid": kid.into(), "x": coordinate(1..33), "y": coordinate(33..65)})
    }

    fn read(set: &Value) -> Result<(usize, Option<Problem>), Problem> {
        Document::read(set.to_string().as_bytes()).map(|read| (read.keys.len(), read.problem))
    }

    #[test]
    fn a9_a_set_has_only_keys_that_can_verify_assertions() {
        let with = |name: &str, value: &str| {
            let mut jwk = key("zero");
            jwk[name] = value.into();
            jwk
        };
        let (good, encryption, curve) = (key("one"), with("use", "enc"), with("crv", "P-384"));
        assert_eq!(read(&json!({"keys": [good, encryption, curve, {"kty": "other"}, 1], "x": 1})), Ok((1, None)));
        let private = with("d", "AAAA");
        let symmetric = json!({"kty": "oct", "k": "AAAA"});
        assert_eq!(read(&json!({"keys": [good, private]})), Ok((0, Some(Problem::PrivateKey))));
        assert_eq!(read(&json!({"keys": [good, symmetric]})), Ok((0, Some(Problem::PrivateKey))));
        for unusable in [json!([]), json!([encryption, curve])] {
            assert_eq!(read(&json!({"keys": unusable})), Ok((0, Some(Problem::NoUsableKey))));
        }
        let keys: Vec<Value> = (0..21).map(|number: u8| key(number.to_string())).collect();
        assert_eq!(read(&json!({"keys": keys})), Ok((0, Some(Problem::TooManyKeys(21)))));
        assert_eq!(read(&json!({"keys": keys[..20]})), Ok((20, None)));
        for no_set in [json!({}), json!([]), json!({"keys": {}}), json!("keys"), json!({"Keys": []}), json!([[good]])] {
            assert_eq!(read(&no_set), Err(Problem::NotAKeySet), "{no_set}");
        }
        for text in ["", "<html>", "{\"keys\": []", "{\"keys\": [], \"keys\": []}", &"[".repeat(100_000)] {
            assert!(matches!(Document::read(text.as_bytes()), Err(Problem::NotAKeySet)));
        }
    }
    #[test]
    fn a9_no_more_keys_are_kept_than_a_set_may_have() {
        let elements = 40_000;
        let text = format!(r#"{{"keys": [{}1]}}"#, r#"{"":0},"#.repeat(elements));
        let Set { keys } = serde_json::from_str(&text).unwrap();
        assert_eq!((keys.first.len(), keys.count), (KEYS_MAX, elements + 1));
        let read = Document::read(text.as_bytes()).unwrap();
        assert_eq!((read.keys.len(), read.problem), (0, Some(Problem::TooManyKeys(elements + 1))));
    }

    #[test]
    fn a9_a_key_whose_id_an_application_could_not_contain_is_ignored() {
        let longest = "k".repeat(128);
        for kid in [json!("k"), json!(longest), json!("!~"), json!(null)] {
            assert_eq!(read(&json!({"keys": [key(kid.clone())]})), Ok((1, None)), "{kid}");
        }
        for kid in [
            json!(""),
            json!(format!("{longest}k")),
            json!("a b"),
            json!("a\n"),
            json!("\u{e9}"),
            json!(7),
            json!(["k"]),
        ] {
            assert_eq!(read(&json!({"keys": [key("good"), key(kid.clone())]})), Ok((1, None)), "{kid}");
            assert_eq!(read(&json!({"keys": [key(kid.clone())]})), Ok((0, Some(Problem::NoUsableKey))), "{kid}");
        }
    }
}
