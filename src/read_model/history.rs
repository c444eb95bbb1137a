//! What a new entry of a client keeps of the previous one: when its authority changed, and what its tokens represented.

use jiff::Timestamp;

use super::Entry;
use super::expected_epochs::Fingerprints;
use crate::oauth::client_record::{ClientRecord, Removed, SecretRecord, Tombstones};

/// When the fingerprints of the secrets last changed. A token that was issued earlier with another fingerprint is
/// stale.
pub(super) fn authority_changed_at(
    secrets: &[SecretRecord],
    previous: Option<&ClientRecord>,
    now: Timestamp,
) -> Timestamp {
    let same = |(one, other): (&SecretRecord, &SecretRecord)| {
        one.authority == other.authority && one.disabled.is_some() == other.disabled.is_some()
    };
    match previous {
        Some(record) if record.secrets.len() == secrets.len() && record.secrets.iter().zip(secrets).all(same) => {
            record.authority_changed_at
        }
        _ => now,
    }
}

/// The fingerprints that tokens had earlier, given that the client now has `next`; `None`: the client is disabled.
/// Losses before `since` are dropped.
pub(super) fn past(
    previous: Option<&Entry>,
    next: Option<(&Fingerprints, &[SecretRecord])>,
    now: Timestamp,
    since: Timestamp,
) -> Tombstones {
    let live = |secrets: &[SecretRecord], authority: &str| {
        secrets.iter().any(|secret| secret.disabled.is_none() && *secret.authority == *authority)
    };
    let is_held = |authority: &str| next.is_some_and(|(_, secrets)| live(secrets, authority));
    match previous {
        None => Tombstones::default(),
        Some(Entry::Disabled(_, past)) => past.next(&Removed::default(), is_held, now, since),
        Some(Entry::Live(record, fingerprint_before)) => {
            let same = next.is_some_and(|(fingerprint, _)| *fingerprint == **fingerprint_before);
            let had = record.secrets.iter().filter(|secret| secret.disabled.is_none()).map(|secret| &*secret.authority);
            let authorities = had.filter(|authority| !(same && is_held(authority))).collect();
            record.past.next(&Removed { authorities, epoch: record.epoch }, is_held, now, since)
        }
    }
}
