//! ClientSecret: when to generate, rotate, repair or do nothing, and the resulting status.
//!
//! Two steps, both pure. [`decide`] returns the next action; the controller executes it and returns an [`Outcome`];
//! [`status`] computes the status after it. If the controller is killed between the two steps, the next reconciliation
//! decides from the observed state.
//!
//! The first value is delivered first and recorded second: no client uses it before the object is `Ready`. A later
//! value replaces a value in use. So it is recorded first ([`Action::Stage`]) and delivered second, and the old value
//! gets its end third: at every time every replica knows the value that a pod reads.

mod checks;
mod conditions;
mod rotation;
mod types;
mod versions;

use jiff::{SignedDuration, Timestamp};

use crate::api::application::Reference;
use crate::api::client_secret::{
    ClientSecretSpec, ClientSecretStatus, DeliveryStatus, RotationCause, RotationStep, Version, VersionState,
};
use crate::api::conditions::{merge, whole_second};
use crate::api::precedence::uuid_text;

pub use types::{Action, ApplicationState, Contents, Delivered, Import, Issued, Observed, Outcome, Policy, Rollout};

/// The next action.
#[must_use]
pub fn decide(observed: &Observed<'_>) -> Action {
    if observed.secret.spec.is_revoked() {
        // A pod must not start with a value that is not accepted.
        let is_there = matches!(observed.delivered, Delivered::Ours { .. });
        return if is_there { Action::Remove } else { Action::None };
    }
    if observed.blocks_action() {
        return Action::None;
    }
    let ApplicationState::Known { .. } = &observed.application else { return Action::None };
    match &observed.import {
        None => observed.decide_generated(),
        Some(Import::Changed(source)) => Action::Import(source.clone()),
        Some(_) => observed.decide_imported(),
    }
}

