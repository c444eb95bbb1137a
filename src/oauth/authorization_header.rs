//! The Authorization header of a request (RFC 9110 §11.6.2), before the code for its scheme reads it.

/// Why there is no header to read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HeaderError {
    /// There is none.
    Absent,
    /// There are several.
    Several,
}

/// The scheme of the only Authorization header, and the header. A scheme is ASCII; the code for each scheme parses the
/// rest.
///
/// # Errors
/// [`HeaderError`]
pub fn single_authorization<'a>(
    authorization: impl IntoIterator<Item = &'a [u8]>,
) -> Result<(&'a [u8], &'a [u8]), HeaderError> {
    let mut headers = authorization.into_iter();
    let header = headers.next().ok_or(HeaderError::Absent)?;
    if headers.next().is_some() {
        return Err(HeaderError::Several);
    }
    Ok((header.split(|byte| *byte == b' ').next().unwrap_or_default(), header))
}

/// The scheme with which an access token is sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TokenScheme {
    /// RFC 6750 §2.1.
    Bearer,
    /// RFC 9449 §7.1.
    Dpop,
}

impl TokenScheme {
    /// `None`: another scheme. Schemes are case-insensitive (RFC 9110 §11.1).
    #[must_use]
    pub fn parse(scheme: &[u8]) -> Option<Self> {
        if scheme.eq_ignore_ascii_case(b"bearer") {
            Some(Self::Bearer)
        } else {
            scheme.eq_ignore_ascii_case(b"dpop").then_some(Self::Dpop)
        }
    }

    /// The scheme of a request with these Authorization headers, for its challenge: Bearer, unless there is one with the
    /// scheme DPoP.
    pub(crate) fn of_request<'a>(authorization: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let single = single_authorization(authorization).ok();
        single.and_then(|(scheme, _)| Self::parse(scheme)).unwrap_or(Self::Bearer)
    }
}

/// The part of a header after the scheme.
#[must_use]
pub fn auth_params<'a>(scheme: &[u8], header: &'a [u8]) -> &'a [u8] {
    header.get(scheme.len()..).unwrap_or_default().trim_ascii()
}
