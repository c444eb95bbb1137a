//! The userinfo handler.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;

use crate::clock::Clock;
use crate::http::admission::Arrived;
use crate::http::request_guard::RequestGuard;
use crate::http::state::Endpoint;
use crate::http::{dpop, forward_auth, response};
use crate::oauth::client_auth::RequestContext;
use crate::oauth::client_store::ClientStore;
use crate::oauth::forward_auth::{AccessError, Malformed, TokenScheme};
use crate::oauth::token::AuditRecord;
use crate::telemetry::request_metrics::{Outcome, Route};

pub(crate) async fn userinfo<C: ClientStore, K: Clock>(
    State(endpoint): State<Arc<Endpoint<C, K>>>,
    request: Request,
) -> Response {
    let has_proof = dpop::is_present(request.headers());
    let authorization = request.headers().get_all(AUTHORIZATION).iter().map(HeaderValue::as_bytes);
    let scheme = TokenScheme::of_request(authorization);
    let mut pending = RequestGuard::new(&endpoint.metrics, &endpoint.audit, Endpoint::<C, K>::source(&request));
    let found = ask(&endpoint, request, &mut pending.facts).await;
    let (id, facts) = pending.decided();
    let response = match found {
        Ok(json) => {
            endpoint.metrics.count(Route::Userinfo, Outcome::Allowed);
            endpoint.audit.allowed(&id, &facts);
            response::no_store_json(&id, StatusCode::OK, json)
        }
        Err(error) => {
            let outcome = forward_auth::outcome(&error);
            endpoint.metrics.count(Route::Userinfo, outcome);
            endpoint.audit.denied(&id, &facts, outcome, &error);
            let mut denial = error.to_response(scheme);
            // Id and secret are not accepted here.
            denial.challenges.retain(|challenge| !challenge.starts_with("Basic "));
            response::denied(&id, &denial)
        }
    };
    endpoint.with_nonce(has_proof, response)
}

async fn ask<C: ClientStore, K: Clock>(
    endpoint: &Endpoint<C, K>,
    request: Request,
    facts: &mut AuditRecord,
) -> Result<Vec<u8>, AccessError> {
    let now = endpoint.service.available()?;
    // Drops the body now: otherwise its bytes would be kept while the caller is looked up.
    let (head, _) = request.into_parts();
    if head.uri.query().is_some_and(|query| !query.is_empty()) {
        return Err(Malformed::AnyQuery.into());
    }
    let authorization = head.headers.get_all(AUTHORIZATION).iter().map(HeaderValue::as_bytes);
    let certificate = head.extensions.get::<Arrived>().and_then(|arrived| arrived.certificate.as_deref());
    let arrival = RequestContext { now, source: facts.source, certificate };
    endpoint.service.userinfo(arrival, authorization, endpoint.proof(&head).as_ref(), facts).await
}
