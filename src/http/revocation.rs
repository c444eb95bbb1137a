//! The revocation handler.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;

use crate::clock::Clock;
use crate::http::response;
use crate::http::response::RequestId;
use crate::http::state::Endpoint;
use crate::http::token::outcome;
use crate::oauth::client_store::ClientStore;
use crate::oauth::revocation::Revocation;
use crate::oauth::token::AuditRecord;
use crate::telemetry::request_metrics::{Outcome, Route};

pub(crate) async fn revoke<C: ClientStore, K: Clock>(
    State(endpoint): State<Arc<Endpoint<C, K>>>,
    request: Request,
) -> Response {
    response::run_to_completion(decide(endpoint, request)).await
}

async fn decide<C: ClientStore, K: Clock>(endpoint: Arc<Endpoint<C, K>>, request: Request) -> Response {
    let id = RequestId::new();
    let mut facts = AuditRecord { source: Endpoint::<C, K>::source(&request), ..AuditRecord::default() };
    let answer = async {
        let form = endpoint.form(request, facts.source).await?;
        endpoint.service.revoke(form.arrival(), form.authorization(), &form.body, &mut facts).await
    };
    match answer.await {
        Ok(revocation) => {
            let outcome = if revocation == Revocation::Ended { Outcome::Revoked } else { Outcome::Ignored };
            endpoint.metrics.count(Route::Revocation, outcome);
            endpoint.audit.revoked(&id, &facts, &revocation);
            // RFC 7009 §2.2: the status is sufficient.
            response::empty(&id)
        }
        Err(error) => {
            let wire = error.to_response();
            let outcome = outcome(&wire);
            endpoint.metrics.count(Route::Revocation, outcome);
            endpoint.audit.refused(&id, &facts, outcome, &error, "revocation refused");
            response::error(&id, &wire)
        }
    }
}
