//! Findings about delivered Secrets, by resourceVersion: a Secret is read when its resourceVersion differs from that of
//! the last read.
//!
//! The field manager of a change is ignored, because any client may use any name. The cache belongs to one process
//! while that is the leader. A new leader has read none of the Secrets: a sweep reads one after the other, at a pace
//! that leaves the work queue to waiting credentials. Until then the annotations of a Secret are trusted, unless an
//! action depends on its content.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::inspect::delivered_key;
use crate::cache::ObjectRef;
use crate::clock::Clock;
use crate::controller::runtime::work_queue::Queue;
use crate::controller::{Context, YIELD_EVERY};

/// Pause between two Secrets of the sweep: ten thousand take three minutes, at a twentieth of the throughput of a
/// queue.
pub(crate) const SWEEP_PAUSE: Duration = Duration::from_millis(20);

/// A finding about a Secret.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Finding {
    /// 64 bits of `metadata.uid`, which distinguish successive Secrets of one name.
    pub(crate) uid: u64,
    /// `metadata.resourceVersion`
    pub(crate) revision: u64,
    /// The [`fingerprint`] of the wanted content.
    pub(crate) content: u64,
    /// The Secret has all the wanted content, with the value of the newest version.
    pub(crate) right: bool,
    /// The Secret is immutable.
    pub(crate) immutable: bool,
    /// The Secret contains the value of the newest version.
    pub(crate) holds_value: bool,
}

/// The findings, by the key of the Secret.
#[derive(Debug, Default)]
pub(crate) struct Inspected(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    findings: HashMap<ObjectRef, Finding>,
    /// The Secrets that the sweep has enqueued.
    called: HashSet<ObjectRef>,
    is_swept: bool,
}

impl Inspected {
    /// Removes all findings: another process may have been the leader.
    pub(crate) fn restart(&self) {
        *self.lock() = State::default();
    }

    pub(crate) fn of(&self, secret: &ObjectRef) -> Option<Finding> {
        self.lock().findings.get(secret).copied()
    }

    pub(crate) fn note(&self, secret: &ObjectRef, finding: Finding) {
        let mut state = self.lock();
        state.called.remove(secret);
        state.findings.insert(secret.clone(), finding);
    }

    /// Whether the sweep has yet to read this Secret.
    pub(crate) fn is_to_be_swept(&self, secret: &ObjectRef) -> bool {
        let state = self.lock();
        !state.is_swept && !state.called.contains(secret)
    }

    /// Removes deleted Secrets.
    pub(crate) fn forget_unless(&self, is_there: impl Fn(&ObjectRef) -> bool) {
        self.lock().findings.retain(|key, _| is_there(key));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Enqueues every delivered Secret that was not read yet. Never returns.
pub(crate) async fn sweep<C: Clock>(context: &Context<C>, secrets: Queue) {
    for (number, key) in context.cache.secrets.keys().into_iter().enumerate() {
        if number % YIELD_EVERY == YIELD_EVERY - 1 {
            tokio::task::yield_now().await;
        }
        let Some(object) = context.cache.secrets.get(&key) else { continue };
        let delivered = delivered_key(&object);
        if context.inspected.of(&delivered).is_none() && context.cache.delivered.get(&delivered).is_some() {
            context.inspected.lock().called.insert(delivered);
            secrets.push(key);
            tokio::time::sleep(SWEEP_PAUSE).await;
        }
    }
    {
        let mut state = context.inspected.lock();
        state.is_swept = true;
        state.called = HashSet::new();
    }
    std::future::pending::<()>().await;
}

/// The first 64 bits of the hexadecimal digest of the wanted content.
pub(crate) fn fingerprint(digest: &str) -> u64 {
    digest.get(..16).and_then(|hex| u64::from_str_radix(hex, 16).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FINDING: Finding =
        Finding { uid: 1, revision: 2, content: 3, right: true, immutable: false, holds_value: true };

    #[test]
    fn during_the_sweep_only_enqueued_secrets_are_read_and_afterwards_every_unknown_one() {
        let (verified, blue, green) =
            (Inspected::default(), ObjectRef::new("billing", "blue"), ObjectRef::new("billing", "green"));
        assert!(verified.is_to_be_swept(&blue));
        verified.lock().called.insert(blue.clone());
        assert!(!verified.is_to_be_swept(&blue) && verified.is_to_be_swept(&green));
        verified.note(&blue, FINDING);
        assert_eq!((verified.of(&blue), verified.of(&green)), (Some(FINDING), None));
        verified.lock().is_swept = true;
        assert!(!verified.is_to_be_swept(&green), "the sweep has ended");
        verified.restart();
        assert!(verified.is_to_be_swept(&green) && verified.of(&blue).is_none());
    }

    #[test]
    fn the_finding_of_a_deleted_secret_is_removed() {
        let verified = Inspected::default();
        verified.note(&ObjectRef::new("billing", "blue"), FINDING);
        verified.forget_unless(|_| false);
        assert!(verified.lock().findings.is_empty());
    }

    #[test]
    fn other_content_has_another_fingerprint() {
        assert_ne!(fingerprint(&crate::api::digest::digest(["a"])), fingerprint(&crate::api::digest::digest(["b"])));
    }
}
