//! Public keys of clients (RFC 7517), and the JWTs that they sign (RFC 7515).
//!
//! The key decides which algorithm a signature must have. The header of a JWT only chooses among those.

use std::ops::RangeInclusive;
use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, VerificationAlgorithm};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::jwk::Jwk;
use crate::util::lenient_json::is_object;

/// The algorithms of client assertions, by their registered names (RFC 7518 §3.1, RFC 8037 §3.1).
pub const ALGORITHMS: [&str; 4] = ["ES256", "RS256", "PS256", "EdDSA"];

/// Length of an RSA modulus in bytes: 2048 to 4096 bits (RFC 7518 §3.3).
const RSA_BYTES: RangeInclusive<usize> = 256..=512;

/// Length of a `kid` in characters.
const KEY_ID_MAX: usize = 128;

/// Why a JWK is not a key that can verify assertions.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum UnusableKey {
    /// A member is missing, has another type, or is not base64url.
    #[error("is not a JWK of the type EC, RSA or OKP (RFC 7517)")]
    Malformed,
    /// The JWK has private or symmetric members.
    #[error("is a private or symmetric key")]
    Private,
    /// Another curve than P-256 or Ed25519.
    #[error("has another curve than P-256 or Ed25519")]
    Curve,
    /// The coordinates are not a point of the curve.
    #[error("is not a point on its curve")]
    Point,
    /// Too short or too long, or with an even or too small exponent.
    #[error("is not an RSA key of 2048 to 4096 bits with an odd exponent of at least 3")]
    Rsa,
    /// `alg` does not belong to the type of the key, or is not supported.
    #[error("has an `alg` that its type does not allow: ES256 (EC), RS256 or PS256 (RSA), EdDSA (OKP)")]
    Algorithm,
    /// `use` is not `sig`.
    #[error("has a `use` other than sig")]
    Use,
    /// `kid` has another form than `spec.auth.jwks` allows. Each replica keeps it more than once, and each audit line has it.
    #[error("has a `kid` that is not 1-128 visible ASCII characters without spaces")]
    KeyId,
}

/// A public key.
#[derive(Debug)]
pub struct PublicKey {
    key_id: Option<Box<str>>,
    algorithms: &'static [Algorithm],
    key: DecodingKey,
    thumbprint: Box<str>,
}

impl PublicKey {
    /// Reads a JWK.
    ///
    /// # Errors
    /// [`UnusableKey`]
    pub fn from_jwk(jwk: &Value) -> Result<Self, UnusableKey> {
        Self::new(&Jwk::deserialize(jwk).map_err(|_| UnusableKey::Malformed)?)
    }

    /// The key of a JWK.
    ///
    /// # Errors
    /// [`UnusableKey`]
    pub fn new(jwk: &Jwk) -> Result<Self, UnusableKey> {
        jwk.check_form()?;
        if jwk.usage.optional()?.is_some_and(|usage| usage != "sig") {
            return Err(UnusableKey::Use);
        }
        let Parameters { algorithms, key, canonical } = match jwk.kty.required()? {
            "EC" => elliptic_curve(jwk),
            "OKP" => octet_key_pair(jwk),
            "RSA" => rsa(jwk),
            _ => Err(UnusableKey::Malformed),
        }?;
        Ok(Self {
            key_id: key_id(jwk)?,
            algorithms: narrowed(algorithms, jwk.alg.optional()?)?,
            key: key.map_err(|_| UnusableKey::Malformed)?,
            thumbprint: URL_SAFE_NO_PAD.encode(digest(&SHA256, canonical.as_bytes())).into(),
        })
    }

    /// `kid` (RFC 7517 §4.5).
    #[must_use]
    pub fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// SHA-256 thumbprint in base64url (RFC 7638): the same for every way to write the key.
    #[must_use]
    pub fn thumbprint(&self) -> &str {
        &self.thumbprint
    }

    /// Whether signatures of this key may have the algorithm.
    #[must_use]
    pub fn allows(&self, algorithm: &str) -> bool {
        self.algorithm(algorithm).is_some()
    }

