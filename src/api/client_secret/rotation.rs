//! When a new value takes the place of the old one.

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

/// Rotation of a generated credential. An imported one is never rotated by Postern.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(overlap_rule())
    .message("overlap must not be longer than every: the old value would have to end before its announced end; shorten overlap, or lengthen every")
    .field_path(".overlap"))]
pub struct Rotation {
    /// A new version that long after the last; at least 1m, and never sooner than the operator allows. It must leave room for `overlap` before the version ends.
    /// Absent: only by `trigger`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::duration_of_a_minute")]
    pub every: Option<ConfigDuration>,
    /// How long the old version is accepted after the new one was delivered; 0s: not at all. At most `every`. Default
    /// 24h, or `every` if that is shorter. No more than two versions are ever accepted: the next rotation waits for the
    /// end of the overlap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::duration_or_zero")]
    pub overlap: Option<DurationOrZero>,
    /// The old version is retired before the end of the overlap once it has been unused for that long, after consumers
    /// rolled. Absent: it lives as long as the overlap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::duration")]
    pub quiet_period: Option<ConfigDuration>,
    /// Workloads of this namespace that are restarted when a new version is delivered, as kubectl rollout restart does,
    /// once for each version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 20))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["kind".into(), "name".into()]))]
    pub rollout: Option<Vec<Workload>>,
    /// Changing this text rotates now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::trigger")]
    pub trigger: Option<String>,
}

/// A workload of the same namespace.
#[derive(Clone, Debug, Deserialize, Eq, Hash, KubeSchema, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Workload {
    /// Deployment, StatefulSet or DaemonSet.
    pub kind: WorkloadKind,
    /// Its name.
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
    /// How long the old version is accepted after the new one was delivered.
    #[must_use]
    pub fn overlap(&self) -> SignedDuration {
        let default = || self.every.as_ref().map_or(OVERLAP_DEFAULT, |every| every.length().min(OVERLAP_DEFAULT));
        self.overlap.as_ref().map_or_else(default, DurationOrZero::length)
    }

    /// Whether the spec itself asks for new versions. Without that they are made only when a bearer asks for one.
    #[must_use]
    pub fn has_cause(&self) -> bool {
        self.every.is_some() || self.trigger.is_some()
    }

    /// When the version is due for rotation that was issued at `issued` and ends at `end`. `spread`, from 0 to 1, is the
    /// share of a small delay that keeps credentials apart which were issued together; it takes nothing from the overlap.
    /// `least` is the shortest interval that the operator allows.
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

/// CEL: `every` and `overlap` fit into the life of a version, as far as the spec alone tells its length.
pub(super) fn room_rule() -> String {
    let day = OVERLAP_DEFAULT.as_secs();
    let year = super::EXPIRES_IN_DEFAULT.as_secs();
    let paths = ["self.rotation.every", "self.rotation.overlap", "self.expiresIn"];
    let [every, overlap, life] = paths.map(cel_seconds);
    // Of what is no duration, Never among it, the length cannot be told; what is wrong is said at the field itself.
    let unless = paths.map(|path| format!("(has({path}) && !{})", cel_is_duration(path))).join(" || ");
    format!(
        "!has(self.rotation) || !has(self.rotation.every) || has(self.expiresAt) || {unless} || \
         {every} + (has(self.rotation.overlap) ? {overlap} : {every} < {day} ? {every} : {day}) \
         <= (has(self.expiresIn) ? {life} : {year})"
    )
}
