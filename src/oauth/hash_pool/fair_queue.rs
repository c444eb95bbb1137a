//! A fair queue that serves namespaces in turn, and the ClientSecrets of a namespace in turn.
//!
//! A namespace with many checks delays only itself: however many of its requests wait, each other namespace is served
//! after one of them. The places in the queue are shared in the same two steps.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::oauth::client_record::SecretRecord;
use crate::oauth::error::Unavailable;
use crate::util::fair_share::{FairShare, QUARTER};

type Uid = [u8; 16];

/// The queue. Clones share it.
#[derive(Clone)]
pub(super) struct FairQueue(Arc<Mutex<State>>);

struct State {
    /// Free permits. No request waits while a permit is free.
    free: usize,
    places: usize,
    room: FairShare<Arc<str>>,
    /// In the order in which they are served.
    waiting: VecDeque<Namespace>,
}

/// A namespace with waiting requests.
struct Namespace {
    name: Arc<str>,
    room: FairShare<Uid>,
    /// In the order in which they are served.
    secrets: VecDeque<(Uid, VecDeque<oneshot::Sender<Permit>>)>,
}

/// A permit to work. On drop, the next request in the queue gets it.
pub(super) struct Permit(Option<FairQueue>);

/// A place in the queue, released on drop.
struct Place<'a> {
    line: &'a FairQueue,
    secret: &'a SecretRecord,
}

impl FairQueue {
    /// A queue with this many permits, and this many places for waiting requests.
    pub(super) fn new(permits: usize, places: usize) -> Self {
        let state =
            State { free: permits.max(1), places, room: FairShare::new(QUARTER, places), waiting: VecDeque::new() };
        Self(Arc::new(Mutex::new(state)))
    }

    /// A permit, if no request waits.
    pub(super) fn free_permit(&self) -> Option<Permit> {
        let mut state = self.lock();
        state.free = state.free.checked_sub(1)?;
        Some(Permit(Some(self.clone())))
    }

    /// A permit to check a value of `secret`, after waiting in the queue.
    pub(super) async fn permit(&self, secret: &SecretRecord, wait: Duration) -> Result<Permit, Unavailable> {
        if let Some(permit) = self.free_permit() {
            return Ok(permit);
        }
        let turn = self.lock().join(secret).ok_or(Unavailable::Overloaded)?;
        let _place = Place { line: self, secret };
        let permit = tokio::time::timeout(wait, turn).await;
        permit.ok().and_then(Result::ok).ok_or(Unavailable::Overloaded)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn join(&mut self, secret: &SecretRecord) -> Option<oneshot::Receiver<Permit>> {
        let name = &secret.object.namespace;
        let places = self.places;
        let known = self.waiting.iter().position(|namespace| namespace.name == *name);
        let number = known.unwrap_or_else(|| {
            self.waiting.push_back(Namespace::new(Arc::clone(name), QUARTER.alone(places)));
            self.waiting.len() - 1
        });
        let namespace = self.waiting.get_mut(number)?;
        let (sender, turn) = oneshot::channel();
        if self.room.take(name) {
            if namespace.join(secret.uid, sender) {
                return Some(turn);
            }
            self.room.free(name);
        }
        if namespace.secrets.is_empty() {
            self.waiting.remove(number);
        }
        None
    }

    /// The next request to serve.
    fn next(&mut self) -> Option<oneshot::Sender<Permit>> {
        let mut namespace = self.waiting.pop_front()?;
        let next = namespace.next();
        if next.is_some() {
            self.room.free(&namespace.name);
        }
        if !namespace.secrets.is_empty() {
            self.waiting.push_back(namespace);
        }
        next
    }

    /// Removes the requests for `secret` that no longer wait.
    fn leave(&mut self, secret: &SecretRecord) {
        let name = &secret.object.namespace;
        let Some(number) = self.waiting.iter().position(|namespace| namespace.name == *name) else { return };
        let Some(namespace) = self.waiting.get_mut(number) else { return };
        for _ in 0..namespace.leave(secret.uid) {
            self.room.free(name);
        }
        if namespace.secrets.is_empty() {
            self.waiting.remove(number);
        }
    }
}

impl Namespace {
    fn new(name: Arc<str>, places: usize) -> Self {
        Self { name, room: FairShare::new(QUARTER, places), secrets: VecDeque::new() }
    }

    fn join(&mut self, uid: Uid, sender: oneshot::Sender<Permit>) -> bool {
        let has_room = self.room.take(&uid);
        if has_room {
            match self.secrets.iter_mut().find(|(known, _)| *known == uid) {
                Some((_, senders)) => senders.push_back(sender),
                None => self.secrets.push_back((uid, VecDeque::from([sender]))),
            }
        }
        has_room
    }

    fn next(&mut self) -> Option<oneshot::Sender<Permit>> {
        let (uid, mut senders) = self.secrets.pop_front()?;
        let next = senders.pop_front();
        self.room.free(&uid);
        if !senders.is_empty() {
            self.secrets.push_back((uid, senders));
        }
        next
    }

    /// The number of removed requests.
    fn leave(&mut self, uid: Uid) -> usize {
        let Some((_, senders)) = self.secrets.iter_mut().find(|(known, _)| *known == uid) else { return 0 };
        let before = senders.len();
        senders.retain(|sender| !sender.is_closed());
        let left = before - senders.len();
        (0..left).for_each(|_| self.room.free(&uid));
        self.secrets.retain(|(_, senders)| !senders.is_empty());
        left
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Some(line) = self.0.take() else { return };
        let mut state = line.lock();
        while let Some(next) = state.next() {
            // A permit that is not received is handed to the next request here: its drop would lock again.
            match next.send(Self(Some(line.clone()))) {
                Ok(()) => return,
                Err(mut permit) => permit.0 = None,
            }
        }
        state.free += 1;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.line.lock().leave(self.secret);
    }
}

#[cfg(test)]
impl FairQueue {
    /// Whether no request waits, and no place is taken.
    pub(super) fn is_empty(&self) -> bool {
        let state = self.lock();
        state.waiting.is_empty() && state.room.is_empty()
    }
}
