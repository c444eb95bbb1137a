//! What bearers of secrets ask for, told to the controller through an object of the API: this half writes to no other.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Mutex;

use super::states::States;
use crate::api::endpoint_state::{ENTRIES_MAX, EndpointStateSpec, Use};
use crate::chain::chain;
use crate::oauth::client::{CatchUpError, ObjectRevision};

/// A request stands for this long. By then it has been acted on, or nobody is there to do so.
const STANDS_FOR: SignedDuration = SignedDuration::from_mins(10);
/// How long a bearer waits for the API server.
const PATIENCE: Duration = Duration::from_secs(2);

/// Requests of the last minutes.
pub(super) struct Requests {
    states: States,
    /// Held while they are written, so that no request undoes another.
    recent: Mutex<Vec<Use>>,
}

impl Requests {
    pub(super) fn new(states: States) -> Self {
        Self { states, recent: Mutex::default() }
    }

    pub(super) async fn record(
        &self,
        secret: &ObjectRevision,
        version_id: &str,
        now: Timestamp,
    ) -> Result<(), CatchUpError> {
        let asked = Use {
            namespace: secret.namespace.to_string(),
            name: secret.name.to_string(),
            version: version_id.to_owned(),
            at: now,
        };
        let mut recent = self.recent.lock().await;
        recent.retain(|other| now.duration_since(other.at) < STANDS_FOR && !is_same(other, &asked));
        if recent.len() >= ENTRIES_MAX {
            return Err(CatchUpError::RateLimited);
        }
        recent.push(asked);
        let spec = EndpointStateSpec { rotations: recent.clone(), ..self.states.blank(now) };
        let written = self.states.write("requests", &spec);
        match tokio::time::timeout(PATIENCE, written).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                tracing::warn!(error = chain(&error), "a request for rotation could not be recorded");
                Err(CatchUpError::Behind)
            }
            Err(_) => Err(CatchUpError::Behind),
        }
    }
}

fn is_same(one: &Use, other: &Use) -> bool {
    (&one.namespace, &one.name) == (&other.namespace, &other.name)
}