    /// Whether the key signed the JWT, with the algorithm that its header names. A wrong signature takes as long as
    /// [`verify_nothing`].
    #[must_use]
    pub fn verifies(&self, jwt: &SignedJwt<'_>) -> bool {
        let Some(algorithm) = self.algorithm(&jwt.header.alg) else { return false };
        if !self.has_form(jwt.signature) {
            verify_nothing(jwt);
            return false;
        }
        is_valid(jwt.signature, jwt, &self.key, algorithm)
    }

    /// Whether a signature of an RSA key has the length of the modulus and is below it (RFC 8017 §8.2.2, §5.2.2). The library
    /// rejects any other one at once, which would show that there is such a key.
    fn has_form(&self, signature: &str) -> bool {
        let DecodingKeyKind::RsaModulusExponent { n, .. } = self.key.kind() else { return true };
        bytes(signature).is_ok_and(|number| number.len() == n.len() && number < *n)
    }

    fn algorithm(&self, name: &str) -> Option<Algorithm> {
        let algorithm = name.parse().ok()?;
        self.algorithms.contains(&algorithm).then_some(algorithm)
    }
}

fn is_valid(signature: &str, jwt: &SignedJwt<'_>, key: &DecodingKey, algorithm: Algorithm) -> bool {
    jsonwebtoken::crypto::verify(signature, jwt.signed.as_bytes(), key, algorithm).unwrap_or(false)
}

/// Takes as long as the check of a wrong signature with a key for the algorithm, for a JWT that no key can have signed. An RSA
/// key has the length of the signature.
pub fn verify_nothing(jwt: &SignedJwt<'_>) {
    /// The base points of the curves.
    static EC: LazyLock<Option<DecodingKey>> = LazyLock::new(|| {
        let (x, y) = ("axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY", "T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU");
        DecodingKey::from_ec_components(x, y).ok()
    });
    static ED25519: LazyLock<Option<DecodingKey>> =
        LazyLock::new(|| DecodingKey::from_ed_components("WGZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmY").ok());
    let _ = match (jwt.header.alg.parse(), &*EC, &*ED25519) {
        (Ok(Algorithm::ES256), Some(key), _) => is_valid(jwt.signature, jwt, key, Algorithm::ES256),
        (Ok(Algorithm::EdDSA), _, Some(key)) => is_valid(jwt.signature, jwt, key, Algorithm::EdDSA),
        (Ok(algorithm @ (Algorithm::RS256 | Algorithm::PS256)), ..) => {
            let (modulus, signature) = rsa_stand_in(jwt.signature);
            let key = DecodingKey::from_rsa_raw_components(&modulus, &[1, 0, 1]);
            is_valid(&URL_SAFE_NO_PAD.encode(signature), jwt, &key, algorithm)
        }
        _ => false,
    };
}

/// A modulus, and a signature for which the library computes as for a genuine one: as long as the modulus, and below it. Any odd
/// number of the length will do.
fn rsa_stand_in(signature: &str) -> (Vec<u8>, Vec<u8>) {
    let mut signature = bytes(signature).unwrap_or_default();
    signature.iter_mut().take(1).for_each(|byte| *byte = 0);
    (vec![0xa5; signature.len()], signature)
}

fn key_id(jwk: &Jwk) -> Result<Option<Box<str>>, UnusableKey> {
    let is_usable = |id: &str| (1..=KEY_ID_MAX).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
    match jwk.kid.optional() {
        Ok(None) => Ok(None),
        Ok(Some(id)) if is_usable(id) => Ok(Some(id.into())),
        _ => Err(UnusableKey::KeyId),
    }
}

/// What the members of a key of some type mean.
struct Parameters {
    algorithms: &'static [Algorithm],
    key: jsonwebtoken::errors::Result<DecodingKey>,
    /// The text whose hash is the thumbprint (RFC 7638 §3.2). Its values are checked base64url, which needs no escapes.
    canonical: String,
}

