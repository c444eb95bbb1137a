//! When a new value replaces the old one.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::lifetime::saturating_add;
use crate::api::duration::{ConfigDuration, DurationOrZero, cel_is_duration, cel_seconds};
use crate::api::schema;

/// `spec.rotation.overlap` when it is absent.
pub const OVERLAP_DEFAULT: SignedDuration = SignedDuration::from_hours(24);

/// Rotation of a generated credential. Postern never rotates an imported value.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(overlap_rule())
    .message("overlap must not be longer than every: the old value would have to end before its announced end; shorten overlap, or lengthen every")
    .field_path(".overlap"))]
pub struct Rotation {
    /// Interval after which a new version is issued, such as 90d. Minimum: 1m, or the operator's minimum if that is
    /// longer. `overlap` must fit between the rotation and the end of the version. Absent: only `trigger` rotates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::duration_of_a_minute")]
    pub every: Option<ConfigDuration>,
    /// How long the old version is accepted after the delivery of the new one, such as 24h. 0s: not at all. Maximum:
    /// `every`. Default: 24h, or `every` if that is shorter. At most two versions are accepted at a time: the next
    /// rotation waits for the end of the overlap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::duration_or_zero")]
    pub overlap: Option<DurationOrZero>,
    /// Retires the old version before the end of the overlap when it has been unused for this long after the restart of
    /// all workloads in `rollout`. Must be longer than zero. Absent: the old version is accepted until the end of the
    /// overlap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::duration")]
    pub quiet_period: Option<ConfigDuration>,
    /// Workloads of this namespace, at most 20, that are restarted after the delivery of a new version, once per
    /// version, like kubectl rollout restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 20))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["kind".into(), "name".into()]))]
    pub rollout: Option<Vec<Workload>>,
    /// Changing this text starts a rotation. One line of up to 128 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::trigger")]
    pub trigger: Option<String>,
}

/// A workload of the same namespace.
#[derive(Clone, Debug, Deserialize, Eq, Hash, KubeSchema, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Workload {
    /// Kind of the workload.
    pub kind: WorkloadKind,
    /// Name of the workload.
    #[schemars(schema_with = "schema::object_name")]
    pub name: String,
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.kind, self.name)
    }
}

/// Kinds whose pods can be restarted.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
pub enum WorkloadKind {
    /// apps/v1 Deployment.
    Deployment,
    /// apps/v1 StatefulSet.
    StatefulSet,
    /// apps/v1 DaemonSet.
    DaemonSet,
}

impl Rotation {
    /// How long the old version is accepted after the delivery of the new one.
    #[must_use]
    pub fn overlap(&self) -> SignedDuration {
        let default = || self.every.as_ref().map_or(OVERLAP_DEFAULT, |every| every.length().min(OVERLAP_DEFAULT));
        self.overlap.as_ref().map_or_else(default, DurationOrZero::length)
    }

    /// Whether the spec requests new versions. Otherwise only a bearer can request one.
    #[must_use]
    pub fn has_cause(&self) -> bool {
        self.every.is_some() || self.trigger.is_some()
    }

    /// When the version that was issued at `issued` and ends at `end` is due for rotation. `spread`, from 0 to 1, is
    /// the share of a small delay that separates the rotations of credentials which were issued together; it does not
    /// shorten the overlap. `least` is the shortest interval that the operator allows.
    #[must_use]
    pub fn due(
        &self,
        issued: Timestamp,
        end: Option<Timestamp>,
        spread: f64,
        least: SignedDuration,
    ) -> Option<Timestamp> {
        let every = self.every.as_ref()?.length().max(least);
        let due = saturating_add(issued, every);
        let room = end.map_or(SPREAD_MAX, |end| end.duration_since(due) - self.overlap());
        let longest = (every / SPREAD_SHARE).min(SPREAD_MAX).min(room).max(SignedDuration::ZERO);
        let delay = SignedDuration::try_from_secs_f64(longest.as_secs_f64() * spread).unwrap_or_default();
        Some(saturating_add(due, SignedDuration::from_secs(delay.as_secs())))
    }
}

/// The delay is at most this fraction of the interval, …
const SPREAD_SHARE: i32 = 20;
/// … and at most this long.
const SPREAD_MAX: SignedDuration = SignedDuration::from_mins(10);

/// CEL: the old value never has to end before its announced end.
fn overlap_rule() -> String {
    let paths = ["self.every", "self.overlap"];
    let [every, overlap] = paths.map(cel_seconds);
    let unless = paths.map(|path| format!("!has({path}) || !{}", cel_is_duration(path))).join(" || ");
    format!("{unless} || {overlap} <= {every}")
}

/// CEL: `every` and `overlap` fit into the lifetime of a version, as far as the spec alone determines it.
pub(super) fn room_rule() -> String {
    let day = OVERLAP_DEFAULT.as_secs();
    let year = super::EXPIRES_IN_DEFAULT.as_secs();
    let paths = ["self.rotation.every", "self.rotation.overlap", "self.expiresIn"];
    let [every, overlap, life] = paths.map(cel_seconds);
    // An invalid duration, or Never, has no length; the field's own rule reports the error.
    let unless = paths.map(|path| format!("(has({path}) && !{})", cel_is_duration(path))).join(" || ");
    format!(
        "!has(self.rotation) || !has(self.rotation.every) || has(self.expiresAt) || {unless} || \
         {every} + (has(self.rotation.overlap) ? {overlap} : {every} < {day} ? {every} : {day}) \
         <= (has(self.expiresIn) ? {life} : {year})"
    )
}
