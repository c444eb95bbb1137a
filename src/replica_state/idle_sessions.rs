//! Publishes to the other replicas which tokens were used, in batches.
//!
//! A token stays in the same object until it expires. The number of objects grows as needed. An object is written
//! whole, so it is written only when a use in it is due for publication, and not again for the same interval.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tokio::sync::Mutex;

use super::cas_object::{CasObject, StateStore};
use super::token_state::TokenState;
use crate::api::replica_state::{ReplicaStateSpec, SessionUse};
use crate::util::error_chain::display_chain;

/// Sessions in one object: 60 KiB.
const PER_OBJECT: usize = 500;
/// Objects written per second: about a megabyte. If more are due, the least recently written ones come first.
const WRITES: usize = 16;

/// What this process publishes.
pub(crate) struct IdleSessions<S> {
    store: S,
    /// The fields that all objects share.
    empty_spec: ReplicaStateSpec,
    process_id: String,
    objects: Mutex<Vec<Object>>,
}

struct Object {
    document: CasObject,
    /// When, in seconds since 1970.
    written: i64,
}

impl<S: StateStore> IdleSessions<S> {
    /// `process_id` is part of the names of this process's objects.
    pub(crate) fn new(store: S, empty_spec: ReplicaStateSpec, process_id: String) -> Self {
        Self { store, empty_spec, process_id, objects: Mutex::default() }
    }

    /// Publishes the uses that are due. Objects without such a use are not written.
    pub(crate) async fn publish(&self, token_state: &TokenState, now: Timestamp) {
        self.publish_due(&mut *self.objects.lock().await, token_state, now).await;
    }

    /// Publishes what is new for the last time: every such use is due.
    pub(crate) async fn publish_last(&self, token_state: &TokenState, now: Timestamp) {
        let mut objects = self.objects.lock().await;
        objects.iter_mut().for_each(|object| object.written = i64::MIN);
        self.publish_due(&mut objects, token_state, now).await;
    }

    async fn publish_due(&self, objects: &mut Vec<Object>, token_state: &TokenState, now: Timestamp) {
        let due = self.due(objects, token_state, now.as_second());
        for (number, sessions) in sessions_in(&due, token_state, now.as_second()) {
            let Some(object) = objects.get_mut(number) else { continue };
            let spec = ReplicaStateSpec { sessions, reported_at: now, ..self.empty_spec.clone() };
            if let Err(error) = object.document.write(&self.store, |_| spec.clone()).await {
                tracing::warn!(error = display_chain(&error), "could not report the use of tokens, trying again");
                return;
            }
            object.written = now.as_second();
            token_state.merge(&spec);
        }
    }

    /// The objects to write now. Assigns new sessions to objects.
    fn due(&self, objects: &mut Vec<Object>, token_state: &TokenState, now: i64) -> Vec<usize> {
        let mut used = vec![0; objects.len()];
        token_state.each_session(|_, session| {
            if let Some(used) = session.local_last_use(now).and(session.shard()).and_then(|number| used.get_mut(number))
            {
                *used += 1;
            }
        });
        let mut steps = BTreeMap::<usize, i64>::new();
        let mut roomy = 0;
        token_state.each_session(|_, session| {
            if session.local_last_use(now).and(session.unpublished()).is_none() {
                return;
            }
            let number = session.shard().unwrap_or_else(|| {
                while used.get(roomy).is_some_and(|used| *used >= PER_OBJECT) {
                    roomy += 1;
                }
                match used.get_mut(roomy) {
                    Some(used) => *used += 1,
                    None => used.push(1),
                }
                session.assign_shard(roomy);
                roomy
            });
            let step = steps.entry(number).or_insert(i64::MAX);
            *step = session.min_interval().min(*step);
        });
        while objects.len() < used.len() {
            let part = format!("{}-used-{}", self.process_id, objects.len());
            objects.push(Object { document: CasObject::new(part), written: i64::MIN });
        }
        let written = |number: usize| objects.get(number).map_or(i64::MIN, |object| object.written);
        let is_due = |(number, step): (usize, i64)| (written(number).saturating_add(step) <= now).then_some(number);
        let mut due: Vec<usize> = steps.into_iter().filter_map(is_due).collect();
        due.sort_by_key(|number| written(*number));
        due.truncate(WRITES);
        due
    }
}

/// The sessions of these objects, including those without changes: an object is written whole.
fn sessions_in(objects: &[usize], token_state: &TokenState, now: i64) -> BTreeMap<usize, Vec<SessionUse>> {
    let mut by_shard: BTreeMap<usize, Vec<SessionUse>> = objects.iter().map(|number| (*number, Vec::new())).collect();
    token_state.each_session(|jti, session| {
        let Some(sessions) = session.shard().and_then(|number| by_shard.get_mut(&number)) else { return };
        let Some(used_at) = session.local_last_use(now) else { return };
        if let (Ok(at), Ok(until)) = (Timestamp::from_second(used_at), Timestamp::from_second(session.expires_at())) {
            sessions.push(SessionUse { id: jti.to_owned(), namespace: session.namespace().to_owned(), at, until });
        }
    });
    by_shard
}

#[cfg(test)]
mod tests {
    use super::super::cas_object::tests::{FakeStateStore, Fate};
    use super::super::token_state::SESSIONS_MAX;
    use std::sync::Arc;

    use super::*;

