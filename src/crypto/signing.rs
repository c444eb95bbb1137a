//! Keys that sign access tokens, kept parsed, and their public halves as JWKs (RFC 7517).

use std::fmt;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair,
};
use aws_lc_rs::{digest, rsa};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::crypto::{der, random};

/// JWS algorithm of access tokens (RFC 7518 §3.1).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum SigningAlgorithm {
    /// ECDSA P-256 with SHA-256: the default.
    Es256,
    /// RSASSA-PKCS1-v1_5 with SHA-256 (RFC 9068 §2.1 requires support).
    Rs256,
}

impl SigningAlgorithm {
    /// Every algorithm, in the order of preference.
    pub const ALL: &[Self] = &[Self::Es256, Self::Rs256];

    /// The algorithm with this registered name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|algorithm| algorithm.name() == name)
    }

    /// Its registered name, the value of `alg`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
        }
    }
}

/// Header `typ` of an access token (RFC 7515 §4.1.9).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TokenType {
    /// `at+jwt`, as RFC 9068 §2.1 requires.
    AccessToken,
    /// `JWT`, for verifiers that refuse `at+jwt`.
    Jwt,
}

impl fmt::Display for SigningAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a signing key cannot be made, read or used.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SigningKeyError {
    /// The generator failed.
    #[error("could not generate a {0} key")]
    Generate(SigningAlgorithm),
    /// The bytes are not a PKCS#8 private key of the algorithm, or it is too short (RFC 7518 §3.3: 2048 bits).
    #[error("the bytes are not a usable {0} private key in PKCS#8")]
    Parse(SigningAlgorithm),
    /// The signature could not be computed.
    #[error("could not sign with a {0} key")]
    Sign(SigningAlgorithm),
}

/// Generates a private key: PKCS#8 in DER, for a Secret of the operator. Wiped on drop.
///
/// # Errors
/// [`SigningKeyError::Generate`]
pub fn generate(algorithm: SigningAlgorithm) -> Result<Zeroizing<Vec<u8>>, SigningKeyError> {
    let failed = |_| SigningKeyError::Generate(algorithm);
    let bytes = match algorithm {
        SigningAlgorithm::Es256 => {
            let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(failed)?;
            key.to_pkcs8v1().map_err(failed)?.as_ref().to_vec()
        }
        SigningAlgorithm::Rs256 => {
            let key = RsaKeyPair::generate(KeySize::Rsa2048).map_err(failed)?;
            let document: Pkcs8V1Der<'_> = rsa::KeyPair::as_der(&key).map_err(failed)?;
            document.as_ref().to_vec()
        }
    };
    Ok(Zeroizing::new(bytes))
}

enum Private {
    Es256(EcdsaKeyPair),
    Rs256(RsaKeyPair),
}

/// A private key, parsed once, with its public half.
pub struct SigningKey {
    private: Private,
    verifier: ParsedPublicKey,
    public: PublicJwk,
    access_token_headers: AccessTokenHeaders,
}

/// The protected headers of access tokens signed with a key, base64url-encoded.
struct AccessTokenHeaders {
    access_token: String,
    jwt: String,
}

impl SigningKey {
    /// Parses a private key.
    ///
    /// # Errors
    /// [`SigningKeyError::Parse`]
    pub fn from_pkcs8(algorithm: SigningAlgorithm, pkcs8: &[u8]) -> Result<Self, SigningKeyError> {
        let failed = SigningKeyError::Parse(algorithm);
        let (private, verifier, key) = match algorithm {
            SigningAlgorithm::Es256 => {
                let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).map_err(|_| failed)?;
                let public = ec_public(key.public_key().as_ref()).ok_or(failed)?;
                let verifier = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.public_key().as_ref());
                (Private::Es256(key), verifier, public)
            }
            SigningAlgorithm::Rs256 => {
                let key = RsaKeyPair::from_pkcs8(pkcs8).map_err(|_| failed)?;
                if key.public_modulus_len() < 256 {
                    return Err(failed);
                }
                let public = rsa_public(key.public_key().as_ref()).ok_or(failed)?;
                let verifier = ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public_key().as_ref());
                (Private::Rs256(key), verifier, public)
            }
        };
        let verifier = verifier.map_err(|_| failed)?;
        let kid = key.thumbprint();
        let access_token_headers =
            AccessTokenHeaders { access_token: header("at+jwt", algorithm, &kid), jwt: header("JWT", algorithm, &kid) };
        let public = PublicJwk { kid, public_key_use: "sig", alg: algorithm, key };
        Ok(Self { private, verifier, public, access_token_headers })
    }

    /// Its algorithm.
    #[must_use]
    pub fn algorithm(&self) -> SigningAlgorithm {
        self.public.alg
    }

    /// Its id: the RFC 7638 thumbprint of the public key.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.public.kid
    }

    /// Its public half.
    #[must_use]
    pub fn public(&self) -> &PublicJwk {
        &self.public
    }

    /// The base64url-encoded protected header of an access token signed with it.
    pub(crate) fn access_token_header(&self, typ: TokenType) -> &str {
        match typ {
            TokenType::AccessToken => &self.access_token_headers.access_token,
            TokenType::Jwt => &self.access_token_headers.jwt,
        }
    }

    /// Whether this is the protected header of an access token signed with it.
    pub(crate) fn writes_access_token_header(&self, header: &[u8]) -> bool {
        let AccessTokenHeaders { access_token, jwt } = &self.access_token_headers;
        [access_token, jwt].into_iter().any(|own| own.as_bytes() == header)
    }

    /// The base64url-encoded protected header of a JWT of another type signed with it.
    pub(crate) fn header(&self, typ: &str) -> String {
        header(typ, self.algorithm(), self.kid())
    }

    /// A signature in the format of JWS (RFC 7518 §3.3, §3.4).
    ///
    /// # Errors
    /// [`SigningKeyError::Sign`]
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SigningKeyError> {
        let failed = |_| SigningKeyError::Sign(self.algorithm());
        match &self.private {
            Private::Es256(key) => Ok(key.sign(&random::system(), message).map_err(failed)?.as_ref().to_vec()),
            Private::Rs256(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random::system(), message, &mut signature).map_err(failed)?;
                Ok(signature)
            }
        }
    }
}

