//! ClientSecret: when to generate, when to rotate, when to repair, when to leave alone, and what to say.
//!
//! In two steps, both pure. [`decide`] names the one thing to do; the controller does it and brings back an [`Outcome`];
//! [`status`] says what is true after it. Killed between the two, the next look decides from what it finds.
//!
//! The first value is delivered first and recorded second: nobody uses it before it is `Ready`. A later one takes the
//! place of a value that is in use, so it is recorded first ([`Action::Stage`]), delivered second, and the old one gets
//! its end third: at every instant the value that a pod reads is one that every replica knows.

mod conditions;
mod obstacle;
mod rotation;
mod versions;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::content::Content;
use crate::api::ClientSecret;
use crate::api::application::Reference;
use crate::api::client_secret::{
    ClientSecretSpec, ClientSecretStatus, DeliveryStatus, LifetimePolicy, RotationCause, RotationStep, SourceStatus,
    Version, VersionState, Workload,
};
use crate::api::conditions::{merge, whole_second};

/// What the operator allows and how early it warns.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// How long a version may live.
    pub lifetime: LifetimePolicy,
    /// How long before its end people are told, each once; the longest first.
    pub warnings: Vec<SignedDuration>,
    /// The most secrets of an application that count.
    pub limit: usize,
    /// How long it takes at most until a use is known.
    pub usage_lag: SignedDuration,
}

/// How far the restart of a workload has come.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Rollout {
    /// The workload does not exist.
    Missing,
    /// It has not been restarted for the newest version.
    Outdated,
    /// Its pods are being replaced; how far that is.
    Progressing(String),
    /// It has given up, or cannot do it by itself; why.
    Stuck(String),
    /// Every pod is one that started after the new value was delivered.
    Done,
}

/// What the decision is taken from.
pub struct Observed<'a> {
    /// The object.
    pub secret: &'a ClientSecret,
    /// The application it names.
    pub application: ApplicationState,
    /// The place of this secret among those of the application, from 0, oldest first.
    pub rank: usize,
    /// Another ClientSecret that is older and wants to deliver under the same name.
    pub older_claimant: Option<String>,
    /// The Secret of that name.
    pub delivered: Delivered,
    /// The Secret to import from; `None`: the value is generated.
    pub import: Option<Import>,
    /// When its versions were used last, by id, as far as replicas have told.
    pub uses: BTreeMap<String, Timestamp>,
    /// The workloads to restart, while they are being restarted.
    pub workloads: Vec<(Workload, Rollout)>,
    /// What the operator allows.
    pub policy: &'a Policy,
    /// The instant of the decision.
    pub now: Timestamp,
}

/// The application, as far as its secrets care.
pub enum ApplicationState {
    /// It does not exist.
    Missing,
    /// It exists but has no client id of its own; nothing can be delivered.
    WithoutClientId,
    /// It has a client id, so credentials are delivered.
    Known {
        /// What to deliver.
        content: Content,
        /// Why its clients are refused at present; `None`: they are not.
        not_ready: Option<String>,
    },
}

/// The Secret of the name under which to deliver.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Delivered {
    /// Nobody looked, because nothing could be delivered.
    Unknown,
    /// None was seen. Only the API server can say for sure: `create` finds out.
    Absent,
    /// One that another object owns, or none.
    Foreign {
        /// Its controller, as `Kind name`, if it has one.
        owner: Option<String>,
    },
    /// One that names us as its owner and is of another type.
    OtherType,
    /// Ours, by the UID of its controller owner reference.
    Ours {
        /// The version that it says it holds.
        version: Option<String>,
        /// The digest of the content that was written.
        content: Option<String>,
        /// Nobody else wrote what we wrote.
        intact: bool,
        /// Somebody set `immutable`: nothing in it can be changed any more.
        immutable: bool,
    },
}

/// The Secret that a value is imported from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Import {
    /// It does not exist.
    NotFound,
    /// It does not carry the label that allows it.
    NotAllowed,
    /// It has no such key, or what is there is not text.
    KeyMissing,
    /// The value has a wrong length, in characters.
    WrongLength(usize),
    /// It is as it was when its value was last looked at.
    Unchanged,
    /// It holds a value, which may be another one.
    Changed(SourceStatus),
}

/// The one thing to do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Action {
    /// Nothing.
    None,
    /// Create the Secret with a new value. If one of that name exists after all, look again.
    Create,
    /// The Secret holds a version that status does not know: a write of ours that did not get as far as status. Record
    /// it, or, if the value is not what we wrote, stage another.
    Adopt,
    /// Put our keys and labels right; if the value is not the one that the verifier knows, stage another.
    Repair,
    /// Record a new value, then write it into the Secret.
    Stage(RotationCause),
    /// Record the imported value, if it is another one.
    Import(SourceStatus),
    /// Write the imported value into the Secret.
    Deliver,
    /// Restart the workloads that have not been restarted for the newest version.
    RollOut,
    /// Remove the Secret: it has been there for as long as it should.
    Remove,
}

