//! Builds every response, so that none lacks a header.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::{Body, Bytes};
use axum::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, PRAGMA, RETRY_AFTER, WWW_AUTHENTICATE,
};
use axum::http::{HeaderMap, Response, StatusCode};

use crate::http::rejection::Rejection;
use crate::oauth::error::{TokenError, WireError};
use crate::oauth::forward_auth::{Access, AccessResponse};

pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const X_POSTERN_SUBJECT: HeaderName = HeaderName::from_static("x-postern-subject");
const X_POSTERN_CLIENT_ID: HeaderName = HeaderName::from_static("x-postern-client-id");
const X_POSTERN_ROLES: HeaderName = HeaderName::from_static("x-postern-roles");
const X_POSTERN_SCOPE: HeaderName = HeaderName::from_static("x-postern-scope");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache");
/// RFC 6749 §5.2 requires the scheme that the client used; a client without a scheme gets the existing one.
const CHALLENGE: HeaderValue = HeaderValue::from_static(r#"Basic realm="postern", charset="UTF-8""#);

/// Short id of one request, in its response and in its log line.
#[derive(Default)]
pub(crate) struct RequestId(String);

impl RequestId {
    /// A new id: 64 bits, unique in this process and unpredictable. The id identifies a log line and protects nothing,
    /// so it does not need the cryptographic generator.
    pub(crate) fn new() -> Self {
        static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let id = KEY.hash_one(COUNT.fetch_add(1, Ordering::Relaxed));
        Self(format!("{id:016x}"))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A response that must not be stored: tokens and errors (RFC 6749 §5.1).
pub(crate) fn no_store_json(id: &RequestId, status: StatusCode, json: Vec<u8>) -> Response<Body> {
    let mut response = empty_response(id, status, Body::from(json));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, JSON);
    headers.insert(CACHE_CONTROL, NO_STORE);
    headers.insert(PRAGMA, NO_CACHE);
    response
}

/// The same with a media type other than JSON.
pub(crate) fn no_store(id: &RequestId, media_type: &'static str, body: Vec<u8>) -> Response<Body> {
    let mut response = no_store_json(id, StatusCode::OK, body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// The response of a request with side effects. The request runs to completion and is audited, even if the client
/// disconnects.
pub(crate) async fn run_to_completion(work: impl Future<Output = Response<Body>> + Send + 'static) -> Response<Body> {
    let answered = tokio::spawn(work).await;
    answered.unwrap_or_else(|_| error(&RequestId::new(), &TokenError::Internal.to_response()))
}

/// 200 without a body.
pub(crate) fn empty(id: &RequestId) -> Response<Body> {
    let mut response = empty_response(id, StatusCode::OK, Body::empty());
    response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    response
}

/// An error response (RFC 6749 §5.2).
pub(crate) fn error(id: &RequestId, error: &WireError) -> Response<Body> {
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = no_store_json(id, status, error.body());
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(WWW_AUTHENTICATE, CHALLENGE);
    }
    if let Some(seconds) = error.retry_after_s {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds.get()));
    }
    response
}

/// The request is accepted: the proxy forwards the identity of the caller to the API.
pub(crate) fn allowed(id: &RequestId, access: &Access) -> Response<Body> {
    let mut response = empty_response(id, StatusCode::OK, Body::empty());
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, NO_STORE);
    for (name, text) in [
        (X_POSTERN_SUBJECT, access.subject.as_str()),
        (X_POSTERN_CLIENT_ID, &access.client_id),
        (X_POSTERN_ROLES, &access.roles),
        (X_POSTERN_SCOPE, &access.scope),
    ] {
        // The API server admits only visible ASCII; any other value is omitted from the headers.
        if let Ok(value) = HeaderValue::from_str(text) {
            headers.insert(name, value);
        }
    }
    response
}

/// The request is refused (RFC 6750 §3).
pub(crate) fn denied(id: &RequestId, denial: &AccessResponse) -> Response<Body> {
    let status = StatusCode::from_u16(denial.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = match denial.body() {
        Some(json) => no_store_json(id, status, json),
        None => empty_response(id, status, Body::empty()),
    };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, NO_STORE);
    for challenge in denial.challenges.iter().filter_map(|challenge| HeaderValue::from_str(challenge).ok()) {
        headers.append(WWW_AUTHENTICATE, challenge);
    }
    if let Some(seconds) = denial.retry_after_s {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds.get()));
    }
    response
}

/// The answer to a request that no handler sees.
pub(crate) fn rejected(id: &RequestId, rejection: Rejection) -> Response<Body> {
    let (error, description) = (rejection.code(), rejection.description());
    let json = format!(r#"{{"error":"{error}","error_description":"{description}"}}"#);
    let mut response = no_store_json(id, rejection.status(), json.into_bytes());
    if let Rejection::Method(allowed) = rejection {
        // RFC 9110 §15.5.6.
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    }
    response
}

/// A public document, built once and shared by all responses.
#[derive(Clone, Debug)]
pub(crate) struct StaticDocument {
    pub(crate) content_type: &'static str,
    /// Value of `Cache-Control`.
    pub(crate) cache_control: HeaderValue,
    /// Strong entity tag with its quotes.
    pub(crate) etag: HeaderValue,
    pub(crate) body: Bytes,
}

/// A public document, or 304 when the caller has it (RFC 9110 §13.1.2).
pub(crate) fn document(id: &RequestId, request: &HeaderMap, document: &StaticDocument) -> Response<Body> {
    let mut response = if etag_matches(request, &document.etag) {
        empty_response(id, StatusCode::NOT_MODIFIED, Body::empty())
    } else {
        let mut response = empty_response(id, StatusCode::OK, Body::from(document.body.clone()));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(document.content_type));
        response
    };
    response.headers_mut().insert(CACHE_CONTROL, document.cache_control.clone());
    response.headers_mut().insert(ETAG, document.etag.clone());
    response
}

/// `If-None-Match` by weak comparison.
fn etag_matches(request: &HeaderMap, etag: &HeaderValue) -> bool {
    let lists = request.get_all(axum::http::header::IF_NONE_MATCH);
    let mut tags = lists.iter().filter_map(|list| list.to_str().ok()).flat_map(|list| list.split(','));
    tags.any(|tag| matches!(tag.trim(), "*") || tag.trim().trim_start_matches("W/").as_bytes() == etag.as_bytes())
}

fn empty_response(id: &RequestId, status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    if let Ok(id) = HeaderValue::from_str(id.as_str()) {
        response.headers_mut().insert(X_REQUEST_ID, id);
    }
    response
}
