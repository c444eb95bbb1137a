//! Where keys are published, and how they are fetched from there.

use std::sync::Arc;

use hyper::header::HeaderValue;
use serde::Deserialize;
use url::{Position, Url};

use super::problem::Problem;
use crate::outbound::{Client, Response};
use crate::util::lenient_json::object;

/// Where keys are published.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Source {
    /// The URL of a JWK Set (RFC 7517 §5), with the keys of a client.
    KeySet(Arc<str>),
    /// An issuer, whose metadata names the URL of its JWK Set (OpenID Connect Discovery §4).
    Issuer(Arc<str>),
}

/// Path of the metadata below an issuer.
const METADATA_PATH: &str = "/.well-known/openid-configuration";
/// Maximum length of `jwks_uri`, as of `spec.auth.jwksUri`.
const URL_LENGTH_MAX: usize = 2_048;

/// What is used of the metadata of an issuer (OpenID Connect Discovery §3).
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: String,
}

impl Source {
    /// The issuer; `None`: the keys are those of a client.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        match self {
            Self::KeySet(_) => None,
            Self::Issuer(issuer) => Some(issuer),
        }
    }

    /// The URL that the Application contains.
    #[must_use]
    pub fn url(&self) -> &str {
        match self {
            Self::KeySet(url) | Self::Issuer(url) => url,
        }
    }

    /// Its host as the operator's allow-list names it: with the port, if it is not 443.
    #[must_use]
    pub fn host(&self) -> String {
        host_of(self.url())
    }

    /// Requests the JWK Set. `etag` is that of the known response.
    pub(super) async fn fetch(&self, client: &Client, etag: Option<&HeaderValue>) -> Result<Response, Problem> {
        let issuer = match self {
            Self::KeySet(url) => return Ok(client.get(url, etag).await?),
            Self::Issuer(issuer) => issuer,
        };
        let metadata = client.get(&format!("{}{METADATA_PATH}", issuer.trim_end_matches('/')), None).await?;
        let url = jwks_uri(&metadata.body.unwrap_or_default(), issuer)?;
        // An `ETag` belongs to one URL, and the metadata may name another one the next time.
        match client.get(&url, None).await {
            Ok(response) => Ok(Response { etag: None, ..response }),
            Err(error) => Err(Problem::KeysOfIssuer { host: host_of(&url), error }),
        }
    }
}

/// The URL of the JWK Set. The metadata must be that of the issuer: another tenant of the same host may have written it.
///
/// # Errors
/// [`Problem::NotMetadata`], [`Problem::OtherIssuer`]
pub fn jwks_uri(metadata: &[u8], issuer: &str) -> Result<String, Problem> {
    let metadata: Metadata = object(metadata).ok_or(Problem::NotMetadata)?;
    if metadata.issuer != issuer {
        return Err(Problem::OtherIssuer);
    }
    if metadata.jwks_uri.len() > URL_LENGTH_MAX { Err(Problem::NotMetadata) } else { Ok(metadata.jwks_uri) }
}

fn host_of(url: &str) -> String {
    let url = Url::parse(url).ok();
    url.map(|url| url[Position::BeforeHost..Position::AfterPort].to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f4_metadata_is_that_of_the_issuer_and_names_a_url() {
        let read = |text: &str| jwks_uri(text.as_bytes(), "https://issuer.example.com");
        let url = "https://keys.example.com/jwks";
        let metadata = |issuer: &str| format!(r#"{{"issuer": "{issuer}", "jwks_uri": "{url}", "response_types": []}}"#);
        assert_eq!(read(&metadata("https://issuer.example.com")), Ok(url.to_owned()));
        for other in ["https://issuer.example.com/", "https://ISSUER.example.com", "https://issuer.example.com/a", ""] {
            assert_eq!(read(&metadata(other)), Err(Problem::OtherIssuer), "{other}");
        }
        let long = metadata("https://issuer.example.com").replace(url, &format!("{url}{}", "a".repeat(2_048)));
        for wrong in [
            "",
            "<html>",
            "{}",
            "[]",
            r#"["https://issuer.example.com", "https://keys.example.com/jwks"]"#,
            r#"{"issuer": "https://issuer.example.com"}"#,
            r#"{"issuer": "https://issuer.example.com", "jwks_uri": 1}"#,
            r#"{"issuer": "https://issuer.example.com", "issuer": "https://issuer.example.com", "jwks_uri": ""}"#,
            &long,
        ] {
            assert_eq!(read(wrong), Err(Problem::NotMetadata), "{wrong:.200}");
        }
    }
}
