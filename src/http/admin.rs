//! `/livez`, `/readyz` and `/metrics`, on a listener of their own: whoever reaches the token endpoint need not reach
//! them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

/// Named conditions that must all hold before a replica is sent requests.
#[derive(Debug)]
pub struct Readiness {
    conditions: BTreeMap<&'static str, AtomicBool>,
}

impl Readiness {
    /// These conditions, none of which holds yet.
    #[must_use]
    pub fn new(conditions: impl IntoIterator<Item = &'static str>) -> Arc<Self> {
        let conditions = conditions.into_iter().map(|name| (name, AtomicBool::new(false))).collect();
        Arc::new(Self { conditions })
    }

    /// Says whether a condition holds. A name that [`Readiness::new`] was not given is ignored.
    pub fn set(&self, name: &str, holds: bool) {
        if let Some(condition) = self.conditions.get(name) {
            condition.store(holds, Ordering::Release);
        }
    }

    /// The conditions that do not hold, by name. Empty: ready.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        let missing = self.conditions.iter().filter(|(_, holds)| !holds.load(Ordering::Acquire));
        missing.map(|(name, _)| *name).collect()
    }
}

/// The router of the admin listener.
pub fn router(readiness: Arc<Readiness>, registry: Arc<Registry>) -> Router {
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz).with_state(readiness))
        .route("/metrics", get(metrics).with_state(registry))
}

async fn readyz(State(readiness): State<Arc<Readiness>>) -> impl IntoResponse {
    let missing = readiness.missing();
    if missing.is_empty() {
        (StatusCode::OK, "ok\n".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {}\n", missing.join(", ")))
    }
}

async fn metrics(State(registry): State<Arc<Registry>>) -> impl IntoResponse {
    let mut out = String::new();
    match text::encode(&mut out, &registry) {
        Ok(()) => (StatusCode::OK, [(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], out),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, [(CONTENT_TYPE, "text/plain")], String::new()),
    }
}
