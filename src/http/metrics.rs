//! `/metrics`, on a separate listener, with optional authentication, in either text format of Prometheus.

mod format;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, VARY, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use futures::future::BoxFuture;
use prometheus_client::encoding::{prometheus_text, text};
use prometheus_client::registry::Registry;

use format::Format;

/// Path of the metrics.
pub const METRICS_PATH: &str = "/metrics";

/// The result of an authorization.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Access {
    /// The client may read metrics.
    Granted,
    /// The token is not valid.
    Unauthenticated,
    /// The token is valid, but its owner is not authorized.
    Forbidden,
    /// The authorizer did not respond.
    Unavailable,
}

/// Decides which clients may read metrics.
pub trait Authorizer: Send + Sync {
    /// The permission of the owner of this bearer token.
    fn authorize<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Access>;
}

/// The router of the metrics listener. Without an authorizer, every client may read.
pub fn router(registry: Arc<Registry>, authorizer: Option<Arc<dyn Authorizer>>) -> Router {
    Router::new().route(METRICS_PATH, get(metrics).with_state((registry, authorizer)))
}

type Shared = (Arc<Registry>, Option<Arc<dyn Authorizer>>);

async fn metrics(State((registry, authorizer)): State<Shared>, headers: HeaderMap) -> Response {
    if let Some(authorizer) = authorizer {
        let access = match bearer(&headers) {
            Some(token) => authorizer.authorize(token).await,
            None => Access::Unauthenticated,
        };
        if let Some(refusal) = refusal(access) {
            return refusal;
        }
    }
    let accept = headers.get_all(ACCEPT).iter().filter_map(|list| list.to_str().ok());
    let format = Format::wanted(accept);
    let mut out = String::new();
    let encoded = match format {
        Format::OpenMetrics => text::encode(&mut out, &registry),
        Format::Text => prometheus_text::encode(&mut out, &registry),
    };
    if encoded.is_err() {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    ([(CONTENT_TYPE, format.content_type()), (VARY, "accept")], out).into_response()
}

/// The token of the only Authorization header (RFC 6750 §2.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

fn refusal(access: Access) -> Option<Response> {
    match access {
        Access::Granted => None,
        Access::Unauthenticated => {
            let text = "send the bearer token of a ServiceAccount that may get the URL /metrics\n";
            Some((StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Bearer")], text).into_response())
        }
        Access::Forbidden => {
            let text =
                "the owner of this token may not get the URL /metrics: bind the chart's ClusterRole metrics-reader\n";
            Some((StatusCode::FORBIDDEN, text).into_response())
        }
        Access::Unavailable => {
            Some((StatusCode::SERVICE_UNAVAILABLE, "the API server could not be asked\n").into_response())
        }
    }
}
