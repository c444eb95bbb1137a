//! What the endpoint knows of its clients, and the interface through which it reads that.
//!
//! The owner of the read model implements [`ClientStore`]; the protocol never sees where records come from.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};

pub use crate::crypto::signing::{SigningAlgorithm, TokenType};
pub use crate::oauth::tombstones::{Removed, Tombstones};

/// The read model, as the protocol uses it.
pub trait ClientStore: TokenStateStore {
    /// What is known of `client_id` now. No I/O, no lock.
    fn lookup(&self, client_id: &str) -> Lookup;

    /// Catches up with the API server on everything that decides about `client_id`, for a well-formed credential or a
    /// token that does not match the result of [`ClientStore::lookup`]. `credential` is the id of the secret, the value of
    /// a secret without an id, or what the token represents. A new `credential` is always looked up, a repeated one
    /// not each time. After `Ok`, the caller looks up again to decide.
    fn catch_up(&self, client_id: &str, credential: &str) -> impl Future<Output = Result<(), CatchUpError>> + Send;

    /// Requests the rotation of this version of a secret of `client`, on behalf of its bearer. `Ok` means that the
    /// request is recorded where the controller sees it. A repeated request costs no write.
    fn request_rotation(
        &self,
        client: &ClientRecord,
        secret: &ObjectRevision,
        version_id: &str,
        now: Timestamp,
    ) -> impl Future<Output = Result<(), RecordError>> + Send;

    /// Whether answers may be based on this read model.
    fn availability(&self, now: Timestamp) -> Availability;
}

/// What the replicas know of issued tokens, beyond their claims. Replicated within a second.
pub trait TokenStateStore: Send + Sync + 'static {
    /// Whether the token was revoked. No I/O.
    fn is_revoked(&self, jti: &str) -> bool;

    /// Revokes the token, which expires at `exp`, in whole seconds since 1970. `Ok` means that the revocation survives
    /// the process. The number of revoked tokens is limited for `client` and for its namespace. A token that has
    /// expired costs no write.
    fn revoke(
        &self,
        jti: &str,
        exp: i64,
        client: &ClientRecord,
        now: Timestamp,
    ) -> impl Future<Output = Result<(), RecordError>> + Send;

    /// When the token was last used, in seconds since 1970, if known. No I/O.
    fn last_use(&self, jti: &str) -> Option<i64>;

    /// Records that the token was used at `now`. It expires after `idle` without use, and at `exp`. `known` is the
    /// last use, or the issue of the token, that was known before. All in seconds. No I/O. Returns whether the use is
    /// remembered: if not, the token expires as if unused. `namespace` is that of its Application, which has a share
    /// of the memory.
    #[must_use]
    fn used(&self, jti: &str, namespace: &Arc<str>, known: i64, now: i64, idle: i64, exp: i64) -> bool;
}

/// The result of one lookup.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// The client exists and may authenticate.
    Live(Arc<ClientRecord>),
    /// An object has this id, but a rule closes it (suspended, no service user, …). For the operator's log only: on
    /// the wire it is the same as [`Lookup::Unknown`].
    Disabled(Arc<Denial>),
    /// No object has this id.
    Unknown,
}

/// Why a lookup could not be completed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CatchUpError {
    /// Too many unknown credentials are being looked up; the caller may retry after a second.
    RateLimited,
    /// The API server, or our watch, did not answer in time.
    Behind,
}

/// Why something could not be recorded for a client.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RecordError {
    /// Too much was recorded for the client; it may retry after this many seconds.
    TooOften(NonZeroU32),
    /// The namespace of the client has used its share of the memory.
    NoRoom,
    /// The API server did not accept it in time.
    Behind,
}

impl RecordError {
    /// [`RecordError::TooOften`] for a client that must wait.
    #[must_use]
    pub fn too_often(wait: Duration) -> Self {
        let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
        Self::TooOften(NonZeroU32::MIN.saturating_add(seconds - 1))
    }
}

/// Whether answers may be based on the read model now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Availability {
    /// Synced, and not stale.
    Serving,
    /// The first full sync is not done.
    NotSynced,
    /// The watches have been broken for longer than the staleness limit.
    Stale,
    /// The API server returns an older state than was served before.
    Behind,
}

