//! Access tokens as compact JWS (RFC 7515 §7.1, RFC 9068).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

use crate::crypto::signing::{SigningKey, SigningKeyError};

/// Why a token could not be made.
#[derive(Debug, thiserror::Error)]
pub enum JwtError {
    /// The claims could not be written as JSON.
    #[error("could not serialise the claims")]
    Claims(#[from] serde_json::Error),
    /// The signature could not be computed.
    #[error("could not sign the token")]
    Sign(#[from] SigningKeyError),
}

/// Signs `claims` as an access token: header `typ: at+jwt`, `alg` and `kid` of the key.
///
/// # Errors
/// [`JwtError`]
pub fn access_token<T: Serialize>(key: &SigningKey, claims: &T) -> Result<String, JwtError> {
    let claims = serde_json::to_vec(claims)?;
    // Header, claims and the longest signature (RSA 2048: 342 characters), so that the text is allocated once.
    let mut token = String::with_capacity(key.access_token_header().len() + claims.len() * 4 / 3 + 350);
    token.push_str(key.access_token_header());
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(&claims, &mut token);
    let signature = key.sign(token.as_bytes())?;
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::signing::{self, SigningAlgorithm};

    #[test]
    fn j1_the_token_is_three_parts_with_the_header_of_rfc_9068() {
        let pkcs8 = signing::generate(SigningAlgorithm::Es256).unwrap();
        let key = SigningKey::from_pkcs8(SigningAlgorithm::Es256, &pkcs8).unwrap();
        let token = access_token(&key, &serde_json::json!({"sub": "x"})).unwrap();
        let parts: Vec<Vec<u8>> = token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap()).collect();
        let header: serde_json::Value = serde_json::from_slice(&parts[0]).unwrap();
        assert_eq!(header, serde_json::json!({"typ": "at+jwt", "alg": "ES256", "kid": key.kid()}));
        assert_eq!(parts[1], br#"{"sub":"x"}"#);
        assert_eq!((parts.len(), parts[2].len()), (3, 64));
    }
}
