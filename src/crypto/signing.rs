//! Keys that sign access tokens, kept parsed, and their public halves as JWKs (RFC 7517).

mod public_jwk;

use std::fmt;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
    ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RSA_PSS_2048_8192_SHA256, RSA_PSS_SHA256,
    RsaEncoding, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::crypto::random;

pub use public_jwk::PublicJwk;
use public_jwk::{ec_public, ed25519_public, rsa_public};

/// JWS algorithm of access tokens (RFC 7518 §3.1, RFC 8037 §3.1).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum SigningAlgorithm {
    /// ECDSA P-256 with SHA-256: the default.
    Es256,
    /// RSASSA-PKCS1-v1_5 with SHA-256 (RFC 9068 §2.1 requires support).
    Rs256,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
}

impl SigningAlgorithm {
    /// Every algorithm, in the order of preference.
    pub const ALL: &[Self] = &[Self::Es256, Self::Rs256, Self::Ps256, Self::EdDsa];

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
            Self::Ps256 => "PS256",
            Self::EdDsa => "EdDSA",
        }
    }

    /// Whether a signature takes so long that it is computed on another thread.
    #[must_use]
    pub fn is_slow(self) -> bool {
        matches!(self, Self::Rs256 | Self::Ps256)
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
        SigningAlgorithm::EdDsa => {
            let key = Ed25519KeyPair::generate().map_err(failed)?;
            key.to_pkcs8v1().map_err(failed)?.as_ref().to_vec()
        }
        SigningAlgorithm::Rs256 | SigningAlgorithm::Ps256 => {
            let key = RsaKeyPair::generate(KeySize::Rsa2048).map_err(failed)?;
            let document: Pkcs8V1Der<'_> = rsa::KeyPair::as_der(&key).map_err(failed)?;
            document.as_ref().to_vec()
        }
    };
    Ok(Zeroizing::new(bytes))
}

enum Private {
    Ec(EcdsaKeyPair),
    Rsa(RsaKeyPair),
    Ed25519(Ed25519KeyPair),
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
                (Private::Ec(key), verifier, public)
            }
            SigningAlgorithm::EdDsa => {
                // The private key alone determines the public one (RFC 8032 §5.1.5), so there is nothing to check.
                let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8).map_err(|_| failed)?;
                let public = ed25519_public(key.public_key().as_ref()).ok_or(failed)?;
                let verifier = ParsedPublicKey::new(&ED25519, key.public_key().as_ref());
                (Private::Ed25519(key), verifier, public)
            }
            SigningAlgorithm::Rs256 | SigningAlgorithm::Ps256 => {
                let key = RsaKeyPair::from_pkcs8(pkcs8).map_err(|_| failed)?;
                if key.public_modulus_len() < 256 {
                    return Err(failed);
                }
                let public = rsa_public(key.public_key().as_ref()).ok_or(failed)?;
                let verifying = if algorithm == SigningAlgorithm::Ps256 {
                    &RSA_PSS_2048_8192_SHA256
                } else {
                    &RSA_PKCS1_2048_8192_SHA256
                };
                let verifier = ParsedPublicKey::new(verifying, key.public_key().as_ref());
                (Private::Rsa(key), verifier, public)
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

    /// A signature in the format of JWS (RFC 7518 §3.3 to §3.5, RFC 8037 §3.1).
    ///
    /// # Errors
    /// [`SigningKeyError::Sign`]
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SigningKeyError> {
        let failed = |_| SigningKeyError::Sign(self.algorithm());
        match &self.private {
            Private::Ed25519(key) => Ok(key.sign(message).as_ref().to_vec()),
            Private::Ec(key) => Ok(key.sign(&random::system(), message).map_err(failed)?.as_ref().to_vec()),
            Private::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                let padding: &dyn RsaEncoding =
                    if self.algorithm() == SigningAlgorithm::Ps256 { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
                key.sign(padding, &random::system(), message, &mut signature).map_err(failed)?;
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

/// Built by hand: no part of it needs escaping.
fn header(typ: &str, algorithm: SigningAlgorithm, kid: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!(r#"{{"typ":"{typ}","alg":"{algorithm}","kid":"{kid}"}}"#))
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::signature::UnparsedPublicKey;

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
    fn ps256_signatures_verify_with_pss_alone() {
        let key = key(SigningAlgorithm::Ps256);
        let jwk = serde_json::to_value(key.public()).unwrap();
        let part = |name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap();
        let public = rsa::PublicKeyComponents { n: part("n"), e: part("e") };
        let signature = key.sign(b"message").unwrap();
        public.verify(&RSA_PSS_2048_8192_SHA256, b"message", &signature).unwrap();
        assert!(public.verify(&RSA_PKCS1_2048_8192_SHA256, b"message", &signature).is_err());
        assert!(key.verifies(b"message", &signature) && !key.verifies(b"massage", &signature));
    }

    #[test]
    fn eddsa_signatures_verify_with_the_published_key() {
        let key = key(SigningAlgorithm::EdDsa);
        let jwk = serde_json::to_value(key.public()).unwrap();
        let public = URL_SAFE_NO_PAD.decode(jwk["x"].as_str().unwrap()).unwrap();
        let signature = key.sign(b"message").unwrap();
        UnparsedPublicKey::new(&ED25519, &public).verify(b"message", &signature).unwrap();
        assert!(key.verifies(b"message", &signature) && !key.verifies(b"massage", &signature));
    }

    #[test]
    fn k1_a_jwk_contains_public_members_only() {
        for (algorithm, members) in [
            (SigningAlgorithm::Es256, &["alg", "crv", "kid", "kty", "use", "x", "y"][..]),
            (SigningAlgorithm::Rs256, &["alg", "e", "kid", "kty", "n", "use"]),
            (SigningAlgorithm::Ps256, &["alg", "e", "kid", "kty", "n", "use"]),
            (SigningAlgorithm::EdDsa, &["alg", "crv", "kid", "kty", "use", "x"]),
        ] {
            let jwk = serde_json::to_value(key(algorithm).public()).unwrap();
            let mut names: Vec<&str> = jwk.as_object().unwrap().keys().map(String::as_str).collect();
            names.sort_unstable();
            assert_eq!(names, members);
            assert_eq!((jwk["use"].as_str(), jwk["alg"].as_str()), (Some("sig"), Some(algorithm.name())));
        }
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