/// One object at one revision, as a log line names it: `Application billing/invoice-sync@1234`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ObjectRevision {
    /// Kind, for example `Application`.
    pub kind: &'static str,
    /// Namespace of the object.
    pub namespace: Arc<str>,
    /// Name of the object.
    pub name: Arc<str>,
    /// `metadata.resourceVersion`.
    pub resource_version: u64,
}

impl fmt::Display for ObjectRevision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}@{}", self.kind, self.namespace, self.name, self.resource_version)
    }
}

/// The rule and the object that close a client or a secret. For the operator's log, never for the caller.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Denial {
    /// One-word rule, equal to the reason of the object's condition where there is one, for example `Suspended`.
    pub rule: &'static str,
    /// The object that refused.
    pub object: ObjectRevision,
}

/// What the endpoint needs of one client, compiled from its Application, ServiceUser, groups and secrets. Replaced
/// atomically: no request sees a part of a change.
#[derive(Debug)]
pub struct ClientRecord {
    /// `client_id`
    pub client_id: Arc<str>,
    /// `sub` of its tokens: the UID of the ServiceUser.
    pub subject: String,
    /// The ServiceUser.
    pub identity: Identity,
    /// The Application it was compiled from.
    pub application: ObjectRevision,
    /// How the client may authenticate.
    pub auth_methods: AuthMethods,
    /// What the client may request: service user ∩ application.
    pub grant: Arc<Grant>,
    /// Token settings.
    pub token: TokenPolicy,
    /// Epochs that its tokens carry.
    pub epoch: Epoch,
    /// When this process last saw a change of what its secrets represent, or when the process started.
    pub authority_changed_at: Timestamp,
    /// What its tokens represented before.
    pub past: Tombstones,
    /// A change of authority has been numbered that this replica has not seen yet.
    pub is_stale: bool,
    /// Its secrets, live or closed.
    pub secrets: Vec<SecretRecord>,
}

/// What tokens and introspection contain about a ServiceUser.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Identity {
    /// Its namespace and name, as `namespace/name`.
    pub username: Box<str>,
    /// Its location.
    pub location: Box<str>,
    /// Its display name.
    pub name: Option<Box<str>>,
    /// Its e-mail address.
    pub email: Option<Box<str>>,
    /// Who created it, as recorded by admission.
    pub created_by: Option<Box<str>>,
}

/// `token_endpoint_auth_methods` of one client (RFC 7591 §2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AuthMethods {
    /// `client_secret_basic`
    pub client_secret_basic: bool,
    /// `client_secret_post`
    pub client_secret_post: bool,
}

/// Counters raised when the effective authority of an object changes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Epoch {
    /// Epoch of the ServiceUser.
    pub service_user: i64,
    /// Epoch of the Application.
    pub application: i64,
}

impl Epoch {
    /// The later of each pair of numbers.
    #[must_use]
    pub fn or_later(self, other: Self) -> Self {
        Self {
            service_user: self.service_user.max(other.service_user),
            application: self.application.max(other.application),
        }
    }
}

/// One ClientSecret.
#[derive(Clone, Debug)]
pub struct SecretRecord {
    /// The ClientSecret it was compiled from.
    pub object: ObjectRevision,
    /// UID of the ClientSecret: associated data of its verifiers (design: a hash copied elsewhere verifies nothing).
    pub uid: [u8; 16],
    /// Its allowed purposes.
    pub usages: Usages,
    /// Source networks from which it is accepted; `None`: all.
    pub networks: Option<Box<[IpNet]>>,
    /// What a token issued for this secret may carry: service user ∩ application ∩ secret.
    pub grant: Arc<Grant>,
    /// Digest of all that a token issued for it represents: this secret, the subject, and what the token may carry. A
    /// token with another digest is no longer valid.
    pub authority: Box<str>,
    /// The secret is refused from this instant on, and no token outlives the secret.
    pub expires_at: Option<Timestamp>,
    /// Set when a rule closes the secret (revoked, over the limit, deleting).
    pub closed: Option<Box<Denial>>,
    /// Versions, newest first, including retired ones (so that a log can report "retired" instead of "unknown").
    pub versions: Vec<Arc<SecretVersion>>,
}

/// The purpose for which a caller presents a secret.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Purpose {
    /// To authenticate at the token endpoint.
    Token,
    /// To authenticate at an API directly.
    Direct,
    /// To read about its own application.
    Manage,
}

