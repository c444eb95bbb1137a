//! Writes down which tokens were revoked, before it is answered. Those that come while a write is on its way are written
//! together by the next one.
//!
//! Nobody can fill it alone: a namespace may have as many revocations as there is room left. However many do so, there is
//! some for the next one.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex as Lock, PoisonError};

use jiff::Timestamp;
use tokio::sync::{Mutex, oneshot};

use super::document::{Document, Store};
use super::ledger::Ledger;
use crate::api::endpoint_state::{EndpointStateSpec, Revoked};
use crate::chain::chain;
use crate::oauth::client::CatchUpError;

/// Revocations in one object. Each batch writes one again, so it should stay small: these are 35 KiB.
const PER_OBJECT: usize = 500;
/// Revocations of tokens that are not over yet. Every replica keeps those of all.
const LIVING_MAX: usize = 50_000;

type Outcome = Result<(), CatchUpError>;

/// What this process writes down.
pub(super) struct Revocations<S> {
    store: S,
    ledger: Arc<Ledger>,
    /// What every object says besides.
    blank: EndpointStateSpec,
    incarnation: String,
    waiting: Lock<HashMap<String, Waiting>>,
    /// Held while they are written.
    objects: Mutex<Vec<Object>>,
}

/// A token whose revocation nobody has written down yet.
struct Waiting {
    token: Token,
    /// Who is to hear of it: more than one when a client asks again.
    done: Vec<oneshot::Sender<Outcome>>,
}

#[derive(Clone)]
struct Token {
    until: Timestamp,
    namespace: Arc<str>,
}

/// An object, and the tokens that it surely has.
struct Object {
    document: Document,
    told: BTreeMap<String, Token>,
}

impl<S: Store> Revocations<S> {
    /// `incarnation` is part of the names of this process's objects.
    pub(super) fn new(store: S, ledger: Arc<Ledger>, blank: EndpointStateSpec, incarnation: String) -> Self {
        Self { store, ledger, blank, incarnation, waiting: Lock::default(), objects: Mutex::default() }
    }

    /// Returns when the revocation is written down where every replica sees it. After an error it is not told of here,
    /// and asking again writes it down once.
    pub(super) async fn revoke(self: &Arc<Self>, jti: &str, exp: i64, namespace: &Arc<str>, now: Timestamp) -> Outcome {
        if self.ledger.is_revoked(jti) {
            return Ok(());
        }
        let until = Timestamp::from_second(exp).map_err(|_| CatchUpError::Behind)?;
        let (done, result) = oneshot::channel();
        {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let token = Token { until, namespace: Arc::clone(namespace) };
            waiting.entry(jti.to_owned()).or_insert(Waiting { token, done: Vec::new() }).done.push(done);
        }
        // Not in this request: its client may go, and others wait for the same write.
        tokio::spawn(Arc::clone(self).write_down(now));
        result.await.unwrap_or(Err(CatchUpError::Behind))
    }

    async fn write_down(self: Arc<Self>, now: Timestamp) {
        let mut objects = self.objects.lock().await;
        let batch = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        let mut reachable = true;
        for (number, part) in self.assign(&mut objects, batch, now) {
            let Some(object) = objects.get_mut(number) else { continue };
            // The rest of the batch does not wait for an API server that has just not answered.
            reachable = reachable && self.add(object, &part, now).await;
            let outcome = if reachable { Ok(()) } else { Err(CatchUpError::Behind) };
            for (jti, waiting) in part {
                if reachable {
                    self.ledger.revoke(&jti, waiting.token.until.as_second());
                }
                waiting.answer(outcome);
            }
        }
    }

    /// Gives each of the batch a place in an object, or an answer.
    fn assign(
        &self,
        objects: &mut Vec<Object>,
        batch: HashMap<String, Waiting>,
        now: Timestamp,
    ) -> BTreeMap<usize, HashMap<String, Waiting>> {
        let mut room = Room::left(objects, now);
        let mut refused = BTreeSet::new();
        let mut parts: BTreeMap<usize, HashMap<String, Waiting>> = BTreeMap::new();
        for (jti, waiting) in batch {
            if self.ledger.is_revoked(&jti) {
                waiting.answer(Ok(()));
            } else if let Some(number) = room.take(&waiting.token.namespace) {
                parts.entry(number).or_default().insert(jti, waiting);
            } else {
                refused.insert(Arc::clone(&waiting.token.namespace));
                waiting.answer(Err(CatchUpError::Behind));
            }
        }
        for namespace in refused {
            tracing::warn!(%namespace, "no more tokens of this namespace can be revoked until others are over");
        }
        while objects.len() < room.used.len() {
            let part = format!("{}-revoked-{}", self.incarnation, objects.len());
            objects.push(Object { document: Document::new(part), told: BTreeMap::new() });
        }
        parts
    }

    /// Whether the object surely has `part` now.
    async fn add(&self, object: &mut Object, part: &HashMap<String, Waiting>, now: Timestamp) -> bool {
        let Object { document, told } = object;
        let added = || part.iter().map(|(jti, waiting)| (jti.clone(), waiting.token.clone()));
        let say = |found: Option<EndpointStateSpec>| {
            // What a write left that was given up counts: who hears of it takes those tokens for revoked.
            for Revoked { id, until } in found.into_iter().flat_map(|found| found.revoked) {
                told.entry(id).or_insert(Token { until, namespace: Arc::default() });
            }
            let all: BTreeMap<_, _> = told.clone().into_iter().chain(added()).collect();
            let revoked = all.into_iter().map(|(id, token)| Revoked { id, until: token.until }).collect();
            EndpointStateSpec { revoked, reported_at: now, ..self.blank.clone() }
        };
        match document.write(&self.store, say).await {
            Ok(()) => {
                told.extend(added());
                true
            }
            Err(error) => {
                tracing::warn!(error = chain(&error), "revocations could not be recorded");
                false
            }
        }
    }
}

impl Waiting {
    fn answer(self, outcome: Outcome) {
        for done in self.done {
            // Who asked may have gone.
            let _ = done.send(outcome);
        }
    }
}

/// What there is room for.
struct Room {
    /// Tokens in each object.
    used: Vec<usize>,
    left: usize,
    of_namespace: HashMap<Arc<str>, usize>,
}

impl Room {
    /// Tokens that are over make room.
    fn left(objects: &mut [Object], now: Timestamp) -> Self {
        let mut room = Self { used: Vec::with_capacity(objects.len()), left: LIVING_MAX, of_namespace: HashMap::new() };
        for object in objects {
            object.told.retain(|_, token| token.until > now);
            room.used.push(object.told.len());
            room.left = room.left.saturating_sub(object.told.len());
            for token in object.told.values() {
                *room.of_namespace.entry(Arc::clone(&token.namespace)).or_default() += 1;
            }
        }
        room
    }

    /// The object that takes one more token of `namespace`; `None`: that one has its share.
    fn take(&mut self, namespace: &Arc<str>) -> Option<usize> {
        let held = self.of_namespace.entry(Arc::clone(namespace)).or_default();
        if *held >= self.left {
            return None;
        }
        *held += 1;
        self.left -= 1;
        let number = self.used.iter().position(|used| *used < PER_OBJECT).unwrap_or(self.used.len());
        match self.used.get_mut(number) {
            Some(used) => *used += 1,
            None => self.used.push(1),
        }
        Some(number)
    }
}

#[cfg(test)]
#[path = "revocations_tests.rs"]
mod tests;
