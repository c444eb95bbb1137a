//! The issuer identifier and the URLs under it.

use std::fmt;

use url::Url;

/// An issuer identifier (RFC 8414 §2), kept byte for byte as configured: clients compare it as a string.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Issuer {
    text: String,
    path: String,
}

/// Why a text cannot be an issuer identifier.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum IssuerError {
    /// Not an absolute URL with a host.
    #[error("the issuer must be an absolute URL with a host, such as https://postern.example.com")]
    NotAUrl,
    /// Plain http without the switch that allows it.
    #[error("the issuer must be an https URL (http is for --insecure-http only)")]
    NotHttps,
    /// A query, a fragment or user information.
    #[error("the issuer must have no query, no fragment and no user information")]
    Extra,
    /// A path with characters that clients and proxies encode in different ways.
    #[error("the path of the issuer may hold letters, digits and - . _ ~ only, without empty or dot segments")]
    Path,
}

impl Issuer {
    /// Checks an issuer identifier.
    ///
    /// # Errors
    /// [`IssuerError`]
    pub fn parse(text: &str, insecure_http: bool) -> Result<Self, IssuerError> {
        let url = Url::parse(text).map_err(|_| IssuerError::NotAUrl)?;
        let https = text.starts_with("https://");
        if !https && !text.starts_with("http://") || url.host_str().is_none_or(str::is_empty) {
            return Err(IssuerError::NotAUrl);
        }
        if !https && !insecure_http {
            return Err(IssuerError::NotHttps);
        }
        let user = !url.username().is_empty() || url.password().is_some();
        if user || text.contains(['?', '#', '@', '\\']) || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(IssuerError::Extra);
        }
        // The text as configured: `url` resolves dot segments.
        let path = text.splitn(4, '/').nth(3).unwrap_or_default();
        let path = path.strip_suffix('/').unwrap_or(path);
        let plain = |segment: &str| {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
            !segment.is_empty() && segment != "." && segment != ".." && segment.bytes().all(allowed)
        };
        if !path.is_empty() && !path.split('/').all(plain) {
            return Err(IssuerError::Path);
        }
        let path = if path.is_empty() { String::new() } else { format!("/{path}") };
        Ok(Self { text: text.to_owned(), path })
    }

    /// The identifier, as configured.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its path without a trailing slash: empty, or `/a/b`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether this is its host, with the port unless it is that of the scheme: the header Host of a request to it (RFC
    /// 9110 §7.2).
    #[must_use]
    pub fn has_authority(&self, authority: &str) -> bool {
        let scheme = self.text.split(':').next().unwrap_or_default();
        let of = |url: &Url| Some((url.host_str()?.to_owned(), url.port_or_known_default()?));
        let own = Url::parse(&self.text).ok().as_ref().and_then(of);
        let is_plain = !authority.contains(['/', '?', '#', '@', '\\']);
        let named = Url::parse(&format!("{scheme}://{authority}/")).ok().filter(|_| is_plain);
        own.is_some() && own == named.as_ref().and_then(of)
    }

    /// The URL of an endpoint under the issuer. `path` starts with a slash.
    #[must_use]
    pub fn url_of(&self, path: &str) -> String {
        format!("{}{path}", self.text.strip_suffix('/').unwrap_or(&self.text))
    }
}

impl fmt::Display for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d2_the_issuer_stays_byte_for_byte_what_was_configured() {
        for (text, path, token) in [
            ("https://Postern.example.com", "", "https://Postern.example.com/oauth2/token"),
            ("https://postern.example.com/", "", "https://postern.example.com/oauth2/token"),
            ("https://postern.example.com:8443/a/b", "/a/b", "https://postern.example.com:8443/a/b/oauth2/token"),
            ("https://[::1]:8443/a/", "/a", "https://[::1]:8443/a/oauth2/token"),
        ] {
            let issuer = Issuer::parse(text, false).unwrap();
            assert_eq!((issuer.as_str(), issuer.path()), (text, path));
            assert_eq!(issuer.url_of("/oauth2/token"), token);
        }
    }

    #[test]
    fn d2_an_issuer_that_is_not_https_or_has_a_query_or_fragment_is_refused() {
        for (text, error) in [
            ("http://postern.example.com", IssuerError::NotHttps),
            ("postern.example.com", IssuerError::NotAUrl),
            ("ftp://postern.example.com", IssuerError::NotAUrl),
            ("https://", IssuerError::NotAUrl),
            ("", IssuerError::NotAUrl),
            ("https://postern.example.com?", IssuerError::Extra),
            ("https://postern.example.com?a=b", IssuerError::Extra),
            ("https://postern.example.com/#", IssuerError::Extra),
            ("https://user:pw@postern.example.com", IssuerError::Extra),
            ("https://postern.example.com/ ", IssuerError::Extra),
            ("https://postern.example.com/a//b", IssuerError::Path),
            ("https://postern.example.com/a/../b", IssuerError::Path),
            ("https://postern.example.com/%7Eb", IssuerError::Path),
            ("https://postern.example.com/{a}", IssuerError::Path),
        ] {
            assert_eq!(Issuer::parse(text, false), Err(error), "{text}");
        }
    }

    #[test]
    fn x1_the_authority_of_an_issuer_has_its_port_unless_that_is_the_default() {
        for (issuer, same, other) in [
            ("https://a.example.com/x", "A.example.com", "a.example.com:80"),
            ("https://a.example.com", "a.example.com:443", "b.example.com"),
            ("https://a.example.com:8444", "a.example.com:8444", "a.example.com"),
            ("https://[::1]:8444", "[::1]:8444", "[::2]:8444"),
            ("https://a.example.com", "a.example.com", "x@a.example.com"),
            ("https://a.example.com", "a.example.com", "a.example.com/"),
            ("https://a.example.com", "a.example.com", ""),
        ] {
            let issuer = Issuer::parse(issuer, false).unwrap();
            assert!(issuer.has_authority(same) && !issuer.has_authority(other), "{issuer}");
        }
    }

    #[test]
    fn plain_http_needs_the_switch() {
        assert!(Issuer::parse("http://127.0.0.1:8080", true).is_ok());
    }
}
