//! An object of this replica. Its writes are serialized, and each write replaces the whole object.
//!
//! An abandoned write may still arrive after the next one. So the first write is a `create`, and each later write names
//! the resourceVersion that it was decided on. The API server accepts only one of two such writes. After a conflict the
//! object is read before it is written again.

use std::future::Future;
use std::time::Duration;

use crate::api::replica_state::ReplicaStateSpec;

/// The timeout of a write. A client waits for it.
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);
/// Maximum number of attempts; each attempt after the first reads the object first. The second attempt fails only if an
/// abandoned write arrives in between.
const ATTEMPTS: usize = 3;

/// Where objects are stored: the API server. A write returns `None` on a conflict: the object differs from the one that
/// the write was decided on.
pub(crate) trait StateStore: Send + Sync + 'static {
    /// Creates the object for `part` and returns its revision; `None`: the object already exists.
    fn create(&self, part: &str, spec: &ReplicaStateSpec) -> impl Future<Output = kube::Result<Option<String>>> + Send;

    /// Replaces the content of the object and returns its new revision; `None`: the object is no longer at `revision`.
    fn replace(
        &self,
        part: &str,
        revision: &str,
        spec: &ReplicaStateSpec,
    ) -> impl Future<Output = kube::Result<Option<String>>> + Send;

    /// The object, and its revision.
    fn find(&self, part: &str) -> impl Future<Output = kube::Result<Option<(String, ReplicaStateSpec)>>> + Send;
}

