//! Condition types and reasons: part of the API, each with its meaning. The reference (`tests/reference.rs`) lists them.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::printable::printable;

/// Constants whose doc comments the program can read: `ALL` has the value and the meaning of each.
macro_rules! described {
    ($($(#[doc = $line:literal])+ pub const $name:ident: &str = $value:literal;)+) => {
        $($(#[doc = $line])+ pub const $name: &str = $value;)+

        /// Every value with its meaning, in the order of the file.
        pub const ALL: &[(&str, &str)] = &[$(($value, concat!($($line),+).trim_ascii())),+];
    };
}

/// Condition types. A meaning that begins with kinds, as in `Application: …`, applies to these kinds only.
pub mod types {
    described! {
        /// The object is in the state that its spec requires, which may be disabled: see `Suspended` and `Revoked`.
        pub const READY: &str = "Ready";
        /// ServiceUser, Application, ClientSecret: `spec.suspend` of the object, or of one that it references, disables it.
        /// Absent otherwise.
        pub const SUSPENDED: &str = "Suspended";
        /// ClientSecret: `spec.revoke` has permanently revoked the credential. Absent otherwise.
        pub const REVOKED: &str = "Revoked";
        /// ServiceUser, Application, ClientSecret: the object has a permission.
        pub const PERMITTED: &str = "Permitted";
        /// ServiceUser: every group in `spec.groups` is effective.
        pub const GROUPS_RESOLVED: &str = "GroupsResolved";
        /// Application: the service user exists and is enabled.
        pub const SERVICE_USER_RESOLVED: &str = "ServiceUserResolved";
        /// Application: every live replica serves the current epoch of the Application.
        pub const PROPAGATED: &str = "Propagated";
        /// Application, ClientSecret: every entry of `spec.restrictTo` is granted. Absent without `spec.restrictTo`.
        pub const RESTRICTIONS_RESOLVED: &str = "RestrictionsResolved";
        /// Application: every key of `spec.auth.jwks` can verify assertions, or the keys at `spec.auth.jwksUri` were fetched.
        /// Absent without both.
        pub const KEYS_RESOLVED: &str = "KeysResolved";
        /// Application: every entry of `spec.auth.certificates`, and every `x5c` of `spec.auth.jwks`, identifies certificates.
        /// Absent without both.
        pub const CERTIFICATES_RESOLVED: &str = "CertificatesResolved";
        /// Application: secrets of the client are refused for a time, after several distinct wrong ones.
        pub const LOCKED: &str = "Locked";
        /// ClientSecret: the Secret contains the credential. Absent while Ready implies that.
        pub const DELIVERED: &str = "Delivered";
        /// ClientSecret: the credential expires soon, and no new version replaces it before.
        pub const EXPIRING: &str = "Expiring";
        /// ClientSecret: a rotation is in progress.
        pub const ROTATING: &str = "Rotating";
        /// For tools that know kstatus: the controller waits for something that needs no user action. Absent otherwise.
        pub const RECONCILING: &str = "Reconciling";
        /// For tools that know kstatus: the controller cannot continue until a user changes something. Absent otherwise.
        pub const STALLED: &str = "Stalled";
    }
}

/// Reasons.
pub mod reasons {
    described! {
        /// The controller has not reconciled the object yet.
        pub const PENDING: &str = "Pending";
        /// The object is valid and effective.
        pub const ACCEPTED: &str = "Accepted";
        /// The credential was generated and delivered, and authenticates.
        pub const ISSUED: &str = "Issued";
        /// `spec.suspend` is true.
        pub const SUSPENDED: &str = "Suspended";
        /// A group of the service user is missing, does not admit its namespace, has another location, or requires a
        /// location of the namespace.
        pub const GROUPS_NOT_RESOLVED: &str = "GroupsNotResolved";
        /// Every group of the service user is effective.
        pub const GROUPS_RESOLVED: &str = "GroupsResolved";
        /// The location of the service user is not at or below that of its namespace.
        pub const LOCATION_NOT_ALLOWED: &str = "LocationNotAllowed";
        /// The referenced object exists and is enabled.
        pub const RESOLVED: &str = "Resolved";
        /// The ServiceUser that the Application references does not exist.
        pub const SERVICE_USER_NOT_FOUND: &str = "ServiceUserNotFound";
        /// The ServiceUser that the Application references is suspended.
        pub const SERVICE_USER_SUSPENDED: &str = "ServiceUserSuspended";
        /// The Application that the secret references, or its ServiceUser, is suspended.
        pub const APPLICATION_SUSPENDED: &str = "ApplicationSuspended";
        /// There are permissions.
        pub const HAS_PERMISSIONS: &str = "HasPermissions";
        /// There are no permissions, so no token for an API is issued.
        pub const NO_PERMISSIONS: &str = "NoPermissions";
        /// Every live replica serves the current epoch.
        pub const SERVED: &str = "Served";
        /// A replica has not reported yet that it serves the current epoch.
        pub const PROPAGATING: &str = "Propagating";
        /// An older Application has the client id, or a ServiceUser has it as its subject.
        pub const CLIENT_ID_TAKEN: &str = "ClientIdTaken";
        /// Every entry of restrictTo is granted.
        pub const RESTRICTIONS_RESOLVED: &str = "RestrictionsResolved";
        /// An entry of restrictTo is not granted to the service user, or to the Application of a secret, and has no effect.
        pub const PERMISSION_NOT_GRANTED: &str = "PermissionNotGranted";
        /// The Application that the secret references does not exist.
        pub const APPLICATION_NOT_FOUND: &str = "ApplicationNotFound";
        /// The Application that the secret references is not ready.
        pub const APPLICATION_NOT_READY: &str = "ApplicationNotReady";
        /// `spec.auth.methods` of the Application does not allow the credential.
        pub const METHOD_NOT_ALLOWED: &str = "MethodNotAllowed";
        /// A Secret with that name exists and has another owner, or an older ClientSecret delivers to it.
        pub const SECRET_NAME_CONFLICT: &str = "SecretNameConflict";
        /// The number of older secrets of the Application has reached the limit.
        pub const LIMIT_REACHED: &str = "LimitReached";
        /// The number of older objects of the kind in the namespace has reached the limit.
        pub const NAMESPACE_LIMIT_REACHED: &str = "NamespaceLimitReached";
        /// The credential has expired.
        pub const EXPIRED: &str = "Expired";
        /// `spec.revoke` is true.
        pub const REVOKED: &str = "Revoked";
        /// The Secret to import from does not exist, or does not have the label that allows it.
        pub const IMPORT_NOT_FOUND: &str = "ImportNotFound";
        /// The Secret to import from does not have the key.
        pub const IMPORT_KEY_MISSING: &str = "ImportKeyMissing";
        /// The value to import is too short or too long, has a control character, or has the prefix of generated values.
        pub const IMPORT_VALUE_REFUSED: &str = "ImportValueRefused";
        /// The API server rejects the Secret of the credential.
        pub const DELIVERY_FAILED: &str = "DeliveryFailed";
        /// The Secret contains the credential.
        pub const DELIVERED: &str = "Delivered";
        /// The Secret was removed because of delivery mode Once.
        pub const REMOVED: &str = "Removed";
        /// Another client changes the delivered Secret whenever it is restored.
        pub const CONTESTED: &str = "Contested";
        /// A client made the delivered Secret immutable.
        pub const SECRET_IMMUTABLE: &str = "SecretImmutable";
        /// The delivered Secret is being deleted, and finalizers block the deletion.
        pub const SECRET_TERMINATING: &str = "SecretTerminating";
        /// The credential does not expire soon, or is replaced before.
        pub const NOT_EXPIRING: &str = "NotExpiring";
        /// The credential expires soon.
        pub const EXPIRES_SOON: &str = "ExpiresSoon";
        /// One value is accepted, or none.
        pub const NOT_ROTATING: &str = "NotRotating";
        /// A new value is recorded and is about to be written into the Secret.
        pub const DELIVERING: &str = "Delivering";
        /// Workloads are being restarted.
        pub const ROLLING_OUT: &str = "RollingOut";
        /// Workloads are to be restarted, but this installation does not restart workloads.
        pub const ROLLOUT_DISABLED: &str = "RolloutDisabled";
        /// The old value is accepted until it is idle.
        pub const WAITING_FOR_IDLE: &str = "WaitingForIdle";
        /// The old and the new value are accepted.
        pub const OVERLAP: &str = "Overlap";
        /// A new value replaced the old one (event).
        pub const ROTATED: &str = "Rotated";
        /// The old value is no longer accepted (event).
        pub const RETIRED: &str = "Retired";
        /// `spec.rotation.rollout` names a workload that does not exist or cannot be read.
        pub const WORKLOAD_UNAVAILABLE: &str = "WorkloadUnavailable";
        /// `spec.rotation` names neither an interval nor a trigger.
        pub const NO_TRIGGER: &str = "NoTrigger";
        /// The API server rejects the status that the controller wrote.
        pub const STATUS_REFUSED: &str = "StatusRefused";
        /// The object does not match its schema and is treated as absent.
        pub const NOT_DECODED: &str = "NotDecoded";
        /// An imported value is used without the line break at its end (event).
        pub const LINE_BREAK_IGNORED: &str = "LineBreakIgnored";
        /// An imported value is accepted (event).
        pub const IMPORTED: &str = "Imported";
        /// A new value replaces one whose Secret was deleted or changed (event).
        pub const REISSUED: &str = "Reissued";
        /// Changes to the delivered Secret by another client were reverted (event).
        pub const REPAIRED: &str = "Repaired";
        /// A Secret contained a value that Postern did not deliver for this ClientSecret, and a new one replaced it (event).
        pub const VALUE_NOT_VERIFIED: &str = "ValueNotVerified";
        /// The client id has changed, because the Application was recreated (event).
        pub const CLIENT_ID_CHANGED: &str = "ClientIdChanged";
        /// An entry of `spec.auth.certificates`, or an `x5c` of `spec.auth.jwks`, identifies no certificate.
        pub const CERTIFICATE_UNUSABLE: &str = "CertificateUnusable";
        /// A key of `spec.auth.jwks` cannot verify assertions. Also: a key that the operator needs is missing or damaged (event on
        /// the operator's namespace).
        pub const KEY_UNUSABLE: &str = "KeyUnusable";
        /// A backup was restored, and what is older is replaced (event on a Secret of the operator).
        pub const RESTORED: &str = "Restored";
        /// The install key of the credential is gone.
        pub const INSTALL_KEY_MISSING: &str = "InstallKeyMissing";
        /// The secrets of the client are not locked.
        pub const NOT_LOCKED: &str = "NotLocked";
        /// Several distinct wrong secrets were presented for the client.
        pub const WRONG_SECRETS: &str = "WrongSecrets";
        /// Several distinct wrong secrets have locked the secrets of the client (event).
        pub const CLIENT_LOCKED: &str = "ClientLocked";
        /// The last lock of the client's secrets has ended (event).
        pub const CLIENT_UNLOCKED: &str = "ClientUnlocked";
        /// No key of `spec.token.signingAlgorithm` signs yet: it was created, and is being published.
        pub const SIGNING_KEY_PENDING: &str = "SigningKeyPending";
        /// The next key of a rotating key set was created (event on a Secret of the operator).
        pub const KEY_CREATED: &str = "KeyCreated";
        /// Every live replica accepts the next key (event on a Secret of the operator).
        pub const KEY_PUBLISHED: &str = "KeyPublished";
        /// Every API can know the next key, which may now sign (event on a Secret of the operator).
        pub const KEY_READY: &str = "KeyReady";
        /// A key signs from now on (event on a Secret of the operator).
        pub const KEY_ACTIVATED: &str = "KeyActivated";
        /// No live replica signs with a replaced key any more (event on a Secret of the operator).
        pub const KEY_UNUSED: &str = "KeyUnused";
        /// A replaced key was removed, because its last token has expired (event on a Secret of the operator).
        pub const KEY_REMOVED: &str = "KeyRemoved";
        /// A key was dropped at once, as the annotation `postern.dev/drop` requests (event on a Secret of the operator).
        pub const KEY_DROPPED: &str = "KeyDropped";
        /// The annotation `postern.dev/drop` names no key of the Secret (event on a Secret of the operator).
        pub const KEY_UNKNOWN: &str = "KeyUnknown";
        /// A longer token lifetime was recorded for the keys that sign (event on a Secret of the operator).
        pub const KEY_RECORDED: &str = "KeyRecorded";
        /// The annotation `postern.dev/rotate` requests a rotation (event on a Secret of the operator).
        pub const ROTATION_REQUESTED: &str = "RotationRequested";
        /// A rotation waits for a live replica, which the event names (event on a Secret of the operator).
        pub const ROTATION_WAITING: &str = "RotationWaiting";
        /// The keys at `spec.auth.jwksUri` cannot be fetched, or none of them can verify assertions.
        pub const KEY_SET_UNAVAILABLE: &str = "KeySetUnavailable";
    }
}

/// The new content of a condition, before it is merged with the existing one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConditionValue {
    /// Condition type.
    pub type_: &'static str,
    /// True or False.
    pub status: bool,
    /// One-word reason.
    pub reason: &'static str,
    /// A sentence for users: the field, the problem, and the remedy.
    pub message: String,
}

impl ConditionValue {
    /// A condition with status True.
    #[must_use]
    pub fn new_true(type_: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { type_, status: true, reason, message: message.into() }
    }

    /// A condition with status False.
    #[must_use]
    pub fn new_false(type_: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { type_, status: false, reason, message: message.into() }
    }
}

/// Whether `Ready` is True because the spec requires rejection, not because the object authenticates.
#[must_use]
pub fn is_switched_off(conditions: &[Condition]) -> bool {
    let switches = [types::SUSPENDED, types::REVOKED];
    conditions.iter().any(|condition| switches.contains(&condition.type_.as_str()) && condition.status == "True")
}

/// Maximum number of characters of a message in `metav1.Condition`.
pub const MESSAGE_LENGTH_MAX: usize = 32_768;
/// Maximum number of characters written: messages quote users, and the API server rejects a status that is too large as
/// a whole.
pub const MESSAGE_WRITTEN_MAX: usize = 4_096;

/// The condition list for `verdicts`. `lastTransitionTime` is kept if the status did not change; a condition without a
/// verdict is dropped.
#[must_use]
pub fn merge(
    previous: &[Condition],
    verdicts: Vec<ConditionValue>,
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
                // Whole seconds: the API server stores no more, and an equal status must compare equal.
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
