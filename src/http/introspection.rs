//! The introspection handler: parses the request, calls `oauth`, responds, and records logs and metrics.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::ACCEPT;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use crate::clock::Clock;
use crate::http::request_guard::RequestGuard;
use crate::http::response;
use crate::http::state::Endpoint;
use crate::http::token::outcome;
use crate::oauth::client_store::ClientStore;
use crate::oauth::introspection::{Introspection, ResponseFormat};
use crate::oauth::token::AuditRecord;
use crate::telemetry::request_metrics::{Outcome, Route};

/// RFC 9701 §5.
const SIGNED: &str = "application/token-introspection+jwt";

pub(crate) async fn introspect<C: ClientStore, K: Clock>(
    State(endpoint): State<Arc<Endpoint<C, K>>>,
    request: Request,
) -> Response {
    let mut pending = RequestGuard::new(&endpoint.metrics, &endpoint.audit, Endpoint::<C, K>::source(&request));
    let mut token = AuditRecord::default();
    let form = form_of(request.headers());
    let answer = async {
        let request = endpoint.form(request, pending.facts.source).await?;
        let facts = [&mut pending.facts, &mut token];
        endpoint.service.introspect(request.arrival(), request.authorization(), &request.body, form, facts).await
    };
    let answer = answer.await;
    let (id, caller) = pending.decided();
    match answer {
        Ok(Introspection { body, inactive }) => {
            let outcome = if inactive.is_some() { Outcome::Inactive } else { Outcome::Active };
            endpoint.metrics.count(Route::Introspection, outcome);
            endpoint.audit.introspected(&id, &caller, &token, inactive.as_ref());
            match form {
                ResponseFormat::Json => response::no_store_json(&id, StatusCode::OK, body),
                ResponseFormat::Jwt => response::no_store(&id, SIGNED, body),
            }
        }
        Err(error) => {
            let wire = error.to_response();
            let outcome = outcome(&wire);
            endpoint.metrics.count(Route::Introspection, outcome);
            endpoint.audit.refused(&id, &caller, outcome, &error, "introspection refused");
            response::error(&id, &wire)
        }
    }
}

/// A client that wants a signed response names its media type (RFC 9701 §4).
fn form_of(headers: &HeaderMap) -> ResponseFormat {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|accept| accept.to_str().ok());
    if accepted.flat_map(|accept| accept.split(',')).any(wants_signed) {
        ResponseFormat::Jwt
    } else {
        ResponseFormat::Json
    }
}

/// Whether a range of `Accept` matches the media type, without `q=0`, which excludes it (RFC 9110 §12.4.2).
fn wants_signed(range: &str) -> bool {
    let mut parts = range.split(';').map(str::trim);
    let named = parts.next().is_some_and(|media_type| media_type.eq_ignore_ascii_case(SIGNED));
    let weight = parts.filter_map(|part| part.split_once('=')).find(|(name, _)| name.eq_ignore_ascii_case("q"));
    named && weight.and_then(|(_, weight)| weight.parse().ok()) != Some(0.0_f32)
}