/// Why the result of a write is uncertain.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    #[error("the API server did not take it")]
    Api(#[from] kube::Error),
    #[error("the API server did not answer within {WRITE_TIMEOUT:?}")]
    Timeout(#[from] tokio::time::error::Elapsed),
    #[error("another writer changes the object as well")]
    Contended,
}

/// One object, as last known.
#[derive(Debug)]
pub(crate) struct CasObject {
    part: String,
    /// `None`: it has not been written yet.
    revision: Option<String>,
}

impl CasObject {
    pub(crate) fn new(part: String) -> Self {
        Self { part, revision: None }
    }

    /// Read-modify-write with optimistic concurrency: writes the content that `say` returns. On conflict, reads the
    /// object and calls `say` again with it. After an error the object may have the old or the new content.
    pub(crate) async fn write(
        &mut self,
        store: &impl StateStore,
        say: impl FnMut(Option<ReplicaStateSpec>) -> ReplicaStateSpec,
    ) -> Result<(), WriteError> {
        tokio::time::timeout(WRITE_TIMEOUT, self.write_onto(store, say)).await?
    }

    async fn write_onto(
        &mut self,
        store: &impl StateStore,
        mut say: impl FnMut(Option<ReplicaStateSpec>) -> ReplicaStateSpec,
    ) -> Result<(), WriteError> {
        let mut found = None;
        for _ in 0..ATTEMPTS {
            let spec = say(found);
            let written = match &self.revision {
                None => store.create(&self.part, &spec).await?,
                Some(revision) => store.replace(&self.part, revision, &spec).await?,
            };
            if written.is_some() {
                self.revision = written;
                return Ok(());
            }
            (self.revision, found) = store.find(&self.part).await?.unzip();
        }
        Err(WriteError::Contended)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};

    use super::*;

    /// The result of the next writes.
    #[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
    pub(in crate::replica_state) enum Fate {
        #[default]
        Taken,
        /// The API server is unavailable.
        Refused,
        /// The writes take longer than any caller waits.
        Delayed,
    }

    /// A write, as it was sent.
    #[derive(Clone, Debug)]
    struct Sent {
        part: String,
        revision: Option<String>,
        spec: ReplicaStateSpec,
    }

    #[derive(Default)]
    struct Inside {
        objects: BTreeMap<String, (u64, ReplicaStateSpec)>,
        fate: Fate,
        delayed: Vec<Sent>,
        taken: Vec<Sent>,
    }

    impl Inside {
        fn take(&mut self, sent: Sent) -> Option<String> {
            let at = self.objects.get(&sent.part).map(|(revision, _)| revision.to_string());
            if at != sent.revision {
                return None;
            }
            self.taken.push(sent.clone());
            let revision = self.taken.len() as u64;
            self.objects.insert(sent.part, (revision, sent.spec));
            Some(revision.to_string())
        }
    }

    /// An API server in memory that can lose writes.
    #[derive(Clone, Default)]
    pub(in crate::replica_state) struct FakeStateStore(Arc<Mutex<Inside>>);

    impl FakeStateStore {
        pub(in crate::replica_state) fn next(&self, fate: Fate) {
            self.0.lock().unwrap().fate = fate;
        }

        /// Applies the delayed writes.
        pub(in crate::replica_state) fn arrive(&self) {
            let mut inside = self.0.lock().unwrap();
            for sent in std::mem::take(&mut inside.delayed) {
                inside.take(sent);
            }
        }

        pub(in crate::replica_state) fn said(&self) -> BTreeMap<String, ReplicaStateSpec> {
            self.0.lock().unwrap().objects.iter().map(|(part, (_, spec))| (part.clone(), spec.clone())).collect()
        }

        /// Names of the written parts, in order.
        pub(in crate::replica_state) fn written(&self) -> Vec<String> {
            self.0.lock().unwrap().taken.iter().map(|sent| sent.part.clone()).collect()
        }

        async fn send(
            &self,
            part: &str,
            revision: Option<&str>,
            spec: &ReplicaStateSpec,
        ) -> kube::Result<Option<String>> {
            let sent = Sent { part: part.to_owned(), revision: revision.map(str::to_owned), spec: spec.clone() };
            let fate = self.0.lock().unwrap().fate;
            match fate {
                Fate::Taken => Ok(self.0.lock().unwrap().take(sent)),
                Fate::Refused => Err(kube::Error::Service("nobody listens".into())),
                Fate::Delayed => {
                    self.0.lock().unwrap().delayed.push(sent);
                    std::future::pending().await
                }
            }
        }
    }

    impl StateStore for FakeStateStore {
        async fn create(&self, part: &str, spec: &ReplicaStateSpec) -> kube::Result<Option<String>> {
            self.send(part, None, spec).await
        }

        async fn replace(&self, part: &str, at: &str, spec: &ReplicaStateSpec) -> kube::Result<Option<String>> {
            self.send(part, Some(at), spec).await
        }

        async fn find(&self, part: &str) -> kube::Result<Option<(String, ReplicaStateSpec)>> {
            let inside = self.0.lock().unwrap();
            Ok(inside.objects.get(part).map(|(revision, spec)| (revision.to_string(), spec.clone())))
        }
    }

    fn by(replica: &str) -> ReplicaStateSpec {
        ReplicaStateSpec { replica: replica.to_owned(), ..ReplicaStateSpec::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_that_arrives_after_a_newer_one_is_rejected() {
        for before in [0, 1] {
            let (store, mut document) = (FakeStateStore::default(), CasObject::new("part".to_owned()));
            for _ in 0..before {
                document.write(&store, |_| by("before")).await.unwrap();
            }
            store.next(Fate::Delayed);
            let given_up = document.write(&store, |_| by("older")).await;
            assert!(matches!(given_up, Err(WriteError::Timeout(_))), "{given_up:?}");
            store.next(Fate::Taken);
            document.write(&store, |_| by("newer")).await.unwrap();
            store.arrive();
            assert_eq!(store.said()["part"].replica, "newer", "after {before} writes");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_abandoned_write_that_arrived_is_read_before_the_next_write() {
        let (store, mut document) = (FakeStateStore::default(), CasObject::new("part".to_owned()));
        store.next(Fate::Delayed);
        document.write(&store, |_| by("older")).await.unwrap_err();
        store.arrive();
        store.next(Fate::Taken);
        let mut seen = Vec::new();
        let say = |found: Option<ReplicaStateSpec>| {
            seen.push(found.map(|found| found.replica));
            by("newer")
        };
        document.write(&store, say).await.unwrap();
        assert_eq!((seen, &*store.said()["part"].replica), (vec![None, Some("older".to_owned())], "newer"));
    }

    #[tokio::test]
    async fn an_object_that_was_deleted_is_created_again() {
        let (store, mut document) = (FakeStateStore::default(), CasObject::new("part".to_owned()));
        document.write(&store, |_| by("before")).await.unwrap();
        store.0.lock().unwrap().objects.clear();
        document.write(&store, |_| by("after")).await.unwrap();
        assert_eq!(store.said()["part"].replica, "after");
    }
}
