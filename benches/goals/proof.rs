//! DPoP proofs (RFC 9449) of the generator: a new one for each request.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use postern::clock::{Clock as _, SystemClock};
use postern::crypto::random;
use serde_json::json;

use crate::Result;

/// A key, with the header of its proofs.
pub struct ProofKey {
    key: EcdsaKeyPair,
    header: String,
}

impl ProofKey {
    /// A new key.
    pub fn generate() -> Result<Self> {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
        let point = key.public_key().as_ref();
        let coordinate = |range| point.get(range).map(|bytes| URL_SAFE_NO_PAD.encode(bytes)).ok_or("no point");
        let jwk = json!({"kty": "EC", "crv": "P-256", "x": coordinate(1..33)?, "y": coordinate(33..65)?});
        let header = json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": jwk}).to_string();
        Ok(Self { key, header: URL_SAFE_NO_PAD.encode(header) })
    }

    /// A proof for a token request to this URL.
    #[expect(clippy::disallowed_methods, reason = "the randomness of a client")]
    pub fn proof(&self, url: &str) -> Result<String> {
        let id = URL_SAFE_NO_PAD.encode(random::bytes::<16>());
        let claims = json!({"jti": id, "htm": "POST", "htu": url, "iat": SystemClock.now().as_second()});
        let signed = format!("{}.{}", self.header, URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes())?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}
