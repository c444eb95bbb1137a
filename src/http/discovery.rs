//! Public documents: the metadata (RFC 8414) and the keys (RFC 7517).

use std::sync::Arc;

use aws_lc_rs::digest;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::clock::Clock;
use crate::http::answer::{self, Document, RequestId};
use crate::http::endpoint::Endpoint;
use crate::oauth::client::Clients;
use crate::oauth::error::{TokenError, Unavailable};
use crate::oauth::metadata;

/// Five minutes. A new signing key is published twice as long before it signs, so the figure is a trade between the
/// speed of a rotation and the requests of verifiers that honour it.
const CACHE_CONTROL: &str = "public, max-age=300";

pub(crate) async fn jwks<C: Clients, K: Clock>(
    State(endpoint): State<Arc<Endpoint<C, K>>>,
    request: Request,
) -> Response<Body> {
    let id = RequestId::new();
    let keys = endpoint.service.keys.signing.load();
    let Some(keys) = keys.as_ref() else {
        return answer::error(&id, &TokenError::from(Unavailable::NoKey).on_the_wire());
    };
    let document = Document {
        content_type: "application/jwk-set+json",
        cache_control: CACHE_CONTROL,
        etag: keys.etag(),
        body: keys.document(),
    };
    answer::document(&id, request.headers(), &document)
}

pub(crate) async fn metadata<C: Clients, K: Clock>(
    State(endpoint): State<Arc<Endpoint<C, K>>>,
    request: Request,
) -> Response<Body> {
    let id = RequestId::new();
    let service = &endpoint.service;
    // Scopes of half a list would be kept for minutes. Those of an old one are still a good answer.
    if let Err(error @ Unavailable::NotSynced) = service.available() {
        return answer::error(&id, &TokenError::from(error).on_the_wire());
    }
    let keys = service.keys.signing.load();
    let Some(keys) = keys.as_ref() else {
        return answer::error(&id, &TokenError::from(Unavailable::NoKey).on_the_wire());
    };
    let scopes = service.clients.scopes_supported();
    let documentation = endpoint.service_documentation.as_deref();
    let body = metadata::document(&service.issuer, keys.algorithms(), &scopes, documentation);
    let etag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, &body)));
    let document =
        Document { content_type: "application/json", cache_control: CACHE_CONTROL, etag: &etag, body: &body };
    answer::document(&id, request.headers(), &document)
}
