//! When each key set of a namespace is fetched, and what is known of it. Pure: time and randomness are arguments.

mod applications;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use hyper::header::HeaderValue;
use jiff::Timestamp;
use tokio::time::Instant;

use self::applications::Applications;
use super::Source;
use super::document::{Answer, Document, Keys};
use super::problem::Problem;
use crate::util::timing::backoff::Growth;

/// Maximum number of sources of a namespace: those of its oldest Applications. It bounds the memory and the requests of a tenant.
pub(super) const SOURCES_MAX: usize = 100;
/// Time until the next request, if the response has no `max-age`.
const INTERVAL: Duration = Duration::from_mins(5);
/// Bounds of the `max-age` of a response. A removed key is accepted until the next request, so the upper one is short.
const INTERVAL_MIN: Duration = Duration::from_mins(1);
const INTERVAL_MAX: Duration = Duration::from_hours(1);
/// The share of an interval that is random: replicas and URLs of one host do not request it at the same time.
const JITTER: f64 = 0.1;
/// How long keys are used after the last successful request. So a host may be down for a weekend night, but keys that it no
/// longer vouches for end.
const AGE_MAX: Duration = Duration::from_hours(24);
/// Minimum time between two requests that clients cause with unknown keys.
const EARLY_INTERVAL: Duration = Duration::from_secs(30);
/// Failures in a row until they are reported, while keys are kept. A report writes the status of every Application with the
/// source, so a host that fails now and then must cause none. With the waits below, they take fifteen seconds, and the time of
/// the requests.
const FAILURES_MIN: u32 = 3;
/// The waits after failures.
const RETRY: Growth = Growth {
    initial: Duration::from_secs(5),
    min: Duration::from_secs(5),
    max: INTERVAL,
    // The failures until the next success are one series.
    quiet: |_| Duration::MAX,
};

/// The key sets of a namespace.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    applications: Applications,
    /// At most [`SOURCES_MAX`].
    sets: BTreeMap<Source, KeySet>,
}

/// Where the keys of an Application are published.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Published {
    /// When the Application was created.
    pub(super) created: Timestamp,
    /// At least one.
    pub(super) sources: BTreeSet<Source>,
}

/// What is known of the keys of a source.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// The keys that were fetched last, and how long ago; `None`: none yet. Keys that were not confirmed for a day are gone.
    pub fetched: Option<(Keys, Duration)>,
    /// Why there are no keys, or why the last requests failed.
    pub problem: Option<Arc<Problem>>,
}

/// What the worker of a namespace does next.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    Fetch {
        source: Source,
        etag: Option<HeaderValue>,
    },
    /// The keys of these Applications have become too old.
    Expired(Vec<Arc<str>>),
    /// Until this instant, or until a change.
    Wait(Option<Instant>),
}

/// The key set of one source.
#[derive(Debug)]
struct KeySet {
    fetched: Option<Fetched>,
    /// Why the last request failed.
    failure: Option<Arc<Problem>>,
    /// The failures since the last success.
    failures: u32,
    tried_at: Option<Instant>,
    next_at: Instant,
    /// The last wait after a failure, since the last success.
    waited: Option<Duration>,
}

/// The last set that the host returned.
#[derive(Debug)]
struct Fetched {
    keys: Keys,
    /// Why there are no keys.
    problem: Option<Arc<Problem>>,
    /// The same document again is no change.
    digest: Vec<u8>,
    etag: Option<HeaderValue>,
    /// When the host last confirmed it.
    at: Instant,
}

impl Schedule {
    /// Records where the keys of an Application are published; `None`: nowhere. Returns the Applications whose keys may
    /// have changed.
    pub(super) fn set_application(
        &mut self,
        name: &Arc<str>,
        published: Option<Published>,
        now: Instant,
    ) -> Vec<Arc<str>> {
        if !self.applications.set(name, published) {
            return Vec::new();
        }
        let admitted = self.applications.oldest_sources(SOURCES_MAX);
        let is_new = |source: &&Source| !self.sets.contains_key(*source);
        let added: Vec<Source> = admitted.iter().filter(is_new).cloned().collect();
        let removed: Vec<Source> = self.sets.keys().filter(|source| !admitted.contains(*source)).cloned().collect();
        self.sets.retain(|source, _| admitted.contains(source));
        self.sets.extend(added.iter().map(|source| (source.clone(), KeySet::new(now))));
        let mut affected: BTreeSet<Arc<str>> =
            added.iter().chain(&removed).flat_map(|source| self.applications_of(source)).collect();
        affected.insert(Arc::clone(name));
        affected.into_iter().collect()
    }

    fn applications_of(&self, source: &Source) -> Vec<Arc<str>> {
        self.applications.users(source).cloned().collect()
    }

    /// Whether no Application has a source.
    pub(super) fn is_unused(&self) -> bool {
        self.applications.is_empty()
    }

    /// What is known of a source.
    pub(super) fn state(&self, source: &Source, now: Instant) -> State {
        match self.sets.get(source) {
            Some(set) => set.state(now),
            None if self.applications.users(source).next().is_some() => {
                State { fetched: None, problem: Some(Arc::new(Problem::TooManySources)) }
            }
            None => State::default(),
        }
    }

