//! The headers of DPoP (RFC 9449): the proof of a request, and the nonce of a response.

use axum::http::header::{HeaderName, HeaderValue};
use axum::http::{HeaderMap, Response};

use crate::oauth::dpop::{PresentedProof, Target};

const DPOP: HeaderName = HeaderName::from_static("dpop");
const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// Whether a request has a proof.
pub(crate) fn is_present(headers: &HeaderMap) -> bool {
    headers.contains_key(DPOP)
}

/// The proof of a request, which must be for `target`; `None`: the request has none. More than one is refused, so two
/// are enough.
pub(crate) fn presented(headers: &HeaderMap, target: impl FnOnce() -> Target) -> Option<PresentedProof> {
    let headers: Vec<_> = headers.get_all(DPOP).iter().take(2).map(|value| value.as_bytes().into()).collect();
    (!headers.is_empty()).then(|| PresentedProof { headers, target: target() })
}

/// The response, with the nonce that the client should use next (RFC 9449 §8.2).
pub(crate) fn with_nonce<B>(mut response: Response<B>, nonce: Option<&str>) -> Response<B> {
    if let Some(nonce) = nonce.and_then(|nonce| HeaderValue::from_str(nonce).ok()) {
        response.headers_mut().insert(DPOP_NONCE, nonce);
    }
    response
}
