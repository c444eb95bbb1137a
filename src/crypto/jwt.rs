//! Access tokens as compact JWS (RFC 7515 §7.1, RFC 9068).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

use crate::crypto::keyset::JwkSet;
use crate::crypto::signing::{SigningKey, SigningKeyError, TokenType};

/// Why a token could not be made.
#[derive(Debug, thiserror::Error)]
pub enum JwtError {
    /// The claims could not be serialised as JSON.
    #[error("could not serialise the claims")]
    Claims(#[from] serde_json::Error),
    /// The signature could not be computed.
    #[error("could not sign the token")]
    Sign(#[from] SigningKeyError),
}

/// Size of usual claims as JSON in bytes, so that one allocation suffices.
const CLAIMS_LEN: usize = 768;

/// `claims` as an access token: the requested header `typ`, and `alg` and `kid` of the signing key.
///
/// # Errors
/// [`JwtError::Claims`]
pub fn access_token<T: Serialize>(key: &SigningKey, typ: TokenType, claims: &T) -> Result<UnsignedJwt, JwtError> {
    unsigned(key.access_token_header(typ), claims)
}

/// `claims` as an introspection response (RFC 9701 §5).
///
/// # Errors
/// [`JwtError::Claims`]
pub fn introspection_response<T: Serialize>(key: &SigningKey, claims: &T) -> Result<UnsignedJwt, JwtError> {
    unsigned(&key.header("token-introspection+jwt"), claims)
}

/// A JWT without its signature.
#[derive(Debug)]
pub struct UnsignedJwt(String);

impl UnsignedJwt {
    /// The JWT, signed with the key whose header it has.
    ///
    /// # Errors
    /// [`JwtError::Sign`]
    pub fn sign(self, key: &SigningKey) -> Result<String, JwtError> {
        let Self(mut token) = self;
        let signature = key.sign(token.as_bytes())?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }
}

fn unsigned<T: Serialize>(header: &str, claims: &T) -> Result<UnsignedJwt, JwtError> {
    let mut json = Vec::with_capacity(CLAIMS_LEN);
    serde_json::to_writer(&mut json, claims)?;
    // Header, claims and the longest signature (RSA 2048: 342 characters), so that one allocation suffices.
    let mut token = String::with_capacity(header.len() + json.len() * 4 / 3 + 350);
    token.push_str(header);
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(&json, &mut token);
    Ok(UnsignedJwt(token))
}

/// Why a text is not an access token signed by one of our keys.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidToken {
    /// No key of the installation writes this header.
    #[error("the header is not that of an access token issued by Postern")]
    Header,
    /// The signature is missing, malformed or wrong.
    #[error("the signature is wrong")]
    Signature,
}

/// The claims, as JSON, of an access token that one of these keys signed. The claims are not validated.
///
/// The header is not parsed, but compared with the header that each key writes. So `kid`, `alg` and `typ` are correct
/// together or not at all: no other algorithm, no other kind of JWT and no `crit` is accepted, and a key that is no
/// longer published verifies nothing.
///
/// # Errors
/// [`InvalidToken`]
pub fn verify_access_token(keys: &JwkSet, token: &[u8]) -> Result<Vec<u8>, InvalidToken> {
    let dots = |byte: &u8| *byte == b'.';
    let mut parts = token.splitn(3, dots);
    let (header, claims) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let signature = parts.next().unwrap_or_default();
    let key = keys.keys().find(|key| key.writes_access_token_header(header)).ok_or(InvalidToken::Header)?;
    let signed = token.get(..header.len() + 1 + claims.len()).ok_or(InvalidToken::Signature)?;
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| InvalidToken::Signature)?;
    if !keys.is_verified(token, || key.verifies(signed, &signature)) {
        return Err(InvalidToken::Signature);
    }
    URL_SAFE_NO_PAD.decode(claims).map_err(|_| InvalidToken::Signature)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::crypto::signing::{self, SigningAlgorithm};

    fn key(algorithm: SigningAlgorithm) -> Arc<SigningKey> {
        Arc::new(SigningKey::from_pkcs8(algorithm, &signing::generate(algorithm).unwrap()).unwrap())
    }

    fn signed(key: &SigningKey) -> String {
        signed_as(TokenType::AccessToken, key)
    }

