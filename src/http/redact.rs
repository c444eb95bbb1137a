//! Sanitises a caller's text for a log line: bounded, escaped, and without anything that looks like a credential. A
//! client that confuses the fields of a form may send a secret as an id.
//!
//! Generated secrets and tokens have prefixes. An imported value has none: it may be any text within a length range.
//! So for fields with a defined form, a line shows only text in that form, or text too short to be such a value.
//! Scopes and audiences have no defined form.

use std::borrow::Cow;

use crate::crypto::{opaque, secret};
use crate::oauth::request::GrantType;

/// Characters of a caller's text that a line may contain: more than any usual list of scopes.
const LOGGED_CHARS_MAX: usize = 512;
/// The shortest JSON object with one short member, in base64url. No header of a JWT is shorter.
const JWT_PART_MIN: usize = 16;
const REDACTED: Cow<'static, str> = Cow::Borrowed("[REDACTED]");

/// A client id without a client: a former id, which was a UUID unless it was chosen, or another text.
pub(super) fn unknown_client_id(presented: &str) -> Cow<'_, str> {
    if is_uuid(presented) {
        Cow::Borrowed(presented)
    } else if is_short(presented) {
        text(presented)
    } else {
        REDACTED
    }
}

/// A supported grant type, or one named like those of the RFCs, which are URNs except for some short ones and this.
pub(super) fn grant_type(presented: &str) -> Cow<'_, str> {
    let ours = GrantType::ALL.iter().any(|grant| grant.name() == presented);
    let known = ours || presented == "authorization_code" || presented.starts_with("urn:ietf:params:oauth:");
    if known || is_short(presented) { text(presented) } else { REDACTED }
}

/// Any other text.
pub(super) fn text(presented: &str) -> Cow<'_, str> {
    if [secret::PREFIX, opaque::PREFIX].iter().any(|prefix| presented.contains(prefix)) || holds_jwt(presented) {
        return REDACTED;
    }
    let plain = presented.bytes().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\'));
    if plain && presented.len() <= LOGGED_CHARS_MAX {
        return Cow::Borrowed(presented);
    }
    let mut escaped: String =
        presented.chars().take(LOGGED_CHARS_MAX).flat_map(char::escape_default).take(LOGGED_CHARS_MAX).collect();
    escaped.push('…');
    Cow::Owned(escaped)
}

/// Whether it has the form of an object UID.
fn is_uuid(presented: &str) -> bool {
    presented.len() == 36 && presented.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

/// Whether it is too short to be an imported value.
fn is_short(presented: &str) -> bool {
    presented.chars().count() < *secret::IMPORTED_LENGTH.start()
}

/// Whether it contains a JSON object in base64url, which starts tokens and assertions: `{"`, or white space after the
/// brace.
fn holds_jwt(presented: &str) -> bool {
    let in_part = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_');
    let is_object = |part: &str| ["eyJ", "eyA", "ewo", "ew0", "ewk"].iter().any(|start| part.starts_with(start));
    presented.split(|character| !in_part(character)).any(|part| part.len() >= JWT_PART_MIN && is_object(part))
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;
    use crate::crypto::secret::SecretValue;

    const ID: &str = "3f0c3a52-9d55-4d0e-8b6a-0f1f2a6f5c1e";
    const IMPORTED: &str = "3@rn0i+0y5j%2BB8_n:~/=";

    #[test]
    fn q4_plain_text_is_shown_as_it_is() {
        for plain in [ID, "invoices:read keyJournals eyeglasses.example.com", "https://billing.example.com"] {
            assert_eq!(text(plain), plain);
        }
    }

    #[test]
    fn q4_other_text_is_escaped_and_bounded() {
        assert_eq!(text("a\nb\u{1b}[31m\"é"), "a\\nb\\u{1b}[31m\\\"\\u{e9}…");
        assert!(text(&"x".repeat(100_000)).len() < 600);
        assert!(text(&"\u{1F600}".repeat(100_000)).len() < 600);
    }

    #[test]
    fn q4_a_generated_secret_or_a_token_is_shown_in_no_field() {
        let (_, value) = SecretValue::generate();
        let opaque = opaque::seal(&opaque::TokenKeys::generate().unwrap(), b"{}").unwrap();
        let jwt = |header: &str| format!("{}.{}.c2ln", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode("{}"));
        for credential in [
            value.expose_secret(),
            &opaque,
            &jwt(r#"{"alg":"ES256"}"#),
            &jwt(r#"{ "alg" : "none" }"#),
            &jwt("{\r\n\"alg\":\"none\"}"),
        ] {
            for mixed_up in
                [credential.to_owned(), format!("x {credential}"), format!("urn:ietf:params:oauth:{credential}")]
            {
                for shown in [unknown_client_id, grant_type, text] {
                    assert_eq!(shown(&mixed_up), "[REDACTED]", "{mixed_up}");
                }
            }
        }
    }

    #[test]
    fn q4_an_imported_value_is_shown_neither_as_a_client_id_nor_as_a_grant_type() {
        assert_eq!(unknown_client_id(IMPORTED), "[REDACTED]");
        assert_eq!(unknown_client_id(&ID.replace('-', "x")), "[REDACTED]");
        assert_eq!(grant_type(IMPORTED), "[REDACTED]");
    }

    #[test]
    fn q4_a_client_id_or_a_grant_type_is_shown_if_it_has_the_form_of_one_or_is_too_short_for_a_secret() {
        for shown in [ID, "invoice-sync", "fifteen letters"] {
            assert_eq!(unknown_client_id(shown), shown);
        }
        for shown in
            ["client_credentials", "authorization_code", "urn:ietf:params:oauth:grant-type:jwt-bearer", "password"]
        {
            assert_eq!(grant_type(shown), shown);
        }
    }
}
