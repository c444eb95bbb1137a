//! Assertions (RFC 7521, RFC 7523): a JWT that proves who the client is, as client authentication or as the grant of a
//! token. What is common to every issuer.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::audience::Audience;
use super::{Authenticated, Authenticator};
use crate::crypto::public_key::{self, MalformedJwt, PublicKey, SignedJwt};
use crate::oauth::client_record::ClientRecord;
use crate::oauth::client_store::{ClientStore, Lookup};
use crate::oauth::cluster_tokens::ClusterIssuer;
use crate::oauth::denial_rule::DenialRule;
use crate::oauth::error::{ClientError, TokenError, Unavailable};
use crate::oauth::numeric_date::since_epoch;

/// The only `client_assertion_type` (RFC 7523 §2.2).
pub const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// How far the clock of an issuer may be ahead.
const AHEAD_MAX: SignedDuration = SignedDuration::from_secs(60);
/// How far the clock of an issuer may be behind.
const BEHIND_MAX: SignedDuration = SignedDuration::from_secs(10);
/// The longest age, and the longest remaining life, of a token that its owner reuses. Pipelines get tokens for minutes. The
/// kubelet requests tokens for an hour by default, and replaces each before it expires; a token that someone requested for
/// longer is a credential that no deletion of a pod ends.
const TOKEN_LIFETIME_MAX: SignedDuration = SignedDuration::from_hours(24);
/// Length of `jti` in characters.
const ID_LENGTH_MAX: usize = 256;
/// Most keys that are tried for one JWT. Anyone can cause the work, without a credential, and it takes place between the
/// requests of others. More keys of one algorithm need a `kid` each.
pub(super) const TRIED_MAX: usize = 4;

/// What the installation requires of an assertion that a client signs.
#[derive(Clone, Debug)]
pub struct AssertionPolicy {
    /// The accepted values of `aud`: the issuer, and whatever the operator admits for older clients.
    pub audiences: Vec<String>,
    /// How far `exp` may be in the future. An assertion is remembered until then.
    pub lifetime_max: SignedDuration,
}

/// What an assertion is presented as.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AssertionUse {
    /// `client_assertion`: client authentication (RFC 7523 §2.2).
    Authentication,
    /// `assertion`: the JWT bearer grant (RFC 7523 §2.1).
    Grant,
}

/// A presented assertion, before it is checked.
pub struct Assertion {
    pub(super) jwt: String,
    /// `client_id` of the form, which is optional (RFC 7521 §4.2).
    pub(super) client_id: Option<String>,
    pub(super) purpose: AssertionUse,
}

impl Assertion {
    /// `client_id` is that of the form.
    #[must_use]
    pub fn new(jwt: &str, client_id: Option<&str>, purpose: AssertionUse) -> Self {
        Self { jwt: jwt.to_owned(), client_id: client_id.map(str::to_owned), purpose }
    }

    /// The client that the caller claims to be: `client_id` of the form, or `sub` of the JWT. Reads the JWT.
    #[must_use]
    pub fn client_id(&self) -> Option<Cow<'_, str>> {
        let subject = || SignedJwt::parse(&self.jwt).ok().and_then(|jwt| Claims::of(&jwt).ok()?.sub);
        self.client_id.as_deref().map(Cow::Borrowed).or_else(|| subject().map(Cow::Owned))
    }
}

impl fmt::Debug for Assertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client_id, purpose, .. } = self;
        f.debug_struct("Assertion").field("client_id", client_id).field("purpose", purpose).finish_non_exhaustive()
    }
}