fn elliptic_curve(jwk: &Jwk) -> Result<Parameters, UnusableKey> {
    if jwk.crv.required()? != "P-256" {
        return Err(UnusableKey::Curve);
    }
    let (x, y) = (jwk.x.required()?, jwk.y.required()?);
    on_curve(&ECDSA_P256_SHA256_FIXED, &[vec![4], coordinate(x)?, coordinate(y)?].concat())?;
    let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
    Ok(Parameters { algorithms: &[Algorithm::ES256], key: DecodingKey::from_ec_components(x, y), canonical })
}

fn octet_key_pair(jwk: &Jwk) -> Result<Parameters, UnusableKey> {
    if jwk.crv.required()? != "Ed25519" {
        return Err(UnusableKey::Curve);
    }
    let x = jwk.x.required()?;
    on_curve(&ED25519, &coordinate(x)?)?;
    let canonical = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
    Ok(Parameters { algorithms: &[Algorithm::EdDSA], key: DecodingKey::from_ed_components(x), canonical })
}

fn rsa(jwk: &Jwk) -> Result<Parameters, UnusableKey> {
    let (n, e) = (jwk.n.required()?, jwk.e.required()?);
    let (modulus, exponent) = (bytes(n)?, bytes(e)?);
    let is_odd = |number: &[u8]| number.last().is_some_and(|byte| byte % 2 == 1);
    let has_length = RSA_BYTES.contains(&modulus.len()) && modulus.first().is_some_and(|byte| *byte >= 0x80);
    let has_exponent = exponent.len() <= 3 && exponent.first() != Some(&0) && is_odd(&exponent) && exponent != [1];
    if !(has_length && is_odd(&modulus) && has_exponent) {
        return Err(UnusableKey::Rsa);
    }
    let canonical = format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#);
    let algorithms = &[Algorithm::RS256, Algorithm::PS256];
    Ok(Parameters { algorithms, key: DecodingKey::from_rsa_components(n, e), canonical })
}

fn on_curve(algorithm: &'static dyn VerificationAlgorithm, point: &[u8]) -> Result<(), UnusableKey> {
    ParsedPublicKey::new(algorithm, point).map(drop).map_err(|_| UnusableKey::Point)
}

/// The algorithms, or the one that the JWK names.
fn narrowed(algorithms: &'static [Algorithm], named: Option<&str>) -> Result<&'static [Algorithm], UnusableKey> {
    let Some(named) = named else { return Ok(algorithms) };
    let named = named.parse::<Algorithm>().map_err(|_| UnusableKey::Algorithm)?;
    let at = algorithms.iter().position(|algorithm| *algorithm == named).ok_or(UnusableKey::Algorithm)?;
    algorithms.get(at..=at).ok_or(UnusableKey::Algorithm)
}

/// A coordinate has 32 bytes (RFC 7518 §6.2.1.2, RFC 8037 §2): each key has one thumbprint.
fn coordinate(text: &str) -> Result<Vec<u8>, UnusableKey> {
    bytes(text).and_then(|bytes| if bytes.len() == 32 { Ok(bytes) } else { Err(UnusableKey::Point) })
}

fn bytes(text: &str) -> Result<Vec<u8>, UnusableKey> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| UnusableKey::Malformed)
}

/// A JWT in the compact serialisation (RFC 7519 §3) before its signature is checked.
pub struct SignedJwt<'a> {
    header: Header,
    header_json: Vec<u8>,
    claims: Vec<u8>,
    signed: &'a str,
    signature: &'a str,
}

/// The header members that decide here. Keys in the header (`jwk`, `jku`, `x5u`, `x5c`) are ignored: it could name any key.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// Whether there are extensions that a recipient must understand (RFC 7515 §4.1.11). There are none here.
    #[serde(default, deserialize_with = "is_present")]
    crit: bool,
}

fn is_present<'de, D: Deserializer<'de>>(value: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(value).map(|_| true)
}

/// Why a text is not a JWT that can be verified.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MalformedJwt {
    /// Not three parts of base64url, or the header is not a JSON object with `alg`.
    Form,
    /// The header has `crit`.
    Critical,
    /// `alg` is none of [`ALGORITHMS`].
    Algorithm,
}

