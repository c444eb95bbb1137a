//! The rotation of a key set, one step at a time: which step is due, or what it waits for.
//!
//! ```text
//! create ─▶ published by every live replica ─▶ known to every verifier ─▶ activate ─▶ unused by every live replica ─▶ remove
//! ```
//!
//! There is always a next key for each algorithm, so that a dropped key has a successor that verifiers know. Every
//! instant comes from the records: a restart, another leader or a step of a clock neither skips nor repeats a step.

mod apply;
mod types;

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use crate::api::key_records::{KeyRecord, KeyState, dropped};

pub use apply::after;
pub use types::{Blocked, Clocks, Decision, Observed, Replicas, Settings, Step, Wait};

/// What clocks of verifiers differ by, and what verifiers tolerate after `exp`: most libraries allow a minute.
const CLOCK_SKEW: SignedDuration = SignedDuration::from_secs(60);

/// The next step, or what the rotation waits for.
#[must_use]
pub fn plan(observed: &Observed<'_>, settings: &Settings) -> Decision {
    if let Some(step) = requested(observed, settings) {
        return Decision::Do(step);
    }
    let mut wait = Wait::default();
    let recorded = observed.records.algorithms();
    let wanted: BTreeSet<&str> = observed.algorithms.iter().copied().chain(recorded).collect();
    for algorithm in wanted {
        if let Some(step) = of_algorithm(observed, settings, algorithm, &mut wait) {
            return Decision::Do(step);
        }
    }
    let ahead = observed.records.keys.iter().filter(|key| key.changed_at() > observed.now.latest);
    wait.blocked.extend(ahead.map(|key| Blocked::Ahead { key: key.id.clone(), until: key.changed_at() }));
    let lifetime = settings.token_lifetime_max.as_secs();
    let signs = |key: &&KeyRecord| key.state() != KeyState::Next && key.unused_at.is_none();
    if observed.records.keys.iter().filter(signs).any(|key| key.token_lifetime_seconds < lifetime) {
        return Decision::Do(Step::RecordLifetime);
    }
    Decision::Wait(wait)
}

/// What an annotation requests.
fn requested(observed: &Observed<'_>, settings: &Settings) -> Option<Step> {
    let records = observed.records;
    let is_handled = |value: &&str| records.observed_drop.as_deref() == Some(*value);
    // A value that named an active key, and was refused, does not drop that key after its replacement.
    if let Some(value) = observed.drop.filter(|value| settings.drops_active || !is_handled(value)) {
        let can_be_dropped = |key: &KeyRecord| settings.drops_active || key.state() != KeyState::Active;
        let is_known = |id: &&str| records.keys.iter().any(|key| key.id == *id && can_be_dropped(key));
        let owned = |ids: Vec<&str>| ids.into_iter().map(str::to_owned).collect::<Vec<_>>();
        let (known, unknown): (Vec<&str>, Vec<&str>) = dropped(Some(value)).into_iter().partition(is_known);
        if !known.is_empty() {
            return Some(Step::Drop { ids: owned(known), unknown: owned(unknown), value: value.to_owned() });
        }
        if !is_handled(&value) {
            return Some(Step::ReportUnknown { ids: owned(unknown), value: value.to_owned() });
        }
    }
    let value = observed.rotate.filter(|value| records.observed_rotate.as_deref() != Some(*value))?;
    Some(Step::RequestRotation { value: value.to_owned() })
}