impl<C: ClientStore> Authenticator<'_, C> {
    /// The issuer decides which method it is: the client itself, the cluster, or another issuer.
    pub(super) async fn assertion(&self, presented: &Assertion) -> Result<Authenticated, TokenError> {
        let jwt = SignedJwt::parse(&presented.jwt).map_err(|malformed| refused(rule_of(malformed)))?;
        let claims = Claims::of(&jwt).map_err(refused)?;
        let is_of = |cluster: &ClusterIssuer| claims.iss.as_deref().is_some_and(|issuer| cluster.is_named(issuer));
        match (self.clients.cluster_issuer(), claims.other_issuer()) {
            (Some(cluster), _) if is_of(&cluster) => self.service_account(presented, &jwt, &claims, &cluster).await,
            (None, issuer) if claims.is_of_service_account() && !self.is_listed(presented, issuer) => {
                // It may be a token of the cluster, whose issuer is not known yet.
                Err(Unavailable::NotSynced.into())
            }
            (_, Some(issuer)) => self.federated(presented, &jwt, &claims, issuer).await,
            (_, None) => self.signed_assertion(presented, &jwt, &claims).await,
        }
    }

    /// Whether the client of the request lists the issuer, which may be another cluster.
    fn is_listed(&self, presented: &Assertion, issuer: Option<&str>) -> bool {
        let lookup = presented.client_id.as_deref().map(|client_id| self.clients.lookup(client_id));
        let Some(Lookup::Live(record)) = lookup else { return false };
        record.issuers.iter().any(|entry| Some(&*entry.issuer) == issuer)
    }

    /// For an assertion that newer published keys could make a success: requests them for the next request. Only a replica
    /// that has none of these keys yet must not refuse this one.
    pub(super) fn expect_keys(
        &self,
        error: &ClientError,
        client: &Lookup,
        issuer: Option<&str>,
    ) -> Result<(), Unavailable> {
        use DenialRule::{AssertionKeyUnknown, AssertionSignature};
        let Lookup::Live(record) = client else { return Ok(()) };
        if !matches!(error, ClientError::Assertion(AssertionKeyUnknown | AssertionSignature, _)) {
            return Ok(());
        }
        self.clients.has_keys_within(record, issuer, SignedDuration::ZERO);
        if self.clients.has_keys_within(record, issuer, SignedDuration::MAX) {
            Ok(())
        } else {
            Err(Unavailable::Behind)
        }
    }
}

/// The client that an assertion is about. Any other result takes as long as the check of a signature.
pub(super) fn live<'l>(client: &'l Lookup, jwt: &SignedJwt<'_>) -> Result<&'l Arc<ClientRecord>, ClientError> {
    client.live().inspect_err(|_| public_key::verify_nothing(jwt))
}

/// Whether one of the keys of an issuer signed a JWT. Without `kid`, it may be any of the first [`TRIED_MAX`] keys that allow the
/// algorithm.
///
/// # Errors
/// [`DenialRule::AssertionKeyUnknown`], [`DenialRule::AssertionSignature`]
pub(in crate::oauth) fn check_signature<'k>(
    keys: impl IntoIterator<Item = &'k PublicKey>,
    jwt: &SignedJwt<'_>,
) -> Result<(), DenialRule> {
    let is_chosen = |key: &PublicKey| jwt.key_id().is_none_or(|wanted| key.key_id() == Some(wanted));
    let candidates = keys.into_iter().filter(|key| is_chosen(key) && key.allows(jwt.algorithm()));
    let mut candidates = candidates.take(TRIED_MAX).peekable();
    if candidates.peek().is_none() {
        public_key::verify_nothing(jwt);
        return Err(DenialRule::AssertionKeyUnknown);
    }
    if candidates.any(|key| key.verifies(jwt)) { Ok(()) } else { Err(DenialRule::AssertionSignature) }
}

pub(super) fn refused(rule: DenialRule) -> TokenError {
    ClientError::Assertion(rule, None).into()
}

fn rule_of(malformed: MalformedJwt) -> DenialRule {
    match malformed {
        MalformedJwt::Form => DenialRule::AssertionMalformed,
        MalformedJwt::Critical => DenialRule::AssertionCritical,
        MalformedJwt::Algorithm => DenialRule::AssertionAlgorithm,
    }
}