/// The possible lengths of a signature. Another one is refused for every client alike, before a key is looked for.
fn signature_bytes(algorithm: &str) -> RangeInclusive<usize> {
    if algorithm.ends_with("S256") && algorithm != "ES256" { RSA_BYTES } else { 64..=64 }
}

fn object(json: Vec<u8>) -> Result<Vec<u8>, MalformedJwt> {
    if is_object(&json) { Ok(json) } else { Err(MalformedJwt::Form) }
}

impl<'a> SignedJwt<'a> {
    /// Reads the parts of a JWT.
    ///
    /// # Errors
    /// [`MalformedJwt`]
    pub fn parse(text: &'a str) -> Result<Self, MalformedJwt> {
        let (signed, signature) = text.rsplit_once('.').ok_or(MalformedJwt::Form)?;
        let (header, claims) = signed.split_once('.').ok_or(MalformedJwt::Form)?;
        let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| MalformedJwt::Form);
        let header_json = object(decoded(header)?)?;
        let header: Header = serde_json::from_slice(&header_json).map_err(|_| MalformedJwt::Form)?;
        if header.crit {
            return Err(MalformedJwt::Critical);
        }
        if !ALGORITHMS.contains(&header.alg.as_str()) {
            return Err(MalformedJwt::Algorithm);
        }
        if !signature_bytes(&header.alg).contains(&decoded(signature)?.len()) {
            return Err(MalformedJwt::Form);
        }
        Ok(Self { header, header_json, claims: object(decoded(claims)?)?, signed, signature })
    }

    /// `alg` of the header.
    #[must_use]
    pub fn algorithm(&self) -> &str {
        &self.header.alg
    }

    /// `kid` of the header.
    #[must_use]
    pub fn key_id(&self) -> Option<&str> {
        self.header.kid.as_deref()
    }

    /// The header as JSON, for JWTs whose other members have a meaning.
    #[must_use]
    pub fn header(&self) -> &[u8] {
        &self.header_json
    }

    /// The claims as JSON.
    #[must_use]
    pub fn claims(&self) -> &[u8] {
        &self.claims
    }
}

#[cfg(test)]
mod tests {

    use jsonwebtoken::jwk::{Jwk, ThumbprintHash};
    use jsonwebtoken::{EncodingKey, Header as JwtHeader};
    use rcgen::{
        KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256, SignatureAlgorithm,
    };
    use serde_json::json;

    use super::*;

    /// A private key, and its JWK.
    fn pair(algorithm: &'static SignatureAlgorithm, jwt: Algorithm) -> (EncodingKey, Value) {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let der = key.serialize_der();
        let private = match jwt {
            Algorithm::ES256 | Algorithm::ES384 => EncodingKey::from_ec_der(&der),
            Algorithm::EdDSA => EncodingKey::from_ed_der(&der),
            // PKCS#1, which PKCS#8 contains after a header of this length.
            _ => EncodingKey::from_rsa_der(&der[26..]),
        };
        if jwt == Algorithm::EdDSA {
            let x = URL_SAFE_NO_PAD.encode(key.public_key_raw());
            return (private, json!({"kty": "OKP", "crv": "Ed25519", "x": x}));
        }
        let jwk = Jwk::from_encoding_key(&private, jwt).unwrap();
        (private, serde_json::to_value(jwk).unwrap())
    }

    fn signed(key: &EncodingKey, algorithm: Algorithm) -> String {
        jsonwebtoken::encode(&JwtHeader::new(algorithm), &json!({"sub": "sync"}), key).unwrap()
    }

    fn is_verified(key: &PublicKey, jwt: &str) -> bool {
        SignedJwt::parse(jwt).is_ok_and(|jwt| key.verifies(&jwt))
    }

