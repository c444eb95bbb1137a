//! What a decision is taken from, what it may be, and what came of it.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::api::ClientSecret;
use crate::api::authority::Authority;
use crate::api::client_secret::{LifetimePolicy, RotationCause, SourceStatus, Workload};
use crate::plan::application::Closed;
use crate::plan::content::Content;

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
    /// Whether the operator restarts no workloads.
    pub rollout_disabled: bool,
}

/// How far the restart of a workload has come.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Rollout {
    /// The workload does not exist, or its deletion was requested.
    Missing,
    /// It has not been restarted for the newest version.
    Outdated,
    /// Its pods are being replaced; how far that is.
    Progressing(String),
    /// It has given up, or cannot do it by itself; why.
    Stuck(String),
    /// Unknown: the operator restarts no workloads.
    Disabled,
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
    pub has_older_claimant: bool,
    /// The Secret of that name.
    pub delivered: Delivered,
    /// UID of that Secret, as far as it was seen.
    pub secret_uid: Option<u128>,
    /// The Secret to import from; `None`: the value is generated.
    pub import: Option<Import>,
    /// When its versions were used last, by id, as far as replicas have told.
    pub uses: BTreeMap<String, Timestamp>,
    /// The version that its bearer asked to be rotated.
    pub requested: Option<String>,
    /// The workloads to restart, while they are being restarted.
    pub workloads: Vec<(Workload, Rollout)>,
    /// Workloads that no rotation could restart, found before one is under way.
    pub unavailable: Vec<(Workload, Rollout)>,
    /// Labels and annotations of the delivered Secret that another client changes as often as they are put right; `None`:
    /// none, or it is time to put them right.
    pub contested: Option<String>,
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
        /// What the application holds; `None`: not known.
        authority: Option<Authority>,
        /// Why its clients are refused at present; `None`: they are not.
        closed: Option<Closed>,
    },
}

/// The Secret of the name under which to deliver.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Delivered {
    /// Nobody looked, because nothing could be delivered.
    Unknown,
    /// None was seen. Only the API server can say for sure: `create` finds out.
    Absent,
    /// One of somebody else.
    Foreign,
    /// One that names us as its owner and is of another type.
    OtherType,
    /// Ours, and its deletion was requested: no pod may use its value any more, and no Secret of its name can be created until it is gone.
    Terminating {
        /// What keeps it.
        finalizers: String,
    },
    /// Ours: by the UID of its controller owner reference, or by its own UID, or because it carries all marks of ours and has
    /// no controller.
    Ours {
        /// The version whose value it holds, if it is one that Postern delivered.
        version: Option<String>,
        /// Whether it holds everything else that it should.
        contents: Contents,
        /// Somebody set `immutable`: nothing but its metadata can be changed any more.
        immutable: bool,
    },
}

/// What is in a Secret, beside what should be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Contents {
    /// It is as it should be.
    Right,
    /// It is what should have been there before.
    Outdated,
    /// Another client changed it.
    Changed,
    /// Another client changed nothing but labels and annotations that spec.delivery adds.
    Relabelled,
}

/// The Secret that a value is imported from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Import {
    /// It does not exist, or does not carry the label that allows it: deliberately one answer, which does not show
    /// which Secrets exist.
    NotFound,
    /// Its deletion was requested.
    Terminating,
    /// It has no such key, or what is there is not text.
    KeyMissing,
    /// The value has a wrong length.
    WrongLength,
    /// The value has a control character that is no line break at its end.
    ControlCharacter,
    /// The value begins as only generated ones do.
    LooksGenerated,
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
    /// The Secret holds a value of ours that status does not know: a write that did not get as far as status. Record it.
    Adopt,
    /// The Secret holds no value of ours, and none is in use yet: write a new one, and record it.
    Replace,
    /// Put our keys and labels right.
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
    /// The API server does not let the Secret be as it should; what it said.
    Refused(String),
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
    /// As `InstallKeys::hash` writes it.
    pub verifier: String,
    /// When it was generated.
    pub at: Timestamp,
}
