//! The forward-auth handlers: parse the request of a proxy, call `oauth`, respond, and record logs and metrics.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;

use crate::clock::Clock;
use crate::http::admission::Arrived;
use crate::http::request_guard::RequestGuard;
use crate::http::state::Endpoint;
use crate::http::{dpop, response, router};
use crate::oauth::client_auth::RequestContext;
use crate::oauth::client_store::ClientStore;
use crate::oauth::dpop::{PresentedProof, Target, wants_nonce};
use crate::oauth::form::Form;
use crate::oauth::forward_auth::{Access, AccessError, Malformed, OriginalRequest, Requirement, TokenScheme};
use crate::oauth::token::AuditRecord;
use crate::telemetry::request_metrics::{Outcome, Route};

/// For proxies that send a request to a dedicated URL (nginx, Traefik): the query contains the requirement.
pub(crate) async fn auth<C: ClientStore, K: Clock>(
    State(endpoint): State<Arc<Endpoint<C, K>>>,
    request: Request,
) -> Response {
    let (head, _) = request.into_parts();
    let original = || OriginalRequest::of_headers(|name| values(&head.headers, name)).target();
    let proof = proof(&head.headers, original);
    // A proxy that sends such a header here expects a check that would not happen.
    let requires_elsewhere = head.headers.keys().any(|name| Requirement::is_header(name.as_str()));
    match Form::parse(head.uri.query().unwrap_or_default().as_bytes()) {
        _ if requires_elsewhere => decide(&endpoint, &head, proof, Err(Malformed::Header)).await,
        Ok(form) => decide(&endpoint, &head, proof, Requirement::parse(&form)).await,
        Err(_) => decide(&endpoint, &head, proof, Err(Malformed::Query)).await,
    }
}

/// For proxies that send the path and the query of the original request (Envoy): headers that the proxy adds contain
/// the requirement, and the query belongs to the original request.
pub(crate) async fn auth_of_request<C: ClientStore, K: Clock>(
    State(endpoint): State<Arc<Endpoint<C, K>>>,
    request: Request,
) -> Response {
    let (head, _) = request.into_parts();
    let path = router::original_path(&endpoint.service.issuer, head.uri.path());
    let host = router::host(&head);
    let known = |name: &str| values(&head.headers, name);
    let proof = proof(&head.headers, || OriginalRequest::of_copy(known, head.method.as_str(), host, path).target());
    let headers = head.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    decide(&endpoint, &head, proof, Requirement::of_headers(headers)).await
}

/// The values of a header.
fn values<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a [u8]> {
    headers.get_all(name).iter().map(HeaderValue::as_bytes).collect()
}

/// The proof of the original request, if it is known what it must be for.
fn proof(headers: &HeaderMap, original: impl FnOnce() -> Option<Target>) -> Result<Option<PresentedProof>, Malformed> {
    if !dpop::is_present(headers) {
        return Ok(None);
    }
    let target = original().ok_or(Malformed::OriginalRequest)?;
    Ok(dpop::presented(headers, || target))
}

async fn decide<C: ClientStore, K: Clock>(
    endpoint: &Endpoint<C, K>,
    head: &Parts,
    proof: Result<Option<PresentedProof>, Malformed>,
    requirement: Result<Requirement<'_>, Malformed>,
) -> Response {
    let (headers, arrived) = (&head.headers, head.extensions.get::<Arrived>());
    let source = arrived.and_then(|arrived| arrived.source);
    let certificate = arrived.and_then(Arrived::certificate_of_original);
    let mut pending = RequestGuard::new(&endpoint.metrics, &endpoint.audit, source);
    let result = match (endpoint.service.available(), requirement) {
        (Ok(now), Ok(requirement)) => {
            let arrival = RequestContext { now, source, certificate };
            ask(endpoint, arrival, headers, &proof, &requirement, &mut pending.facts).await
        }
        (Err(unavailable), _) => Err(unavailable.into()),
        (_, Err(malformed)) => Err(malformed.into()),
    };
    let (id, facts) = pending.decided();
    let response = match result {
        Ok(access) => {
            endpoint.metrics.count(Route::ForwardAuth, Outcome::Allowed);
            endpoint.audit.allowed(&id, &facts);
            response::allowed(&id, &access)
        }
        Err(error) => {
            let outcome = outcome(&error);
            endpoint.metrics.count(Route::ForwardAuth, outcome);
            endpoint.audit.denied(&id, &facts, outcome, &error);
            let authorization = headers.get_all(AUTHORIZATION).iter().map(HeaderValue::as_bytes);
            response::denied(&id, &error.to_response(TokenScheme::of_request(authorization)))
        }
    };
    endpoint.with_nonce(dpop::is_present(headers), response)
}

async fn ask<C: ClientStore, K: Clock>(
    endpoint: &Endpoint<C, K>,
    arrival: RequestContext<'_>,
    headers: &HeaderMap,
    proof: &Result<Option<PresentedProof>, Malformed>,
    requirement: &Requirement<'_>,
    facts: &mut AuditRecord,
) -> Result<Access, AccessError> {
    let authorization = headers.get_all(AUTHORIZATION).iter().map(HeaderValue::as_bytes);
    let proof = proof.as_ref().map(Option::as_ref).map_err(|malformed| *malformed);
    endpoint.service.access(arrival, authorization, proof, requirement, facts).await
}

pub(crate) fn outcome(error: &AccessError) -> Outcome {
    match error {
        AccessError::NoCredentials => Outcome::NoCredentials,
        AccessError::Malformed(_) => Outcome::InvalidRequest,
        AccessError::Client(error) if error.is_disclosed() => Outcome::UnauthorizedClient,
        AccessError::Client(_) => Outcome::InvalidClient,
        AccessError::Token(_) => Outcome::InvalidToken,
        AccessError::Proof(rule) if wants_nonce(*rule) => Outcome::UseDpopNonce,
        AccessError::Proof(_) => Outcome::InvalidDpopProof,
        AccessError::Insufficient { .. } => Outcome::InsufficientScope,
        AccessError::Unavailable(error) if error.status() == 429 => Outcome::RateLimited,
        AccessError::Unavailable(_) => Outcome::Unavailable,
    }
}
