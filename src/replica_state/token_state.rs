//! What this replica knows about issued tokens, from its own requests and from other replicas: revocations, and the
//! last use of tokens with an idle timeout. Each entry is dropped when the token would have expired.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::api::replica_state::ReplicaStateSpec;
use crate::oauth::client_store::UseError;
use crate::util::fair_share::{FairShare, QUARTER};

/// Maximum number of tokens and assertions whose use is recorded; namespaces share this number. Further tokens expire as
/// if they were not used, and further assertions are refused. Half an hour of use by this many sessions takes some 15 MiB.
pub(crate) const SESSIONS_MAX: usize = 100_000;

/// Revocations and sessions, by `jti`. All times are seconds since 1970.
pub(crate) struct TokenState {
    /// When the token would have expired.
    revoked: papaya::HashMap<Box<str>, i64>,
    sessions: papaya::HashMap<Box<str>, IdleSession>,
    /// The sessions by namespace. Locked to add or remove a session; a further use of one takes no lock.
    room: Mutex<FairShare<Arc<str>>>,
}

impl Default for TokenState {
    fn default() -> Self {
        let (revoked, sessions) = (papaya::HashMap::new(), papaya::HashMap::new());
        Self { revoked, sessions, room: Mutex::new(FairShare::new(QUARTER, SESSIONS_MAX)) }
    }
}

/// A token with an idle timeout.
#[derive(Debug)]
pub(crate) struct IdleSession {
    /// Namespace of the Application that the token was issued for.
    namespace: Arc<str>,
    /// Seconds without use after which the token expires.
    idle: i64,
    /// Last known use at any replica.
    at: AtomicI64,
    /// When the token expires if it is not used again.
    expires_at: AtomicI64,
    /// Last use here; 0: none.
    local_last_use: AtomicI64,
    /// Last use that every replica knows.
    published: AtomicI64,
    /// Number of the object that publishes the uses here.
    shard: AtomicUsize,
}

/// Value for a session that no object contains.
const NO_SHARD: usize = usize::MAX;

impl IdleSession {
    fn new(namespace: Arc<str>, idle: i64, published: i64) -> Self {
        let never = || AtomicI64::new(0);
        Self {
            namespace,
            idle,
            at: never(),
            expires_at: never(),
            local_last_use: never(),
            published: published.into(),
            shard: NO_SHARD.into(),
        }
    }

    /// Records a use at `at`; without another use the token expires at `until`.
    fn used(&self, at: i64, until: i64) {
        self.at.fetch_max(at, Ordering::Relaxed);
        self.expires_at.fetch_max(until, Ordering::Relaxed);
    }

    /// Records a use at this replica at `at`; without another use the token expires at `until`.
    fn used_here(&self, at: i64, until: i64) {
        self.used(at, until);
        self.local_last_use.fetch_max(at, Ordering::Relaxed);
    }

    /// Namespace of the Application that the token was issued for.
    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// When the token expires if it is not used again.
    pub(crate) fn expires_at(&self) -> i64 {
        self.expires_at.load(Ordering::Relaxed)
    }

    /// Minimum interval in seconds between two published uses, and between two writes. At another replica a token may
    /// expire early by twice this interval, a twentieth of its idle timeout.
    pub(crate) fn min_interval(&self) -> i64 {
        (self.idle / 40).max(1)
    }

    /// The use here that is due for publication.
    pub(crate) fn unpublished(&self) -> Option<i64> {
        let used_at = self.local_last_use.load(Ordering::Relaxed);
        (used_at >= self.published.load(Ordering::Relaxed) + self.min_interval()).then_some(used_at)
    }

    /// The object that publishes the session.
    pub(crate) fn shard(&self) -> Option<usize> {
        Some(self.shard.load(Ordering::Relaxed)).filter(|shard| *shard != NO_SHARD)
    }

    /// Assigns the session to this object.
    pub(crate) fn assign_shard(&self, shard: usize) {
        self.shard.store(shard, Ordering::Relaxed);
    }

    /// The last use here, unless the token has expired since.
    pub(crate) fn local_last_use(&self, now: i64) -> Option<i64> {
        let used_at = self.local_last_use.load(Ordering::Relaxed);
        (used_at != 0 && self.expires_at() > now).then_some(used_at)
    }

    /// Records that the other replicas know this use.
    pub(crate) fn set_published(&self, at: i64) {
        self.published.fetch_max(at, Ordering::Relaxed);
    }
}

impl TokenState {
    pub(crate) fn is_revoked(&self, jti: &str) -> bool {
        self.revoked.pin().contains_key(jti)
    }

    pub(crate) fn revoke(&self, jti: &str, until: i64) {
        self.revoked.pin().insert(jti.into(), until);
    }

    pub(crate) fn last_use(&self, jti: &str) -> Option<i64> {
        self.sessions.pin().get(jti).map(|session| session.at.load(Ordering::Relaxed))
    }

