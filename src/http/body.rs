//! Reads the body of a token request within its limits.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use crate::oauth::error::RequestError;

/// Bounds of one request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RequestLimits {
    /// Longest body in bytes.
    pub body_bytes: usize,
    /// Longest time for the body to arrive.
    pub body_read: Duration,
}

impl Default for RequestLimits {
    /// 64 KiB, which holds any form with any assertion; ten seconds, which suits slow links and not slow attackers.
    fn default() -> Self {
        Self { body_bytes: 64 * 1024, body_read: Duration::from_secs(10) }
    }
}

/// Whether the request says that it is a form (RFC 6749 §4.4.2): the media type in any case, with any parameters.
pub(crate) fn is_form(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(only), None) = (types.next(), types.next()) else { return false };
    let media_type = only.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
    media_type.trim_ascii().eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
}

/// Reads the whole body.
pub(crate) async fn read(headers: &HeaderMap, body: Body, limits: &RequestLimits) -> Result<Bytes, RequestError> {
    let announced = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| usize::try_from(length).map_or(true, |length| length > limits.body_bytes)) {
        return Err(RequestError::BodyTooLarge);
    }
    let reading = Limited::new(body, limits.body_bytes).collect();
    match tokio::time::timeout(limits.body_read, reading).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if is_too_long(error.as_ref()) => Err(RequestError::BodyTooLarge),
        Ok(Err(_)) => Err(RequestError::BodyIncomplete),
        Err(_) => Err(RequestError::BodyTimeout),
    }
}

fn is_too_long(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    error.is::<LengthLimitError>()
}
