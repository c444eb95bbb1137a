//! The interface through which the protocol reads clients, and reads and writes the state of tokens. The owner of the
//! read model implements it; the protocol never sees where records come from.

use std::future::Future;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::client_record::{ClientRecord, Denial, ObjectRevision};
use super::cluster_tokens::ClusterTokens;
use super::denial_rule::DenialRule;
use super::error::ClientError;
use super::lockout::Lockouts;
use crate::util::timing::rate_limit::whole_seconds;

/// The read model, as the protocol uses it.
pub trait ClientStore: TokenStateStore + ClusterTokens {
    /// What is known of `client_id` now. No I/O, no lock.
    fn lookup(&self, client_id: &str) -> Lookup;

    /// The client ids of the clients that this identity belongs to. No I/O, no lock.
    fn clients_of(&self, identity: &ClientRef<'_>) -> Vec<Arc<str>>;

    /// What is known of the client with this identity now.
    ///
    /// # Errors
    /// [`DenialRule::AssertionClientAmbiguous`]: several clients have it.
    fn find(&self, identity: &ClientRef<'_>) -> Result<Lookup, DenialRule> {
        if let ClientRef::Id(id) | ClientRef::Signer { id, .. } = identity {
            let found = self.lookup(id);
            if matches!(identity, ClientRef::Id(_)) || !matches!(found, Lookup::Unknown) {
                return Ok(found);
            }
        }
        match self.clients_of(identity).as_slice() {
            [] => Ok(Lookup::Unknown),
            [client_id] => Ok(self.lookup(client_id)),
            _ => Err(DenialRule::AssertionClientAmbiguous),
        }
    }

    /// Catches up with the API server on everything that decides about the client, for a well-formed credential or a
    /// token that does not match the result of [`ClientStore::lookup`]. `credential` is the id of the secret, the value of
    /// a secret without an id, or what the token represents. A new `credential` is always looked up, a repeated one
    /// not each time. After `Ok`, the caller looks up again to decide.
    fn catch_up(
        &self,
        client: &ClientRef<'_>,
        credential: &str,
    ) -> impl Future<Output = Result<(), CatchUpError>> + Send;

    /// Whether the record has the keys of this issuer, or without an issuer those that the client publishes at its URL, as
    /// they were at most this long ago; true if there is no URL that could be fetched. If not, they are fetched soon. No
    /// I/O, no wait.
    fn has_keys_within(&self, client: &ClientRecord, issuer: Option<&str>, age_max: SignedDuration) -> bool;

    /// The wrong secrets and the locks that the replicas know.
    fn lockouts(&self) -> &Lockouts;

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

/// How a request names its client.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ClientRef<'a> {
    /// By its client id.
    Id(&'a str),
    /// By its client id, or by the subject of its service user together with one of its keys.
    Signer {
        /// The client id, or the subject.
        id: &'a str,
        /// `kid` of the key.
        key_id: Option<&'a str>,
    },
    /// By a ServiceAccount of its namespace.
    ServiceAccount {
        /// Namespace of the ServiceAccount and of the Application.
        namespace: &'a str,
        /// Name of the ServiceAccount.
        name: &'a str,
    },
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

    /// Records the only use of `id`, which ends at `exp`, by a client of this namespace. Atomic in this replica; the
    /// other replicas know the use within a second. All times are seconds since 1970. No I/O.
    ///
    /// # Errors
    /// [`UseError`]
    fn use_once(&self, id: &str, namespace: &Arc<str>, now: i64, exp: i64) -> Result<(), UseError>;
}

/// Why a single use is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum UseError {
    /// It was used before.
    Used,
    /// The namespace has used its share of the memory.
    NoRoom,
}

/// The result of one lookup.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// The client exists and may authenticate.
    Live(Arc<ClientRecord>),
    /// An object has this id, but a rule disables it (suspended, no service user, …). For the operator's log only: on
    /// the wire it is the same as [`Lookup::Unknown`].
    Disabled(Arc<Denial>),
    /// No object has this id.
    Unknown,
}

impl Lookup {
    /// The client, if it may authenticate.
    ///
    /// # Errors
    /// [`ClientError::ClientDisabled`], [`ClientError::UnknownClient`]
    pub fn live(&self) -> Result<&Arc<ClientRecord>, ClientError> {
        match self {
            Self::Live(record) => Ok(record),
            Self::Disabled(denial) => Err(ClientError::ClientDisabled(Denial::clone(denial))),
            Self::Unknown => Err(ClientError::UnknownClient),
        }
    }

    /// Whether nothing has changed between two lookups of a client.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Live(one), Self::Live(other)) => Arc::ptr_eq(one, other),
            (Self::Disabled(one), Self::Disabled(other)) => Arc::ptr_eq(one, other),
            (Self::Unknown, Self::Unknown) => true,
            _ => false,
        }
    }
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
        Self::TooOften(whole_seconds(wait))
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
