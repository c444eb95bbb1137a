//! A JWK Set (RFC 7517 §5) that a host returned.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::problem::Problem;
use crate::crypto::public_key::{PublicKey, UnusableKey};

/// Maximum number of keys of a set, as of `spec.auth.jwks`.
pub(super) const KEYS_MAX: usize = 20;

/// The keys of a set that can verify assertions, in their order.
pub type Keys = Arc<[Arc<PublicKey>]>;

/// The content of a JWK Set.
#[derive(Debug, Default)]
pub(super) struct Document {
    pub(super) keys: Keys,
    /// Why there are no keys.
    pub(super) problem: Option<Problem>,
}

/// Reads a response. Keys of other types and for other purposes are ignored (RFC 7517 §5). A set with a private key is
/// refused whole: whoever reads the URL has the key.
///
/// # Errors
/// [`Problem::NotAKeySet`]: an error page, for example. It does not replace the keys that were fetched earlier. Every
/// [`Document`] does.
pub(super) fn read(body: &[u8]) -> Result<Document, Problem> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<Value>,
    }
    let set: Set = serde_json::from_slice(body).map_err(|_| Problem::NotAKeySet)?;
    let refused = |problem| Ok(Document { keys: Keys::default(), problem: Some(problem) });
    if set.keys.len() > KEYS_MAX {
        return refused(Problem::TooManyKeys(set.keys.len()));
    }
    let mut keys = Vec::new();
    for jwk in &set.keys {
        match PublicKey::from_jwk(jwk) {
            Ok(key) => keys.push(Arc::new(key)),
            Err(UnusableKey::Private) => return refused(Problem::PrivateKey),
            Err(_) => {}
        }
    }
    if keys.is_empty() { refused(Problem::NoUsableKey) } else { Ok(Document { keys: keys.into(), problem: None }) }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::json;

    use super::*;

    #[test]
    fn a9_a_set_has_only_keys_that_can_verify_assertions() {
        let key = |number: u8| {
            let pair = rcgen::KeyPair::generate().unwrap();
            let coordinate = |range| URL_SAFE_NO_PAD.encode(&pair.public_key_raw()[range]);
            json!({"kty": "EC", "crv": "P-256", "kid": number.to_string(), "x": coordinate(1..33), "y": coordinate(33..65)})
        };
        let with = |name: &str, value: &str| {
            let mut jwk = key(0);
            jwk[name] = value.into();
            jwk
        };
        let read = |set: &Value| read(set.to_string().as_bytes()).map(|read| (read.keys.len(), read.problem));
        let (good, encryption, curve) = (key(1), with("use", "enc"), with("crv", "P-384"));
        assert_eq!(read(&json!({"keys": [good, encryption, curve, {"kty": "other"}, 1], "x": 1})), Ok((1, None)));
        let private = with("d", "AAAA");
        let symmetric = json!({"kty": "oct", "k": "AAAA"});
        assert_eq!(read(&json!({"keys": [good, private]})), Ok((0, Some(Problem::PrivateKey))));
        assert_eq!(read(&json!({"keys": [good, symmetric]})), Ok((0, Some(Problem::PrivateKey))));
        for unusable in [json!([]), json!([encryption, curve])] {
            assert_eq!(read(&json!({"keys": unusable})), Ok((0, Some(Problem::NoUsableKey))));
        }
        let keys: Vec<Value> = (0..21).map(key).collect();
        assert_eq!(read(&json!({"keys": keys})), Ok((0, Some(Problem::TooManyKeys(21)))));
        assert_eq!(read(&json!({"keys": keys[..20]})), Ok((20, None)));
        for no_set in [json!({}), json!([]), json!({"keys": {}}), json!("keys"), json!({"Keys": []})] {
            assert_eq!(read(&no_set), Err(Problem::NotAKeySet), "{no_set}");
        }
        for text in ["", "<html>", "{\"keys\": []", "{\"keys\": [], \"keys\": []}", &"[".repeat(100_000)] {
            assert!(matches!(super::read(text.as_bytes()), Err(Problem::NotAKeySet)));
        }
    }
}
