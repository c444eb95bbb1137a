//! Signed assertions (`private_key_jwt`: RFC 7521 §4.2, RFC 7523 §2.2 and §3). Order: form → client → key → signature →
//! claims → the rules of every method → single use. So an assertion that is refused here is not used up.
//!
//! A refusal that an unseen change of the keys could turn into a success is sent only after catching up.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::Value;

use super::{Authenticated, Authenticator, Method, ProvenCredential};
use crate::crypto::public_key::{self, MalformedJwt, SignedJwt};
use crate::oauth::client_record::{ClientKey, ClientRecord, Denial, Usages};
use crate::oauth::client_store::{ClientStore, Lookup, UseError};
use crate::oauth::denial_rule::DenialRule;
use crate::oauth::error::{ClientError, TokenError, Unavailable};

/// The only `client_assertion_type` (RFC 7523 §2.2).
pub const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// How far the clock of a client may be ahead.
const AHEAD_MAX: SignedDuration = SignedDuration::from_secs(60);
/// How far the clock of a client may be behind.
const BEHIND_MAX: SignedDuration = SignedDuration::from_secs(10);
/// Length of `jti` in characters.
const ID_LENGTH_MAX: usize = 256;

/// What the installation requires of an assertion.
#[derive(Clone, Debug)]
pub struct AssertionPolicy {
    /// The accepted values of `aud`: the issuer, and whatever the operator admits for older clients.
    pub audiences: Vec<String>,
    /// How far `exp` may be in the future. An assertion is remembered until then.
    pub lifetime_max: SignedDuration,
}

/// A presented assertion, before it is checked.
pub struct Assertion {
    jwt: String,
    /// `client_id` of the form, which is optional (RFC 7521 §4.2).
    client_id: Option<String>,
}

impl Assertion {
    /// `client_id` is that of the form.
    #[must_use]
    pub fn new(jwt: &str, client_id: Option<&str>) -> Self {
        Self { jwt: jwt.to_owned(), client_id: client_id.map(str::to_owned) }
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
        f.debug_struct("Assertion").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}

/// The claims that decide. Repeated members are refused.
#[derive(Deserialize)]
struct Claims {
    iss: Option<String>,
    sub: Option<String>,
    aud: Option<Value>,
    exp: Option<f64>,
    nbf: Option<f64>,
    iat: Option<f64>,
    jti: Option<String>,
}

impl<C: ClientStore> Authenticator<'_, C> {
    pub(super) async fn signed_assertion(&self, presented: &Assertion) -> Result<Authenticated, TokenError> {
        let jwt = SignedJwt::parse(&presented.jwt).map_err(|malformed| refused(rule_of(malformed)))?;
        let claims = Claims::of(&jwt).map_err(refused)?;
        let client_id = claims.client_id(presented).map_err(refused)?;
        let known = self.clients.lookup(client_id);
        let outcome = self.try_assertion(&jwt, &claims, &known);
        match &outcome {
            Err(TokenError::Client(error)) if error.may_be_behind() => {}
            _ => return outcome,
        }
        let key_id = jwt.key_id().unwrap_or_default();
        self.clients.catch_up(client_id, key_id).await.map_err(Unavailable::from)?;
        let current = self.clients.lookup(client_id);
        // Signatures are checked again only for a client that has changed.
        if current.is_same(&known) { outcome } else { self.try_assertion(&jwt, &claims, &current) }
    }

    fn try_assertion(
        &self,
        jwt: &SignedJwt<'_>,
        claims: &Claims,
        client: &Lookup,
    ) -> Result<Authenticated, TokenError> {
        let record = match client {
            Lookup::Live(record) => record,
            Lookup::Disabled(denial) => {
                // As slow as the check of a signature.
                public_key::verify_nothing(jwt);
                return Err(ClientError::ClientDisabled(Denial::clone(denial)).into());
            }
            Lookup::Unknown => {
                public_key::verify_nothing(jwt);
                return Err(ClientError::UnknownClient.into());
            }
        };
        let of_client = |rule| ClientError::Assertion(rule, Some(record.application.clone()));
        let key = signing_key(record, jwt).map_err(of_client)?;
        let end = claims.check(self.assertions, self.arrival.now).map_err(of_client)?;
        let id = claims.id().map_err(of_client)?;
        let client = self.admit(record, Method::PrivateKeyJwt, &ProvenCredential::of_key(record, key))?;
        self.use_up(record, id, end)?;
        Ok(client)
    }

    /// `jti` is unique for its issuer, which is the client.
    fn use_up(&self, record: &ClientRecord, id: &str, end: i64) -> Result<(), TokenError> {
        let mut text = record.client_id.as_bytes().to_vec();
        text.push(0);
        text.extend_from_slice(id.as_bytes());
        let id = format!("assertion:{}", URL_SAFE_NO_PAD.encode(digest(&SHA256, &text)));
        match self.clients.use_once(&id, &record.application.namespace, self.arrival.now.as_second(), end) {
            Ok(()) => Ok(()),
            Err(UseError::Used) => {
                Err(ClientError::Assertion(DenialRule::AssertionReplayed, Some(record.application.clone())).into())
            }
            Err(UseError::NoRoom) => Err(Unavailable::NoRoom.into()),
        }
    }
}

