//! Whether a token is an access token issued by Postern, and still valid.
//!
//! ```text
//! text ─▶ payload (signature, or decryption) ─▶ claims ─▶ time, revocation, idle time ─▶ check_authority: epochs, authority ─▶ Live
//! ```
//!
//! A token represents an authority, and is valid only as long as that. Two values show whether the authority has
//! changed. The epochs of the token are numbers that only rise, so they also show whether the token or this replica is
//! out of date. The digest of the authority changes as soon as this replica sees the objects change, before the
//! controller has raised an epoch.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::clock::Clock;
use crate::crypto::jwt::{self, InvalidToken};
use crate::crypto::opaque;
use crate::oauth::claims::OwnClaims;
use crate::oauth::client_record::{ClientRecord, Denial, ObjectRevision};
use crate::oauth::client_store::{ClientRef, ClientStore, Lookup};
use crate::oauth::denial_rule::DenialRule;
use crate::oauth::error::Unavailable;
use crate::oauth::server_keys::Confirmation;
use crate::oauth::token::{AuditRecord, AuthorizationServer};
use crate::oauth::token_checks::{
    check_client, check_expiry, check_issuer, check_restore, has_unknown_credential, parse_claims,
};

/// For this long after its issue, a token proves that this replica is out of date. A watch that has stopped is noticed
/// after one minute, and the list that replaces it may take as long. A replica that is out of date for longer has lost
/// the numbered state: after the restore of a backup, for example.
const LAG_MAX: SignedDuration = SignedDuration::from_mins(2);

/// Why a token is not accepted. For the operator's log only: the caller does not get the reason.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TokenFault {
    /// No key of the installation signs access tokens with that header: another key, another algorithm, another kind of
    /// token, or no token.
    #[error("the header is not that of an access token issued by Postern")]
    UnknownKey,
    /// The signature is not by the key that the header names.
    #[error("the signature is wrong")]
    WrongSignature,
    /// It has the prefix of an opaque token, but no key of the installation decrypts it.
    #[error("it was not issued by Postern")]
    DecryptionFailed,
    /// The claims are not those of an access token, although a key of the installation signed them.
    #[error("the claims are not those of an access token")]
    Claims,
    /// Issued under another issuer.
    #[error("the issuer is another one")]
    OtherIssuer,
    /// It has expired.
    #[error("it has expired")]
    Expired,
    /// It has been idle for too long.
    #[error("it has not been used for too long")]
    Idle,
    /// It was revoked.
    #[error("it was revoked")]
    Revoked,
    /// It was issued before a backup was restored.
    #[error("it was issued before a backup was restored")]
    BeforeRestore,
    /// Its client no longer exists.
    #[error("the client is unknown")]
    UnknownClient,
    /// Its client may no longer authenticate.
    #[error("the client is disabled")]
    ClientDisabled(Denial),
    /// The secret that it was issued for may no longer be used.
    #[error("the secret is disabled")]
    SecretDisabled(Denial),
    /// It is bound to a key, and was sent as a bearer token.
    #[error("it is bound to a key, and was sent without a proof")]
    Bound,
    /// It is not bound to the key of a proof, and was sent with the scheme DPoP.
    #[error("it is not bound to the key of a proof")]
    Unbound,
    /// It is bound to another key than the one of the proof.
    #[error("it is bound to another key")]
    OtherKey,
    /// It is bound to a certificate, and was sent without one.
    #[error("it is bound to a certificate, and was sent without one")]
    CertificateMissing,
    /// It is bound to a certificate, and that of the request cannot be read.
    #[error("it is bound to a certificate, and that of the request cannot be read")]
    CertificateMalformed,
    /// It is bound to another certificate than that of the request.
    #[error("it is bound to another certificate")]
    OtherCertificate,
    /// The authority that it represents has changed since; the object is the Application.
    #[error("it was invalidated by a change of authority")]
    Ended(ObjectRevision),
    /// It represents an authority that this replica does not know; the object is the Application.
    #[error("its permissions are not known here")]
    UnknownAuthority(ObjectRevision),
    /// Its epoch is newer than that of this replica; the object is the Application.
    #[error("its epoch is newer than what is known here")]
    EpochAhead(ObjectRevision),
}

