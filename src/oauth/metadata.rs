//! Authorization server metadata (RFC 8414 §2), made from what the code can do.

use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::crypto::signing::SigningAlgorithm;
use crate::oauth::credentials::Method;
use crate::oauth::issuer::Issuer;
use crate::oauth::request::GrantType;

/// Canonical path of the token endpoint below the issuer.
pub const TOKEN_PATH: &str = "/oauth2/token";
/// Path of the JWK Set below the issuer.
pub const JWKS_PATH: &str = "/oauth2/jwks";

/// The document. Members that would be empty lists are left out (RFC 8414 §3.2), except `response_types_supported`,
/// which is required.
#[derive(Debug, Serialize)]
struct Metadata<'a> {
    issuer: &'a str,
    token_endpoint: String,
    jwks_uri: String,
    #[serde(skip_serializing_if = "<[_]>::is_empty", serialize_with = "texts")]
    scopes_supported: &'a [Arc<str>],
    response_types_supported: [&'static str; 0],
    grant_types_supported: Vec<&'static str>,
    token_endpoint_auth_methods_supported: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_documentation: Option<&'a str>,
    // There is no authorization endpoint and no id_token: these two are for clients that refuse a document without
    // them (OpenID Connect Discovery §3), and name what access tokens are signed with.
    subject_types_supported: [&'static str; 1],
    id_token_signing_alg_values_supported: &'a [SigningAlgorithm],
}

fn texts<S: Serializer>(texts: &[Arc<str>], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(texts.iter().map(AsRef::<str>::as_ref))
}

/// The metadata document as JSON.
#[must_use]
pub fn document(
    issuer: &Issuer,
    algorithms: &[SigningAlgorithm],
    scopes: &[Arc<str>],
    service_documentation: Option<&str>,
) -> Vec<u8> {
    let metadata = Metadata {
        issuer: issuer.as_str(),
        token_endpoint: issuer.url_of(TOKEN_PATH),
        jwks_uri: issuer.url_of(JWKS_PATH),
        scopes_supported: scopes,
        response_types_supported: [],
        grant_types_supported: GrantType::ALL.iter().map(|grant| grant.name()).collect(),
        token_endpoint_auth_methods_supported: Method::ALL.iter().map(|method| method.name()).collect(),
        service_documentation,
        subject_types_supported: ["public"],
        id_token_signing_alg_values_supported: algorithms,
    };
    serde_json::to_vec(&metadata).unwrap_or_default()
}
