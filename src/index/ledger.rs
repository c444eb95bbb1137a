//! What this replica knows of issued tokens, from itself and from the others: which were revoked, and when those that
//! end idle were used last. What is kept of a token is forgotten when the token would have ended anyway.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use crate::api::endpoint_state::EndpointStateSpec;

/// Tokens whose use is kept. With more, further ones end as if they had not been used: half an hour of use by as many
/// sessions takes some 15 MiB.
pub(super) const SESSIONS_MAX: usize = 100_000;

/// Both, by `jti`. All times are seconds since 1970.
#[derive(Default)]
pub(super) struct Ledger {
    /// When the token would have ended.
    revoked: papaya::HashMap<Box<str>, i64>,
    sessions: papaya::HashMap<Box<str>, Session>,
}

/// A token that ends when it is not used.
#[derive(Debug)]
pub(super) struct Session {
    /// Seconds without use after which it ends.
    idle: i64,
    /// Last use that anybody knows of.
    at: AtomicI64,
    /// When it ends if it is not used again.
    until: AtomicI64,
    /// Last use here; 0: none.
    own: AtomicI64,
    /// Last use that every replica knows of.
    told: AtomicI64,
    /// Number of the object in which uses here are told.
    place: AtomicUsize,
}

/// Of a session that has not been told of.
const NOWHERE: usize = usize::MAX;

impl Session {
    fn new(idle: i64, told: i64) -> Self {
        let never = || AtomicI64::new(0);
        Self { idle, at: never(), until: never(), own: never(), told: told.into(), place: NOWHERE.into() }
    }

    /// It was used at `at`, and ends at `until` if that was the last time.
    fn used(&self, at: i64, until: i64) {
        self.at.fetch_max(at, Ordering::Relaxed);
        self.until.fetch_max(until, Ordering::Relaxed);
    }

    /// When it ends if it is not used again.
    pub(super) fn until(&self) -> i64 {
        self.until.load(Ordering::Relaxed)
    }

    /// Seconds of use that are worth a write, and that a write waits for more. Twice that, a twentieth of its idle time,
    /// a token may end early at another replica.
    pub(super) fn step(&self) -> i64 {
        (self.idle / 40).max(1)
    }

    /// The use here that the others should hear of.
    pub(super) fn news(&self) -> Option<i64> {
        let own = self.own.load(Ordering::Relaxed);
        (own >= self.told.load(Ordering::Relaxed) + self.step()).then_some(own)
    }

    /// The object in which it is told of.
    pub(super) fn place(&self) -> Option<usize> {
        Some(self.place.load(Ordering::Relaxed)).filter(|place| *place != NOWHERE)
    }

    /// It is told of in this object from now on.
    pub(super) fn put_in(&self, place: usize) {
        self.place.store(place, Ordering::Relaxed);
    }

    /// The last use here, if the token is not over by that.
    pub(super) fn own(&self, now: i64) -> Option<i64> {
        let own = self.own.load(Ordering::Relaxed);
        (own != 0 && self.until() > now).then_some(own)
    }

    /// The others know of this use.
    pub(super) fn told(&self, at: i64) {
        self.told.fetch_max(at, Ordering::Relaxed);
    }
}

impl Ledger {
    pub(super) fn is_revoked(&self, jti: &str) -> bool {
        self.revoked.pin().contains_key(jti)
    }

    pub(super) fn revoke(&self, jti: &str, until: i64) {
        self.revoked.pin().insert(jti.into(), until);
    }

    pub(super) fn last_use(&self, jti: &str) -> Option<i64> {
        self.sessions.pin().get(jti).map(|session| session.at.load(Ordering::Relaxed))
    }

