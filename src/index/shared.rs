//! Tells the other replicas what happened to tokens here. A revocation is told before it is answered, uses are told in
//! batches.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex as Lock, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Mutex, oneshot};

use super::ledger::Ledger;
use super::states::States;
use crate::api::endpoint_state::{ENTRIES_MAX, EndpointStateSpec, Revoked, Session};
use crate::chain::chain;
use crate::crypto::random;
use crate::oauth::client::CatchUpError;

/// How long a client waits for the API server.
const PATIENCE: Duration = Duration::from_secs(2);
/// Revocations in one object. Each batch writes one again, so it should stay small.
const REVOKED_PER_OBJECT: usize = 500;
/// Objects of revocations that a replica may have: revocations beyond are answered 503 until others are over.
const REVOKED_OBJECTS_MAX: usize = 100;
/// Objects that a replica tells uses in. A token is always in the same one.
const SESSION_OBJECTS: u8 = 16;

/// What is told, and how.
pub(super) struct Shared {
    pub(super) ledger: Arc<Ledger>,
    states: States,
    /// Part of the names of this process's objects: it does not overwrite what one before it told under the same name.
    incarnation: String,
    waiting: Lock<Vec<Waiting>>,
    /// Revocations told in each object, in the order of their numbers. Held while they are written: whoever comes
    /// meanwhile is written together with all others who did.
    told: Mutex<Vec<Vec<Revoked>>>,
}

/// A revocation that nobody has written down yet.
struct Waiting {
    revoked: Revoked,
    done: oneshot::Sender<Result<(), CatchUpError>>,
}

impl Shared {
    pub(super) fn new(states: States) -> Self {
        let incarnation = format!("{:08x}", u32::from_be_bytes(random::bytes()));
        Self { ledger: Arc::default(), states, incarnation, waiting: Lock::default(), told: Mutex::default() }
    }

    /// Returns when the revocation is written down where every replica sees it.
    pub(super) async fn revoke(&self, jti: &str, exp: i64, now: Timestamp) -> Result<(), CatchUpError> {
        if self.ledger.is_revoked(jti) {
            return Ok(());
        }
        let until = Timestamp::from_second(exp).map_err(|_| CatchUpError::Behind)?;
        let (done, result) = oneshot::channel();
        let waiting = Waiting { revoked: Revoked { id: jti.to_owned(), until }, done };
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(waiting);
        {
            let mut told = self.told.lock().await;
            let batch = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
            if !batch.is_empty() {
                self.write_down(&mut told, batch, now).await;
            }
        }
        // A sender that is gone was dropped with a request whose client did not wait for the answer.
        result.await.unwrap_or(Err(CatchUpError::Behind))
    }

    async fn write_down(&self, told: &mut Vec<Vec<Revoked>>, batch: Vec<Waiting>, now: Timestamp) {
        let mut touched: BTreeMap<usize, Vec<Waiting>> = BTreeMap::new();
        for waiting in batch {
            match place(told, now) {
                Some(number) => {
                    if let Some(object) = told.get_mut(number) {
                        object.push(waiting.revoked.clone());
                    }
                    touched.entry(number).or_default().push(waiting);
                }
                None => {
                    let _ = waiting.done.send(Err(CatchUpError::Behind));
                }
            }
        }
        for (number, batch) in touched {
            let revoked = told.get(number).cloned().unwrap_or_default();
            let spec = EndpointStateSpec { revoked, ..self.states.blank(now) };
            let part = format!("{}-revoked-{number}", self.incarnation);
            let outcome = match tokio::time::timeout(PATIENCE, self.states.write(&part, &spec)).await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => {
                    tracing::warn!(error = chain(&error), "revocations could not be recorded");
                    Err(CatchUpError::Behind)
                }
                Err(_) => Err(CatchUpError::Behind),
            };
            for Waiting { revoked, done } in batch {
                if outcome.is_ok() {
                    self.ledger.revoke(&revoked.id, revoked.until.as_second());
                }
                // Who asked may have gone.
                let _ = done.send(outcome);
            }
        }
    }

    /// Tells of the uses that the others should hear of. Objects in which there is none are left alone.
    pub(super) async fn tell_uses(&self, now: Timestamp) {
        let mut objects: BTreeMap<u8, (bool, Vec<Session>)> = BTreeMap::new();
        self.ledger.each_session(|jti, session| {
            let Some(own) = session.own(now.as_second()) else { return };
            let (news, told) = objects.entry(object_of(jti)).or_default();
            *news |= session.news().is_some();
            if let (Ok(at), Ok(until)) = (Timestamp::from_second(own), Timestamp::from_second(own + session.idle)) {
                told.push(Session { id: jti.to_owned(), at, until });
            }
        });
        for (number, (_, mut sessions)) in objects.into_iter().filter(|(_, (news, _))| *news) {
            // Of too many, those that are soonest over are left out: they may end early at another replica.
            sessions.sort_unstable_by_key(|session| std::cmp::Reverse(session.until));
            sessions.truncate(ENTRIES_MAX);
            let spec = EndpointStateSpec { sessions, ..self.states.blank(now) };
            match self.states.write(&format!("{}-used-{number}", self.incarnation), &spec).await {
                Ok(()) => self.ledger.merge(&spec),
                Err(error) => {
                    tracing::warn!(error = chain(&error), "the use of tokens could not be told, trying again");
                }
            }
        }
    }
}

/// The object with room for one more revocation; `None`: there is none. What is over makes room.
fn place(told: &mut Vec<Vec<Revoked>>, now: Timestamp) -> Option<usize> {
    let has_room = |object: &mut Vec<Revoked>| {
        if object.len() >= REVOKED_PER_OBJECT {
            object.retain(|revoked| revoked.until > now);
        }
        object.len() < REVOKED_PER_OBJECT
    };
    if let Some(number) = told.iter_mut().position(has_room) {
        return Some(number);
    }
    (told.len() < REVOKED_OBJECTS_MAX).then(|| {
        told.push(Vec::new());
        told.len() - 1
    })
}

fn object_of(jti: &str) -> u8 {
    jti.bytes().fold(0, |sum: u8, byte| sum.wrapping_mul(31).wrapping_add(byte)) % SESSION_OBJECTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revocations_fill_one_object_after_the_other_and_take_the_place_of_those_that_are_over() {
        let (now, later) = (Timestamp::from_second(100).unwrap(), Timestamp::from_second(200).unwrap());
        let mut told = Vec::new();
        let mut add = |now| {
            let number = place(&mut told, now)?;
            told[number].push(Revoked { id: "jti".into(), until: later });
            Some(number)
        };
        for number in 0..REVOKED_OBJECTS_MAX {
            assert!((0..REVOKED_PER_OBJECT).all(|_| add(now) == Some(number)));
        }
        assert_eq!(add(now), None, "503 rather than an object that grows for ever");
        assert_eq!(add(later), Some(0));
    }

    #[test]
    fn tokens_are_spread_over_all_objects() {
        let ids = (0..1000_u128).map(|number| crate::oauth::claims::token_id(number.to_be_bytes()));
        let objects: std::collections::BTreeSet<u8> = ids.map(|id| object_of(&id)).collect();
        assert_eq!(objects.len(), usize::from(SESSION_OBJECTS));
    }
}