/// What was done.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// Nothing, or nothing that changes the versions.
    Unchanged,
    /// The Secret holds this version now, and no other was in use.
    Issued(Issued),
    /// This version is about to be written into the Secret.
    Staged(Issued, RotationCause),
    /// The value to import was looked at; if it was another one, it is this version.
    Imported(SourceStatus, Option<Issued>),
    /// The Secret is gone because it was to be shown once.
    Removed,
}

/// A new version.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Issued {
    /// Id inside the value.
    pub id: String,
    /// Argon2id PHC string.
    pub verifier: String,
    /// When it was generated.
    pub at: Timestamp,
}

/// The one thing to do now.
#[must_use]
pub fn decide(observed: &Observed<'_>) -> Action {
    if observed.obstacle().is_some() {
        return Action::None;
    }
    let ApplicationState::Known { content, .. } = &observed.application else { return Action::None };
    match &observed.import {
        None => observed.decide_generated(content),
        Some(Import::Changed(source)) => Action::Import(source.clone()),
        Some(_) => observed.decide_imported(content),
    }
}

impl Observed<'_> {
    fn decide_generated(&self, content: &Content) -> Action {
        let cause = self.rotation_cause();
        let stage = |cause: Option<RotationCause>| cause.map_or(Action::None, Action::Stage);
        match &self.delivered {
            Delivered::Ours { .. } if self.versions().is_empty() => Action::Adopt,
            Delivered::Ours { version, content: written, intact, immutable } => {
                if self.is_due_for_removal() && self.newest_is(version.as_deref()) {
                    Action::Remove
                } else if *immutable {
                    Action::None
                } else if !self.newest_is(version.as_deref()) {
                    stage(cause)
                } else if self.is_delivering() {
                    // What was staged is delivered: the status says so next.
                    Action::None
                } else if cause.is_some() {
                    stage(cause)
                } else if !intact || written.as_deref() != Some(&content.digest()) {
                    Action::Repair
                } else if self.workloads.iter().any(|(_, rollout)| *rollout == Rollout::Outdated) {
                    Action::RollOut
                } else {
                    Action::None
                }
            }
            // Nobody uses a value of this ClientSecret.
            _ if !self.has_live_version() => Action::Create,
            _ => stage(cause),
        }
    }

    fn decide_imported(&self, content: &Content) -> Action {
        match &self.delivered {
            Delivered::Ours { immutable: true, .. } => Action::None,
            Delivered::Ours { version, content: written, intact, .. } => {
                let right =
                    self.newest_is(version.as_deref()) && *intact && written.as_deref() == Some(&content.digest());
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

    /// How long the Secret stays; `None`: for good.
    fn stays(&self) -> Option<SignedDuration> {
        self.secret.spec.delivery.as_ref()?.stays()
    }

    fn remove_at(&self, newest: &Version) -> Option<Timestamp> {
        newest.created_at.checked_add(self.stays()?).ok()
    }

    /// Whether the Secret has been there for as long as status said it would be. Told first, so that its absence is never
    /// taken for a loss.
    fn is_due_for_removal(&self) -> bool {
        let told = self.status().and_then(|status| status.delivery.as_ref()).and_then(|told| told.remove_at);
        self.stays().is_some() && told.is_some_and(|at| at <= self.now) && !self.is_delivering()
    }

    /// Whether the Secret is gone and should be: it was shown once.
    fn is_removed(&self) -> bool {
        self.stays().is_some() && self.delivered == Delivered::Absent && self.has_live_version()
    }

    /// What status says of a Secret that is shown once.
    fn delivery_status(&self, versions: &[Version], outcome: &Outcome) -> Option<DeliveryStatus> {
        self.stays()?;
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
    let (versions, rotation, observed_trigger) = observed.versions_after(outcome);
    let delivery = observed.delivery_status(&versions, outcome);
    let active = versions.iter().find(|version| version.state == VersionState::Active);
    let has_secret = delivery.as_ref().is_none_or(|delivery| delivery.removed_at.is_none());
    let name = secret.spec.secret_name(&secret.metadata).to_owned();
    let generated = secret.spec.existing().is_none();
    let mut status = ClientSecretStatus {
        observed_generation: secret.metadata.generation,
        binding: (!versions.is_empty() && has_secret).then_some(Reference { name }),
        hint: versions.first().filter(|_| generated).map(Version::hint),
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
            _ if generated => None,
            _ => previous.source,
        },
        conditions: Vec::new(),
        versions,
    };
    let verdicts = conditions::verdicts(observed, &status);
    status.conditions = merge(&previous.conditions, verdicts, secret.metadata.generation, observed.now);
    status
}

/// The next instant at which something comes due by the clock alone. `status` is the one after the last look.
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
    let warnings = status.expires_at.into_iter().flat_map(|end| policy.warnings.iter().map(move |early| end - *early));
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
#[path = "client_secret_tests.rs"]
mod tests;
