//! Key pairs that Postern generates for clients: the private key in the forms that clients read, and the public key for
//! status.

use std::fmt;

use aws_lc_rs::encoding::{AsBigEndian as _, AsDer as _, Curve25519SeedBin, EcPrivateKeyBin, Pkcs8V1Der};
use aws_lc_rs::rsa::{self, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pem::{EncodeConfig, LineEnding, Pem};
use serde_json::{Map, Value};
use zeroize::{Zeroize as _, Zeroizing};

use crate::crypto::der::{self, Reader};
use crate::crypto::secret::SecretValue;

/// Label of a PKCS#8 private key (RFC 7468 §10).
const PKCS8: &str = "PRIVATE KEY";
/// Label of a PKCS#1 private key.
const PKCS1: &str = "RSA PRIVATE KEY";
/// Tag of OCTET STRING.
const OCTET_STRING: u8 = 0x04;
/// Bytes of a coordinate, and of a private key, of P-256 and Ed25519.
const SCALAR_LEN: usize = 32;

/// The algorithm of a client's signatures (RFC 7518 §3.1, RFC 8037 §3.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyAlgorithm {
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// Ed25519.
    EdDsa,
}

impl KeyAlgorithm {
    /// The algorithm with this registered name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Es256, Self::Rs256, Self::Ps256, Self::EdDsa].into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// Its registered name, the value of `alg`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::EdDsa => "EdDSA",
        }
    }
}

/// What kind of key pair to generate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyKind {
    /// EC with the curve P-256.
    P256,
    /// RSA with a modulus of this size. Takes up to some seconds.
    Rsa(RsaSize),
    /// OKP with the curve Ed25519.
    Ed25519,
}

/// Size of an RSA modulus.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RsaSize {
    /// 2048 bits.
    Bits2048,
    /// 3072 bits.
    Bits3072,
    /// 4096 bits.
    Bits4096,
}

/// Why there is no key pair.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum KeyPairError {
    /// The generator failed.
    #[error("could not generate a key pair")]
    Generate,
    /// Not a private key in PKCS#8 and PEM of one of the kinds.
    #[error("the text is not a private key of Postern in PEM")]
    Parse,
}

/// Generates a private key: PKCS#8 in PEM.
///
/// # Errors
/// [`KeyPairError::Generate`]
pub fn generate(kind: KeyKind) -> Result<SecretValue, KeyPairError> {
    let failed = |_| KeyPairError::Generate;
    Ok(match kind {
        KeyKind::P256 => {
            let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(failed)?;
            pem(PKCS8, key.to_pkcs8v1().map_err(failed)?.as_ref())
        }
        // Version 1 of PKCS#8, without the public key: OpenSSL, Go and Java read no other.
        KeyKind::Ed25519 => {
            pem(PKCS8, Ed25519KeyPair::generate().and_then(|key| key.to_pkcs8v1()).map_err(failed)?.as_ref())
        }
        KeyKind::Rsa(size) => {
            let size = match size {
                RsaSize::Bits2048 => KeySize::Rsa2048,
                RsaSize::Bits3072 => KeySize::Rsa3072,
                RsaSize::Bits4096 => KeySize::Rsa4096,
            };
            let key = rsa::KeyPair::generate(size).map_err(failed)?;
            let document: Pkcs8V1Der<'_> = key.as_der().map_err(failed)?;
            pem(PKCS8, document.as_ref())
        }
    })
}

/// Whether a text begins as the private keys of [`generate`] do.
#[must_use]
pub fn is_private_key(text: &str) -> bool {
    text.strip_prefix("-----BEGIN ").and_then(|rest| rest.strip_prefix(PKCS8)).is_some_and(|rest| rest.starts_with('-'))
}

