//! The inputs of a decision, the possible actions, and their outcomes.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::api::ClientSecret;
use crate::api::client_secret::{LifetimePolicy, RotationCause, SourceStatus, Verification, Workload};
use crate::api::permissions::Authority;
use crate::plan::application::Disabled;
use crate::plan::secret_content::Content;

/// The operator's limits and warning times.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Limits on the lifetime of a version.
    pub lifetime: LifetimePolicy,
    /// How long before the expiry users are warned, each once; the longest first.
    pub warnings: Vec<SignedDuration>,
    /// Maximum number of active secrets of an Application.
    pub limit: usize,
    /// Maximum delay until a use is known.
    pub usage_lag: SignedDuration,
    /// When a backup was restored: older generated credentials are replaced.
    pub restored_at: Option<Timestamp>,
    /// Whether this operator does not restart workloads.
    pub rollout_disabled: bool,
}

/// The progress of a workload restart.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Rollout {
    /// The workload does not exist, or its deletion was requested.
    Missing,
    /// It has not been restarted for the newest version.
    Outdated,
    /// Its pods are being replaced; the progress.
    Progressing(String),
    /// It has failed, or cannot restart automatically; the reason.
    Stuck(String),
    /// Unknown: this operator does not restart workloads.
    Disabled,
    /// Every pod started after the new value was delivered.
    Done,
}

/// The inputs of the decision.
pub struct Observed<'a> {
    /// The object.
    pub secret: &'a ClientSecret,
    /// The Application that it references.
    pub application: ApplicationState,
    /// The rank of this secret among those of the Application, from 0, oldest first.
    pub rank: usize,
    /// An older ClientSecret with the same delivery name.
    pub has_older_claimant: bool,
    /// The Secret with that name.
    pub delivered: Delivered,
    /// UID of that Secret, if it was seen.
    pub secret_uid: Option<u128>,
    /// The Secret to import from; `None`: the value is generated.
    pub import: Option<Import>,
    /// When its versions were last used, by id, as far as replicas have published.
    pub uses: BTreeMap<String, Timestamp>,
    /// The version whose rotation its bearer requested.
    pub requested: Option<String>,
    /// The workloads to restart, during their restart.
    pub workloads: Vec<(Workload, Rollout)>,
    /// Workloads that no rotation could restart, found before a rotation.
    pub unavailable: Vec<(Workload, Rollout)>,
    /// Labels and annotations of the delivered Secret that another client changes whenever they are restored; `None`:
    /// there are none, or it is time to restore them.
    pub contested: Option<String>,
    /// What verifies versions under the current install key, by id, if status contains something older.
    pub rekeyed: BTreeMap<String, Verification>,
    /// The install key that the newest version needs and this install does not have.
    pub unknown_install_key: Option<String>,
    /// The operator's limits.
    pub policy: &'a Policy,
    /// The time of the decision.
    pub now: Timestamp,
}

/// What secrets need to know about the Application.
#[expect(clippy::large_enum_variant, reason = "a reconciliation has one, on its stack")]
pub enum ApplicationState {
    /// It does not exist.
    Missing,
    /// It exists but has no client id; nothing can be delivered.
    WithoutClientId,
    /// It has a client id, so credentials are delivered.
    Known {
        /// The content to deliver.
        content: Content,
        /// The permissions of the Application; `None`: unknown.
        authority: Option<Authority>,
        /// Why its clients are currently rejected; `None`: they are not.
        disabled: Option<Disabled>,
        /// Whether its client may authenticate with credentials of this type.
        accepts_type: bool,
    },
}

/// The Secret with the delivery name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Delivered {
    /// Not checked, because nothing could be delivered.
    Unknown,
    /// None was seen. Only the API server knows for certain: `create` reveals it.
    Absent,
    /// A Secret with another owner.
    Foreign,
    /// A Secret that names this ClientSecret as its owner and has another type.
    OtherType,
    /// A Secret of this ClientSecret whose deletion was requested: pods must stop using its value, and no Secret with
    /// its name can be created until it is gone.
    Terminating {
        /// What blocks the deletion.
        finalizers: String,
    },
    /// A Secret of this ClientSecret: by the UID of its controller owner reference, or by its own UID, or because it
    /// has all Postern metadata for this ClientSecret and no controller.
    Ours {
        /// The version whose value it contains, if Postern delivered that value.
        version: Option<String>,
        /// Whether all of its other content is as desired.
        contents: Contents,
        /// A client set `immutable`: only its metadata can be changed.
        immutable: bool,
    },
}

/// The state of a Secret's content other than the value.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Contents {
    /// It is as desired.
    Right,
    /// It is what was desired previously.
    Outdated,
    /// Another client changed it.
    Changed,
    /// Another client changed only labels and annotations from spec.delivery.
    Relabelled,
}

/// The Secret that a value is imported from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Import {
    /// It does not exist, or does not have the label that allows the import: deliberately one answer, which does not
    /// reveal which Secrets exist.
    NotFound,
    /// Its deletion was requested.
    Terminating,
    /// The key is missing, or its value is not text.
    KeyMissing,
    /// The value has a wrong length.
    WrongLength,
    /// The value has a control character other than a line break at its end.
    ControlCharacter,
    /// The value has the prefix of generated values.
    LooksGenerated,
    /// It has not changed since its value was last read.
    Unchanged,
    /// It has a value, which may be new.
    Changed(SourceStatus),
}

/// The next action.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Action {
    /// Nothing.
    None,
    /// Create the Secret with a new value. If a Secret with that name exists, reconcile again.
    Create,
    /// The Secret contains a value that Postern issued and status does not contain: the status write is missing. Record
    /// it.
    Adopt,
    /// The Secret contains no value that Postern issued, and none is in use yet: write a new one, and record it.
    Replace,
    /// Restore Postern's keys and labels.
    Repair,
    /// Record a new value, then write it into the Secret.
    Stage(RotationCause),
    /// Record the imported value, if it is new.
    Import(SourceStatus),
    /// Write the imported value into the Secret.
    Deliver,
    /// Restart the workloads that have not been restarted for the newest version.
    RollOut,
    /// Remove the Secret: its ttl has passed.
    Remove,
}

/// The outcome of an action.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// Nothing, or nothing that changes the versions.
    Unchanged,
    /// The Secret contains this version now, and no other was in use.
    Issued(Issued),
    /// This version is about to be written into the Secret.
    Staged(Issued, RotationCause),
    /// A new version has this cause, and its key pair has to be generated first, which can take seconds.
    Generating(RotationCause),
    /// The API server rejects the desired Secret; its message.
    Refused(String),
    /// The value to import was read; if it was new, it is this version.
    Imported(SourceStatus, Option<Issued>),
    /// The Secret is gone because of delivery mode Once.
    Removed,
}

/// A new version.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Issued {
    /// The id in the value, or the `kid`.
    pub id: String,
    /// What status records to verify it.
    pub verification: Verification,
    /// When it was generated.
    pub at: Timestamp,
}
