//! Authorization server metadata (RFC 8414 §2), derived from the supported features.

use jiff::SignedDuration;
use serde::Serialize;
use url::Url;

use crate::crypto::public_key;
use crate::crypto::signing::SigningAlgorithm;
use crate::oauth::client_auth::Method;
use crate::oauth::issuer::Issuer;
use crate::oauth::mtls_url::MtlsUrl;
use crate::oauth::request::GrantType;
use crate::oauth::scope;

/// Canonical path of the token endpoint below the issuer.
pub const TOKEN_PATH: &str = "/oauth2/token";
/// Path of the introspection endpoint below the issuer.
pub const INTROSPECTION_PATH: &str = "/oauth2/introspect";
/// Path of the revocation endpoint below the issuer.
pub const REVOCATION_PATH: &str = "/oauth2/revoke";
/// Path of userinfo below the issuer.
pub const USERINFO_PATH: &str = "/oauth2/userinfo";
/// Path of the JWK Set below the issuer.
pub const JWKS_PATH: &str = "/oauth2/jwks";

/// The document. Members that would be empty lists are omitted (RFC 8414 §3.2), except `response_types_supported`,
/// which is required.
#[derive(Debug, Serialize)]
struct Metadata<'a> {
    issuer: &'a str,
    token_endpoint: String,
    introspection_endpoint: String,
    revocation_endpoint: String,
    userinfo_endpoint: String,
    jwks_uri: String,
    // Only the scopes that every client has. The scopes of AccessGroups would reveal which APIs exist and what they
    // offer; RFC 8414 §2 allows a server to omit scopes.
    scopes_supported: [&'static str; 3],
    response_types_supported: [&'static str; 0],
    grant_types_supported: Vec<&'static str>,
    token_endpoint_auth_methods_supported: Vec<&'static str>,
    token_endpoint_auth_signing_alg_values_supported: [&'static str; 4],
    introspection_endpoint_auth_methods_supported: Vec<&'static str>,
    introspection_endpoint_auth_signing_alg_values_supported: [&'static str; 4],
    // RFC 9701 §7.
    introspection_signing_alg_values_supported: &'a [SigningAlgorithm],
    revocation_endpoint_auth_methods_supported: Vec<&'static str>,
    revocation_endpoint_auth_signing_alg_values_supported: [&'static str; 4],
    // RFC 9449 §5.1.
    dpop_signing_alg_values_supported: [&'static str; 4],
    // RFC 8705 §3.3; absent means false.
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_client_certificate_bound_access_tokens: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtls_endpoint_aliases: Option<MtlsAliases>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_documentation: Option<&'a str>,
    // There is no authorization endpoint and no id_token. These two members are for clients that refuse a document
    // without them (OpenID Connect Discovery §3). They name the algorithms that sign access tokens.
    subject_types_supported: [&'static str; 1],
    id_token_signing_alg_values_supported: &'a [SigningAlgorithm],
}

/// A text that cannot be `service_documentation`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("it must be an https URL with a host, such as https://docs.example.com (http is for --insecure-http only)")]
pub struct NotDocumentation;

/// Checks a `service_documentation` (RFC 8414 §2).
///
/// # Errors
/// [`NotDocumentation`]
pub fn check_documentation(text: &str, insecure_http: bool) -> Result<(), NotDocumentation> {
    let url = Url::parse(text).map_err(|_| NotDocumentation)?;
    let scheme = text.starts_with("https://") || insecure_http && text.starts_with("http://");
    let host = url.host_str().is_some_and(|host| !host.is_empty());
    let written = text.bytes().all(|byte| byte.is_ascii_graphic());
    if scheme && host && written { Ok(()) } else { Err(NotDocumentation) }
}

/// What the metadata contains of the operator's settings.
#[derive(Clone, Debug, Default)]
pub struct PublishedSettings {
    /// How long public documents may be cached.
    pub max_age: SignedDuration,
    /// `service_documentation`
    pub service_documentation: Option<String>,
    /// Whether clients can present certificates.
    pub certificates: bool,
    /// Whether there are CAs for the certificates of clients.
    pub client_cas: bool,
    /// Whether the keys of other issuers can be fetched.
    pub other_issuers: bool,
    /// Where they present them, if not at the issuer.
    pub mtls_url: Option<MtlsUrl>,
}

impl PublishedSettings {
    /// The methods of client authentication that the settings admit, by name.
    pub(crate) fn methods(&self) -> impl Iterator<Item = &'static str> {
        let is_admitted = |method: &&Method| match method {
            Method::TlsClientAuth => self.certificates && self.client_cas,
            Method::SelfSignedTlsClientAuth => self.certificates,
            Method::FederatedJwt => self.other_issuers,
            _ => true,
        };
        Method::ALL.iter().filter(is_admitted).map(|method| method.name())
    }
}

/// The endpoints where clients present certificates (RFC 8705 §5).
#[derive(Debug, Serialize)]
#[expect(clippy::struct_field_names, reason = "the names are the protocol's own")]
struct MtlsAliases {
    token_endpoint: String,
    introspection_endpoint: String,
    revocation_endpoint: String,
    userinfo_endpoint: String,
}

impl From<&MtlsUrl> for MtlsAliases {
    fn from(url: &MtlsUrl) -> Self {
        Self {
            token_endpoint: url.url_of(TOKEN_PATH),
            introspection_endpoint: url.url_of(INTROSPECTION_PATH),
            revocation_endpoint: url.url_of(REVOCATION_PATH),
            userinfo_endpoint: url.url_of(USERINFO_PATH),
        }
    }
}

/// The metadata document as JSON.
#[must_use]
pub fn document(issuer: &Issuer, algorithms: &[SigningAlgorithm], settings: &PublishedSettings) -> Vec<u8> {
    let methods = || settings.methods().collect::<Vec<_>>();
    let metadata = Metadata {
        issuer: issuer.as_str(),
        token_endpoint: issuer.url_of(TOKEN_PATH),
        introspection_endpoint: issuer.url_of(INTROSPECTION_PATH),
        revocation_endpoint: issuer.url_of(REVOCATION_PATH),
        userinfo_endpoint: issuer.url_of(USERINFO_PATH),
        jwks_uri: issuer.url_of(JWKS_PATH),
        scopes_supported: scope::OIDC_SCOPES,
        response_types_supported: [],
        grant_types_supported: GrantType::ALL.iter().map(|grant| grant.name()).collect(),
        token_endpoint_auth_methods_supported: methods(),
        token_endpoint_auth_signing_alg_values_supported: public_key::ALGORITHMS,
        introspection_endpoint_auth_methods_supported: methods(),
        introspection_endpoint_auth_signing_alg_values_supported: public_key::ALGORITHMS,
        introspection_signing_alg_values_supported: algorithms,
        revocation_endpoint_auth_methods_supported: methods(),
        revocation_endpoint_auth_signing_alg_values_supported: public_key::ALGORITHMS,
        dpop_signing_alg_values_supported: public_key::ALGORITHMS,
        tls_client_certificate_bound_access_tokens: settings.certificates.then_some(true),
        mtls_endpoint_aliases: settings.mtls_url.as_ref().map(MtlsAliases::from),
        service_documentation: settings.service_documentation.as_deref(),
        subject_types_supported: ["public"],
        id_token_signing_alg_values_supported: algorithms,
    };
    serde_json::to_vec(&metadata).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d4_a_method_is_listed_only_if_the_settings_admit_it() {
        let methods = |certificates, client_cas, other_issuers| {
            let settings =
                PublishedSettings { certificates, client_cas, other_issuers, ..PublishedSettings::default() };
            settings.methods().filter(|name| name.contains("tls") || *name == "federated_jwt").collect::<Vec<_>>()
        };
        assert!(methods(false, true, false).is_empty());
        assert_eq!(methods(true, false, false), ["self_signed_tls_client_auth"]);
        assert_eq!(methods(true, true, false), ["tls_client_auth", "self_signed_tls_client_auth"]);
        assert_eq!(methods(false, false, true), ["federated_jwt"]);
    }
}
