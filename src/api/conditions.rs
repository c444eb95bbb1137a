//! Condition types and reasons: part of the API, each with the sentence that says what it means.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::printable::printable;

/// Condition types.
pub mod types {
    /// The object does what its spec says, which may be to refuse: see `Suspended` and `Revoked`.
    pub const READY: &str = "Ready";
    /// `spec.suspend` of the object, or of one that it refers to, switches it off. Absent otherwise.
    pub const SUSPENDED: &str = "Suspended";
    /// ClientSecret: `spec.revoke` has ended it. Absent otherwise.
    pub const REVOKED: &str = "Revoked";
    /// ServiceUser, Application, ClientSecret: it holds a permission.
    pub const PERMITTED: &str = "Permitted";
    /// ServiceUser: every group resolved.
    pub const GROUPS_RESOLVED: &str = "GroupsResolved";
    /// Application: the service user exists and is enabled.
    pub const SERVICE_USER_RESOLVED: &str = "ServiceUserResolved";
    /// Application: every live replica serves its current epoch.
    pub const PROPAGATED: &str = "Propagated";
    /// Application, ClientSecret: restrictTo names something that is not held.
    pub const NARROWED: &str = "Narrowed";
    /// ClientSecret: whether its Secret holds it, where Ready does not say so.
    pub const DELIVERED: &str = "Delivered";
    /// ClientSecret: it ends soon, and nothing takes its place before.
    pub const EXPIRING: &str = "Expiring";
    /// ClientSecret: a new value takes the place of the old one.
    pub const ROTATING: &str = "Rotating";
    /// kstatus: the controller waits for something that may come by itself.
    pub const RECONCILING: &str = "Reconciling";
    /// kstatus: the controller cannot go on until somebody changes something.
    pub const STALLED: &str = "Stalled";
}

/// Reasons.
pub mod reasons {
    /// Nothing has looked at the object yet.
    pub const PENDING: &str = "Pending";
    /// The object is valid and in force.
    pub const ACCEPTED: &str = "Accepted";
    /// The credential was generated and delivered, and authenticates.
    pub const ISSUED: &str = "Issued";
    /// `spec.suspend` is true.
    pub const SUSPENDED: &str = "Suspended";
    /// A group of the service user is missing, closed to its namespace, of another location, or needs a location of the
    /// namespace.
    pub const GROUPS_NOT_RESOLVED: &str = "GroupsNotResolved";
    /// Every group of the service user is in force.
    pub const ALL_RESOLVED: &str = "AllResolved";
    /// The location of the service user does not lie at or below that of its namespace.
    pub const LOCATION_NOT_ALLOWED: &str = "LocationNotAllowed";
    /// The referenced object exists and is enabled.
    pub const RESOLVED: &str = "Resolved";
    /// The ServiceUser that the application names does not exist.
    pub const SERVICE_USER_NOT_FOUND: &str = "ServiceUserNotFound";
    /// The ServiceUser that the application names is suspended.
    pub const SERVICE_USER_SUSPENDED: &str = "ServiceUserSuspended";
    /// The Application that the secret names is suspended, or its ServiceUser is.
    pub const APPLICATION_SUSPENDED: &str = "ApplicationSuspended";
    /// Something is permitted.
    pub const HAS_PERMISSIONS: &str = "HasPermissions";
    /// Nothing is permitted, so no token for an API is issued.
    pub const NO_PERMISSIONS: &str = "NoPermissions";
    /// Every live replica serves the current epoch.
    pub const SERVED: &str = "Served";
    /// Some replica has not told yet that it serves the current epoch.
    pub const PROPAGATING: &str = "Propagating";
    /// An older object has the client id.
    pub const CLIENT_ID_TAKEN: &str = "ClientIdTaken";
    /// An entry of restrictTo is not held by the service user, or by the application of a secret, and grants nothing.
    pub const NOT_HELD: &str = "NotHeld";
    /// The Application that the secret names does not exist.
    pub const APPLICATION_NOT_FOUND: &str = "ApplicationNotFound";
    /// The Application that the secret names is not ready.
    pub const APPLICATION_NOT_READY: &str = "ApplicationNotReady";
    /// A Secret of that name exists and has another owner, or an older ClientSecret delivers under it.
    pub const SECRET_NAME_CONFLICT: &str = "SecretNameConflict";
    /// The application has as many older secrets as count.
    pub const LIMIT_REACHED: &str = "LimitReached";
    /// The namespace has as many older objects of the kind as count.
    pub const NAMESPACE_LIMIT_REACHED: &str = "NamespaceLimitReached";
    /// The credential has reached its end.
    pub const EXPIRED: &str = "Expired";
    /// `spec.revoke` is true.
    pub const REVOKED: &str = "Revoked";
    /// The Secret to import from does not exist, or does not carry the label that allows it.
    pub const IMPORT_NOT_FOUND: &str = "ImportNotFound";
    /// The Secret to import from has no such key.
    pub const IMPORT_KEY_MISSING: &str = "ImportKeyMissing";
    /// The value to import is too short or too long, has a control character, or begins as generated ones do.
    pub const IMPORT_VALUE_REFUSED: &str = "ImportValueRefused";
    /// The API server refuses the Secret in which the credential is to be delivered.
    pub const DELIVERY_FAILED: &str = "DeliveryFailed";
    /// The credential is in its Secret.
    pub const DELIVERED: &str = "Delivered";
    /// The Secret of a credential that is shown once has been removed.
    pub const REMOVED: &str = "Removed";
    /// Another client changes the delivered Secret as often as it is put right.
    pub const CONTESTED: &str = "Contested";
    /// Somebody made the delivered Secret immutable.
    pub const SECRET_IMMUTABLE: &str = "SecretImmutable";
    /// The delivered Secret is being deleted, and finalizers keep it.
    pub const SECRET_TERMINATING: &str = "SecretTerminating";
    /// The credential does not end soon, or is replaced before.
    pub const NOT_SOON: &str = "NotSoon";
    /// The credential ends soon.
    pub const ENDS_SOON: &str = "EndsSoon";
    /// One value is accepted, or none.
    pub const NOT_ROTATING: &str = "NotRotating";
    /// A new value is recorded and on its way into the Secret.
    pub const DELIVERING: &str = "Delivering";
    /// Workloads are being restarted.
    pub const ROLLING_OUT: &str = "RollingOut";
    /// Workloads are to be restarted, and this installation restarts none.
    pub const ROLLOUT_DISABLED: &str = "RolloutDisabled";
    /// The old value is accepted until nobody uses it any more.
    pub const QUIET: &str = "Quiet";
    /// The old value is accepted beside the new one.
    pub const OVERLAP: &str = "Overlap";
    /// A new value took the place of the old one (event).
    pub const ROTATED: &str = "Rotated";
    /// The old value is not accepted any more (event).
    pub const RETIRED: &str = "Retired";
    /// `spec.rotation.rollout` names a workload that does not exist or cannot be read.
    pub const WORKLOAD_UNAVAILABLE: &str = "WorkloadUnavailable";
    /// `spec.rotation` names neither an interval nor a trigger.
    pub const NO_TRIGGER: &str = "NoTrigger";
    /// The API server refuses the status that the controller wrote.
    pub const STATUS_REFUSED: &str = "StatusRefused";
    /// The object is not of its schema and counts as absent.
    pub const NOT_DECODED: &str = "NotDecoded";
    /// An imported value is used without the line break at its end (event).
    pub const LINE_BREAK_IGNORED: &str = "LineBreakIgnored";
    /// An imported value is in force (event).
    pub const IMPORTED: &str = "Imported";
    /// A new value replaces one whose Secret was deleted or changed (event).
    pub const REISSUED: &str = "Reissued";
    /// What somebody changed in the delivered Secret was put right (event).
    pub const REPAIRED: &str = "Repaired";
    /// A Secret held a value that Postern did not deliver for this ClientSecret, and a new one replaced it (event).
    pub const VALUE_NOT_VERIFIED: &str = "ValueNotVerified";
    /// The client id is another one than before, because the Application was created again (event).
    pub const CLIENT_ID_CHANGED: &str = "ClientIdChanged";
    /// A key that the operator needs is missing or damaged (event on the operator's namespace).
    pub const KEY_UNUSABLE: &str = "KeyUnusable";
}