impl TokenFault {
    /// The rule that refused, as one word.
    #[must_use]
    pub fn rule(&self) -> DenialRule {
        match self {
            Self::UnknownKey => DenialRule::UnknownKey,
            Self::WrongSignature => DenialRule::WrongSignature,
            Self::DecryptionFailed => DenialRule::DecryptionFailed,
            Self::Claims => DenialRule::MalformedClaims,
            Self::OtherIssuer => DenialRule::OtherIssuer,
            Self::Expired => DenialRule::TokenExpired,
            Self::Idle => DenialRule::TokenIdle,
            Self::Revoked => DenialRule::TokenRevoked,
            Self::BeforeRestore => DenialRule::TokenBeforeRestore,
            Self::UnknownClient => DenialRule::UnknownClient,
            Self::Bound => DenialRule::TokenBound,
            Self::Unbound => DenialRule::TokenUnbound,
            Self::OtherKey => DenialRule::ProofOtherKey,
            Self::CertificateMissing => DenialRule::TokenCertificateMissing,
            Self::CertificateMalformed => DenialRule::CertificateMalformed,
            Self::OtherCertificate => DenialRule::TokenOtherCertificate,
            Self::ClientDisabled(refusal) | Self::SecretDisabled(refusal) => refusal.rule,
            Self::Ended(_) => DenialRule::AuthorityChanged,
            Self::UnknownAuthority(_) | Self::EpochAhead(_) => DenialRule::UnknownAuthority,
        }
    }

    /// The object that refused, if there is one.
    #[must_use]
    pub fn object(&self) -> Option<&ObjectRevision> {
        match self {
            Self::ClientDisabled(refusal) | Self::SecretDisabled(refusal) => Some(&refusal.object),
            Self::Ended(object) | Self::UnknownAuthority(object) | Self::EpochAhead(object) => Some(object),
            Self::UnknownKey
            | Self::WrongSignature
            | Self::DecryptionFailed
            | Self::Claims
            | Self::OtherIssuer
            | Self::Expired
            | Self::Idle
            | Self::Revoked
            | Self::BeforeRestore
            | Self::UnknownClient
            | Self::Bound
            | Self::Unbound
            | Self::OtherKey
            | Self::CertificateMissing
            | Self::CertificateMalformed
            | Self::OtherCertificate => None,
        }
    }

    /// Whether a change that this replica has not seen yet could turn this into a success: another replica that has
    /// seen the change may have issued the token.
    fn may_be_behind(&self) -> bool {
        matches!(self, Self::UnknownClient | Self::ClientDisabled(_) | Self::UnknownAuthority(_) | Self::EpochAhead(_))
    }
}

impl From<InvalidToken> for TokenFault {
    fn from(error: InvalidToken) -> Self {
        match error {
            InvalidToken::Header => Self::UnknownKey,
            InvalidToken::Signature => Self::WrongSignature,
        }
    }
}

/// Why a token is not reported as valid.
#[derive(Debug, Eq, PartialEq)]
pub enum VerifyError {
    /// It is not valid.
    Fault(TokenFault),
    /// Its state cannot be determined now.
    Unavailable(Unavailable),
}

impl From<TokenFault> for VerifyError {
    fn from(fault: TokenFault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Unavailable> for VerifyError {
    fn from(error: Unavailable) -> Self {
        Self::Unavailable(error)
    }
}

/// A token that is valid now.
#[derive(Debug)]
pub struct ActiveToken<'p> {
    /// Its claims.
    pub claims: OwnClaims<'p>,
    /// The current record of the client that it was issued to.
    pub record: Arc<ClientRecord>,
    /// When it expires unless it is used, in seconds since 1970.
    pub ends: i64,
}

impl<C: ClientStore, K: Clock> AuthorizationServer<C, K> {
    /// The claims of a token issued by Postern, as JSON.
    pub(super) fn payload(&self, token: &[u8]) -> Result<Vec<u8>, VerifyError> {
        let (now, known) = (self.clock.now(), &self.keys);
        // Another replica may have issued the token with a key that this one has not read yet.
        let unknown = |confirmed: &Confirmation, fault: TokenFault| match fault {
            TokenFault::DecryptionFailed | TokenFault::UnknownKey if confirmed.is_behind(now) => {
                VerifyError::from(Unavailable::Behind)
            }
            fault => fault.into(),
        };
        if token.starts_with(opaque::PREFIX.as_bytes()) {
            let keys = known.tokens.load();
            let opened = opaque::open(keys.as_ref().ok_or(Unavailable::NoKey)?, token);
            opened.ok_or_else(|| unknown(&known.tokens_confirmed, TokenFault::DecryptionFailed))
        } else {
            let keys = known.signing.load();
            let verified = jwt::verify_access_token(keys.as_ref().ok_or(Unavailable::NoKey)?, token);
            verified.map_err(|error| unknown(&known.signing_confirmed, error.into()))
        }
    }