    /// The source of an Application for the keys of this issuer; `None`: for those of the client itself.
    pub(super) fn source(&self, application: &str, issuer: Option<&str>) -> Option<&Source> {
        self.applications.sources(application).find(|source| source.issuer() == issuer)
    }

    /// Fetches a source as soon as the time since its last request allows.
    pub(super) fn refresh(&mut self, source: &Source, now: Instant) {
        if let Some(set) = self.sets.get_mut(source) {
            let early = set.tried_at.map_or(now, |tried| tried + EARLY_INTERVAL);
            set.next_at = set.next_at.min(early);
        }
    }

    /// What to do now.
    pub(super) fn step(&mut self, now: Instant) -> Step {
        let is_old = |set: &KeySet| set.expires_at().is_some_and(|end| end <= now);
        let old: Vec<Source> =
            self.sets.iter().filter(|(_, set)| is_old(set)).map(|(source, _)| source.clone()).collect();
        if !old.is_empty() {
            self.sets.values_mut().filter(|set| is_old(set)).for_each(KeySet::expire);
            return Step::Expired(old.iter().flat_map(|source| self.applications_of(source)).collect());
        }
        let Some((source, set)) = self.sets.iter_mut().min_by_key(|(_, set)| set.next_at) else {
            return Step::Wait(None);
        };
        if set.next_at <= now {
            set.tried_at = Some(now);
            let etag = set.fetched.as_ref().and_then(|fetched| fetched.etag.clone());
            return Step::Fetch { source: source.clone(), etag };
        }
        let next = set.next_at;
        let ends = self.sets.values().filter_map(KeySet::expires_at);
        Step::Wait(ends.chain([next]).min())
    }

    /// Records the result of a request. `jitter` is a random number in 0..1. Returns the Applications whose keys, or whose
    /// problem, have changed.
    pub(super) fn finish(
        &mut self,
        source: &Source,
        result: Result<Answer, Problem>,
        now: Instant,
        jitter: f64,
    ) -> Vec<Arc<str>> {
        let spread = 1.0 + JITTER * (2.0 * jitter - 1.0);
        // Otherwise no Application has the source any more.
        let Some(set) = self.sets.get_mut(source) else { return Vec::new() };
        if set.finish(result, now, spread) { self.applications_of(source) } else { Vec::new() }
    }
}

impl KeySet {
    fn new(now: Instant) -> Self {
        Self { fetched: None, failure: None, failures: 0, tried_at: None, next_at: now, waited: None }
    }

    fn state(&self, now: Instant) -> State {
        let fetched = self.fetched.as_ref();
        State {
            fetched: fetched.map(|fetched| (Arc::clone(&fetched.keys), now.saturating_duration_since(fetched.at))),
            problem: self.reported_failure().or(fetched.and_then(|fetched| fetched.problem.as_ref())).cloned(),
        }
    }

    /// The failure that users see.
    fn reported_failure(&self) -> Option<&Arc<Problem>> {
        let has_keys = self.fetched.as_ref().is_some_and(|fetched| !fetched.keys.is_empty());
        self.failure.as_ref().filter(|_| !has_keys || self.failures >= FAILURES_MIN)
    }

    fn expires_at(&self) -> Option<Instant> {
        self.fetched.as_ref().filter(|fetched| !fetched.keys.is_empty()).map(|fetched| fetched.at + AGE_MAX)
    }

    /// Forgets the keys, and by what the host would confirm them.
    fn expire(&mut self) {
        if let Some(Fetched { keys, digest, etag, .. }) = &mut self.fetched {
            (*keys, *digest, *etag) = (Keys::default(), Vec::new(), None);
        }
    }

    /// Returns whether the state has changed.
    fn finish(&mut self, result: Result<Answer, Problem>, now: Instant, spread: f64) -> bool {
        let reported = self.reported_failure().cloned();
        let result = result.and_then(|answer| {
            let max_age = answer.max_age;
            self.replace(answer, now).map(|changed| (changed, max_age))
        });
        let (changed, wait) = match result {
            Ok((changed, max_age)) => {
                (self.failure, self.failures, self.waited) = (None, 0, None);
                (changed, max_age.unwrap_or(INTERVAL).clamp(INTERVAL_MIN, INTERVAL_MAX))
            }
            Err(problem) => {
                let wait = RETRY.after(self.waited);
                self.failures = self.failures.saturating_add(1);
                (self.failure, self.waited) = (Some(Arc::new(problem)), Some(wait));
                (false, wait)
            }
        };
        self.next_at = now + wait.mul_f64(spread);
        changed || self.reported_failure() != reported.as_ref()
    }

    /// Takes the set of a response. Returns whether it has changed.
    fn replace(&mut self, answer: Answer, now: Instant) -> Result<bool, Problem> {
        if let Some(fetched) = &mut self.fetched
            && answer.document.as_ref().is_none_or(|document| document.digest == fetched.digest)
        {
            fetched.at = now;
            fetched.etag = answer.etag.or(fetched.etag.take());
            return Ok(false);
        }
        let Document { keys, problem, digest } = answer.document.ok_or(Problem::NotAKeySet)?;
        self.fetched = Some(Fetched { keys, problem: problem.map(Arc::new), digest, etag: answer.etag, at: now });
        Ok(true)
    }
}

#[cfg(test)]
mod tests;
