//! `/livez` and `/readyz`, on a separate listener: load on the token endpoint or on metrics cannot block a probe.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::get;

/// Named conditions that must all be true before a replica gets requests.
#[derive(Debug)]
pub struct Readiness {
    conditions: BTreeMap<&'static str, Mutex<Condition>>,
}

#[derive(Debug)]
enum Condition {
    Holds,
    /// The reason, if it is known.
    Missing(Option<String>),
}

impl Readiness {
    /// These conditions, all false.
    #[must_use]
    pub fn new(conditions: impl IntoIterator<Item = &'static str>) -> Arc<Self> {
        let conditions = conditions.into_iter().map(|name| (name, Mutex::new(Condition::Missing(None)))).collect();
        Arc::new(Self { conditions })
    }

    /// Sets whether a condition is true. Ignores a name that [`Readiness::new`] was not given.
    pub fn set(&self, name: &str, holds: bool) {
        self.put(name, if holds { Condition::Holds } else { Condition::Missing(None) });
    }

    /// Sets a condition to false, with a reason: a human-readable sentence without secrets.
    pub fn explain(&self, name: &str, reason: &str) {
        self.put(name, Condition::Missing(Some(reason.to_owned())));
    }

    fn put(&self, name: &str, now: Condition) {
        if let Some(condition) = self.conditions.get(name) {
            *condition.lock().unwrap_or_else(PoisonError::into_inner) = now;
        }
    }

    /// The conditions that are false, with name and reason. Empty: ready.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let missing = |(name, condition): (&&'static str, &Mutex<Condition>)| match &*condition
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
        {
            Condition::Holds => None,
            Condition::Missing(None) => Some((*name).to_owned()),
            Condition::Missing(Some(reason)) => Some(format!("{name} ({reason})")),
        };
        self.conditions.iter().filter_map(missing).collect()
    }
}

/// The router of the health listener.
pub fn router(readiness: Arc<Readiness>) -> Router {
    Router::new().route("/livez", get(async || "ok\n")).route("/readyz", get(readyz).with_state(readiness))
}

async fn readyz(State(readiness): State<Arc<Readiness>>) -> impl IntoResponse {
    let missing = readiness.missing();
    if missing.is_empty() {
        (StatusCode::OK, "ok\n".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {}\n", missing.join(", ")))
    }
}
