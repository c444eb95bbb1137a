//! Names that a certificate is made for.

use std::net::IpAddr;

/// Longest DNS name, and longest label of one (RFC 1035 §2.3.4).
const NAME_LENGTH_MAX: usize = 253;
const LABEL_LENGTH_MAX: usize = 63;

/// The text is not such a name.
#[derive(Debug, thiserror::Error)]
#[error("neither a DNS name in ASCII, such as api.example.com or *.example.com, nor an IP address")]
pub(super) struct MalformedName;

/// A DNS name, its first label perhaps a wildcard, or an IP address.
pub(super) fn parse(text: &str) -> Result<String, MalformedName> {
    let host = text.strip_prefix("*.").unwrap_or(text);
    let is_name = text.len() <= NAME_LENGTH_MAX && host.split('.').all(is_label);
    if is_name || text.parse::<IpAddr>().is_ok() { Ok(text.to_owned()) } else { Err(MalformedName) }
}

fn is_label(label: &str) -> bool {
    (1..=LABEL_LENGTH_MAX).contains(&label.len())
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_stand_in_a_certificate_is_a_name() {
        for name in ["localhost", "api.example.com", "*.example.com", "_a.b-c.D", "127.0.0.1", "::1"] {
            assert_eq!(parse(name).unwrap(), name);
        }
        let long = format!("{}.com", "a".repeat(64));
        for text in ["", " ", "a b", "exämple.com", "*", "*.", "a.*.com", "-a.com", "a..com", "a.com.", "[::1]", &long]
        {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}