    /// Records a use here of a token that expires after `idle` without use, and at `exp`. `known` is the last use, or
    /// the issue of the token, that every replica knows. Returns whether there was room: a namespace that has used up
    /// its share cannot begin another session. Other namespaces are not affected.
    pub(crate) fn used(&self, jti: &str, namespace: &Arc<str>, known: i64, now: i64, idle: i64, exp: i64) -> bool {
        let sessions = self.sessions.pin();
        let until = now.saturating_add(idle).min(exp);
        if let Some(session) = sessions.get(jti) {
            session.used_here(now, until);
            return true;
        }
        let mut room = self.room();
        // Another request may have added it.
        if let Some(session) = sessions.get(jti) {
            session.used_here(now, until);
            return true;
        }
        let has_room = room.take(namespace);
        if has_room {
            let session = IdleSession::new(Arc::clone(namespace), idle, known);
            session.used_here(now, until);
            sessions.insert(jti.into(), session);
        }
        has_room
    }

    /// Records the only use of something that ends at `exp`, such as a client assertion. The other replicas learn of it
    /// like of a session.
    ///
    /// # Errors
    /// [`UseError`]
    pub(crate) fn use_once(&self, id: &str, namespace: &Arc<str>, now: i64, exp: i64) -> Result<(), UseError> {
        let sessions = self.sessions.pin();
        let mut room = self.room();
        if sessions.contains_key(id) {
            return Err(UseError::Used);
        }
        if !room.take(namespace) {
            return Err(UseError::NoRoom);
        }
        // Without an idle timeout: it is published in the next second, and not in steps.
        let session = IdleSession::new(Arc::clone(namespace), 0, 0);
        session.used_here(now, exp);
        sessions.insert(id.into(), session);
        Ok(())
    }

    /// Merges the state that a replica published. Nothing is removed, so the order of these calls does not matter.
    pub(crate) fn merge(&self, state: &ReplicaStateSpec) {
        let revoked = self.revoked.pin();
        for token in &state.revoked {
            revoked.insert(token.id.as_str().into(), token.until.as_second());
        }
        let (sessions, mut room) = (self.sessions.pin(), self.room());
        for published in &state.sessions {
            let (at, until) = (published.at.as_second(), published.until.as_second());
            if let Some(session) = sessions.get(published.id.as_str()) {
                session.used(at, until);
                session.set_published(at);
                continue;
            }
            let namespace = Arc::from(published.namespace.as_str());
            if room.take_granted(&namespace) {
                let session = IdleSession::new(namespace, until - at, at);
                session.used(at, until);
                sessions.insert(published.id.as_str().into(), session);
            }
        }
    }

    /// Drops tokens that have expired.
    pub(crate) fn purge_expired(&self, now: i64) {
        self.revoked.pin().retain(|_, until| *until > now);
        let (sessions, mut room) = (self.sessions.pin(), self.room());
        sessions.retain(|_, session| session.expires_at() > now);
        *room =
            FairShare::counted(QUARTER, SESSIONS_MAX, sessions.values().map(|session| Arc::clone(&session.namespace)));
    }

