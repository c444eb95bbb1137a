//! AccessGroup: accepted as soon as it exists; its status counts its members.

use jiff::Timestamp;

use crate::api::AccessGroup;
use crate::api::access_group::{AccessGroupStatus, Namespaces};
use crate::api::conditions::{ConditionValue, merge, reasons, types};

/// The status of `group`, which has `members` service users now.
#[must_use]
pub fn status(group: &AccessGroup, members: usize, now: Timestamp) -> AccessGroupStatus {
    let previous = group.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let accepted = ConditionValue::new_true(types::READY, reasons::ACCEPTED, "Accepted.");
    AccessGroupStatus {
        observed_generation: group.metadata.generation,
        plane: Some(group.spec.plane()),
        namespaces: group.spec.namespaces.as_ref().map(Namespaces::summary).filter(|summary| !summary.is_empty()),
        members: Some(i64::try_from(members).unwrap_or(i64::MAX)),
        conditions: merge(previous, vec![accepted], group.metadata.generation, now),
    }
}
