//! The request that a proof is for: `htm` and `htu` (RFC 9449 §4.2).

use url::Url;

/// The method and the URL of a request, as its client sees them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Target {
    method: String,
    /// One, unless the request does not show which of its URLs the client has called.
    urls: Vec<String>,
}

impl Target {
    /// The target of a request with this method to this absolute URL.
    #[must_use]
    pub fn new(method: &str, url: String) -> Self {
        Self::any_of(method, vec![url])
    }

    /// The target of a request with this method to one of these absolute URLs.
    #[must_use]
    pub fn any_of(method: &str, urls: Vec<String>) -> Self {
        Self { method: method.to_owned(), urls }
    }

    /// Methods are case-sensitive (RFC 9110 §9.1).
    pub(super) fn has_method(&self, htm: &str) -> bool {
        self.method == htm
    }

    /// Compares without query and fragment, and after normalization (RFC 9449 §4.3).
    pub(super) fn has_url(&self, htu: &str) -> bool {
        let is_same = |url: &String| url == htu || normalized(htu).is_some_and(|htu| normalized(url) == Some(htu));
        self.urls.iter().any(is_same)
    }
}

/// The URL without query and fragment, normalized by its syntax and its scheme (RFC 3986 §6.2.2, §6.2.3). `None`: it is
/// no absolute URL. `url` would read a backslash as a slash, and skip white space.
fn normalized(text: &str) -> Option<String> {
    if text.contains('\\') || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    let mut url = Url::parse(text).ok().filter(Url::has_host)?;
    url.set_query(None);
    url.set_fragment(None);
    Some(normalized_escapes(url.as_str()))
}

/// Decodes the escapes of unreserved characters, and writes the others in upper case (RFC 3986 §6.2.2.1, §6.2.2.2).
fn normalized_escapes(text: &str) -> String {
    let mut parts = text.split('%');
    let mut result = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.get(..2).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let Some((digits, rest)) = digits.zip(part.get(2..)) else {
            result.extend(["%", part]);
            continue;
        };
        match u8::from_str_radix(digits, 16).unwrap_or_default() {
            byte if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => result.push(char::from(byte)),
            _ => result.extend(["%", &digits.to_ascii_uppercase()]),
        }
        result.push_str(rest);
    }
    result
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn x1_a_normalized_url_stays_as_it_is(url in "https://[a-zA-Z]{1,3}(/(%[0-9A-Fa-f]{2}|[a-zA-Z.~-]){0,4}){0,4}") {
            let once = normalized(&url).expect("a URL");
            prop_assert_eq!(normalized(&once), Some(once.clone()));
            prop_assert!(Target::new("GET", url).has_url(&once));
        }

        #[test]
        fn x1_any_text_is_compared_without_a_panic(text in any::<String>()) {
            prop_assert!(!Target::new("GET", "https://postern.example.com/".to_owned()).has_url(&text));
        }
    }

    #[test]
    fn x1_a_url_is_compared_after_normalization_and_without_query_and_fragment() {
        let target = Target::new("POST", "https://postern.example.com/a/oauth2/token".to_owned());
        for same in [
            "https://postern.example.com/a/oauth2/token",
            "HTTPS://Postern.Example.COM:443/a/oauth2/token",
            "https://postern.example.com/a/oauth2/token?a=b",
            "https://postern.example.com/a/oauth2/token#x",
            "https://postern.example.com/a/./b/../oauth2/token",
            "https://postern.example.com/%61/oauth2/%74oken",
        ] {
            assert!(target.has_url(same), "{same}");
        }
        for other in [
            "",
            "/a/oauth2/token",
            "http://postern.example.com/a/oauth2/token",
            "https://postern.example.com:8443/a/oauth2/token",
            "https://other.example.com/a/oauth2/token",
            "https://postern.example.com@other.example.com/a/oauth2/token",
            "https://user@postern.example.com/a/oauth2/token",
            "https://postern.example.com/a/oauth2/token/",
            "https://postern.example.com/A/oauth2/token",
            "https://postern.example.com/a/oauth2%2Ftoken",
            "https://postern.example.com/a//oauth2/token",
            "https://postern.example.com/oauth2/token",
            r"https:\\postern.example.com\a\oauth2\token",
            " https://postern.example.com/a/oauth2/token",
            "https://postern.example.com/a/oauth2/to\nken",
        ] {
            assert!(!target.has_url(other), "{other}");
        }
    }

    #[test]
    fn x1_a_proof_is_for_one_of_the_urls_that_the_client_may_have_called() {
        let urls = ["https://postern.example.com/oauth2/token", "https://mtls.example.com/oauth2/token"];
        let target = Target::any_of("POST", urls.map(str::to_owned).to_vec());
        assert!(urls.iter().all(|url| target.has_url(url)));
        assert!(!target.has_url("https://other.example.com/oauth2/token"));
        assert!(!Target::any_of("POST", vec![]).has_url(urls[0]));
    }

    #[test]
    fn x1_escapes_of_other_characters_differ_from_these_and_not_by_their_case() {
        let target = Target::new("GET", "https://api.example.com/a%2fb/~c%".to_owned());
        assert!(target.has_url("https://api.example.com/a%2Fb/%7Ec%?x"));
        for other in ["https://api.example.com/a/b/~c%", "https://api.example.com/a%+fb/~c%"] {
            assert!(!target.has_url(other), "{other}");
        }
        assert!(target.has_method("GET") && !target.has_method("get"));
    }
}