    fn room(&self) -> MutexGuard<'_, FairShare<Arc<str>>> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Visits every session.
    pub(crate) fn each_session(&self, mut visit: impl FnMut(&str, &IdleSession)) {
        for (jti, session) in &self.sessions.pin() {
            visit(jti, session);
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::api::replica_state::{Revoked, SessionUse};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn published(second: i64) -> ReplicaStateSpec {
        ReplicaStateSpec {
            revoked: vec![Revoked { id: "revoked".into(), until: at(second) }],
            sessions: vec![SessionUse {
                id: "used".into(),
                namespace: "billing".into(),
                at: at(second),
                until: at(second + 60),
            }],
            ..ReplicaStateSpec::default()
        }
    }

    fn unpublished(token_state: &TokenState) -> Vec<i64> {
        let mut unpublished = Vec::new();
        token_state.each_session(|_, session| unpublished.extend(session.unpublished()));
        unpublished
    }

    #[test]
    fn state_of_other_replicas_is_merged_in_any_order_and_removed_when_it_expires() {
        for order in [[100, 200], [200, 100]] {
            let token_state = TokenState::default();
            for second in order {
                token_state.merge(&published(second));
            }
            assert!(token_state.is_revoked("revoked"));
            assert_eq!((token_state.last_use("used"), token_state.last_use("unused")), (Some(200), None));
            token_state.purge_expired(259);
            assert_eq!(token_state.last_use("used"), Some(200));
            token_state.purge_expired(260);
            assert!(token_state.last_use("used").is_none() && !token_state.is_revoked("revoked"));
        }
    }

    #[test]
    fn no_use_outlives_its_token() {
        let token_state = TokenState::default();
        assert!(token_state.used("long", &"billing".into(), 100, 100, i64::MAX, 160));
        let mut until = Vec::new();
        token_state.each_session(|_, session| until.push(session.expires_at()));
        assert_eq!(until, [160]);
        token_state.purge_expired(160);
        assert_eq!(token_state.last_use("long"), None);
    }

    #[test]
    fn a_use_is_published_after_a_fortieth_of_the_idle_time() {
        let token_state = TokenState::default();
        let used = |known, second| assert!(token_state.used("jti", &"billing".into(), known, second, 120, 1_000));
        used(100, 102);
        assert_eq!((token_state.last_use("jti"), unpublished(&token_state)), (Some(102), vec![]));
        used(100, 103);
        assert_eq!(unpublished(&token_state), [103]);
        token_state.each_session(|_, session| session.set_published(103));
        used(103, 105);
        assert_eq!((token_state.last_use("jti"), unpublished(&token_state)), (Some(105), vec![]));
        token_state.merge(&ReplicaStateSpec {
            sessions: vec![SessionUse { id: "jti".into(), namespace: "billing".into(), at: at(104), until: at(224) }],
            ..ReplicaStateSpec::default()
        });
        used(103, 106);
        assert_eq!(unpublished(&token_state), Vec::<i64>::new(), "the others heard of 104 from another replica");
    }

    #[test]
    fn a_namespace_that_floods_sessions_evicts_none_of_others_and_leaves_room() {
        let token_state = TokenState::default();
        let begin = |namespace: &str, number: usize| {
            token_state.used(&format!("{namespace}-{number}"), &namespace.into(), 0, 100, 1_000, i64::MAX)
        };
        let honest: Vec<bool> = (0..10).map(|number| begin("honest", number)).collect();
        let greedy = (0..SESSIONS_MAX).filter(|number| begin("greedy", *number)).count();
        assert_eq!((honest, greedy), (vec![true; 10], SESSIONS_MAX / 5 - 2), "a fifth of the room");
        assert!(begin("greedy", 0), "existing sessions continue");
        for number in 0..1_000 {
            assert!(begin("honest", number), "{number}");
            assert_eq!(token_state.last_use(&format!("honest-{number}")), Some(100));
        }
        token_state.purge_expired(1_100);
        assert!(begin("greedy", SESSIONS_MAX), "ended sessions make room");
    }

    #[test]
    fn sessions_of_other_replicas_count_for_their_namespace_and_never_exceed_the_limit() {
        let token_state = TokenState::default();
        let session = |number| SessionUse {
            id: format!("published-{number}"),
            namespace: "greedy".into(),
            at: at(100),
            until: at(1_100),
        };
        let published = |numbers: std::ops::Range<usize>| ReplicaStateSpec {
            sessions: numbers.map(session).collect(),
            ..ReplicaStateSpec::default()
        };
        let begin = |namespace: &str| token_state.used(namespace, &namespace.into(), 0, 100, 1_000, i64::MAX);
        token_state.merge(&published(0..SESSIONS_MAX / 5));
        assert!(!begin("greedy") && begin("honest"));
        token_state.merge(&published(0..2 * SESSIONS_MAX));
        let mut sessions = 0;
        token_state.each_session(|_, _| sessions += 1);
        assert_eq!((sessions, begin("other")), (SESSIONS_MAX, false));
    }

    #[test]
    fn something_is_used_once_here_and_at_the_replica_that_publishes_it() {
        let (here, there) = (TokenState::default(), TokenState::default());
        let billing: Arc<str> = "billing".into();
        assert_eq!(here.use_once("assertion", &billing, 100, 160), Ok(()));
        assert_eq!(here.use_once("assertion", &billing, 101, 160), Err(UseError::Used));
        assert_eq!(unpublished(&here), [100]);
        let published = SessionUse { id: "assertion".into(), namespace: "billing".into(), at: at(100), until: at(160) };
        there.merge(&ReplicaStateSpec { sessions: vec![published], ..ReplicaStateSpec::default() });
        assert_eq!(there.use_once("assertion", &billing, 102, 160), Err(UseError::Used));
        there.purge_expired(160);
        assert_eq!(
            there.use_once("assertion", &billing, 161, 200),
            Ok(()),
            "it has expired, and its claims are refused"
        );
    }

    #[test]
    fn a_namespace_without_quota_uses_nothing_once_and_others_do() {
        let state = TokenState::default();
        let (flood, other): (Arc<str>, Arc<str>) = ("flood".into(), "other".into());
        let refused = (0..=SESSIONS_MAX).find_map(|number| state.use_once(&number.to_string(), &flood, 100, 160).err());
        assert_eq!(refused, Some(UseError::NoRoom));
        assert_eq!(state.use_once("other", &other, 100, 160), Ok(()));
    }
}