    /// The token with this payload, if it is valid at `now`. Fills `facts` as far as they are known.
    pub(super) async fn live<'p>(
        &self,
        now: Timestamp,
        payload: &'p [u8],
        facts: &mut AuditRecord,
    ) -> Result<ActiveToken<'p>, VerifyError> {
        let claims = parse_claims(payload)?;
        facts.jti = Some(claims.jti.to_string());
        facts.bound(claims.cnf.as_ref());
        let checked = self.checked_record(now, &claims).await;
        let client_id = checked.as_ref().map(|(record, _)| Arc::clone(&record.client_id));
        facts.client_id = Some(client_id.unwrap_or_else(|_| claims.client_id.as_ref().into()));
        checked.map(|(record, ends)| ActiveToken { claims, record, ends })
    }

    /// The client of a valid token, and when the token expires. Looks up what this replica may have missed.
    async fn checked_record(
        &self,
        now: Timestamp,
        claims: &OwnClaims<'_>,
    ) -> Result<(Arc<ClientRecord>, i64), VerifyError> {
        let ends = self.ends(now.as_second(), claims)?;
        let mut checked = self.check_authority(now, claims);
        if checked.as_ref().is_err_and(TokenFault::may_be_behind) {
            let fingerprint = format!("{:?} {}", claims.postern_epoch, claims.postern_authority);
            let caught_up = self.clients.catch_up(&ClientRef::Id(&claims.client_id), &fingerprint).await;
            caught_up.map_err(Unavailable::from)?;
            checked = self.check_authority(now, claims);
            // A list does not show deletions. The token proves that an object exists that this replica has not seen.
            let is_young = now.as_second().saturating_sub(claims.iat) < LAG_MAX.as_secs();
            if is_young && matches!(checked, Err(TokenFault::EpochAhead(_))) {
                return Err(Unavailable::Behind.into());
            }
        }
        if checked.is_err()
            && let Lookup::Live(record) = self.clients.lookup(&claims.client_id)
            && has_unknown_credential(&record, now, claims)
            // Another replica may have issued the token for a key that this one has not fetched yet.
            && !self.clients.has_keys_within(&record, None, since_issue(now, claims))
        {
            return Err(Unavailable::Behind.into());
        }
        Ok((checked?, ends))
    }

    /// Records the use of a valid token, which keeps an idle token from expiring. If the use cannot be recorded, the
    /// token expires as if unused.
    pub(super) fn record_use(&self, now: Timestamp, live: &mut ActiveToken<'_>) {
        let ActiveToken { claims, record, .. } = live;
        let namespace = &record.application.namespace;
        if let Some(idle) = claims.postern_idle
            && self.clients.used(&claims.jti, namespace, self.used(claims), now.as_second(), idle, claims.exp)
        {
            live.ends = now.as_second().saturating_add(idle).min(claims.exp);
        }
    }

    /// The claims of an unexpired token of this issuer.
    pub(super) fn unexpired<'p>(&self, now: Timestamp, payload: &'p [u8]) -> Result<OwnClaims<'p>, TokenFault> {
        let claims = parse_claims(payload)?;
        self.check_time(now.as_second(), &claims)?;
        Ok(claims)
    }

    fn check_time(&self, now: i64, claims: &OwnClaims<'_>) -> Result<(), TokenFault> {
        check_issuer(claims, self.issuer.as_str())?;
        check_expiry(claims, now)?;
        check_restore(claims, self.restored_at)
    }

    /// When the token expires unless it is used, if it is not expired, revoked or idle for too long.
    fn ends(&self, now: i64, claims: &OwnClaims<'_>) -> Result<i64, TokenFault> {
        self.check_time(now, claims)?;
        if self.clients.is_revoked(&claims.jti) {
            return Err(TokenFault::Revoked);
        }
        let Some(idle) = claims.postern_idle else { return Ok(claims.exp) };
        let ends = self.used(claims).saturating_add(idle).min(claims.exp);
        if ends <= now { Err(TokenFault::Idle) } else { Ok(ends) }
    }

    /// When it was last used, or issued.
    fn used(&self, claims: &OwnClaims<'_>) -> i64 {
        self.clients.last_use(&claims.jti).unwrap_or(claims.iat).max(claims.iat)
    }

    /// The read model's record of the client that the token was issued to.
    fn check_authority(&self, now: Timestamp, claims: &OwnClaims<'_>) -> Result<Arc<ClientRecord>, TokenFault> {
        check_client(self.clients.lookup(&claims.client_id), now, claims)
    }
}

/// The time since the issue of a token. `iat` has whole seconds.
fn since_issue(now: Timestamp, claims: &OwnClaims<'_>) -> SignedDuration {
    let issued = Timestamp::from_second(claims.iat.saturating_add(1)).unwrap_or(now);
    now.duration_since(issued)
}
