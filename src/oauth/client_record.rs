//! What the endpoint knows of a client: everything that a request needs, compiled into one immutable record.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};

use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};

use crate::crypto::client_certificate::CertificateId;
use crate::crypto::public_key::PublicKey;
pub use crate::crypto::signing::{SigningAlgorithm, TokenType};
use crate::oauth::client_auth::MethodSet;
use crate::oauth::denial_rule::DenialRule;
use crate::oauth::lockout::Lockout;
pub use crate::oauth::method_uses::MethodUses;
pub use crate::oauth::token_limit::TokenLimit;
pub use crate::oauth::tombstones::{Removed, Tombstones};

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
    pub rule: DenialRule,
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
    pub auth_methods: MethodSet,
    /// Source networks from which it may authenticate, with any credential; `None`: all.
    pub networks: Option<Box<[IpNet]>>,
    /// What the client may request: service user ∩ application.
    pub grant: Arc<Grant>,
    /// Token settings.
    pub token: TokenPolicy,
    /// How many tokens it may request; `None`: any number.
    pub token_limit: Option<Arc<TokenLimit>>,
    /// Epochs that its tokens carry.
    pub epoch: Epoch,
    /// When this process last saw a change of what its secrets represent, or when the process started.
    pub authority_changed_at: Timestamp,
    /// What its tokens represented before.
    pub past: Tombstones,
    /// A change of authority has been numbered that this replica has not seen yet.
    pub is_stale: bool,
    /// Its secrets, live or disabled.
    pub secrets: Vec<SecretRecord>,
    /// The public keys that may sign its assertions.
    pub keys: Vec<Arc<ClientKey>>,
    /// The ServiceAccounts of its namespace whose tokens authenticate it.
    pub service_accounts: Vec<Arc<ServiceAccount>>,
    /// The subjects of other issuers whose tokens authenticate it.
    pub issuers: Vec<Arc<TrustedIssuer>>,
    /// What identifies its certificates.
    pub certificates: Vec<Arc<RegisteredCertificate>>,
    /// When wrong secrets lock it.
    pub lockout: Lockout,
    /// When this process last accepted each method.
    pub method_uses: Arc<MethodUses>,
}

/// A public key of the Application itself. It has no expiry and no restrictions of its own.
#[derive(Debug)]
pub struct ClientKey {
    /// The key.
    pub key: Arc<PublicKey>,
    /// Digest of all that a token issued for it represents, as [`SecretRecord::authority`].
    pub authority: Box<str>,
}

/// A ServiceAccount that an Application lists.
#[derive(Debug, Eq, PartialEq)]
pub struct ServiceAccount {
    /// Its name.
    pub name: Box<str>,
    /// The only incarnation; `None`: each.
    pub uid: Option<Box<str>>,
    /// Digest of all that a token issued for it represents, as [`SecretRecord::authority`].
    pub authority: Box<str>,
}

/// A subject of another issuer, whose tokens authenticate the client.
#[derive(Debug)]
pub struct TrustedIssuer {
    /// `iss` of its tokens.
    pub issuer: Box<str>,
    /// `sub` of its tokens.
    pub subject: Box<str>,
    /// `aud` of its tokens; `None`: the issuer of this installation.
    pub audience: Option<Box<str>>,
    /// The keys of the issuer, as last fetched. Equal for each entry of an issuer.
    pub keys: Arc<[Arc<PublicKey>]>,
    /// Digest of all that a token issued for it represents, as [`SecretRecord::authority`]. The keys are not a part of it:
    /// an issuer replaces them regularly.
    pub authority: Box<str>,
}

/// An entry of the Application that identifies certificates. It has no expiry and no restrictions of its own.
#[derive(Debug)]
pub struct RegisteredCertificate {
    /// The certificates.
    pub id: CertificateId,
    /// Digest of all that a token issued for it represents, as [`SecretRecord::authority`].
    pub authority: Box<str>,
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

/// A credential of a client, as the tokens that were issued for it depend on it.
#[derive(Clone, Copy, Debug)]
pub struct CredentialState<'a> {
    /// Why it is disabled, if it is.
    pub disabled: Option<&'a Denial>,
    /// No token issued for it is valid from this instant on.
    pub expires_at: Option<Timestamp>,
}

