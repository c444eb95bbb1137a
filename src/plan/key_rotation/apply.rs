//! The records after a step.

use jiff::Timestamp;

use super::types::{Clocks, Settings, Step};
use crate::api::key_records::{KeyRecord, KeyRecords, KeyState};

/// The records after `step`, which is made now. `created` is the key that [`Step::Create`] adds.
#[must_use]
pub fn after(
    records: &KeyRecords,
    step: &Step,
    created: Option<KeyRecord>,
    now: Clocks,
    settings: &Settings,
) -> KeyRecords {
    let mut records = records.clone();
    match step {
        Step::Drop { ids, value, .. } => {
            records.keys.retain(|key| !ids.contains(&key.id));
            records.observed_drop = Some(value.clone());
            replace_dropped(&mut records, now.latest);
        }
        Step::ReportUnknown { value, .. } => records.observed_drop = Some(value.clone()),
        Step::RequestRotation { value } => {
            records.observed_rotate = Some(value.clone());
            let active = records.keys.iter_mut().filter(|key| key.state() == KeyState::Active);
            active.for_each(|key| key.rotation_requested = true);
        }
        Step::Create { .. } => records.keys.extend(created),
        Step::RecordPublished { id } => stamp(&mut records, id, now.latest, |key| &mut key.published_at),
        Step::RecordReady { id } => stamp(&mut records, id, now.latest, |key| &mut key.ready_at),
        Step::Activate { id } => activate(&mut records, id, now.latest),
        Step::RecordUnused { id } => stamp(&mut records, id, now.latest, |key| &mut key.unused_at),
        Step::Remove { id } => records.keys.retain(|key| key.id != *id),
        Step::RecordLifetime => {}
    }
    let lifetime = settings.token_lifetime_max.as_secs();
    let signs = |key: &&mut KeyRecord| key.state() != KeyState::Next && key.unused_at.is_none();
    for key in records.keys.iter_mut().filter(signs) {
        key.token_lifetime_seconds = key.token_lifetime_seconds.max(lifetime);
    }
    records
}

/// Records that the step was made; never earlier than the step before it.
fn stamp(records: &mut KeyRecords, id: &str, now: Timestamp, field: fn(&mut KeyRecord) -> &mut Option<Timestamp>) {
    if let Some(key) = records.keys.iter_mut().find(|key| key.id == id) {
        let at = now.max(key.changed_at());
        *field(key) = Some(at);
    }
}

fn activate(records: &mut KeyRecords, id: &str, now: Timestamp) {
    let Some(algorithm) = records.keys.iter().find(|key| key.id == id).map(|key| key.algorithm.clone()) else { return };
    let before: Vec<String> = records.in_state(&algorithm, KeyState::Active).map(|key| key.id.clone()).collect();
    for id in before {
        stamp(records, &id, now, |key| &mut key.retired_at);
    }
    stamp(records, id, now, |key| &mut key.activated_at);
}

/// Activates a ready key of each algorithm that has lost its active one.
fn replace_dropped(records: &mut KeyRecords, now: Timestamp) {
    let without: Vec<String> = records
        .algorithms()
        .into_iter()
        .filter(|algorithm| records.in_state(algorithm, KeyState::Active).next().is_none())
        .filter_map(|algorithm| records.in_state(algorithm, KeyState::Next).find(|key| key.ready_at.is_some()))
        .map(|key| key.id.clone())
        .collect();
    for id in without {
        activate(records, &id, now);
    }
}