    const IDLE: i64 = 1_200;
    /// As many as a hundred namespaces may have together.
    const MANY: usize = SESSIONS_MAX * 9 / 10;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn process(store: &FakeStateStore) -> (IdleSessions<FakeStateStore>, TokenState) {
        (IdleSessions::new(store.clone(), ReplicaStateSpec::default(), "1".to_owned()), TokenState::default())
    }

    /// The namespace of a session.
    fn namespace(number: usize) -> Arc<str> {
        format!("namespace-{}", number % 100).into()
    }

    /// Uses each range of sessions at its second.
    fn used(token_state: &TokenState, sessions: impl IntoIterator<Item = usize>, second: i64) {
        for number in sessions {
            assert!(
                token_state.used(&format!("jti-{number}"), &namespace(number), 0, second, IDLE, i64::MAX),
                "{number}"
            );
        }
    }

    /// What another process would read after all processes restart.
    fn known(store: &FakeStateStore) -> TokenState {
        let token_state = TokenState::default();
        store.said().values().for_each(|spec| token_state.merge(spec));
        token_state
    }

    #[tokio::test]
    async fn the_last_publication_contains_a_use_of_the_same_second() {
        let (store, namespace) = (FakeStateStore::default(), Arc::from("billing"));
        let (sessions, token_state) = process(&store);
        let published = || store.said().values().map(|spec| spec.sessions.len()).sum::<usize>();
        for id in ["first", "second"] {
            token_state.use_once(id, &namespace, 100, 160).unwrap();
            sessions.publish(&token_state, at(100)).await;
        }
        assert_eq!(published(), 1, "an object is written once per second");
        sessions.publish_last(&token_state, at(100)).await;
        assert_eq!(published(), 2);
    }

    #[tokio::test]
    async fn sessions_are_written_to_as_many_objects_as_needed_and_none_is_omitted() {
        let store = FakeStateStore::default();
        let (sessions, token_state) = process(&store);
        used(&token_state, 0..MANY, 100);
        for second in 100..115 {
            let before = store.written().len();
            sessions.publish(&token_state, at(second)).await;
            assert!(store.written().len() - before <= WRITES);
        }
        let said = store.said();
        assert_eq!((said.len(), store.written().len()), (MANY / PER_OBJECT, MANY / PER_OBJECT));
        assert!(said.values().all(|spec| spec.sessions.len() == PER_OBJECT));
        let known = known(&store);
        assert!((0..MANY).all(|number| known.last_use(&format!("jti-{number}")) == Some(100)));
    }

    #[tokio::test]
    async fn an_unchanged_object_is_not_written_and_a_changed_one_is_written_whole_after_an_interval() {
        let store = FakeStateStore::default();
        let (sessions, token_state) = process(&store);
        used(&token_state, 0..2 * PER_OBJECT, 100);
        sessions.publish(&token_state, at(100)).await;
        assert_eq!(store.written(), ["1-used-0", "1-used-1"]);
        let [moved, still] = {
            let object = store.said().remove("1-used-1").unwrap().sessions;
            [object[0].id.clone(), object[1].id.clone()]
        };
        let step = IDLE / 40;
        for second in 101..100 + step {
            assert!(token_state.used(&moved, &namespace(0), 100, second, IDLE, i64::MAX));
            sessions.publish(&token_state, at(second)).await;
        }
        assert_eq!(store.written().len(), 2, "small steps are not worth it");
        assert!(token_state.used(&moved, &namespace(0), 100, 100 + step, IDLE, i64::MAX));
        sessions.publish(&token_state, at(100 + step)).await;
        assert_eq!(store.written()[2..], ["1-used-1"]);
        let known = known(&store);
        assert_eq!((known.last_use(&moved), known.last_use(&still)), (Some(100 + step), Some(100)));
    }

    #[tokio::test(start_paused = true)]
    async fn uses_that_could_not_be_published_are_published_when_the_api_server_is_back() {
        for fate in [Fate::Refused, Fate::Delayed] {
            let store = FakeStateStore::default();
            let (sessions, token_state) = process(&store);
            used(&token_state, [1], 100);
            store.next(fate);
            sessions.publish(&token_state, at(100)).await;
            used(&token_state, [2], 101);
            store.next(Fate::Taken);
            sessions.publish(&token_state, at(101)).await;
            store.arrive();
            let known = known(&store);
            assert_eq!([known.last_use("jti-1"), known.last_use("jti-2")], [Some(100), Some(101)], "{fate:?}");
        }
    }

    #[tokio::test]
    async fn expired_sessions_make_room_for_new_ones() {
        let store = FakeStateStore::default();
        let (sessions, token_state) = process(&store);
        used(&token_state, 0..PER_OBJECT, 100);
        sessions.publish(&token_state, at(100)).await;
        let later = 100 + IDLE;
        used(&token_state, [PER_OBJECT], later);
        sessions.publish(&token_state, at(later)).await;
        assert_eq!(store.said().into_values().map(|spec| spec.sessions.len()).collect::<Vec<_>>(), [1]);
    }

    #[tokio::test]
    async fn a_single_use_is_published_within_a_second_however_long_it_is_remembered() {
        let store = FakeStateStore::default();
        let (sessions, token_state) = process(&store);
        for (second, id) in [(100, "first"), (101, "second")] {
            assert_eq!(token_state.use_once(id, &namespace(0), second, second + 3_600), Ok(()));
            sessions.publish(&token_state, at(second)).await;
        }
        let known = known(&store);
        assert_eq!((known.last_use("first"), known.last_use("second")), (Some(100), Some(101)));
    }
}