/// A parsed key pair.
pub struct KeyPair {
    algorithm: KeyAlgorithm,
    pkcs8: Zeroizing<Vec<u8>>,
    /// The public members of its JWK in base64url, with `kty` and `crv`.
    public: Vec<(&'static str, String)>,
    /// The private members.
    private: Vec<(&'static str, Zeroizing<String>)>,
}

impl KeyPair {
    /// Parses a private key. `wanted`: the algorithm for which it was generated. A key of another type has the first
    /// algorithm of its type.
    ///
    /// # Errors
    /// [`KeyPairError::Parse`]
    pub fn parse(text: &str, wanted: KeyAlgorithm) -> Result<Self, KeyPairError> {
        let pem = pem::parse(text).ok().filter(|pem| is_private_key(text) && pem.tag() == PKCS8);
        let pkcs8 = Zeroizing::new(pem.ok_or(KeyPairError::Parse)?.into_contents());
        let (algorithm, members) = p256(&pkcs8)
            .map(|members| (KeyAlgorithm::Es256, members))
            .or_else(|| ed25519(&pkcs8).map(|members| (KeyAlgorithm::EdDsa, members)))
            .or_else(|| {
                let algorithm = if wanted == KeyAlgorithm::Ps256 { wanted } else { KeyAlgorithm::Rs256 };
                rsa_members(&pkcs8).map(|members| (algorithm, members))
            })
            .ok_or(KeyPairError::Parse)?;
        let Members { public, private } = members;
        Ok(Self { algorithm, pkcs8, public, private })
    }

    /// The algorithm of its signatures.
    #[must_use]
    pub fn algorithm(&self) -> KeyAlgorithm {
        self.algorithm
    }

    /// The public key as a JWK (RFC 7517 §4) with this `kid`.
    #[must_use]
    pub fn public_jwk(&self, key_id: &str) -> Value {
        let public = self.public.iter().map(|(name, value)| (*name, value.as_str()));
        let members = public.chain(self.common(key_id)).map(|(name, value)| (name.to_owned(), value.into()));
        Value::Object(members.collect::<Map<_, _>>())
    }

    /// The private key as a JWK in JSON (RFC 7517 §4, RFC 7518 §6) with this `kid`. No member needs escaping.
    #[must_use]
    pub fn private_jwk(&self, key_id: &str) -> SecretValue {
        let public = self.public.iter().map(|(name, value)| (*name, value.as_str()));
        let private = self.private.iter().map(|(name, value)| (*name, value.as_str()));
        // Enough for an RSA key of 4096 bits, so that no part is left in a smaller allocation.
        let mut text = String::with_capacity(4096);
        for (name, value) in public.chain(self.common(key_id)).chain(private) {
            text.push_str(if text.is_empty() { "{\"" } else { ",\"" });
            for part in [name, "\":\"", value, "\""] {
                text.push_str(part);
            }
        }
        text.push('}');
        SecretValue::new(text)
    }

    /// The private key in PEM as ZITADEL writes it into key files: PKCS#1 for RSA, which every version of its libraries
    /// reads, and PKCS#8 otherwise.
    #[must_use]
    pub fn key_file_pem(&self) -> SecretValue {
        match self.algorithm {
            KeyAlgorithm::Es256 | KeyAlgorithm::EdDsa => pem(PKCS8, &self.pkcs8),
            KeyAlgorithm::Rs256 | KeyAlgorithm::Ps256 => pem(PKCS1, pkcs1(&self.pkcs8).unwrap_or_default()),
        }
    }

    fn common<'a>(&self, key_id: &'a str) -> [(&'static str, &'a str); 3] {
        [("kid", key_id), ("use", "sig"), ("alg", self.algorithm.name())]
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

fn pem(label: &str, der: &[u8]) -> SecretValue {
    let block = Pem::new(label, der);
    let text = pem::encode_config(&block, EncodeConfig::new().set_line_ending(LineEnding::LF));
    block.into_contents().zeroize();
    SecretValue::new(text)
}

/// The members of a JWK that depend on the key.
struct Members {
    public: Vec<(&'static str, String)>,
    private: Vec<(&'static str, Zeroizing<String>)>,
}

fn p256(pkcs8: &[u8]) -> Option<Members> {
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).ok()?;
    // An uncompressed point (SEC 1 §2.3.3).
    let (x, y) = key.public_key().as_ref().strip_prefix(&[4])?.split_at_checked(SCALAR_LEN)?;
    let d: EcPrivateKeyBin<'_> = key.private_key().as_be_bytes().ok()?;
    Some(Members {
        public: vec![("kty", "EC".to_owned()), ("crv", "P-256".to_owned()), ("x", encoded(x)), ("y", encoded(y))],
        private: vec![("d", Zeroizing::new(encoded(d.as_ref())))],
    })
}

fn ed25519(pkcs8: &[u8]) -> Option<Members> {
    let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8).ok()?;
    let seed = key.seed().ok()?;
    let d: Curve25519SeedBin<'_> = seed.as_be_bytes().ok()?;
    let x = encoded(key.public_key().as_ref());
    Some(Members {
        public: vec![("kty", "OKP".to_owned()), ("crv", "Ed25519".to_owned()), ("x", x)],
        private: vec![("d", Zeroizing::new(encoded(d.as_ref())))],
    })
}

/// The integers of PKCS#1 (RFC 8017 §A.1.2), which are the members of the JWK (RFC 7518 §6.3).
fn rsa_members(pkcs8: &[u8]) -> Option<Members> {
    rsa::KeyPair::from_pkcs8(pkcs8).ok()?;
    let mut fields = Reader(Reader(pkcs1(pkcs8)?).expect(der::SEQUENCE)?);
    let mut integer = || {
        let bytes = fields.expect(der::INTEGER)?;
        // Without the zero that DER puts before a high bit.
        Some(encoded(bytes.strip_prefix(&[0]).unwrap_or(bytes)))
    };
    let _version = integer()?;
    let public = vec![("kty", "RSA".to_owned()), ("n", integer()?), ("e", integer()?)];
    let private = ["d", "p", "q", "dp", "dq", "qi"].map(|name| Some((name, Zeroizing::new(integer()?))));
    Some(Members { public, private: private.into_iter().collect::<Option<_>>()? })
}

/// The PKCS#1 key inside PKCS#8 (RFC 5208 §5): version, algorithm, key.
fn pkcs1(pkcs8: &[u8]) -> Option<&[u8]> {
    let mut fields = Reader(Reader(pkcs8).expect(der::SEQUENCE)?);
    fields.expect(der::INTEGER)?;
    fields.expect(der::SEQUENCE)?;
    fields.expect(OCTET_STRING)
}

fn encoded(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{Algorithm, EncodingKey, Header};
    use serde_json::json;

    use super::*;
    use crate::crypto::public_key::{PublicKey, SignedJwt};

    const KINDS: [(KeyKind, KeyAlgorithm); 4] = [
        (KeyKind::P256, KeyAlgorithm::Es256),
        (KeyKind::Rsa(RsaSize::Bits2048), KeyAlgorithm::Rs256),
        (KeyKind::Rsa(RsaSize::Bits2048), KeyAlgorithm::Ps256),
        (KeyKind::Ed25519, KeyAlgorithm::EdDsa),
    ];

    fn signed(text: &SecretValue, algorithm: KeyAlgorithm) -> String {
        let block = pem::parse(text.expose_secret()).unwrap();
        let der = block.contents();
        let rsa = || EncodingKey::from_rsa_der(if block.tag() == PKCS1 { der } else { pkcs1(der).unwrap() });
        let (key, algorithm) = match algorithm {
            KeyAlgorithm::Es256 => (EncodingKey::from_ec_der(der), Algorithm::ES256),
            KeyAlgorithm::Rs256 => (rsa(), Algorithm::RS256),
            KeyAlgorithm::Ps256 => (rsa(), Algorithm::PS256),
            KeyAlgorithm::EdDsa => (EncodingKey::from_ed_der(der), Algorithm::EdDSA),
        };
        jsonwebtoken::encode(&Header::new(algorithm), &json!({"sub": "sync"}), &key).unwrap()
    }

    #[test]
    fn the_public_jwk_verifies_what_each_form_of_the_private_key_signs() {
        for (kind, algorithm) in KINDS {
            let text = generate(kind).unwrap();
            let pair = KeyPair::parse(text.expose_secret(), algorithm).unwrap();
            assert_eq!(pair.algorithm(), algorithm);
            let jwk = pair.public_jwk("k7Qd0m2x");
            assert_eq!(
                (&jwk["kid"], &jwk["use"], &jwk["alg"]),
                (&json!("k7Qd0m2x"), &json!("sig"), &json!(algorithm.name()))
            );
            let public = PublicKey::from_jwk(&jwk).unwrap();
            for pem in [&text, &pair.key_file_pem()] {
                let jwt = signed(pem, algorithm);
                assert!(public.verifies(&SignedJwt::parse(&jwt).unwrap()), "{algorithm:?}");
            }
        }
    }

    #[test]
    fn the_private_jwk_has_the_public_members_and_the_private_ones() {
        for (kind, algorithm) in KINDS {
            let text = generate(kind).unwrap();
            let pair = KeyPair::parse(text.expose_secret(), algorithm).unwrap();
            let private: Value = serde_json::from_str(pair.private_jwk("k7Qd0m2x").expose_secret()).unwrap();
            let mut members = private.as_object().unwrap().clone();
            let secret = match kind {
                KeyKind::Rsa(_) => &["d", "p", "q", "dp", "dq", "qi"][..],
                KeyKind::P256 | KeyKind::Ed25519 => &["d"],
            };
            for name in secret {
                let value = members.remove(*name).unwrap();
                assert!(!value.as_str().unwrap().is_empty(), "{name}");
            }
            assert_eq!(Value::Object(members), pair.public_jwk("k7Qd0m2x"));
        }
    }

    #[test]
    fn the_members_are_those_of_the_example_of_rfc_8410() {
        let pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
                   -----END PRIVATE KEY-----\n";
        let pair = KeyPair::parse(pem, KeyAlgorithm::Es256).unwrap();
        assert_eq!(pair.algorithm(), KeyAlgorithm::EdDsa, "of its type");
        let jwk: Value = serde_json::from_str(pair.private_jwk("a").expose_secret()).unwrap();
        assert_eq!(jwk["d"], "1O5y2_kTWErVttjx92n4rTr-fCjL8dT74Jeoj0R1WEI");
        assert_eq!(jwk["x"], "Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE");
    }

    #[test]
    fn every_size_of_rsa_is_generated_as_wanted() {
        for (size, bytes) in [(RsaSize::Bits2048, 256), (RsaSize::Bits3072, 384)] {
            let text = generate(KeyKind::Rsa(size)).unwrap();
            let jwk = KeyPair::parse(text.expose_secret(), KeyAlgorithm::Rs256).unwrap().public_jwk("a");
            assert_eq!(URL_SAFE_NO_PAD.decode(jwk["n"].as_str().unwrap()).unwrap().len(), bytes);
        }
    }

    #[test]
    fn other_texts_are_no_key_pair() {
        let pem = generate(KeyKind::P256).unwrap();
        let pem = pem.expose_secret();
        let cut = pem.replacen("MIGH", "MIGG", 1);
        for text in
            ["", "pst_k7Qd0m2x_value", &format!("{{\"key\":\"{pem}\"}}"), &pem.replace("PRIVATE", "PUBLIC"), &cut]
        {
            assert_eq!(KeyPair::parse(text, KeyAlgorithm::Es256).err(), Some(KeyPairError::Parse), "{text}");
        }
        assert!(is_private_key(pem) && !is_private_key("-----BEGIN PRIVATE KEYS-----"));
    }

    #[test]
    fn debug_output_shows_no_key() {
        let text = generate(KeyKind::P256).unwrap();
        let pair = KeyPair::parse(text.expose_secret(), KeyAlgorithm::Es256).unwrap();
        let shown = format!("{pair:?} {text:?} {:?}", pair.private_jwk("a"));
        assert_eq!(shown, "KeyPair { algorithm: Es256, .. } SecretValue([REDACTED]) SecretValue([REDACTED])");
    }
}
