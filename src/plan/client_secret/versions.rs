//! The versions after an action, and the resulting state of the rotation.

use jiff::{SignedDuration, Timestamp};

use super::{Delivered, Issued, Observed, Outcome, Rollout};
use crate::api::client_secret::{
    OVERLAP_DEFAULT, Rotation, RotationCause, RotationStatus, RotationStep, Version, VersionState,
};
use crate::api::conditions::{MESSAGE_WRITTEN_MAX, whole_second};
use crate::api::printable::printable;

/// Retired versions kept in status, so that a log can report "retired" instead of "unknown".
const RETIRED_KEPT: usize = 3;
/// Grace period for a value that is ended immediately: a pod that has just read it may be about to use it.
const AT_ONCE: SignedDuration = SignedDuration::from_secs(1);

type After = (Vec<Version>, Option<RotationStatus>, Option<String>);

impl Observed<'_> {
    /// Versions, rotation and the trigger that was acted on.
    pub(super) fn versions_after(&self, outcome: &Outcome) -> After {
        let trigger = self.secret.spec.rotation.as_ref().and_then(|rotation| rotation.trigger.clone());
        let told = self.status().and_then(|status| status.observed_trigger.clone()).filter(|_| trigger.is_some());
        let (mut versions, rotation, trigger) = match outcome {
            Outcome::Issued(issued) | Outcome::Imported(_, Some(issued)) => {
                (self.prepend_version(issued, |old| self.retired_at_once(old)), None, trigger)
            }
            Outcome::Staged(issued, cause) => {
                (self.staged_versions(issued, *cause), Some(self.delivering(*cause)), told)
            }
            // Its Secret was deleted: as with a staged value, the lost one ends now.
            Outcome::Generating(_) => {
                (self.versions().iter().map(|version| self.retired_at_once(version)).collect(), None, told)
            }
            // A value whose Secret is gone is rejected, even if no other value can replace it.
            _ if self.secret.spec.is_revoked() || self.is_lost_for_good() => {
                (self.versions().iter().map(|version| self.retired(version)).collect(), None, trigger)
            }
            _ if self.staged().is_some() && self.staged_is_delivered() => self.activate_staged(trigger),
            _ if self.staged().is_some() && self.is_taken_back() => (self.without_staged(), None, trigger),
            Outcome::Unchanged | Outcome::Removed | Outcome::Refused(_) | Outcome::Imported(_, None) => {
                let (versions, rotation) = self.advance_time();
                // The trigger of the first version, and the removal of a trigger, cause no rotation.
                (versions, rotation, told.or_else(|| trigger.filter(|_| self.versions().is_empty())))
            }
        };
        let retired = versions.iter().filter(|version| version.state == VersionState::Retired).count();
        versions.truncate(versions.len() - retired.saturating_sub(RETIRED_KEPT));
        for version in &mut versions {
            if let Some(verification) = self.rekeyed.get(&version.id) {
                version.verification = verification.clone();
            }
        }
        (versions, rotation, trigger)
    }

    fn prepend_version(&self, issued: &Issued, old: impl Fn(&Version) -> Version) -> Vec<Version> {
        let new = Version {
            id: issued.id.clone(),
            state: VersionState::Active,
            created_at: whole_second(issued.at),
            retires_at: None,
            last_used_at: None,
            verification: issued.verification.clone(),
        };
        let older = self.versions().iter().filter(|version| version.id != issued.id).map(old);
        std::iter::once(new).chain(older).collect()
    }

    /// The new version and the one in use; no other is accepted. If the Secret was deleted, none is in use: the old
    /// value ends now, whether or not the new one can be delivered.
    fn staged_versions(&self, issued: &Issued, cause: RotationCause) -> Vec<Version> {
        let is_deleted = self.is_deleted(cause);
        let mut in_use = self.without_staged().into_iter().filter(|version| version.state == VersionState::Active);
        let in_use = in_use.next().filter(|_| !is_deleted);
        let undelivered = self.staged().and(self.versions().first()).filter(|_| !self.staged_is_delivered());
        let old = |version: &Version| match &in_use {
            Some(in_use) if in_use.id == version.id => {
                Version { state: VersionState::Retiring, retires_at: None, ..version.clone() }
            }
            _ => self.retired_at_once(version),
        };
        let mut versions = self.prepend_version(issued, old);
        // No client ever had it.
        versions.retain(|version| {
            version.id == issued.id || undelivered.is_none_or(|undelivered| version.id != undelivered.id)
        });
        versions
    }

    /// Whether the new version replaces one whose Secret was deleted.
    pub(super) fn is_deleted(&self, cause: RotationCause) -> bool {
        cause == RotationCause::SecretLost && self.delivered == Delivered::Absent
    }

    fn delivering(&self, cause: RotationCause) -> RotationStatus {
        let name = self.secret.spec.secret_name(&self.secret.metadata);
        RotationStatus {
            step: RotationStep::Delivering,
            since: self.staged().map_or_else(|| whole_second(self.now), |staged| staged.since),
            cause,
            delivered_at: None,
            waits_for: format!("the new value to be in Secret {name}."),
            requested: None,
        }
    }

    /// Activates the delivered version: the old one gets its end.
    fn activate_staged(&self, trigger: Option<String>) -> After {
        let now = whole_second(self.now);
        let cause = self.staged().map_or(RotationCause::SecretLost, |staged| staged.cause);
        let overlap = match (cause, &self.secret.spec.rotation) {
            (RotationCause::SecretLost, _) => SignedDuration::ZERO,
            (_, rotation) => rotation.as_deref().map_or(OVERLAP_DEFAULT, Rotation::overlap),
        };
        let until = now.checked_add(overlap).unwrap_or(Timestamp::MAX);
        let end = |version: &Version| match version.state {
            VersionState::Retiring if overlap.is_zero() => self.retired_at_once(version),
            VersionState::Retiring => Version { retires_at: Some(until), ..version.clone() },
            VersionState::Active | VersionState::Retired => version.clone(),
        };
        let versions: Vec<Version> = self.versions().iter().map(end).collect();
        let rotation = self.next_step(
            &versions,
            &RotationStatus {
                step: RotationStep::Delivering,
                since: now,
                cause,
                delivered_at: Some(now),
                waits_for: String::new(),
                requested: None,
            },
        );
        (versions, rotation, trigger)
    }

    /// Drops the staged version, which is no longer needed and was never delivered.
    fn without_staged(&self) -> Vec<Version> {
        if self.staged().is_none() || self.staged_is_delivered() {
            return self.versions().to_vec();
        }
        let back = |version: &Version| match (version.state, version.retires_at) {
            (VersionState::Retiring, None) => Version { state: VersionState::Active, ..version.clone() },
            _ => version.clone(),
        };
        self.versions().iter().skip(1).map(back).collect()
    }

    /// The same versions at a later time, with another overlap, or after workloads have restarted.
    fn advance_time(&self) -> (Vec<Version>, Option<RotationStatus>) {
        let told = self.status().and_then(|status| status.rotation.as_deref()).cloned();
        let versions: Vec<Version> = self.versions().iter().map(|version| self.older(version, told.as_ref())).collect();
        let rotation = match told {
            Some(told) if told.step != RotationStep::Delivering => self.next_step(&versions, &told),
            told => told,
        };
        (versions, rotation)
    }

    pub(super) fn older(&self, version: &Version, rotation: Option<&RotationStatus>) -> Version {
        let mut version = self.with_last_use(version);
        let (VersionState::Retiring, Some(planned)) = (version.state, version.retires_at) else { return version };
        let asked = self.secret.spec.rotation.as_deref().map(Rotation::overlap);
        let delivered = rotation.and_then(|rotation| rotation.delivered_at);
        let until = delivered.zip(asked).and_then(|(delivered, overlap)| delivered.checked_add(overlap).ok());
        let until = until.unwrap_or(planned);
        let unused = self
            .status()
            .and_then(|status| super::rotation::unused_until(&self.secret.spec, status, &version, self.policy));
        let end = unused.into_iter().chain([until]).min().unwrap_or(until);
        version.retires_at = Some(until);
        if end <= self.now {
            version.state = VersionState::Retired;
            version.retires_at = Some(until.min(whole_second(self.now)));
        }
        version
    }

    /// The step of the rotation after `told`: workloads restart, then the old value becomes idle, or its overlap ends.
    fn next_step(&self, versions: &[Version], told: &RotationStatus) -> Option<RotationStatus> {
        let spec = self.secret.spec.rotation.as_ref();
        let old = versions.iter().find(|version| version.state == VersionState::Retiring);
        let until = old.and_then(|old| old.retires_at);
        let rolls = match told.step {
            RotationStep::Delivering => spec.is_some_and(|spec| spec.rollout.iter().flatten().next().is_some()),
            RotationStep::RollingOut => !self.workloads.iter().all(|(_, rollout)| *rollout == Rollout::Done),
            RotationStep::WaitingForIdle | RotationStep::Overlap => false,
        };
        let (step, waits_for) = match (rolls, until) {
            (true, _) => (RotationStep::RollingOut, self.rolling()),
            (false, None) => return None,
            (false, Some(until)) if spec.is_some_and(|spec| spec.quiet_period.is_some()) => {
                let text = format!("the old value to be unused for spec.rotation.quietPeriod, or until {until}.");
                (RotationStep::WaitingForIdle, text)
            }
            (false, Some(until)) => {
                let text = format!("the overlap to end at {until}; the previous value is still accepted.");
                (RotationStep::Overlap, text)
            }
        };
        let next = if self.is_postponed() { " Another rotation is requested; it starts after that." } else { "" };
        let waits_for = printable(&format!("{waits_for}{next}"), MESSAGE_WRITTEN_MAX);
        let since = if step == told.step { told.since } else { whole_second(self.now) };
        Some(RotationStatus { step, since, waits_for, requested: self.request().cloned(), ..told.clone() })
    }

    /// The pending restarts, by workload.
    fn rolling(&self) -> String {
        let open = self.workloads.iter().filter_map(|(workload, rollout)| {
            Some(match rollout {
                Rollout::Done => return None,
                Rollout::Outdated => format!("{workload} to be restarted"),
                Rollout::Progressing(how_far) => format!("{workload} ({how_far})"),
                Rollout::Missing => {
                    format!("{workload}: not found or being deleted; fix spec.rotation.rollout")
                }
                Rollout::Stuck(why) => format!("{workload}, which is stuck: {why}"),
                Rollout::Disabled => format!(
                    "{workload} to be restarted by you, because this installation restarts no workloads: restart it, and \
                     remove it from spec.rotation.rollout"
                ),
            })
        });
        let open: Vec<String> = open.collect();
        if open.is_empty() { "workloads to be restarted.".to_owned() } else { format!("{}.", open.join("; ")) }
    }

    /// Whether the staged value is no longer requested.
    fn is_taken_back(&self) -> bool {
        matches!(self.delivered, Delivered::Ours { .. } | Delivered::Absent)
            && self.unknown_install_key.is_none()
            && self.blocker().is_none()
            && self.rotation_cause().is_none()
    }

    /// Whether the Secret with the value belongs to another owner now, is being deleted, or is gone and cannot be
    /// recreated.
    pub(super) fn is_lost_for_good(&self) -> bool {
        // With delivery mode Once the credential remains valid without its Secret.
        let should_be_there = self.ttl().is_none();
        match self.delivered {
            Delivered::Foreign | Delivered::OtherType => should_be_there,
            Delivered::Absent => should_be_there && self.blocker().is_some(),
            // An imported value is still in its source.
            Delivered::Terminating { .. } => should_be_there && self.secret.spec.existing().is_none(),
            Delivered::Unknown | Delivered::Ours { .. } => false,
        }
    }

    /// How many losses of the Secret to add, each of which invalidates tokens: one when its value is to be replaced,
    /// and one when a value that was accepted until then ends. A value that could not be delivered and is recorded
    /// again is not a new loss.
    pub(super) fn losses_by(&self, outcome: &Outcome) -> i64 {
        let is_lost = match outcome {
            Outcome::Staged(issued, RotationCause::SecretLost) => {
                let mut others = self.versions().iter().filter(|version| version.id != issued.id);
                let is_recorded = self.newest().is_some_and(|newest| newest.id == issued.id);
                let has_other = others.any(|version| version.state != VersionState::Retired);
                has_other && (!is_recorded || self.delivered == Delivered::Absent)
            }
            Outcome::Generating(_) => self.has_live_version(),
            Outcome::Staged(..) => false,
            _ if self.is_lost_for_good() => self.has_live_version(),
            _ => {
                let is_replaced =
                    |version: &Version| version.state == VersionState::Retiring && version.retires_at.is_none();
                let is_delivered = self.staged_cause() == Some(RotationCause::SecretLost) && self.staged_is_delivered();
                is_delivered && self.versions().iter().any(is_replaced)
            }
        };
        i64::from(is_lost)
    }

    /// Also for a value that has ended: after a leak it is the one that users search for.
    fn with_last_use(&self, version: &Version) -> Version {
        let last_used_at = version.last_used_at.max(self.uses.get(&version.id).copied());
        Version { last_used_at, ..version.clone() }
    }

    fn retired_at_once(&self, version: &Version) -> Version {
        // In milliseconds: rounding to a second would remove most of the time.
        let until = Timestamp::from_millisecond(self.now.as_millisecond()).unwrap_or(self.now) + AT_ONCE;
        let until = version.retires_at.map_or(until, |planned| planned.min(until));
        Version { state: VersionState::Retired, retires_at: Some(until), ..self.with_last_use(version) }
    }

    fn retired(&self, version: &Version) -> Version {
        let now = whole_second(self.now);
        let until = version.retires_at.map_or(now, |planned| planned.min(now));
        Version { state: VersionState::Retired, retires_at: Some(until), ..self.with_last_use(version) }
    }
}
