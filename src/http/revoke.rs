//! The revocation handler.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::http::header::AUTHORIZATION;
use axum::response::Response;

use crate::clock::Clock;
use crate::http::answer::{self, RequestId};
use crate::http::audit;
use crate::http::endpoint::Endpoint;
use crate::http::token::outcome;
use crate::oauth::authenticate::Arrival;
use crate::oauth::client::Clients;
use crate::oauth::error::TokenError;
use crate::oauth::revoke::Revocation;
use crate::oauth::token::Facts;

pub(crate) async fn revoke<C: Clients, K: Clock>(
    State(endpoint): State<Arc<Endpoint<C, K>>>,
    request: Request,
) -> Response {
    let id = RequestId::new();
    let mut facts = Facts { source: endpoint.source(&request), ..Facts::default() };
    match ask(&endpoint, request, &mut facts).await {
        Ok(revocation) => {
            endpoint.metrics.revocations.count(usize::from(revocation != Revocation::Ended));
            audit::revoked(&id, &facts, &revocation);
            // RFC 7009 §2.2: the status says it all.
            answer::empty(&id)
        }
        Err(error) => {
            let wire = error.on_the_wire();
            let outcome = outcome(&wire);
            endpoint.metrics.revocations.count_failed(outcome);
            audit::refused(&id, &facts, outcome, &error, "revocation refused");
            answer::error(&id, &wire)
        }
    }
}

async fn ask<C: Clients, K: Clock>(
    endpoint: &Endpoint<C, K>,
    request: Request,
    facts: &mut Facts,
) -> Result<Revocation, TokenError> {
    let (now, headers, body) = endpoint.form(request).await?;
    let authorization = headers.get_all(AUTHORIZATION).iter().map(HeaderValue::as_bytes);
    let arrival = Arrival { now, source: facts.source };
    endpoint.service.revoke(arrival, authorization, &body, facts).await
}