impl Observed<'_> {
    fn decide_generated(&self) -> Action {
        let cause = self.rotation_cause();
        let waits = self.leaves_for_now();
        let stage = |cause: Option<RotationCause>| cause.map_or(Action::None, Action::Stage);
        match &self.delivered {
            Delivered::Ours { version: Some(_), .. } if self.versions().is_empty() => Action::Adopt,
            Delivered::Ours { version: None, .. } if self.versions().is_empty() => Action::Replace,
            Delivered::Ours { version, contents, immutable } => {
                if self.is_due_for_removal() && self.newest_is(version.as_deref()) {
                    Action::Remove
                } else if *immutable {
                    if self.only_metadata_is_wrong() && !waits { Action::Repair } else { Action::None }
                } else if !self.newest_is(version.as_deref()) {
                    stage(cause)
                } else if self.is_delivering() {
                    // The staged version is delivered: the next status reports it.
                    Action::None
                } else if cause.is_some() {
                    stage(cause)
                } else if *contents != Contents::Right && !waits {
                    Action::Repair
                } else if self.workloads.iter().any(|(_, rollout)| *rollout == Rollout::Outdated) {
                    Action::RollOut
                } else {
                    Action::None
                }
            }
            Delivered::Terminating { .. } => Action::None,
            // No value of this ClientSecret was ever in use.
            _ if self.versions().is_empty() => Action::Create,
            // No value is accepted, but pods still mount the Secret.
            _ if !self.has_live_version() => Action::Stage(cause.unwrap_or(RotationCause::SecretLost)),
            _ => stage(cause),
        }
    }

    fn decide_imported(&self) -> Action {
        match &self.delivered {
            Delivered::Terminating { .. } => Action::None,
            Delivered::Ours { immutable: true, .. } => {
                if self.only_metadata_is_wrong() && !self.leaves_for_now() {
                    Action::Deliver
                } else {
                    Action::None
                }
            }
            Delivered::Ours { version, contents, .. } => {
                let right =
                    self.newest_is(version.as_deref()) && (*contents == Contents::Right || self.leaves_for_now());
                match (self.is_due_for_removal(), right) {
                    (true, true) => Action::Remove,
                    (_, false) => Action::Deliver,
                    (false, true) => Action::None,
                }
            }
            _ if self.is_removed() => Action::None,
            _ => Action::Deliver,
        }
    }

    /// Whether an immutable Secret contains the newest value but other wrong content: its metadata can be repaired.
    fn only_metadata_is_wrong(&self) -> bool {
        let Delivered::Ours { version, contents, immutable: true } = &self.delivered else { return false };
        *contents != Contents::Right && self.newest_is(version.as_deref())
    }

    /// Whether changes by another client are kept, because that client would repeat them. This never applies to what a
    /// pod reads, or to the metadata by which Postern identifies and watches the Secret.
    fn leaves_for_now(&self) -> bool {
        self.contested.is_some() && matches!(self.delivered, Delivered::Ours { contents: Contents::Relabelled, .. })
    }

    fn status(&self) -> Option<&ClientSecretStatus> {
        self.secret.status.as_ref()
    }

    fn versions(&self) -> &[Version] {
        self.status().map(|status| status.versions.as_slice()).unwrap_or_default()
    }

    fn newest(&self) -> Option<&Version> {
        self.versions().first()
    }

    fn newest_is(&self, id: Option<&str>) -> bool {
        self.newest().is_some_and(|newest| Some(newest.id.as_str()) == id && newest.state == VersionState::Active)
    }

    fn has_live_version(&self) -> bool {
        self.versions().iter().any(|version| version.state != VersionState::Retired)
    }

    /// Whether the newest version is recorded and may not be in the Secret yet.
    fn is_delivering(&self) -> bool {
        let rotation = self.status().and_then(|status| status.rotation.as_ref());
        rotation.is_some_and(|rotation| rotation.step == RotationStep::Delivering)
    }

    /// How long the Secret is kept; `None`: without limit.
    fn ttl(&self) -> Option<SignedDuration> {
        self.secret.spec.delivery.as_ref()?.ttl()
    }

    fn remove_at(&self, newest: &Version) -> Option<Timestamp> {
        newest.created_at.checked_add(self.ttl()?).ok()
    }

    /// Whether the Secret has been kept until the time in status. Status is written first, so that the missing Secret
    /// is never taken for a loss.
    fn is_due_for_removal(&self) -> bool {
        let told = self.status().and_then(|status| status.delivery.as_ref()).and_then(|told| told.remove_at);
        self.ttl().is_some() && told.is_some_and(|at| at <= self.now) && !self.is_delivering()
    }

    /// Whether the Secret is gone as intended by delivery mode Once. A generated value is recorded when it is
    /// delivered, an imported one before.
    fn is_removed(&self) -> bool {
        let told = self.status().and_then(|status| status.delivery.as_ref());
        let was_delivered =
            self.import.is_none() || self.is_due_for_removal() || told.is_some_and(|told| told.removed_at.is_some());
        let is_gone = matches!(self.delivered, Delivered::Absent | Delivered::Terminating { .. });
        self.ttl().is_some() && is_gone && self.has_live_version() && was_delivered
    }

    /// The status of a Secret with delivery mode Once.
    fn delivery_status(&self, versions: &[Version], outcome: &Outcome) -> Option<DeliveryStatus> {
        self.ttl()?;
        let gone = matches!(outcome, Outcome::Removed) || (self.is_removed() && *outcome == Outcome::Unchanged);
        let told = self.status().and_then(|status| status.delivery.as_ref()).and_then(|told| told.removed_at);
        let newest = versions.first().filter(|newest| newest.state == VersionState::Active)?;
        Some(if gone && !self.is_delivering() {
            DeliveryStatus { remove_at: None, removed_at: told.or(Some(whole_second(self.now))) }
        } else {
            DeliveryStatus { remove_at: self.remove_at(newest), removed_at: None }
        })
    }
}

