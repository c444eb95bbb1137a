//! The syntax of client ids.

/// Every client id matches this pattern, chosen or not: 1 to 128 of the unreserved characters of URIs (RFC 3986 §2.3).
/// None of them has a meaning in a field selector, in Basic authentication or in a header. Client ids are
/// case-sensitive.
pub const PATTERN: &str = "^[A-Za-z0-9._~-]{1,128}$";

/// The longest client id.
pub const LENGTH_MAX: usize = 128;

/// Prefixes of generated secrets and opaque tokens. A client id is public, so a pasted secret must not become one.
pub const RESERVED_PREFIXES: [&str; 2] = ["pst_", "pat_"];

/// Whether the text can be a client id.
#[must_use]
pub fn is_client_id(text: &str) -> bool {
    let is_unreserved = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'~' | b'-');
    (1..=LENGTH_MAX).contains(&text.len())
        && text.bytes().all(is_unreserved)
        && !RESERVED_PREFIXES.iter().any(|prefix| text.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unreserved_characters_are_a_client_id() {
        let longest = "x".repeat(LENGTH_MAX);
        let upper = "3F0C3A52-9D55-4D0E-8B6A-0F1F2A6F5C1E";
        for id in ["a", ".", "..", "~", "-", "_", "billing-sync.prod~1", "x_pst_y", upper, &longest] {
            assert!(is_client_id(id), "{id}");
        }
    }

    #[test]
    fn special_characters_and_secret_prefixes_are_refused_in_a_client_id() {
        let long = "x".repeat(LENGTH_MAX + 1);
        let others = ["", "a,metadata.name=x", "a=b", "a!=b", r"a\b", "a/b", "a:b", "a%b", "a+b", "a b", "a\n", "é"];
        for text in others.into_iter().chain([long.as_str(), "pst_", "pst_k7Qd", "pat_x"]) {
            assert!(!is_client_id(text), "{text}");
        }
    }
}
