//! `/livez` and `/readyz`, on a separate listener: load on the token endpoint or on metrics cannot block a probe.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::get;

/// Named conditions that must all hold before a replica is sent requests.
#[derive(Debug)]
pub struct Readiness {
    conditions: BTreeMap<&'static str, Mutex<Condition>>,
}

#[derive(Debug)]
enum Condition {
    Holds,
    /// And why not, if that is known.
    Missing(Option<String>),
}

impl Readiness {
    /// These conditions, none of which holds yet.
    #[must_use]
    pub fn new(conditions: impl IntoIterator<Item = &'static str>) -> Arc<Self> {
        let conditions = conditions.into_iter().map(|name| (name, Mutex::new(Condition::Missing(None)))).collect();
        Arc::new(Self { conditions })
    }

    /// Says whether a condition holds. A name that [`Readiness::new`] was not given is ignored.
    pub fn set(&self, name: &str, holds: bool) {
        self.put(name, if holds { Condition::Holds } else { Condition::Missing(None) });
    }

    /// Says that a condition does not hold, and why: a sentence for people, without secrets.
    pub fn explain(&self, name: &str, reason: &str) {
        self.put(name, Condition::Missing(Some(reason.to_owned())));
    }

    fn put(&self, name: &str, now: Condition) {
        if let Some(condition) = self.conditions.get(name) {
            *condition.lock().unwrap_or_else(PoisonError::into_inner) = now;
        }
    }

    /// The conditions that do not hold, by name and with the reason. Empty: ready.
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