impl SigningKey {
    /// Whether this key made `signature`.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.verifier.verify_sig(message, signature).is_ok()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("alg", &self.public.alg)
            .field("kid", &self.public.kid)
            .finish_non_exhaustive()
    }
}

/// A public key in its published form (RFC 7517 §4).
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct PublicJwk {
    kid: String,
    #[serde(rename = "use")]
    public_key_use: &'static str,
    alg: SigningAlgorithm,
    #[serde(flatten)]
    key: PublicKey,
}

impl PublicJwk {
    /// Its id: the RFC 7638 thumbprint.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The only algorithm of the key.
    #[must_use]
    pub fn algorithm(&self) -> SigningAlgorithm {
        self.alg
    }
}

#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(tag = "kty")]
enum PublicKey {
    #[serde(rename = "EC")]
    Ec { crv: &'static str, x: String, y: String },
    #[serde(rename = "RSA")]
    Rsa { n: String, e: String },
}

impl PublicKey {
    /// RFC 7638 §3: SHA-256 of the required members in lexicographic order.
    fn thumbprint(&self) -> String {
        let members = match self {
            Self::Ec { crv, x, y } => format!(r#"{{"crv":"{crv}","kty":"EC","x":"{x}","y":"{y}"}}"#),
            Self::Rsa { n, e } => format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#),
        };
        URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, members.as_bytes()))
    }
}

/// From an uncompressed point (SEC 1 §2.3.3): 0x04, x, y.
fn ec_public(point: &[u8]) -> Option<PublicKey> {
    let (x, y) = point.strip_prefix(&[4]).filter(|rest| rest.len() == 64)?.split_at_checked(32)?;
    Some(PublicKey::Ec { crv: "P-256", x: URL_SAFE_NO_PAD.encode(x), y: URL_SAFE_NO_PAD.encode(y) })
}

/// From an `RSAPublicKey` (RFC 8017 §A.1.1): the integers n and e, without the zero that DER puts before a high bit.
fn rsa_public(der: &[u8]) -> Option<PublicKey> {
    let mut fields = der::Reader(der::Reader(der).expect(der::SEQUENCE)?);
    let mut integer = || {
        let bytes = fields.expect(der::INTEGER)?;
        Some(URL_SAFE_NO_PAD.encode(bytes.strip_prefix(&[0]).unwrap_or(bytes)))
    };
    Some(PublicKey::Rsa { n: integer()?, e: integer()? })
}