    #[test]
    fn each_type_of_key_verifies_what_it_signed_with_its_algorithms_and_no_other_key_does() {
        let pairs = [
            (pair(&PKCS_ECDSA_P256_SHA256, Algorithm::ES256), Algorithm::ES256),
            (pair(&PKCS_ED25519, Algorithm::EdDSA), Algorithm::EdDSA),
            (pair(&PKCS_RSA_SHA256, Algorithm::RS256), Algorithm::RS256),
            (pair(&PKCS_RSA_SHA256, Algorithm::RS256), Algorithm::PS256),
        ];
        for ((private, jwk), algorithm) in &pairs {
            let jwt = signed(private, *algorithm);
            let without_alg = {
                let mut jwk = jwk.clone();
                jwk.as_object_mut().unwrap().remove("alg");
                PublicKey::from_jwk(&jwk).unwrap()
            };
            assert!(is_verified(&without_alg, &jwt), "{algorithm:?}");
            for ((_, other), _) in pairs.iter().filter(|((_, other), _)| other != jwk) {
                assert!(!is_verified(&PublicKey::from_jwk(other).unwrap(), &jwt), "{algorithm:?}");
            }
            let changed = jwt.replacen("ey", "eA", 2);
            assert!(!is_verified(&without_alg, &changed));
        }
    }

    #[test]
    fn a_jwk_with_an_algorithm_allows_no_other() {
        let (private, mut jwk) = pair(&PKCS_RSA_SHA256, Algorithm::RS256);
        jwk["alg"] = "PS256".into();
        let key = PublicKey::from_jwk(&jwk).unwrap();
        assert!(is_verified(&key, &signed(&private, Algorithm::PS256)));
        assert!(!is_verified(&key, &signed(&private, Algorithm::RS256)));
        jwk["alg"] = "ES256".into();
        assert_eq!(PublicKey::from_jwk(&jwk).err(), Some(UnusableKey::Algorithm));
    }

