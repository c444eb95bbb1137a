//! The Authorization header of a request (RFC 9110 §11.6.2), before the code for its scheme reads it.

/// Why there is no header to read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum HeaderError {
    /// There is none.
    Absent,
    /// There are several.
    Several,
}

/// The scheme of the only Authorization header, and the header. A scheme is ASCII; the code for each scheme parses the
/// rest.
pub(super) fn single_authorization<'a>(
    authorization: impl IntoIterator<Item = &'a [u8]>,
) -> Result<(&'a [u8], &'a [u8]), HeaderError> {
    let mut headers = authorization.into_iter();
    let header = headers.next().ok_or(HeaderError::Absent)?;
    if headers.next().is_some() {
        return Err(HeaderError::Several);
    }
    Ok((header.split(|byte| *byte == b' ').next().unwrap_or_default(), header))
}

/// The part of a header after the scheme.
pub(super) fn auth_params<'a>(scheme: &[u8], header: &'a [u8]) -> &'a [u8] {
    header.get(scheme.len()..).unwrap_or_default().trim_ascii()
}
