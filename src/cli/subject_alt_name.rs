//! Names that a certificate is made for.

use rustls::pki_types::ServerName;

/// The text is not a valid name.
#[derive(Debug, thiserror::Error)]
#[error("neither a DNS name in ASCII, such as api.example.com or *.example.com, nor an IP address")]
pub(super) struct MalformedName;

/// A DNS name, with an optional wildcard as its first label, or an IP address.
pub(super) fn parse(text: &str) -> Result<String, MalformedName> {
    let host = text.strip_prefix("*.").unwrap_or(text);
    let is_whole = host.len() == text.len();
    match ServerName::try_from(host) {
        // Names in a certificate have no trailing dot.
        Ok(ServerName::DnsName(_)) if !host.ends_with('.') => Ok(text.to_owned()),
        Ok(ServerName::IpAddress(_)) if is_whole => Ok(text.to_owned()),
        _ => Err(MalformedName),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_a_certificate_can_contain_are_accepted() {
        for name in ["localhost", "api.example.com", "*.example.com", "_a.b-c.D", "127.0.0.1", "::1"] {
            assert_eq!(parse(name).unwrap(), name);
        }
        let long = format!("{}.com", "a".repeat(64));
        for text in [
            "",
            " ",
            "a b",
            "exämple.com",
            "*",
            "*.",
            "a.*.com",
            "-a.com",
            "a..com",
            "a.com.",
            "[::1]",
            "*.127.0.0.1",
            &long,
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}