/// The claims that decide. Repeated members are refused.
#[derive(Deserialize)]
pub struct Claims {
    pub(super) iss: Option<String>,
    pub(super) sub: Option<String>,
    aud: Option<Audience>,
    exp: Option<f64>,
    nbf: Option<f64>,
    iat: Option<f64>,
    jti: Option<String>,
}

impl Claims {
    /// Those of a JWT.
    ///
    /// # Errors
    /// [`DenialRule::AssertionMalformed`]
    pub fn of(jwt: &SignedJwt<'_>) -> Result<Self, DenialRule> {
        serde_json::from_slice(jwt.claims()).map_err(|_| DenialRule::AssertionMalformed)
    }

    fn is_of_service_account(&self) -> bool {
        self.sub.as_deref().is_some_and(|subject| subject.starts_with("system:serviceaccount:"))
    }

    /// `aud`, if it is one string.
    pub(super) fn audience(&self) -> Option<&str> {
        self.aud.as_ref()?.single()
    }

    /// Every string of `aud`, which is a string or a list.
    pub(super) fn audiences(&self) -> impl Iterator<Item = &str> {
        self.aud.iter().flat_map(Audience::all)
    }

    /// `aud`, if it is one string or a list of one string.
    pub(super) fn only_audience(&self) -> Option<&str> {
        self.aud.as_ref()?.only()
    }

    /// Checks the times. `exp` may be this far in the future. Returns `exp`.
    ///
    /// # Errors
    /// The first rule that refuses one of the times.
    pub fn check_times(&self, now: Timestamp, lifetime_max: SignedDuration) -> Result<SignedDuration, DenialRule> {
        let now = now.as_duration();
        let exp = since_epoch(self.exp.ok_or(DenialRule::AssertionWithoutExpiry)?);
        if exp.saturating_add(BEHIND_MAX) <= now {
            return Err(DenialRule::AssertionExpired);
        }
        let latest_start = now.saturating_add(AHEAD_MAX);
        if exp > latest_start.saturating_add(lifetime_max) {
            return Err(DenialRule::AssertionTooLong);
        }
        if [self.iat, self.nbf].into_iter().flatten().any(|start| since_epoch(start) > latest_start) {
            return Err(DenialRule::AssertionNotYetValid);
        }
        Ok(exp)
    }

    /// Checks the times of a token that its owner reuses, and that no token may outlive. Returns `exp`.
    pub(super) fn check_unexpired(&self, now: Timestamp) -> Result<Timestamp, DenialRule> {
        let exp = self.check_times(now, TOKEN_LIFETIME_MAX)?;
        let exp = Timestamp::from_second(exp.as_secs()).map_err(|_| DenialRule::AssertionTooLong)?;
        if exp <= now { Err(DenialRule::AssertionExpired) } else { Ok(exp) }
    }

    /// Checks that it is not too old for a token that its owner reuses.
    pub(super) fn check_age(&self, now: Timestamp) -> Result<(), DenialRule> {
        let oldest = now.as_duration().saturating_sub(TOKEN_LIFETIME_MAX.saturating_add(BEHIND_MAX));
        let is_young = self.iat.is_some_and(|iat| since_epoch(iat) >= oldest);
        if is_young { Ok(()) } else { Err(DenialRule::AssertionTooOld) }
    }

    /// `jti`; `None`: there is none.
    ///
    /// # Errors
    /// [`DenialRule::AssertionWithoutId`] if it is empty or too long.
    pub fn id(&self) -> Result<Option<&str>, DenialRule> {
        let is_usable = |id: &str| !id.is_empty() && id.chars().count() <= ID_LENGTH_MAX;
        match self.jti.as_deref() {
            Some(id) if !is_usable(id) => Err(DenialRule::AssertionWithoutId),
            id => Ok(id),
        }
    }
}

/// From when on an assertion with this `exp` is refused in any case, in seconds since 1970. Longer than it would be accepted,
/// for a request that waits and for a clock that is set back a little.
pub(super) fn remembered_until(exp: SignedDuration) -> i64 {
    exp.saturating_add(BEHIND_MAX).saturating_add(AHEAD_MAX).as_secs()
}
