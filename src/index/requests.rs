//! What bearers of secrets ask for, told to the controller through an object of the API: this half writes to no other.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Mutex;

use super::document::{Document, Store};
use crate::api::endpoint_state::{ENTRIES_MAX, EndpointStateSpec, Use};
use crate::chain::chain;
use crate::oauth::client::{CatchUpError, ObjectRevision};

/// A request stands for this long. By then it has been acted on, or nobody is there to do so.
const STANDS_FOR: SignedDuration = SignedDuration::from_mins(10);
/// How long a bearer waits for those before it and for the API server.
const PATIENCE: Duration = Duration::from_secs(2);

/// Requests of the last minutes.
pub(super) struct Requests<S> {
    store: S,
    /// What the object says besides.
    blank: EndpointStateSpec,
    /// Held while they are written, so that no request undoes another.
    told: Mutex<Told>,
}

struct Told {
    document: Document,
    /// What surely stands in it, and was answered so.
    recent: Vec<Use>,
}

impl<S: Store> Requests<S> {
    /// `incarnation` is part of the name of this process's object.
    pub(super) fn new(store: S, blank: EndpointStateSpec, incarnation: &str) -> Self {
        let document = Document::new(format!("{incarnation}-requests"));
        Self { store, blank, told: Mutex::new(Told { document, recent: Vec::new() }) }
    }

    /// Returns when the request stands where the controller sees it. After an error it may stand there, too; the next
    /// request that is written takes it away.
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
        let written = tokio::time::timeout(PATIENCE, self.write(asked, now)).await;
        written.unwrap_or(Err(CatchUpError::Behind))
    }

    async fn write(&self, asked: Use, now: Timestamp) -> Result<(), CatchUpError> {
        let Told { document, recent } = &mut *self.told.lock().await;
        let stands = |other: &&Use| now.duration_since(other.at) < STANDS_FOR && !is_same(other, &asked);
        let mut rotations: Vec<Use> = recent.iter().filter(stands).cloned().collect();
        if rotations.len() >= ENTRIES_MAX {
            return Err(CatchUpError::RateLimited);
        }
        rotations.push(asked);
        let spec = EndpointStateSpec { rotations, reported_at: now, ..self.blank.clone() };
        document.write(&self.store, |_| spec.clone()).await.map_err(|error| {
            tracing::warn!(error = chain(&error), "a request for rotation could not be recorded");
            CatchUpError::Behind
        })?;
        *recent = spec.rotations;
        Ok(())
    }
}

fn is_same(one: &Use, other: &Use) -> bool {
    (&one.namespace, &one.name) == (&other.namespace, &other.name)
}

#[cfg(test)]
mod tests {
    use super::super::document::tests::{Fate, Memory};
    use super::*;

    fn secret(name: &str) -> ObjectRevision {
        ObjectRevision { kind: "ClientSecret", namespace: "billing".into(), name: name.into(), resource_version: 1 }
    }

    fn asked_for(store: &Memory) -> Vec<String> {
        store.said().into_values().flat_map(|spec| spec.rotations).map(|asked| asked.name).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_answered_stands_and_what_was_not_does_not_come_back() {
        let now = Timestamp::from_second(1_000).unwrap();
        for fate in [Fate::Refused, Fate::Delayed] {
            let store = Memory::default();
            let requests = Requests::new(store.clone(), EndpointStateSpec::default(), "1");
            assert_eq!(requests.record(&secret("first"), "a", now).await, Ok(()));
            store.next(fate);
            assert_eq!(requests.record(&secret("given-up"), "b", now).await, Err(CatchUpError::Behind));
            store.next(Fate::Taken);
            // It arrives before the next one, or after.
            store.arrive();
            assert_eq!(requests.record(&secret("last"), "c", now).await, Ok(()));
            assert_eq!(asked_for(&store), ["first", "last"], "{fate:?}");
        }
        let store = Memory::default();
        let requests = Requests::new(store.clone(), EndpointStateSpec::default(), "1");
        store.next(Fate::Delayed);
        assert_eq!(requests.record(&secret("given-up"), "b", now).await, Err(CatchUpError::Behind));
        store.next(Fate::Taken);
        assert_eq!(requests.record(&secret("last"), "c", now).await, Ok(()));
        store.arrive();
        assert_eq!(asked_for(&store), ["last"]);
    }

    #[tokio::test]
    async fn a_secret_is_asked_for_once_and_nobody_waits_for_what_is_long_over() {
        let store = Memory::default();
        let requests = Requests::new(store.clone(), EndpointStateSpec::default(), "1");
        let at = |minute: i64| Timestamp::from_second(minute * 60).unwrap();
        for (name, minute) in [("blue", 1), ("green", 2), ("blue", 3), ("red", 12)] {
            assert_eq!(requests.record(&secret(name), "a", at(minute)).await, Ok(()));
        }
        assert_eq!(asked_for(&store), ["blue", "red"]);
    }
}