/// The status after `outcome`.
#[must_use]
pub fn status(observed: &Observed<'_>, outcome: &Outcome) -> ClientSecretStatus {
    let secret = observed.secret;
    let previous = secret.status.clone().unwrap_or_default();
    if let Outcome::Generating(cause) = outcome
        && !observed.is_deleted(*cause)
    {
        return previous;
    }
    let (versions, rotation, observed_trigger) = observed.versions_after(outcome);
    let delivery = observed.delivery_status(&versions, outcome);
    let active = versions.iter().find(|version| version.state == VersionState::Active);
    let is_removed = delivery.as_ref().is_some_and(|delivery| delivery.removed_at.is_some());
    let refusal = conditions::refusal(observed, outcome);
    let is_missing = observed.delivered == Delivered::Absent && refusal.is_some();
    let is_terminating = matches!(observed.delivered, Delivered::Terminating { .. });
    let is_gone =
        is_removed || is_missing || is_terminating || *outcome == Outcome::Removed || observed.is_lost_for_good();
    let has_secret = !versions.is_empty() && !is_gone;
    let name = secret.spec.secret_name(&secret.metadata).to_owned();
    let generated = secret.spec.existing().is_none();
    let is_delivering = rotation.as_ref().is_some_and(|rotation| rotation.step == RotationStep::Delivering);
    let mut status = ClientSecretStatus {
        observed_generation: secret.metadata.generation,
        binding: has_secret.then_some(Reference { name }),
        secret_uid: observed.secret_uid.map(uuid_text).or(previous.secret_uid).filter(|_| has_secret),
        losses: Some(previous.losses.unwrap_or_default().saturating_add(observed.losses_by(outcome)))
            .filter(|all| *all > 0),
        hint: versions.first().filter(|_| generated).map(Version::hint),
        usages: secret.spec.uses_summary(),
        expires_at: active
            .or(versions.first())
            .and_then(|version| observed.policy.lifetime.expiry(&secret.spec, version.created_at)),
        last_used_at: versions.iter().filter_map(|version| version.last_used_at).max().max(previous.last_used_at),
        next_rotation_at: active.and_then(|version| observed.next_rotation_at(version)),
        rotation: rotation.map(Box::new),
        observed_trigger,
        delivery: delivery.map(Box::new),
        source: match outcome {
            Outcome::Imported(source, _) => Some(Box::new(source.clone())),
            // Kept until a generated value has replaced the imported one.
            _ if generated && !is_delivering => None,
            _ => previous.source,
        },
        conditions: Vec::new(),
        versions,
    };
    let verdicts = conditions::verdicts(observed, &status, refusal);
    status.conditions = merge(&previous.conditions, verdicts, secret.metadata.generation, observed.now);
    status
}

/// The next time at which something is due by the clock alone. `status` is the result of the last reconciliation.
#[must_use]
pub fn next_due(
    spec: &ClientSecretSpec,
    status: &ClientSecretStatus,
    policy: &Policy,
    now: Timestamp,
) -> Option<Timestamp> {
    if spec.is_revoked() {
        return None;
    }
    let warning = |early: &SignedDuration| status.expires_at?.checked_sub(*early).ok();
    let warnings = policy.warnings.iter().filter_map(warning);
    let quiet = status.versions.iter().filter(|version| version.state == VersionState::Retiring);
    let quiet = quiet.filter_map(|version| rotation::unused_until(spec, status, version, policy));
    let retirements = status.versions.iter().filter(|version| version.state == VersionState::Retiring);
    [status.expires_at, status.next_rotation_at, status.delivery.as_ref().and_then(|delivery| delivery.remove_at)]
        .into_iter()
        .chain(retirements.map(|version| version.retires_at))
        .flatten()
        .chain(warnings)
        .chain(quiet)
        .filter(|due| *due > now)
        .min()
}

#[cfg(test)]
mod tests;
