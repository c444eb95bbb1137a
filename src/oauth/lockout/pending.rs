//! Wrong secrets that are not counted yet: their request still waits for the API server, or for the hash of another version.
//!
//! Requests that arrive together would otherwise check one value each before the first of them is counted.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnet::IpNet;
use jiff::Timestamp;

use super::known::{counted, counted_network};
use super::{Lockout, Lockouts};

/// The network and the fingerprint of each wrong secret, by UID of the Application.
#[derive(Debug, Default)]
pub(super) struct Pending(Mutex<HashMap<Arc<str>, Vec<(Option<IpNet>, u64)>>>);

/// A wrong secret that counts when this is dropped, also because the client has disconnected.
#[derive(Debug)]
pub(crate) struct PendingAttempt<'a> {
    lockouts: &'a Lockouts,
    lockout: Lockout,
    source: Option<IpAddr>,
    fingerprint: u64,
    at: Timestamp,
    is_wrong: bool,
}

/// Why a value is not checked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum NotChecked {
    /// The secrets of the client are locked.
    Locked,
    /// They will be if the pending attempts count.
    Pending,
}

impl Lockouts {
    /// Whether a value may be checked now. No I/O.
    ///
    /// # Errors
    /// [`NotChecked`]
    pub(crate) fn may_check(
        &self,
        lockout: &Lockout,
        source: Option<IpAddr>,
        fingerprint: u64,
        now: Timestamp,
    ) -> Result<(), NotChecked> {
        let Lockout { client, policy } = lockout;
        let network = counted_network(policy, source);
        // First: what is not pending any more is recorded.
        let mut values: BTreeSet<u64> = self.pending.of(&client.uid, network);
        if self.is_locked(lockout, source, now) {
            return Err(NotChecked::Locked);
        }
        if !policy.is_enabled || values.is_empty() {
            return Ok(());
        }
        let others = self.others.load();
        let recorded = self.recorded();
        let counted = counted(&recorded, others.get(&client.uid), client, network, policy, now);
        values.extend(counted.map(|attempt| attempt.fingerprint));
        values.remove(&fingerprint);
        if values.len() < usize::from(policy.attempts) { Ok(()) } else { Err(NotChecked::Pending) }
    }

    /// Counts a wrong secret as soon as the result is dropped. Until then, it counts for the checks of other values.
    pub(crate) fn pending(
        &self,
        lockout: &Lockout,
        source: Option<IpAddr>,
        fingerprint: u64,
        at: Timestamp,
    ) -> PendingAttempt<'_> {
        let lockout = lockout.clone();
        let network = counted_network(&lockout.policy, source);
        self.pending.lock().entry(Arc::clone(&lockout.client.uid)).or_default().push((network, fingerprint));
        PendingAttempt { lockouts: self, lockout, source, fingerprint, at, is_wrong: true }
    }
}

impl PendingAttempt<'_> {
    /// The value is that of another version, and does not count.
    pub(crate) fn cancel(mut self) {
        self.is_wrong = false;
    }
}

impl Drop for PendingAttempt<'_> {
    fn drop(&mut self) {
        let Self { lockouts, lockout, source, fingerprint, at, is_wrong } = self;
        if *is_wrong && !lockouts.is_locked(lockout, *source, *at) {
            lockouts.record(lockout, *source, *fingerprint, *at);
        }
        // After it counts: there is no time in which it does neither.
        let network = counted_network(&lockout.policy, *source);
        lockouts.pending.remove(&lockout.client.uid, (network, *fingerprint));
    }
}

impl Pending {
    fn of(&self, uid: &str, network: Option<IpNet>) -> BTreeSet<u64> {
        let pending = self.lock();
        let attempts = pending.get(uid).into_iter().flatten();
        attempts.filter(|(of, _)| *of == network).map(|(_, fingerprint)| *fingerprint).collect()
    }

    fn remove(&self, uid: &str, attempt: (Option<IpNet>, u64)) {
        let mut pending = self.lock();
        let Some(attempts) = pending.get_mut(uid) else { return };
        if let Some(place) = attempts.iter().position(|known| *known == attempt) {
            attempts.swap_remove(place);
        }
        if attempts.is_empty() {
            pending.remove(uid);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Vec<(Option<IpNet>, u64)>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{address, at, client, with};
    use super::*;

    const SOURCE: &str = "192.0.2.1";

    fn may_check(lockouts: &Lockouts, client: &Lockout, fingerprint: u64) -> Result<(), NotChecked> {
        lockouts.may_check(client, Some(address(SOURCE)), fingerprint, at(0))
    }

    fn pending<'a>(lockouts: &'a Lockouts, client: &Lockout, fingerprint: u64) -> PendingAttempt<'a> {
        lockouts.pending(client, Some(address(SOURCE)), fingerprint, at(0))
    }

    #[test]
    fn q1_pending_attempts_and_counted_ones_prevent_the_check_of_another_value() {
        let (lockouts, client) = (Lockouts::default(), client(0));
        for value in 0..3 {
            lockouts.record(&client, Some(address(SOURCE)), value, at(0));
        }
        let third = pending(&lockouts, &client, 3);
        assert_eq!(may_check(&lockouts, &client, 4), Ok(()), "four values");
        let repeated = [pending(&lockouts, &client, 3), pending(&lockouts, &client, 0)];
        assert_eq!(may_check(&lockouts, &client, 4), Ok(()), "four values still");
        let fourth = pending(&lockouts, &client, 4);
        assert_eq!(may_check(&lockouts, &client, 5), Err(NotChecked::Pending));
        assert_eq!(may_check(&lockouts, &client, 4), Ok(()), "one of them");
        assert_eq!(lockouts.may_check(&client, Some(address("198.51.100.1")), 5, at(0)), Ok(()), "another network");
        assert_eq!(may_check(&lockouts, &self::client(1), 5), Ok(()), "another client");
        fourth.cancel();
        assert_eq!(may_check(&lockouts, &client, 5), Ok(()), "it was correct");
        drop((third, repeated));
        drop(pending(&lockouts, &client, 4));
        assert_eq!(may_check(&lockouts, &client, 5), Err(NotChecked::Locked));
        assert!(lockouts.pending.lock().is_empty());
    }

    #[test]
    fn a_disabled_policy_prevents_no_check_and_counts_nothing() {
        let (lockouts, disabled) = (Lockouts::default(), with(|policy| policy.is_enabled = false));
        let attempts: Vec<_> = (0..50).map(|value| pending(&lockouts, &disabled, value)).collect();
        assert_eq!(may_check(&lockouts, &disabled, 50), Ok(()));
        drop(attempts);
        assert_eq!(lockouts.to_publish(at(0)).len(), 0);
    }
}