    fn signed_as(typ: TokenType, key: &SigningKey) -> String {
        access_token(key, typ, &serde_json::json!({"sub": "x"})).unwrap().sign(key).unwrap()
    }

    #[test]
    fn a_token_signed_with_a_key_of_the_set_is_verified() {
        let keys = [SigningAlgorithm::Es256, SigningAlgorithm::Rs256, SigningAlgorithm::Es256].map(key);
        let set = JwkSet::new(keys.clone());
        for key in &keys {
            for typ in [TokenType::AccessToken, TokenType::Jwt] {
                let token = signed_as(typ, key);
                assert_eq!(verify_access_token(&set, token.as_bytes()), Ok(br#"{"sub":"x"}"#.to_vec()));
            }
        }
    }

    #[test]
    fn a_token_that_is_changed_or_cut_anywhere_is_invalid() {
        for algorithm in SigningAlgorithm::ALL.iter().copied() {
            let key = key(algorithm);
            let set = JwkSet::new([key.clone()]);
            let token = signed(&key).into_bytes();
            for at in 0..token.len() {
                let mut changed = token.clone();
                changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
                assert!(verify_access_token(&set, &changed).is_err(), "byte {at}");
                assert!(verify_access_token(&set, &token[..at]).is_err(), "cut at {at}");
            }
            for more in [&b"."[..], b"A", b"=", b" ", b".A"] {
                assert!(verify_access_token(&set, &[&token, more].concat()).is_err());
            }
        }
    }

    #[test]
    fn a_token_with_another_key_or_another_header_is_invalid() {
        let (ours, another) = (key(SigningAlgorithm::Es256), key(SigningAlgorithm::Es256));
        let set = JwkSet::new([ours.clone()]);
        let foreign = signed(&another);
        assert_eq!(verify_access_token(&set, foreign.as_bytes()), Err(InvalidToken::Header));
        let kid = ours.kid();
        for header in [
            format!(r#"{{"typ":"jwt","alg":"ES256","kid":"{kid}"}}"#),
            format!(r#"{{"typ":"token-introspection+jwt","alg":"ES256","kid":"{kid}"}}"#),
            format!(r#"{{"typ":"JWT","alg":"none","kid":"{kid}"}}"#),
            format!(r#"{{"alg":"ES256","kid":"{kid}"}}"#),
            format!(r#"{{"typ":"at+jwt","alg":"none","kid":"{kid}"}}"#),
            format!(r#"{{"typ":"at+jwt","alg":"HS256","kid":"{kid}"}}"#),
            format!(r#"{{"typ":"at+jwt","alg":"ES256","kid":"{kid}","crit":["x"]}}"#),
        ] {
            let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(r#"{"sub":"x"}"#));
            let signature = URL_SAFE_NO_PAD.encode(ours.sign(signed.as_bytes()).unwrap());
            let token = format!("{signed}.{signature}");
            assert_eq!(verify_access_token(&set, token.as_bytes()), Err(InvalidToken::Header), "{token}");
        }
        // The header of one of our keys, and the signature of another key.
        let claims = foreign.split_once('.').unwrap().1;
        let mixed = format!("{}.{claims}", ours.access_token_header(TokenType::AccessToken));
        assert_eq!(verify_access_token(&set, mixed.as_bytes()), Err(InvalidToken::Signature));
        assert_eq!(verify_access_token(&JwkSet::new([]), foreign.as_bytes()), Err(InvalidToken::Header));
    }

    #[test]
    fn j1_the_token_is_three_parts_with_the_header_of_rfc_9068() {
        let pkcs8 = signing::generate(SigningAlgorithm::Es256).unwrap();
        let key = SigningKey::from_pkcs8(SigningAlgorithm::Es256, &pkcs8).unwrap();
        let token = signed(&key);
        let parts: Vec<Vec<u8>> = token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap()).collect();
        let header: serde_json::Value = serde_json::from_slice(&parts[0]).unwrap();
        assert_eq!(header, serde_json::json!({"typ": "at+jwt", "alg": "ES256", "kid": key.kid()}));
        assert_eq!(parts[1], br#"{"sub":"x"}"#);
        assert_eq!((parts.len(), parts[2].len()), (3, 64));
    }
}
