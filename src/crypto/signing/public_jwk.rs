//! The published half of a signing key, as a JWK (RFC 7517).

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

use super::SigningAlgorithm;
use crate::crypto::der;

/// A public key in its published form (RFC 7517 §4).
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct PublicJwk {
    pub(super) kid: String,
    #[serde(rename = "use")]
    pub(super) public_key_use: &'static str,
    pub(super) alg: SigningAlgorithm,
    #[serde(flatten)]
    pub(super) key: PublicKey,
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
pub(super) enum PublicKey {
    #[serde(rename = "EC")]
    Ec { crv: &'static str, x: String, y: String },
    #[serde(rename = "RSA")]
    Rsa { n: String, e: String },
    /// RFC 8037 §2.
    #[serde(rename = "OKP")]
    Okp { crv: &'static str, x: String },
}

impl PublicKey {
    /// RFC 7638 §3: SHA-256 of the required members in lexicographic order.
    pub(super) fn thumbprint(&self) -> String {
        let members = match self {
            Self::Ec { crv, x, y } => format!(r#"{{"crv":"{crv}","kty":"EC","x":"{x}","y":"{y}"}}"#),
            // RFC 8037 §2.
            Self::Okp { crv, x } => format!(r#"{{"crv":"{crv}","kty":"OKP","x":"{x}"}}"#),
            Self::Rsa { n, e } => format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#),
        };
        URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, members.as_bytes()))
    }
}

/// From an uncompressed point (SEC 1 §2.3.3): 0x04, x, y.
pub(super) fn ec_public(point: &[u8]) -> Option<PublicKey> {
    let (x, y) = point.strip_prefix(&[4]).filter(|rest| rest.len() == 64)?.split_at_checked(32)?;
    Some(PublicKey::Ec { crv: "P-256", x: URL_SAFE_NO_PAD.encode(x), y: URL_SAFE_NO_PAD.encode(y) })
}

/// From the 32 bytes of an Ed25519 key (RFC 8032 §5.1.5).
pub(super) fn ed25519_public(key: &[u8]) -> Option<PublicKey> {
    (key.len() == 32).then(|| PublicKey::Okp { crv: "Ed25519", x: URL_SAFE_NO_PAD.encode(key) })
}

/// From an `RSAPublicKey` (RFC 8017 §A.1.1): the integers n and e, without the zero that DER puts before a high bit.
pub(super) fn rsa_public(der: &[u8]) -> Option<PublicKey> {
    let mut fields = der::Reader(der::Reader(der).expect(der::SEQUENCE)?);
    let mut integer = || {
        let bytes = fields.expect(der::INTEGER)?;
        Some(URL_SAFE_NO_PAD.encode(bytes.strip_prefix(&[0]).unwrap_or(bytes)))
    };
    Some(PublicKey::Rsa { n: integer()?, e: integer()? })
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn k1_the_key_id_of_an_ed25519_key_is_the_thumbprint_of_rfc_8037() {
        // The example of RFC 8037 Appendix A.3.
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo".to_owned();
        let key = PublicKey::Okp { crv: "Ed25519", x };
        assert_eq!(key.thumbprint(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }
}
