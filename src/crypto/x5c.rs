//! The certificate in a JWK (`x5c`, RFC 7517 §4.7).

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::PublicKey;

use crate::crypto::client_certificate::{CertificateId, Thumbprint};

/// Why `x5c` identifies no certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum UnusableX5c {
    /// The first element is not a certificate in base64.
    #[error("has an x5c whose first element is not a certificate in base64 (RFC 7517 §4.7)")]
    Malformed,
    /// The certificate has another key than the JWK.
    #[error("has an x5c with the certificate of another key")]
    OtherKey,
}

/// The first certificate of `x5c`, which must have the key of the JWK. `None`: there is no `x5c`.
///
/// # Errors
/// [`UnusableX5c`]
pub fn certificate(jwk: &Value) -> Option<Result<CertificateId, UnusableX5c>> {
    let first = jwk.get("x5c")?.as_array().and_then(|chain| chain.first()).and_then(Value::as_str);
    Some(read(first, jwk))
}

fn read(text: Option<&str>, jwk: &Value) -> Result<CertificateId, UnusableX5c> {
    let der = text.and_then(|text| STANDARD.decode(text).ok()).ok_or(UnusableX5c::Malformed)?;
    let (rest, certificate) = X509Certificate::from_der(&der).map_err(|_| UnusableX5c::Malformed)?;
    if !rest.is_empty() {
        return Err(UnusableX5c::Malformed);
    }
    let member = |name| URL_SAFE_NO_PAD.decode(jwk.get(name).and_then(Value::as_str).unwrap_or_default()).ok();
    let public_key = certificate.public_key();
    let has_key = match public_key.parsed() {
        Ok(PublicKey::RSA(key)) => {
            // DER has a zero before a number whose first bit is set.
            let number = |bytes: &[u8]| bytes.iter().copied().skip_while(|byte| *byte == 0).collect::<Vec<_>>();
            member("n") == Some(number(key.modulus)) && member("e") == Some(number(key.exponent))
        }
        Ok(PublicKey::EC(point)) => {
            member("x").zip(member("y")).is_some_and(|(x, y)| point.data() == [&[4][..], &x, &y].concat())
        }
        // Ed25519.
        Ok(PublicKey::Unknown(key)) => member("x").is_some_and(|x| !x.is_empty() && x == key),
        _ => false,
    };
    if has_key { Ok(CertificateId::Thumbprint(Thumbprint::of(&der))) } else { Err(UnusableX5c::OtherKey) }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, PublicKeyData as _};
    use serde_json::json;

    use super::*;

    /// The JWK of a key pair, with the certificate of another one.
    fn jwk(key: &KeyPair, certified: &KeyPair) -> (Value, Vec<u8>) {
        let certificate = CertificateParams::default().self_signed(certified).unwrap();
        let mut jwk = if key.algorithm() == &rcgen::PKCS_ED25519 {
            json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(key.der_bytes())})
        } else {
            let (x, y) = key.der_bytes()[1..].split_at(32);
            json!({"kty": "EC", "crv": "P-256", "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y)})
        };
        jwk["x5c"] = json!([STANDARD.encode(certificate.der())]);
        (jwk, certificate.der().to_vec())
    }

    #[test]
    fn a12_the_certificate_of_a_jwk_has_its_key() {
        for algorithm in [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ED25519] {
            let [key, other] = [(); 2].map(|()| KeyPair::generate_for(algorithm).unwrap());
            let (good, der) = jwk(&key, &key);
            assert_eq!(certificate(&good), Some(Ok(CertificateId::Thumbprint(Thumbprint::of(&der)))));
            assert_eq!(certificate(&jwk(&key, &other).0), Some(Err(UnusableX5c::OtherKey)));
        }
    }

    #[test]
    fn a12_what_is_no_certificate_is_refused() {
        assert_eq!(certificate(&json!({"kty": "EC"})), None);
        for x5c in [json!([]), json!(["%"]), json!(["AAAA"]), json!("AAAA"), json!([1])] {
            assert_eq!(certificate(&json!({"x5c": x5c})), Some(Err(UnusableX5c::Malformed)), "{x5c}");
        }
    }
}