/// The steps of the keys of one algorithm, in the order of the states; the first that applies is due.
fn of_algorithm(observed: &Observed<'_>, settings: &Settings, algorithm: &str, wait: &mut Wait) -> Option<Step> {
    let records = observed.records;
    let Some(next) = records.in_state(algorithm, KeyState::Next).next() else {
        return Some(Step::Create { algorithm: algorithm.to_owned() });
    };
    if next.published_at.is_none() && wait.all_accept(observed, next) {
        return Some(Step::RecordPublished { id: next.id.clone() });
    }
    if let Some(published) = next.published_at
        && next.ready_at.is_none()
        && wait.has_passed(observed.now, published, settings.publish_for)
    {
        return Some(Step::RecordReady { id: next.id.clone() });
    }
    let active = records.in_state(algorithm, KeyState::Active).next();
    let retiring = || records.in_state(algorithm, KeyState::Retiring);
    let is_due = active.is_none_or(|active| {
        let has_room = retiring().count() < settings.retiring_max;
        let is_due = is_due(active, observed.now, settings, wait);
        if is_due && !has_room {
            wait.blocked.insert(Blocked::Full { algorithm: algorithm.to_owned() });
        }
        is_due && has_room
    });
    if is_due && next.ready_at.is_some() {
        return Some(Step::Activate { id: next.id.clone() });
    }
    let unused = retiring().filter(|key| key.unused_at.is_none());
    if let Some(active) = active
        && let Some(unused) = { unused }.find(|_| wait.all_sign_with(observed, active))
    {
        return Some(Step::RecordUnused { id: unused.id.clone() });
    }
    let ended = |key: &&KeyRecord| {
        key.unused_at.is_some_and(|unused| wait.has_passed(observed.now, unused, accepted_for(key, settings)))
    };
    let (in_use, ended): (Vec<_>, Vec<_>) = retiring().filter(ended).partition(|key| observed.in_use.contains(&key.id));
    wait.blocked.extend(in_use.into_iter().map(|key| Blocked::InUse { key: key.id.clone() }));
    ended.first().map(|key| Step::Remove { id: key.id.clone() })
}

/// How long a key is accepted after no live replica signs with it any more. A replica that cannot reach the API server
/// may sign until the staleness limit.
fn accepted_for(key: &KeyRecord, settings: &Settings) -> SignedDuration {
    key.token_lifetime().saturating_add(settings.staleness_max).saturating_add(CLOCK_SKEW)
}

/// When an unused key is removed.
#[must_use]
pub fn accepted_until(key: &KeyRecord, settings: &Settings) -> Option<Timestamp> {
    key.unused_at?.checked_add(accepted_for(key, settings)).ok()
}

/// Whether the active key is to be replaced.
fn is_due(active: &KeyRecord, now: Clocks, settings: &Settings, wait: &mut Wait) -> bool {
    let is_restored = settings.restored_at.is_some_and(|restored| active.activated_at < Some(restored));
    active.rotation_requested
        || is_restored
        || settings
            .rotate_every
            .zip(active.activated_at)
            .is_some_and(|(every, activated)| wait.has_passed(now, activated, every))
}

impl Wait {
    /// Whether this much time has passed on every clock; if not, the wait ends then.
    fn has_passed(&mut self, now: Clocks, since: Timestamp, length: SignedDuration) -> bool {
        if now.earliest.duration_since(since) >= length {
            return true;
        }
        // An instant that cannot be represented is never reached.
        let until = since.checked_add(length).ok();
        self.until = self.until.into_iter().chain(until).min();
        false
    }

    /// Whether every live replica accepts the key.
    fn all_accept(&mut self, observed: &Observed<'_>, key: &KeyRecord) -> bool {
        self.all(observed, key, false)
    }

    /// Whether every live replica signs with the key.
    fn all_sign_with(&mut self, observed: &Observed<'_>, key: &KeyRecord) -> bool {
        self.all(observed, key, true)
    }

    fn all(&mut self, observed: &Observed<'_>, key: &KeyRecord, signs: bool) -> bool {
        let Some(replicas) = observed.replicas else {
            self.needs_replicas = true;
            return false;
        };
        let lacks = |replica: &&String| {
            let reported = replicas.get(*replica).and_then(Option::as_ref);
            let ids = reported.map(|keys| if signs { &keys.signing } else { &keys.accepted });
            !ids.is_some_and(|ids| ids.contains(&key.id))
        };
        let lacking: Vec<&String> = replicas.keys().filter(lacks).collect();
        self.blocked.extend(lacking.iter().map(|replica| Blocked::Replica {
            replica: (*replica).clone(),
            key: key.id.clone(),
            signs,
        }));
        self.needs_replicas |= replicas.is_empty() || !lacking.is_empty();
        lacking.is_empty() && !replicas.is_empty()
    }
}

#[cfg(test)]
mod proptests;
#[cfg(test)]
mod tests;
