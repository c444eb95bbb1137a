//! The introspection handler: reads the request, asks `oauth`, answers, and says so in log and metrics.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::ACCEPT;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use crate::clock::Clock;
use crate::http::answer::{self, RequestId};
use crate::http::audit;
use crate::http::endpoint::Endpoint;
use crate::http::token::outcome;
use crate::oauth::client::Clients;
use crate::oauth::introspect::{AnswerForm, Introspection};
use crate::oauth::token::Facts;

/// RFC 9701 §5.
const SIGNED: &str = "application/token-introspection+jwt";

pub(crate) async fn introspect<C: Clients, K: Clock>(
    State(endpoint): State<Arc<Endpoint<C, K>>>,
    request: Request,
) -> Response {
    let id = RequestId::new();
    let mut caller = Facts { source: endpoint.source(&request), ..Facts::default() };
    let mut token = Facts::default();
    let form = form_of(request.headers());
    let answer = async {
        let request = endpoint.form(request, caller.source).await?;
        let facts = [&mut caller, &mut token];
        endpoint.service.introspect(request.arrival, request.authorization(), &request.body, form, facts).await
    };
    match answer.await {
        Ok(Introspection { body, inactive }) => {
            endpoint.metrics.introspections.count(usize::from(inactive.is_some()));
            audit::introspected(&id, &caller, &token, inactive.as_ref());
            match form {
                AnswerForm::Json => answer::private(&id, StatusCode::OK, body),
                AnswerForm::Jwt => answer::private_of(&id, SIGNED, body),
            }
        }
        Err(error) => {
            let wire = error.on_the_wire();
            let outcome = outcome(&wire);
            endpoint.metrics.introspections.count_failed(outcome);
            audit::refused(&id, &caller, outcome, &error, "introspection refused");
            answer::error(&id, &wire)
        }
    }
}

/// Who wants a signed answer names its media type (RFC 9701 §4).
fn form_of(headers: &HeaderMap) -> AnswerForm {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|accept| accept.to_str().ok());
    let mut types = accepted.flat_map(|accept| accept.split(',')).filter_map(|range| range.split(';').next());
    if types.any(|media_type| media_type.trim().eq_ignore_ascii_case(SIGNED)) {
        AnswerForm::Jwt
    } else {
        AnswerForm::Json
    }
}