/// Built by hand: no part of it needs escaping.
fn header(typ: &str, algorithm: SigningAlgorithm, kid: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!(r#"{{"typ":"{typ}","alg":"{algorithm}","kid":"{kid}"}}"#))
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

    fn key(algorithm: SigningAlgorithm) -> SigningKey {
        SigningKey::from_pkcs8(algorithm, &generate(algorithm).unwrap()).unwrap()
    }

    #[test]
    fn es256_signatures_verify_with_the_published_point() {
        let key = key(SigningAlgorithm::Es256);
        let jwk = serde_json::to_value(key.public()).unwrap();
        let part = |name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap();
        let point = [&[4][..], &part("x"), &part("y")].concat();
        let signature = key.sign(b"message").unwrap();
        assert_eq!(signature.len(), 64);
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &point).verify(b"message", &signature).unwrap();
        assert!(UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &point).verify(b"massage", &signature).is_err());
    }

    #[test]
    fn rs256_signatures_verify_with_the_published_modulus() {
        let key = key(SigningAlgorithm::Rs256);
        let jwk = serde_json::to_value(key.public()).unwrap();
        let part = |name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap();
        assert_eq!((part("n").len(), part("e")), (256, vec![1, 0, 1]));
        let public = rsa::PublicKeyComponents { n: part("n"), e: part("e") };
        public.verify(&RSA_PKCS1_2048_8192_SHA256, b"message", &key.sign(b"message").unwrap()).unwrap();
    }

    #[test]
    fn k1_a_jwk_contains_public_members_only() {
        for (algorithm, members) in [
            (SigningAlgorithm::Es256, &["alg", "crv", "kid", "kty", "use", "x", "y"][..]),
            (SigningAlgorithm::Rs256, &["alg", "e", "kid", "kty", "n", "use"]),
        ] {
            let jwk = serde_json::to_value(key(algorithm).public()).unwrap();
            let mut names: Vec<&str> = jwk.as_object().unwrap().keys().map(String::as_str).collect();
            names.sort_unstable();
            assert_eq!(names, members);
            assert_eq!((jwk["use"].as_str(), jwk["alg"].as_str()), (Some("sig"), Some(algorithm.name())));
        }
    }

    #[test]
    fn k1_the_key_id_is_the_thumbprint_of_rfc_7638() {
        // The example of RFC 7638 §3.1.
        let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZ\
                 CiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJ\
                 ZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBn\
                 iIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
        let key = PublicKey::Rsa { n: n.replace(' ', ""), e: "AQAB".to_owned() };
        assert_eq!(key.thumbprint(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    }

    #[test]
    fn keys_of_another_algorithm_and_nonsense_are_refused() {
        let rsa = generate(SigningAlgorithm::Rs256).unwrap();
        let failed = SigningKeyError::Parse(SigningAlgorithm::Es256);
        assert_eq!(SigningKey::from_pkcs8(SigningAlgorithm::Es256, &rsa).unwrap_err(), failed);
        assert_eq!(SigningKey::from_pkcs8(SigningAlgorithm::Es256, b"nonsense").unwrap_err(), failed);
    }

    /// A test key, generated with openssl and used nowhere else.
    const RSA_OF_1024_BITS: &str = "\
        MIICeAIBADANBgkqhkiG9w0BAQEFAASCAmIwggJeAgEAAoGBANBX/dqzbTGe2ObhKtLjLIbQVpZbPQjtjZ45DmCywS6y4HHA1YNh\
        I8hpZmtKAShhCla1mpGY3wOm+m/RezlDvMACNk0V21XMnuUgjGVF6TzdZSJWeB/jshvL574ptyF0Qa401CkZZTik7gLBwgzFhmTy\
        FWCojQDVA6wsoqv1abvzAgMBAAECgYEAgYn0QILHJc8KNaNSqQSurrPi4mGgNWjeYL5A/kambo6xloi7OJCxWu6Ny6+bwKt1bixE\
        CrruDqtHkzbAUv6W3/txi0uAAuApDcNErcT2D4vdiBHNFTnl2DhTrhH7PVcNtLPbZWK5+9Q+tHJwPIVX3GZmtc1HJ/DVqzsgegiH\
        W6ECQQD5nzCfp8X2NYTq17chz7JAlh7dpmFXCwxPMrtcCQwrbC0dmOA3NXQBvekWo6cWrRBPY5PqDL4Q5m2xPqxptml1AkEA1arL\
        wzRNA/99opQ7FdOzqbf+rSIEEMrVGKo3EEQ25OXQsWdnwUuYnuZdQtmMH0DbBFSXUVR6AIRNVDCGSWx6xwJAV3KkRxowaLuBEAB4\
        IHkxehzdPUsfSK4PJuOf7XMh90hTWc4Hpm+sbzvHn22/iFsinp1E4TaLk0IWZYSORA5qTQJBAKrQfU+UO1HL6fuUd1vuv/4Zq09s\
        F0X5cbzjL1wgvKXnmByLZ2YfcmbuEXbFBoFhzvY6TjJlz5ckLdH1bRW71LcCQQCAScVjs5Q+DgYODcKcF1SImzDZ+pG4npbGgCxy\
        ez/DafTXVTQ5FwIaWDoV/ac0hdcRLhPYVV08VRa41dd3V4V7";

    #[test]
    fn k1_an_rsa_key_of_less_than_2048_bits_is_refused() {
        let pkcs8 = base64::engine::general_purpose::STANDARD.decode(RSA_OF_1024_BITS).unwrap();
        let refused = SigningKey::from_pkcs8(SigningAlgorithm::Rs256, &pkcs8);
        assert_eq!(refused.err(), Some(SigningKeyError::Parse(SigningAlgorithm::Rs256)));
    }

    #[test]
    fn k6_debug_output_shows_no_private_key() {
        let key = key(SigningAlgorithm::Es256);
        assert_eq!(format!("{key:?}"), format!("SigningKey {{ alg: Es256, kid: {:?}, .. }}", key.kid()));
    }
}