impl Purpose {
    /// Every purpose.
    pub const ALL: &[Self] = &[Self::Token, Self::Direct, Self::Manage];

    /// Its name in `spec.usages`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Token => "Token",
            Self::Direct => "Direct",
            Self::Manage => "Manage",
        }
    }
}

/// The purposes that a secret is allowed for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Usages {
    /// To authenticate at the token endpoint.
    pub token: bool,
    /// To authenticate at an API directly.
    pub direct: bool,
    /// To read about its own application.
    pub manage: bool,
}

impl Usages {
    /// Everything.
    pub const ALL: Self = Self { token: true, direct: true, manage: true };

    /// Whether this purpose is allowed.
    #[must_use]
    pub fn allow(self, purpose: Purpose) -> bool {
        match purpose {
            Purpose::Token => self.token,
            Purpose::Direct => self.direct,
            Purpose::Manage => self.manage,
        }
    }
}

impl SecretRecord {
    /// Whether it is accepted from this address. A secret that is bound to networks is not accepted from an unknown
    /// address.
    #[must_use]
    pub fn allows_source(&self, source: Option<IpAddr>) -> bool {
        let Some(networks) = &self.networks else { return true };
        source.is_some_and(|source| networks.iter().any(|network| network.contains(&source)))
    }
}

/// One value of a secret.
pub struct SecretVersion {
    /// The id inside the value (`pst_<id>_…`).
    pub id: String,
    /// As `InstallKeys::hash` writes it; shared with the object it was read from.
    pub verifier: Arc<str>,
    /// The value was imported: it contains no id, and its hash is expensive.
    pub imported: bool,
    /// Refused from this instant on; `None`: no expiry. A retired version expired in the past.
    pub accepted_until: Option<Timestamp>,
    /// State of this process for the version; shared between compilations of the same version.
    pub memory: Arc<VersionMemory>,
}

/// State of a process for one version.
#[derive(Debug, Default)]
pub struct VersionMemory {
    /// Keyed MAC of the value after its first success, so that the hash is computed once.
    pub verified_mac: OnceLock<[u8; 32]>,
    /// Seconds since 1970 of the last success; 0: none.
    last_used: AtomicI64,
}

impl VersionMemory {
    /// Records that it authenticated at this instant.
    pub fn used(&self, now: Timestamp) {
        self.last_used.fetch_max(now.as_second(), Ordering::Relaxed);
    }

    /// When it last authenticated in this process.
    #[must_use]
    pub fn last_used(&self) -> Option<Timestamp> {
        let seconds = self.last_used.load(Ordering::Relaxed);
        (seconds != 0).then(|| Timestamp::from_second(seconds).ok()).flatten()
    }
}

impl fmt::Debug for SecretVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretVersion").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Token settings of one client.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TokenPolicy {
    /// Form of an access token.
    pub format: TokenFormat,
    /// Header `typ` of a JWT.
    pub jwt_type: TokenType,
    /// Longest life of an access token.
    pub lifetime: SignedDuration,
    /// Signature algorithm.
    pub signing_algorithm: SigningAlgorithm,
    /// What happens to a requested scope that is not permitted.
    pub scope_policy: ScopePolicy,
    /// Scopes when the request names none; empty: all permitted for the chosen audience.
    pub default_scopes: Vec<String>,
    /// Audience when the request names none.
    pub default_audience: Option<String>,
    /// Whether one token may carry several audiences.
    pub multiple_audiences: bool,
}

/// Form of an access token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TokenFormat {
    /// RFC 9068.
    Jwt,
    /// For introspection only; expires early when it has not been used for `idle`.
    Opaque {
        /// Whole seconds.
        idle: Option<SignedDuration>,
    },
}

/// What happens to a requested scope that is not permitted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ScopePolicy {
    /// `invalid_scope`.
    Reject,
    /// It is omitted, and `scope` in the answer contains what was granted (RFC 6749 §3.3).
    Narrow,
}

/// Effective authority: audience → scope → the roles that permit it.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Grant {
    /// The permissions, by audience, then scope.
    pub permissions: BTreeMap<Arc<str>, BTreeMap<Arc<str>, BTreeSet<Role>>>,
}

/// A role that permits a scope.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Role {
    /// Name, for the claim `roles`.
    pub name: Arc<str>,
    /// `Operational` or `Admin`, for the claim `planes`.
    pub plane: &'static str,
}
