//! The token endpoint's handler: parses the request, calls `oauth`, responds, and records logs and metrics.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;

use crate::clock::Clock;
use crate::http::audit::Audit;
use crate::http::request_guard::RequestGuard;
use crate::http::state::Endpoint;
use crate::http::{dpop, response};
use crate::oauth::client_store::ClientStore;
use crate::oauth::error::{ErrorCode, TokenError, WireError};
use crate::telemetry::request_metrics::{Outcome, Route};

pub(crate) async fn token<C: ClientStore, K: Clock>(
    State(endpoint): State<Arc<Endpoint<C, K>>>,
    request: Request,
) -> Response {
    let has_proof = dpop::is_present(request.headers());
    let mut pending = RequestGuard::new(&endpoint.metrics, &endpoint.audit, Endpoint::<C, K>::source(&request));
    let answer = async {
        let form = endpoint.form(request, pending.facts.source).await?;
        let (authorization, proof) = (form.authorization(), form.proof.as_ref());
        endpoint.service.token(form.arrival(), authorization, proof, &form.body, &mut pending.facts).await
    };
    let answer = answer.await;
    let (id, facts) = pending.decided();
    let response = match answer {
        Ok(token) => {
            endpoint.metrics.count(Route::Token, Outcome::Issued);
            Audit::issued(&id, &facts);
            match token.body() {
                Ok(json) => response::no_store_json(&id, StatusCode::OK, json),
                Err(_) => response::error(&id, &TokenError::Internal.to_response()),
            }
        }
        Err(error) => {
            let wire = error.to_response();
            let outcome = outcome(&wire);
            endpoint.metrics.count(Route::Token, outcome);
            endpoint.audit.refused(&id, &facts, outcome, &error, "token refused");
            response::error(&id, &wire)
        }
    };
    endpoint.with_nonce(has_proof, response)
}

pub(crate) fn outcome(error: &WireError) -> Outcome {
    match (error.code, error.status) {
        (ErrorCode::InvalidRequest, _) => Outcome::InvalidRequest,
        (ErrorCode::InvalidClient, _) => Outcome::InvalidClient,
        (ErrorCode::InvalidGrant, _) => Outcome::InvalidGrant,
        (ErrorCode::UnauthorizedClient, _) => Outcome::UnauthorizedClient,
        (ErrorCode::UnsupportedGrantType, _) => Outcome::UnsupportedGrantType,
        (ErrorCode::InvalidScope, _) => Outcome::InvalidScope,
        (ErrorCode::InvalidTarget, _) => Outcome::InvalidTarget,
        (ErrorCode::InvalidDpopProof, _) => Outcome::InvalidDpopProof,
        (ErrorCode::UseDpopNonce, _) => Outcome::UseDpopNonce,
        (ErrorCode::TemporarilyUnavailable, 429) => Outcome::RateLimited,
        (ErrorCode::TemporarilyUnavailable, _) => Outcome::Unavailable,
        (ErrorCode::ServerError, _) => Outcome::ServerError,
    }
}