fn refused(rule: DenialRule) -> TokenError {
    ClientError::Assertion(rule, None).into()
}

fn rule_of(malformed: MalformedJwt) -> DenialRule {
    match malformed {
        MalformedJwt::Form => DenialRule::AssertionMalformed,
        MalformedJwt::Critical => DenialRule::AssertionCritical,
        MalformedJwt::Algorithm => DenialRule::AssertionAlgorithm,
    }
}

/// The key of the client that signed the JWT. A JWT without `kid` may be signed by any of them.
fn signing_key<'r>(record: &'r ClientRecord, jwt: &SignedJwt<'_>) -> Result<&'r Arc<ClientKey>, DenialRule> {
    let fits = |key: &&Arc<ClientKey>| {
        let has_id = jwt.key_id().is_none_or(|wanted| key.key.key_id().is_none_or(|id| id == wanted));
        has_id && key.key.allows(jwt.algorithm())
    };
    let mut candidates = record.keys.iter().filter(fits).peekable();
    if candidates.peek().is_none() {
        public_key::verify_nothing(jwt);
        return Err(DenialRule::AssertionKeyUnknown);
    }
    candidates.find(|key| key.key.verifies(jwt)).ok_or(DenialRule::AssertionSignature)
}

impl Claims {
    fn of(jwt: &SignedJwt<'_>) -> Result<Self, DenialRule> {
        serde_json::from_slice(jwt.claims()).map_err(|_| DenialRule::AssertionMalformed)
    }

    /// The client that the assertion is about: issuer, subject and the `client_id` of the form are the same.
    fn client_id(&self, presented: &Assertion) -> Result<&str, DenialRule> {
        let id = self.sub.as_deref().filter(|id| !id.is_empty()).ok_or(DenialRule::AssertionIssuer)?;
        let is_same = |other: &str| other == id;
        let is_issuer = self.iss.as_deref().is_some_and(is_same);
        let is_client = presented.client_id.as_deref().is_none_or(is_same);
        if is_issuer && is_client { Ok(id) } else { Err(DenialRule::AssertionIssuer) }
    }

    /// Checks audience and time. Returns from when on the assertion is refused anyway, in seconds since 1970.
    fn check(&self, policy: &AssertionPolicy, now: Timestamp) -> Result<i64, DenialRule> {
        // One string: an assertion for several servers could be used at each of them by the others.
        let audience = self.aud.as_ref().and_then(Value::as_str);
        if !audience.is_some_and(|audience| policy.audiences.iter().any(|accepted| accepted == audience)) {
            return Err(DenialRule::AssertionAudience);
        }
        let now = now.as_duration();
        let exp = since_epoch(self.exp.ok_or(DenialRule::AssertionWithoutExpiry)?);
        if exp.saturating_add(BEHIND_MAX) <= now {
            return Err(DenialRule::AssertionExpired);
        }
        let latest_start = now.saturating_add(AHEAD_MAX);
        if exp > latest_start.saturating_add(policy.lifetime_max) {
            return Err(DenialRule::AssertionTooLong);
        }
        if [self.iat, self.nbf].into_iter().flatten().any(|start| since_epoch(start) > latest_start) {
            return Err(DenialRule::AssertionNotYetValid);
        }
        // Longer than it would be accepted, for a request that waits and for a clock that is set back a little.
        Ok(exp.saturating_add(BEHIND_MAX).saturating_add(AHEAD_MAX).as_secs())
    }

    fn id(&self) -> Result<&str, DenialRule> {
        let is_usable = |id: &&str| !id.is_empty() && id.chars().count() <= ID_LENGTH_MAX;
        self.jti.as_deref().filter(is_usable).ok_or(DenialRule::AssertionWithoutId)
    }
}

/// A NumericDate (RFC 7519 §2), as the time since 1970. One out of range is the nearest that there is.
fn since_epoch(date: f64) -> SignedDuration {
    let nearest = if date > 0.0 { SignedDuration::MAX } else { SignedDuration::MIN };
    SignedDuration::try_from_secs_f64(date).unwrap_or(nearest)
}

impl<'r> ProvenCredential<'r> {
    /// A key of the Application has no object, no end and no restrictions of its own.
    fn of_key(record: &'r ClientRecord, key: &'r ClientKey) -> Self {
        Self {
            object: &record.application,
            version_id: key.key.key_id().unwrap_or(key.key.thumbprint()),
            disabled: None,
            expires_at: None,
            accepted_until: None,
            networks: None,
            usages: Usages::ALL,
            grant: &record.grant,
            authority: &key.authority,
            memory: None,
        }
    }
}
