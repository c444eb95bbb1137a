//! Keys and proofs of a DPoP client, for tests.

use std::sync::atomic::{AtomicUsize, Ordering};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{Jwk, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey};
use rcgen::KeyPair;
use serde_json::{Value, json};

use crate::server::NOW;

/// A key pair of a client.
pub(crate) struct ProofKey {
    private: EncodingKey,
    pub(crate) jwk: Value,
    pub(crate) thumbprint: String,
}

impl ProofKey {
    pub(crate) fn new() -> Self {
        let private = EncodingKey::from_ec_der(&KeyPair::generate().unwrap().serialize_der());
        let jwk = Jwk::from_encoding_key(&private, Algorithm::ES256).unwrap();
        let thumbprint = jwk.thumbprint(ThumbprintHash::SHA256).unwrap();
        Self { private, jwk: serde_json::to_value(jwk).unwrap(), thumbprint }
    }

    /// Signs any header, also one that no library writes.
    pub(crate) fn sign(&self, header: &Value, claims: &str) -> String {
        let signed = [header.to_string().as_str(), claims].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
        let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &self.private, Algorithm::ES256).unwrap();
        format!("{signed}.{signature}")
    }

    pub(crate) fn header(&self) -> Value {
        json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": self.jwk})
    }

    /// A proof for a request.
    pub(crate) fn proof(&self, method: &str, url: &str) -> String {
        self.with(&claims(method, url), json!({}))
    }

    /// A proof for a request with an access token.
    pub(crate) fn token_proof(&self, method: &str, url: &str, token: &str) -> String {
        self.with(&claims(method, url), json!({"ath": ath(token)}))
    }

    /// A proof with some claims changed; null removes one.
    pub(crate) fn with(&self, claims: &Value, changes: Value) -> String {
        self.sign(&self.header(), &changed(claims, changes).to_string())
    }
}

/// The value with some members changed; null removes one.
pub(crate) fn changed(value: &Value, changes: Value) -> Value {
    let mut value = value.clone();
    let members = value.as_object_mut().unwrap();
    let Value::Object(changes) = changes else { panic!("an object") };
    members.extend(changes);
    members.retain(|_, member| !member.is_null());
    value
}

/// The claims of a proof for a request, with a new `jti`.
pub(crate) fn claims(method: &str, url: &str) -> Value {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let id = NEXT.fetch_add(1, Ordering::Relaxed).to_string();
    json!({"jti": id, "htm": method, "htu": url, "iat": NOW})
}

/// The hash of an access token (RFC 9449 §4.2).
pub(crate) fn ath(token: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, token.as_bytes()))
}
