//! The forward-auth handlers: parse the request of a proxy, call `oauth`, respond, and record logs and metrics.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use jiff::Timestamp;

use crate::clock::Clock;
use crate::http::request_guard::RequestGuard;
use crate::http::response;
use crate::http::state::Endpoint;
use crate::oauth::client_auth::RequestContext;
use crate::oauth::client_store::ClientStore;
use crate::oauth::error::Unavailable;
use crate::oauth::form::Form;
use crate::oauth::forward_auth::{Access, AccessError, Malformed, Requirement};
use crate::oauth::token::AuditRecord;
use crate::telemetry::request_metrics::{Outcome, Route};

/// For proxies that send a request to a dedicated URL (nginx, Traefik): the query contains the requirement.
pub(crate) async fn auth<C: ClientStore, K: Clock>(
    State(endpoint): State<Arc<Endpoint<C, K>>>,
    request: Request,
) -> Response {
    let source = Endpoint::<C, K>::source(&request);
    let (head, _) = request.into_parts();
    // A proxy that sends such a header here expects a check that would not happen.
    let requires_elsewhere = head.headers.keys().any(|name| Requirement::is_header(name.as_str()));
    match Form::parse(head.uri.query().unwrap_or_default().as_bytes()) {
        _ if requires_elsewhere => decide(&endpoint, source, &head.headers, Err(Malformed::Header)).await,
        Ok(form) => decide(&endpoint, source, &head.headers, Requirement::parse(&form)).await,
        Err(_) => decide(&endpoint, source, &head.headers, Err(Malformed::Query)).await,
    }
}

/// For proxies that send the path and the query of the original request (Envoy): headers that the proxy adds contain
/// the requirement, and the query belongs to the original request.
pub(crate) async fn auth_of_request<C: ClientStore, K: Clock>(
    State(endpoint): State<Arc<Endpoint<C, K>>>,
    request: Request,
) -> Response {
    let source = Endpoint::<C, K>::source(&request);
    let (head, _) = request.into_parts();
    let headers = head.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    decide(&endpoint, source, &head.headers, Requirement::of_headers(headers)).await
}

async fn decide<C: ClientStore, K: Clock>(
    endpoint: &Endpoint<C, K>,
    source: Option<IpAddr>,
    headers: &HeaderMap,
    requirement: Result<Requirement<'_>, Malformed>,
) -> Response {
    let mut pending = RequestGuard::new(&endpoint.metrics, &endpoint.audit, source);
    let result = match (endpoint.service.available(), requirement) {
        (Ok(now), Ok(requirement)) => ask(endpoint, now, headers, &requirement, &mut pending.facts).await,
        (Err(unavailable), _) => Err(unavailable.into()),
        (_, Err(malformed)) => Err(malformed.into()),
    };
    let (id, facts) = pending.decided();
    match result {
        Ok(access) => {
            endpoint.metrics.count(Route::ForwardAuth, Outcome::Allowed);
            endpoint.audit.allowed(&id, &facts);
            response::allowed(&id, &access)
        }
        Err(error) => {
            let outcome = outcome(&error);
            endpoint.metrics.count(Route::ForwardAuth, outcome);
            endpoint.audit.denied(&id, &facts, outcome, &error);
            response::denied(&id, &error.to_response())
        }
    }
}

async fn ask<C: ClientStore, K: Clock>(
    endpoint: &Endpoint<C, K>,
    now: Timestamp,
    headers: &HeaderMap,
    requirement: &Requirement<'_>,
    facts: &mut AuditRecord,
) -> Result<Access, AccessError> {
    let authorization = headers.get_all(AUTHORIZATION).iter().map(HeaderValue::as_bytes);
    let arrival = RequestContext { now, source: facts.source };
    endpoint.service.access(arrival, authorization, requirement, facts).await
}

pub(crate) fn outcome(error: &AccessError) -> Outcome {
    match error {
        AccessError::NoCredentials => Outcome::NoCredentials,
        AccessError::Malformed(_) => Outcome::InvalidRequest,
        AccessError::Client(error) if error.is_disclosed() => Outcome::UnauthorizedClient,
        AccessError::Client(_) => Outcome::InvalidClient,
        AccessError::Token(_) => Outcome::InvalidToken,
        AccessError::Insufficient { .. } => Outcome::InsufficientScope,
        AccessError::Unavailable(Unavailable::RateLimited | Unavailable::TooOften(_)) => Outcome::RateLimited,
        AccessError::Unavailable(_) => Outcome::Unavailable,
    }
}