    /// A use here of a token that ends after `idle` without use, and at `exp`. `known` is the last use, or the issue of the
    /// token, that every replica knows of. Whether there was room to note it.
    pub(super) fn used(&self, jti: &str, known: i64, now: i64, idle: i64, exp: i64) -> bool {
        let sessions = self.sessions.pin();
        if sessions.get(jti).is_none() && sessions.len() >= SESSIONS_MAX {
            return false;
        }
        let session = sessions.get_or_insert_with(jti.into(), || Session::new(idle, known));
        session.used(now, now.saturating_add(idle).min(exp));
        session.own.fetch_max(now, Ordering::Relaxed);
        true
    }

    /// Adds what a replica says. Nothing is taken away, so the order in which they are heard does not matter.
    pub(super) fn merge(&self, state: &EndpointStateSpec) {
        let revoked = self.revoked.pin();
        for token in &state.revoked {
            revoked.insert(token.id.as_str().into(), token.until.as_second());
        }
        let sessions = self.sessions.pin();
        for told in &state.sessions {
            let (at, until) = (told.at.as_second(), told.until.as_second());
            let session = sessions.get_or_insert_with(told.id.as_str().into(), || Session::new(until - at, at));
            session.used(at, until);
            session.told(at);
        }
    }

    /// Forgets tokens that have ended anyway.
    pub(super) fn forget_ended(&self, now: i64) {
        self.revoked.pin().retain(|_, until| *until > now);
        self.sessions.pin().retain(|_, session| session.until() > now);
    }

    /// Looks at every session.
    pub(super) fn each_session(&self, mut look: impl FnMut(&str, &Session)) {
        for (jti, session) in &self.sessions.pin() {
            look(jti, session);
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::api::endpoint_state::{Revoked, Session as Told};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn told(second: i64) -> EndpointStateSpec {
        EndpointStateSpec {
            revoked: vec![Revoked { id: "revoked".into(), until: at(second) }],
            sessions: vec![Told { id: "used".into(), at: at(second), until: at(second + 60) }],
            ..EndpointStateSpec::default()
        }
    }

    fn news(ledger: &Ledger) -> Vec<i64> {
        let mut news = Vec::new();
        ledger.each_session(|_, session| news.extend(session.news()));
        news
    }

    #[test]
    fn what_others_say_is_added_in_any_order_and_forgotten_when_it_is_over() {
        for order in [[100, 200], [200, 100]] {
            let ledger = Ledger::default();
            for second in order {
                ledger.merge(&told(second));
            }
            assert!(ledger.is_revoked("revoked"));
            assert_eq!((ledger.last_use("used"), ledger.last_use("unused")), (Some(200), None));
            ledger.forget_ended(259);
            assert_eq!(ledger.last_use("used"), Some(200));
            ledger.forget_ended(260);
            assert!(ledger.last_use("used").is_none() && !ledger.is_revoked("revoked"));
        }
    }

    #[test]
    fn no_use_outlives_its_token() {
        let ledger = Ledger::default();
        assert!(ledger.used("long", 100, 100, i64::MAX, 160));
        let mut until = Vec::new();
        ledger.each_session(|_, session| until.push(session.until()));
        assert_eq!(until, [160]);
        ledger.forget_ended(160);
        assert_eq!(ledger.last_use("long"), None);
    }

    #[test]
    fn a_use_is_worth_telling_after_a_fortieth_of_the_idle_time() {
        let ledger = Ledger::default();
        let used = |known, second| assert!(ledger.used("jti", known, second, 120, 1_000));
        used(100, 102);
        assert_eq!((ledger.last_use("jti"), news(&ledger)), (Some(102), vec![]));
        used(100, 103);
        assert_eq!(news(&ledger), [103]);
        ledger.each_session(|_, session| session.told(103));
        used(103, 105);
        assert_eq!((ledger.last_use("jti"), news(&ledger)), (Some(105), vec![]));
        ledger.merge(&EndpointStateSpec {
            sessions: vec![Told { id: "jti".into(), at: at(104), until: at(224) }],
            ..EndpointStateSpec::default()
        });
        used(103, 106);
        assert_eq!(news(&ledger), Vec::<i64>::new(), "the others heard of 104 from another replica");
    }
}
