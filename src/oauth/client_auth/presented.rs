//! The credential that a request presents (RFC 6749 §2.3), before it is checked.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use super::Method;
use super::assertion::{ASSERTION_TYPE, Assertion, AssertionUse};
use crate::oauth::error::{ClientError, RequestError, TokenError};
use crate::oauth::form::{self, Form};

/// Base64 of RFC 7617. Padding is optional, because some clients omit it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A presented credential: one method of client authentication.
#[derive(Debug)]
pub enum ClientCredential {
    /// An id and a secret.
    SharedSecret(SharedSecret),
    /// A signed assertion.
    Assertion(Assertion),
    /// The certificate of the connection, if there is one: the form has only the id (RFC 8705 §2).
    Certificate {
        /// `client_id`
        client_id: String,
    },
}

impl ClientCredential {
    /// `client_id` as presented.
    #[must_use]
    pub fn client_id(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::SharedSecret(secret) => {
                secret.candidates.first().map(|candidate| candidate.client_id.as_str().into())
            }
            Self::Assertion(assertion) => assertion.client_id(),
            Self::Certificate { client_id } => Some(client_id.into()),
        }
    }
}

/// One reading of a shared secret.
pub struct ParsedCredentials {
    /// `client_id`
    pub client_id: String,
    /// `client_secret`
    pub secret: Zeroizing<String>,
}

/// An id and a secret, with every reading that their encoding allows: at least one, and two where the form-encoded reading of
/// a Basic header (RFC 6749 §2.3.1) differs from the raw one (RFC 7617), because clients use both. They count as one
/// attempt.
pub struct SharedSecret {
    /// How they were sent.
    pub method: Method,
    /// The readings, form-decoded first.
    pub candidates: Vec<ParsedCredentials>,
}

impl From<SharedSecret> for ClientCredential {
    fn from(secret: SharedSecret) -> Self {
        Self::SharedSecret(secret)
    }
}

impl fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedSecret").field("method", &self.method).finish_non_exhaustive()
    }
}

/// Finds the one method of client authentication that a request uses.
///
/// # Errors
/// [`RequestError::SeveralMethods`] and [`RequestError::ClientIdMismatch`] for requests that use more than one
/// (RFC 6749 §2.3), otherwise a [`ClientError`].
pub fn present<'a>(
    authorization: impl IntoIterator<Item = &'a [u8]>,
    form: &Form<'_>,
) -> Result<ClientCredential, TokenError> {
    let mut headers = authorization.into_iter();
    let header = headers.next();
    let (client_id, secret) = (form.one("client_id"), form.one("client_secret"));
    let (assertion, assertion_type) = (form.one("client_assertion"), form.one("client_assertion_type"));
    let has_assertion = assertion.is_some() || assertion_type.is_some();
    let methods = usize::from(header.is_some()) + usize::from(secret.is_some()) + usize::from(has_assertion);
    if methods > 1 || headers.next().is_some() {
        return Err(RequestError::SeveralMethods.into());
    }
    match (header, client_id, secret) {
        (Some(header), _, _) => basic(header, client_id).map(ClientCredential::from),
        (None, Some(client_id), Some(secret)) => {
            let candidate =
                ParsedCredentials { client_id: client_id.to_owned(), secret: Zeroizing::new(secret.to_owned()) };
            Ok(SharedSecret { method: Method::ClientSecretPost, candidates: vec![candidate] }.into())
        }
        _ if has_assertion => match (assertion, assertion_type) {
            (Some(jwt), Some(ASSERTION_TYPE)) => {
                Ok(ClientCredential::Assertion(Assertion::new(jwt, client_id, AssertionUse::Authentication)))
            }
            (Some(_), _) => Err(ClientError::UnsupportedMethod.into()),
            (None, _) => Err(ClientError::NoCredentials.into()),
        },
        (None, Some(client_id), None) => Ok(ClientCredential::Certificate { client_id: client_id.to_owned() }),
        _ => Err(ClientError::NoCredentials.into()),
    }
}

/// The assertion of a JWT bearer grant. It identifies the client, so the request must not authenticate in another way too
/// (RFC 7523 §2.1, §3.1).
///
/// # Errors
/// [`RequestError::MissingAssertion`], [`RequestError::SeveralMethods`]
pub fn present_grant<'a>(
    authorization: impl IntoIterator<Item = &'a [u8]>,
    form: &Form<'_>,
) -> Result<ClientCredential, RequestError> {
    let jwt = form.one("assertion").ok_or(RequestError::MissingAssertion)?;
    let others = ["client_secret", "client_assertion", "client_assertion_type"];
    if authorization.into_iter().next().is_some() || others.iter().any(|name| form.one(name).is_some()) {
        return Err(RequestError::SeveralMethods);
    }
    Ok(ClientCredential::Assertion(Assertion::new(jwt, form.one("client_id"), AssertionUse::Grant)))
}