/// What a condition says, before it is merged with what it said so far.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Verdict {
    /// Condition type.
    pub type_: &'static str,
    /// True or False.
    pub status: bool,
    /// One-word reason.
    pub reason: &'static str,
    /// A sentence for people: what is wrong with which field, and what to do.
    pub message: String,
}

impl Verdict {
    /// A condition that holds.
    #[must_use]
    pub fn yes(type_: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { type_, status: true, reason, message: message.into() }
    }

    /// A condition that does not hold.
    #[must_use]
    pub fn no(type_: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { type_, status: false, reason, message: message.into() }
    }
}

/// Whether `Ready` is True because the spec asks for a refusal, not because anything authenticates.
#[must_use]
pub fn is_switched_off(conditions: &[Condition]) -> bool {
    let switches = [types::SUSPENDED, types::REVOKED];
    conditions.iter().any(|condition| switches.contains(&condition.type_.as_str()) && condition.status == "True")
}

/// The most characters of a message, as of `metav1.Condition`.
pub const MESSAGE_LENGTH_MAX: usize = 32_768;
/// The most characters that are written: messages quote what authors write, and a status that is too large for the API server
/// would tell nothing.
pub const MESSAGE_WRITTEN_MAX: usize = 4_096;

/// The condition list that says `verdicts`. `lastTransitionTime` is kept where the status did not change; a condition
/// without a verdict is dropped.
#[must_use]
pub fn merge(
    previous: &[Condition],
    verdicts: Vec<Verdict>,
    generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    verdicts
        .into_iter()
        .map(|verdict| {
            let status = if verdict.status { "True" } else { "False" };
            let unchanged = previous.iter().find(|c| c.type_ == verdict.type_ && c.status == status);
            Condition {
                type_: verdict.type_.to_owned(),
                status: status.to_owned(),
                reason: verdict.reason.to_owned(),
                message: printable(&verdict.message, MESSAGE_WRITTEN_MAX),
                observed_generation: generation,
                // Seconds: the API server stores no more, and an equal status must compare equal.
                last_transition_time: unchanged
                    .map_or_else(|| Time(whole_second(now)), |c| c.last_transition_time.clone()),
            }
        })
        .collect()
}

/// `instant` without its fraction of a second, which `metav1.Time` does not carry.
#[must_use]
pub fn whole_second(instant: Timestamp) -> Timestamp {
    Timestamp::from_second(instant.as_second()).unwrap_or(instant)
}
