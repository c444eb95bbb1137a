//! The kind of credential, and the key pairs that Postern generates.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a ClientSecret is.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum CredentialType {
    /// A value that the client sends.
    #[default]
    SharedSecret,
    /// A key pair. The client signs assertions with the private key (private_key_jwt); Postern stores the public key only.
    PrivateKey,
}

impl CredentialType {
    /// Every type.
    pub const ALL: [Self; 2] = [Self::SharedSecret, Self::PrivateKey];
}

/// The key pairs of a ClientSecret of the type PrivateKey.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[x_kube(validation = Rule::new("!has(self.bits) || (has(self.algorithm) && self.algorithm in ['RS256', 'PS256'])")
    .message("bits is the size of an RSA key: set algorithm to RS256 or PS256, or remove bits")
    .field_path(".bits"))]
#[x_kube(validation = Rule::new("!has(self.bits) || self.bits in [2048, 3072, 4096]")
    .message("bits must be 2048, 3072 or 4096")
    .field_path(".bits"))]
pub struct PrivateKey {
    /// Algorithm of the client's signatures (RFC 7518 §3.1). A change applies from the next version on. Default: ES256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<PrivateKeyAlgorithm>,
    /// Size of an RSA key: 2048, 3072 or 4096. A change applies from the next version on. Default: 2048.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bits: Option<i32>,
}

/// JWS algorithm of a key pair.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum PrivateKeyAlgorithm {
    /// ECDSA on P-256 with SHA-256.
    #[default]
    #[serde(rename = "ES256")]
    Es256,
    /// RSASSA-PKCS1-v1_5 with SHA-256, for libraries without support for ES256.
    #[serde(rename = "RS256")]
    Rs256,
    /// RSASSA-PSS with SHA-256.
    #[serde(rename = "PS256")]
    Ps256,
    /// Ed25519 (RFC 8037).
    #[serde(rename = "EdDSA")]
    EdDsa,
}