/// Reads a Basic header. With a `client_id` in the body, only the readings with the same id remain.
///
/// # Errors
/// As [`present`].
pub(crate) fn basic(header: &[u8], body_client_id: Option<&str>) -> Result<SharedSecret, TokenError> {
    let header = std::str::from_utf8(header).map_err(|_| ClientError::MalformedHeader)?;
    let (scheme, encoded) = header.split_once(' ').unwrap_or((header, ""));
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(ClientError::UnsupportedMethod.into());
    }
    let decoded = Zeroizing::new(BASE64.decode(encoded.trim_ascii()).map_err(|_| ClientError::MalformedHeader)?);
    let pair = std::str::from_utf8(&decoded).map_err(|_| ClientError::MalformedHeader)?;
    let (client_id, secret) = pair.split_once(':').ok_or(ClientError::MalformedHeader)?;
    if client_id.is_empty() || secret.is_empty() {
        return Err(ClientError::NoCredentials.into());
    }
    let mut candidates = Vec::with_capacity(2);
    if pair.contains(['%', '+'])
        && let (Some(client_id), Some(secret)) = (form::decode(client_id.as_bytes()), form::decode(secret.as_bytes()))
    {
        let secret = Zeroizing::new(secret.into_owned());
        candidates.push(ParsedCredentials { client_id: client_id.into_owned(), secret });
    }
    let raw = ParsedCredentials { client_id: client_id.to_owned(), secret: Zeroizing::new(secret.to_owned()) };
    if candidates.first().is_none_or(|form| form.client_id != raw.client_id || *form.secret != *raw.secret) {
        candidates.push(raw);
    }
    if let Some(body_client_id) = body_client_id {
        candidates.retain(|candidate| candidate.client_id == body_client_id);
        if candidates.is_empty() {
            return Err(RequestError::ClientIdMismatch.into());
        }
    }
    Ok(SharedSecret { method: Method::ClientSecretBasic, candidates })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The readings of a request, as (id, secret).
    fn read(header: Option<&str>, body: &str) -> Result<Vec<(String, String)>, TokenError> {
        let form = Form::parse(body.as_bytes()).map_err(TokenError::from)?;
        let ClientCredential::SharedSecret(presented) = present(header.map(str::as_bytes), &form)? else {
            panic!("not a shared secret: {body}")
        };
        Ok(presented.candidates.into_iter().map(|read| (read.client_id, read.secret.to_string())).collect())
    }

    fn basic_of(pair: &str) -> String {
        format!("Basic {}", BASE64.encode(pair))
    }

    fn pair(id: &str, secret: &str) -> (String, String) {
        (id.to_owned(), secret.to_owned())
    }

    #[test]
    fn a1_plain_credentials_have_one_reading() {
        assert_eq!(read(Some(&basic_of("id:pst_a-b_c")), "").unwrap(), [pair("id", "pst_a-b_c")]);
    }

    #[test]
    fn a1_encoded_credentials_are_read_decoded_and_then_raw() {
        let readings = read(Some(&basic_of("i%2Dd:p+q%3A")), "").unwrap();
        assert_eq!(readings, [pair("i-d", "p q:"), pair("i%2Dd", "p+q%3A")]);
        // What cannot be decoded has only its raw reading.
        assert_eq!(read(Some(&basic_of("id:%FF")), "").unwrap(), [pair("id", "%FF")]);
        assert_eq!(read(Some(&basic_of("id:100%")), "").unwrap(), [pair("id", "100%")]);
    }

    #[test]
    fn a1_the_pair_is_split_at_the_first_colon() {
        assert_eq!(read(Some(&basic_of("id:a:b")), "").unwrap(), [pair("id", "a:b")]);
    }

    #[test]
    fn a1_headers_that_cannot_be_read_are_failed_authentications() {
        for header in
            ["Basic", "Basic ", "Basic !!!!", "Basic /w==", &basic_of("no-colon"), &basic_of("id:"), &basic_of(":s")]
        {
            assert!(matches!(read(Some(header), ""), Err(TokenError::Client(_))), "{header}");
        }
    }

    #[test]
    fn t6_the_scheme_is_case_insensitive_and_others_are_not_understood() {
        let header = basic_of("id:secret").replacen("Basic", "bAsIc", 1);
        assert!(read(Some(&header), "").is_ok());
        let bearer = read(Some("Bearer abc"), "");
        assert_eq!(bearer, Err(ClientError::UnsupportedMethod.into()));
    }

    #[test]
    fn a3_two_methods_in_one_request_are_refused() {
        let header = basic_of("id:secret");
        for (header, body) in [
            (Some(header.as_str()), "client_secret=secret"),
            (Some(&header), "client_id=id&client_secret=secret"),
            (Some(&header), "client_assertion=x"),
            (None, "client_id=id&client_secret=secret&client_assertion=x"),
        ] {
            assert_eq!(read(header, body), Err(RequestError::SeveralMethods.into()), "{body}");
        }
        let form = Form::parse(b"").ok().unwrap();
        let twice = present([header.as_bytes(), header.as_bytes()], &form);
        assert_eq!(twice.err(), Some(RequestError::SeveralMethods.into()));
    }

    #[test]
    fn a3_the_same_client_id_in_the_body_is_fine_and_another_one_is_refused() {
        assert_eq!(read(Some(&basic_of("id:s")), "client_id=id").unwrap(), [pair("id", "s")]);
        assert_eq!(read(Some(&basic_of("i%2Dd:s")), "client_id=i-d").unwrap(), [pair("i-d", "s")]);
        assert_eq!(read(Some(&basic_of("id:s")), "client_id=di"), Err(RequestError::ClientIdMismatch.into()));
    }

    #[test]
    fn a14_a_client_id_alone_is_no_authentication_without_a_certificate() {
        for body in ["", "client_secret=s"] {
            assert_eq!(read(None, body), Err(ClientError::NoCredentials.into()), "{body}");
        }
        for body in ["client_id=id", "client_id=id&client_secret="] {
            let form = Form::parse(body.as_bytes()).unwrap();
            let presented = present([], &form).unwrap();
            assert!(matches!(presented, ClientCredential::Certificate { client_id } if client_id == "id"), "{body}");
        }
    }
}
