//! The management endpoint: what the bearer of a secret may read about its own application, and may request.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use jiff::Timestamp;

use crate::clock::Clock;
use crate::http::forward_auth;
use crate::http::request_guard::RequestGuard;
use crate::http::response;
use crate::http::response::RequestId;
use crate::http::state::Endpoint;
use crate::oauth::client_auth::{Authenticated, RequestContext};
use crate::oauth::client_store::ClientStore;
use crate::oauth::forward_auth::{AccessError, Malformed, TokenScheme};
use crate::oauth::self_service;
use crate::oauth::token::AuditRecord;
use crate::telemetry::request_metrics::{Outcome, Route};

pub(crate) async fn application<C: ClientStore, K: Clock>(
    State(endpoint): State<Arc<Endpoint<C, K>>>,
    request: Request,
) -> Response {
    read(&endpoint, request, |client, _| self_service::application(client)).await
}

pub(crate) async fn secrets<C: ClientStore, K: Clock>(
    State(endpoint): State<Arc<Endpoint<C, K>>>,
    request: Request,
) -> Response {
    read(&endpoint, request, self_service::secrets).await
}

pub(crate) async fn rotate<C: ClientStore, K: Clock>(
    State(endpoint): State<Arc<Endpoint<C, K>>>,
    request: Request,
) -> Response {
    response::run_to_completion(ask_for_rotation(endpoint, request)).await
}

async fn ask_for_rotation<C: ClientStore, K: Clock>(endpoint: Arc<Endpoint<C, K>>, request: Request) -> Response {
    let (id, mut facts) =
        (RequestId::new(), AuditRecord { source: Endpoint::<C, K>::source(&request), ..AuditRecord::default() });
    let (head, _) = request.into_parts();
    let asked = async {
        let (client, now) = manager(&endpoint, &head, &mut facts).await?;
        endpoint.service.rotate(&client, now).await
    };
    let asked = asked.await;
    answer(&endpoint, &id, &facts, StatusCode::ACCEPTED, asked)
}

async fn read<C: ClientStore, K: Clock>(
    endpoint: &Endpoint<C, K>,
    request: Request,
    view: impl FnOnce(&Authenticated, Timestamp) -> Vec<u8>,
) -> Response {
    let mut pending = RequestGuard::new(&endpoint.metrics, &endpoint.audit, Endpoint::<C, K>::source(&request));
    let (head, _) = request.into_parts();
    let found = manager(endpoint, &head, &mut pending.facts).await.map(|(client, now)| view(&client, now));
    let (id, facts) = pending.decided();
    answer(endpoint, &id, &facts, StatusCode::OK, found)
}

/// Responds, and records logs and metrics.
fn answer<C: ClientStore, K: Clock>(
    endpoint: &Endpoint<C, K>,
    id: &RequestId,
    facts: &AuditRecord,
    status: StatusCode,
    result: Result<Vec<u8>, AccessError>,
) -> Response {
    match result {
        Ok(json) => {
            endpoint.metrics.count(Route::Management, Outcome::Allowed);
            endpoint.audit.allowed(id, facts);
            response::no_store_json(id, status, json)
        }
        Err(error) => {
            let outcome = forward_auth::outcome(&error);
            endpoint.metrics.count(Route::Management, outcome);
            endpoint.audit.denied(id, facts, outcome, &error);
            let mut denial = error.to_response(TokenScheme::Bearer);
            // Tokens are not accepted here.
            denial.challenges.retain(|challenge| challenge.starts_with("Basic "));
            response::denied(id, &denial)
        }
    }
}

async fn manager<C: ClientStore, K: Clock>(
    endpoint: &Endpoint<C, K>,
    head: &Parts,
    facts: &mut AuditRecord,
) -> Result<(Authenticated, Timestamp), AccessError> {
    let now = endpoint.service.available()?;
    if head.uri.query().is_some_and(|query| !query.is_empty()) {
        return Err(Malformed::AnyQuery.into());
    }
    let authorization = head.headers.get_all(AUTHORIZATION).iter().map(HeaderValue::as_bytes);
    let arrival = RequestContext { now, source: facts.source, certificate: None };
    Ok((endpoint.service.manager(arrival, authorization, facts).await?, now))
}