    #[test]
    fn what_is_no_public_key_for_assertions_is_refused_with_its_reason() {
        let (_, good) = pair(&PKCS_ECDSA_P256_SHA256, Algorithm::ES256);
        let (_, p384) = pair(&PKCS_ECDSA_P384_SHA384, Algorithm::ES384);
        let with = |member: &str, value: Value| {
            let mut jwk = good.clone();
            jwk[member] = value;
            jwk
        };
        for (jwk, expected) in [
            (with("d", "AAAA".into()), UnusableKey::Private),
            (json!({"kty": "oct", "k": "AAAA"}), UnusableKey::Private),
            (p384, UnusableKey::Curve),
            (with("y", good["x"].clone()), UnusableKey::Point),
            (with("x", "AAAA".into()), UnusableKey::Point),
            (with("x", "no base64url!".into()), UnusableKey::Malformed),
            (with("use", "enc".into()), UnusableKey::Use),
            (json!({"kty": "RSA", "n": URL_SAFE_NO_PAD.encode([0xff; 128]), "e": "AQAB"}), UnusableKey::Rsa),
            (json!({"kty": "RSA", "n": URL_SAFE_NO_PAD.encode([0xff; 1024]), "e": "AQAB"}), UnusableKey::Rsa),
            (json!({"kty": "RSA", "n": URL_SAFE_NO_PAD.encode([0xff; 256]), "e": "AQ"}), UnusableKey::Rsa),
            (json!({"kty": "RSA", "n": URL_SAFE_NO_PAD.encode([0xff; 256]), "e": "AA"}), UnusableKey::Rsa),
            (json!({"kty": "RSA", "n": URL_SAFE_NO_PAD.encode([0xff; 256]), "e": "AAEAAQ"}), UnusableKey::Rsa),
            (json!({"kty": "RSA", "n": URL_SAFE_NO_PAD.encode([0xff; 256]), "e": "_____w"}), UnusableKey::Rsa),
            (json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode([1; 44])}), UnusableKey::Point),
            (json!({"kty": "EC"}), UnusableKey::Malformed),
            (json!("text"), UnusableKey::Malformed),
        ] {
            assert_eq!(PublicKey::from_jwk(&jwk).err(), Some(expected), "{jwk}");
        }
    }

    #[test]
    fn the_thumbprint_does_not_depend_on_how_the_key_is_written() {
        let (_, jwk) = pair(&PKCS_ECDSA_P256_SHA256, Algorithm::ES256);
        let mut other = jwk.clone();
        other["kid"] = "another".into();
        other["use"] = "sig".into();
        let [one, other] = [jwk, other].map(|jwk| PublicKey::from_jwk(&jwk).unwrap());
        assert_eq!(one.thumbprint(), other.thumbprint());
        assert_eq!((one.key_id(), other.key_id()), (None, Some("another")));
    }

    #[test]
    fn the_thumbprint_is_that_of_rfc_7638_for_each_type_of_key() {
        for (algorithm, jwt) in [
            (&PKCS_ECDSA_P256_SHA256, Algorithm::ES256),
            (&PKCS_ED25519, Algorithm::EdDSA),
            (&PKCS_RSA_SHA256, Algorithm::RS256),
        ] {
            let (_, jwk) = pair(algorithm, jwt);
            let other: Jwk = serde_json::from_value(jwk.clone()).unwrap();
            let expected = other.thumbprint(ThumbprintHash::SHA256).unwrap();
            assert_eq!(PublicKey::from_jwk(&jwk).unwrap().thumbprint(), expected, "{jwt:?}");
        }
    }

    /// The library refuses other signatures before it computes, and the time would show which clients exist.
    #[test]
    fn the_stand_in_of_an_rsa_key_has_the_length_of_the_signature_which_is_below_it() {
        for bytes in [vec![0; 256], vec![0xff; 256], vec![0xff; 512], vec![7; 3], Vec::new()] {
            let (modulus, signature) = rsa_stand_in(&URL_SAFE_NO_PAD.encode(&bytes));
            assert_eq!((modulus.len(), signature.len()), (bytes.len(), bytes.len()));
            assert!(signature < modulus || bytes.is_empty());
            assert!(modulus.last().is_none_or(|last| last % 2 == 1));
        }
    }

    #[test]
    fn a_text_that_is_no_signed_jwt_is_not_read() {
        let signature = URL_SAFE_NO_PAD.encode([1; 64]);
        let jwt = |header: &str| format!("{}.e30.{signature}", URL_SAFE_NO_PAD.encode(header));
        for (text, expected) in [
            (String::new(), MalformedJwt::Form),
            ("a.b".to_owned(), MalformedJwt::Form),
            (jwt(r#"{"alg":"ES256","alg":"RS256"}"#), MalformedJwt::Form),
            (jwt(r#"{"kid":"a"}"#), MalformedJwt::Form),
            (jwt("[]"), MalformedJwt::Form),
            (jwt(r#"{"alg":"ES256","enc":"A128GCM"}"#).replace("e30", "e30.AAAA.AAAA"), MalformedJwt::Form),
            (jwt(r#"{"alg":"ES256"}"#) + "=", MalformedJwt::Form),
            (jwt(r#"{"alg":"ES256"}"#) + "AAAA", MalformedJwt::Form),
            (jwt(r#"{"alg":"RS256"}"#), MalformedJwt::Form),
            (jwt(r#"["ES256","a"]"#), MalformedJwt::Form),
            (jwt(r#"{"alg":"ES256"}"#).replace("e30", "W10"), MalformedJwt::Form),
            (jwt(r#"{"alg":"ES256","crit":null}"#), MalformedJwt::Critical),
            (jwt(r#"{"alg":"ES256","crit":["b64"],"b64":false}"#), MalformedJwt::Critical),
            (jwt(r#"{"alg":"none"}"#), MalformedJwt::Algorithm),
            (jwt(r#"{"alg":"HS256"}"#), MalformedJwt::Algorithm),
            (jwt(r#"{"alg":"ES384"}"#), MalformedJwt::Algorithm),
        ] {
            assert_eq!(SignedJwt::parse(&text).err(), Some(expected), "{text}");
        }
        let signed = jwt(r#"{"alg":"ES256","kid":"a"}"#);
        let read = SignedJwt::parse(&signed).unwrap();
        assert_eq!((read.algorithm(), read.key_id(), read.claims()), ("ES256", Some("a"), &b"{}"[..]));
        verify_nothing(&read);
    }
}