impl ClientRecord {
    /// The credential for which tokens with this fingerprint are issued now.
    #[must_use]
    pub fn credential(&self, fingerprint: &str) -> Option<CredentialState<'_>> {
        if self.own_authorities().any(|own| own == fingerprint) {
            return Some(CredentialState { disabled: None, expires_at: None });
        }
        let secret = self.secrets.iter().find(|secret| *secret.authority == *fingerprint)?;
        Some(CredentialState { disabled: secret.disabled.as_deref(), expires_at: secret.expires_at })
    }

    /// The fingerprint of each credential that can authenticate.
    pub fn live_authorities(&self) -> impl Iterator<Item = &str> {
        let secrets = self.secrets.iter().filter(|secret| secret.disabled.is_none()).map(|secret| &*secret.authority);
        secrets.chain(self.own_authorities())
    }

    /// The fingerprint of each credential that the Application itself lists.
    pub fn own_authorities(&self) -> impl Iterator<Item = &str> {
        let keys = self.keys.iter().map(|key| &*key.authority);
        let certificates = self.certificates.iter().map(|entry| &*entry.authority);
        let issuers = self.issuers.iter().map(|entry| &*entry.authority);
        keys.chain(self.service_accounts.iter().map(|account| &*account.authority)).chain(issuers).chain(certificates)
    }

    /// `kid` of each key that can sign its assertions, and of key pairs that were replaced.
    pub fn key_ids(&self) -> impl Iterator<Item = &str> {
        let versions = self.secrets.iter().flat_map(|secret| &secret.versions);
        let pairs = versions.filter(|version| matches!(version.verification, Verification::KeyPair(_)));
        self.keys.iter().filter_map(|key| key.key.key_id()).chain(pairs.map(|version| version.id.as_str()))
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
    /// Set when a rule disables the secret (revoked, over the limit, deleting).
    pub disabled: Option<Box<Denial>>,
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
    /// Whether the version is accepted at `now`, as far as the secret itself decides.
    #[must_use]
    pub fn is_active(&self, version: &SecretVersion, now: Timestamp) -> bool {
        self.disabled.is_none() && !has_ended(self.end_of(version), now)
    }

    /// When the version is refused: at its own end, or at the end of the secret. `None`: never.
    #[must_use]
    pub fn end_of(&self, version: &SecretVersion) -> Option<Timestamp> {
        self.expires_at.into_iter().chain(version.accepted_until).min()
    }
}

/// Whether a credential with this end is refused at `now`. Tokens last whole seconds: with less than one second left, no
/// token can be issued.
#[must_use]
pub fn has_ended(end: Option<Timestamp>, now: Timestamp) -> bool {
    end.is_some_and(|end| end.as_second() <= now.as_second())
}

/// One value, or one key pair, of a secret.
pub struct SecretVersion {
    /// The id inside the value (`pst_<id>_…`), or the `kid` of the key pair.
    pub id: String,
    /// How it is verified.
    pub verification: Verification,
    /// Refused from this instant on; `None`: no expiry. A retired version expired in the past.
    pub accepted_until: Option<Timestamp>,
    /// State of this process for the version; shared between compilations of the same version.
    pub memory: Arc<VersionMemory>,
}

/// How the credential of a version is verified.
#[derive(Clone, Debug, PartialEq)]
pub enum Verification {
    /// A generated value: its verifier, as `InstallKeys::hash` writes it; shared with the object it was read from.
    Generated(Arc<str>),
    /// An imported value, which contains no id, and whose hash is expensive: its verifier.
    Imported(Arc<str>),
    /// A key pair.
    KeyPair(Arc<KeyPair>),
}

impl Verification {
    /// The verifier of a value.
    #[must_use]
    pub fn verifier(&self) -> Option<&Arc<str>> {
        match self {
            Self::Generated(verifier) | Self::Imported(verifier) => Some(verifier),
            Self::KeyPair(_) => None,
        }
    }

    /// Whether the value was imported.
    #[must_use]
    pub fn is_imported(&self) -> bool {
        matches!(self, Self::Imported(_))
    }
}

/// The public key of a key pair that Postern generated, as status contains it.
#[derive(Debug)]
pub struct KeyPair {
    /// The key.
    pub key: PublicKey,
    /// Its only algorithm.
    pub algorithm: Box<str>,
    /// As `public_key_mac::sign` writes it. Without a correct one, the key verifies nothing.
    pub mac: Arc<str>,
}

impl PartialEq for KeyPair {
    fn eq(&self, other: &Self) -> bool {
        self.key.thumbprint() == other.key.thumbprint() && self.algorithm == other.algorithm && self.mac == other.mac
    }
}

/// State of a process for one version.
#[derive(Default)]
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

impl fmt::Debug for VersionMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VersionMemory").field("last_used", &self.last_used()).finish_non_exhaustive()
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
    /// Whether tokens must be bound to a key or a certificate of their client.
    pub sender_constraint: SenderConstraint,
}

/// Whether tokens must be bound to a key or a certificate of their client.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SenderConstraint {
    /// A token is bound if its request has a DPoP proof.
    None,
    /// Each request must have a DPoP proof (`dpop_bound_access_tokens`: RFC 9449 §5.2).
    Dpop,
    /// Each request must have a client certificate, to which the token is bound
    /// (`tls_client_certificate_bound_access_tokens`: RFC 8705 §3.4).
    MutualTls,
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
