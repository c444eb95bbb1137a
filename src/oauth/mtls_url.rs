//! The base URL at which clients present certificates (RFC 8705 §5).

use std::str::FromStr;

use crate::oauth::issuer::Issuer;

/// An https URL, to which the paths of the endpoint are appended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MtlsUrl(Issuer);

/// A text that cannot be that URL.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("it must be an https URL with a host and without query, such as https://mtls.postern.example.com")]
pub struct NotMtlsUrl;

/// By the rules of an issuer identifier with https.
impl FromStr for MtlsUrl {
    type Err = NotMtlsUrl;

    fn from_str(text: &str) -> Result<Self, NotMtlsUrl> {
        Issuer::parse(text, false).map(Self).map_err(|_| NotMtlsUrl)
    }
}

impl MtlsUrl {
    /// The URL to which the paths are appended.
    #[must_use]
    pub fn base(&self) -> &Issuer {
        &self.0
    }

    /// The URL of a path.
    #[must_use]
    pub fn url_of(&self, path: &str) -> String {
        self.0.url_of(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a13_the_url_is_https_and_the_paths_of_the_endpoint_follow_it() {
        for (url, token) in [
            ("https://mtls.example.com", "https://mtls.example.com/oauth2/token"),
            ("https://example.com:8444/a/", "https://example.com:8444/a/oauth2/token"),
        ] {
            assert_eq!(url.parse::<MtlsUrl>().unwrap().url_of("/oauth2/token"), token);
        }
        for url in ["http://mtls.example.com", "mtls.example.com", "https://", "https://a.example.com/?a", ""] {
            assert_eq!(url.parse::<MtlsUrl>(), Err(NotMtlsUrl), "{url}");
        }
    }
}
