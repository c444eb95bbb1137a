//! Whether a token is one of our access tokens, and still good for something.
//!
//! ```text
//! text ─▶ payload (signature, or decryption) ─▶ claims ─▶ time, revocation, idle time ─▶ judge: epochs, authority ─▶ Live
//! ```
//!
//! A token stands for an authority, and ends with it. Whether it has can be told in two ways. Its epochs are numbers
//! that only rise, so they also tell who is behind: the token, or this replica. The digest of its authority changes as
//! soon as this replica sees the objects change, before anybody has raised an epoch.

use std::cmp::Ordering;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::clock::Clock;
use crate::crypto::jwt::{self, NotOurs};
use crate::crypto::opaque;
use crate::oauth::claims::OwnClaims;
use crate::oauth::client::{ClientRecord, Clients, Epoch, Lookup, ObjectRevision, Refusal};
use crate::oauth::error::Unavailable;
use crate::oauth::token::{Facts, TokenService};

/// For how long after its issue a token proves that this replica is behind. A watch that has stopped is noticed after one
/// minute, and a list that takes its place may take as long. Whoever is behind for longer has lost what was numbered: a
/// restored backup, for example.
const LAG_MAX: SignedDuration = SignedDuration::from_mins(2);

/// Why a token is not accepted. For the operator's log: the caller is told nothing of it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TokenFault {
    /// No key of ours signs access tokens with that header: another key, another algorithm, another kind of token, or
    /// no token at all.
    #[error("the header is not that of an access token of ours")]
    UnknownKey,
    /// The signature is not by the key that the header names.
    #[error("the signature is wrong")]
    WrongSignature,
    /// It begins like an opaque token, and no key of ours made it.
    #[error("no key of ours made it")]
    NotSealed,
    /// The claims are not those of an access token, although our key signed them.
    #[error("the claims are not those of an access token")]
    Claims,
    /// Issued under another name.
    #[error("the issuer is another one")]
    OtherIssuer,
    /// It has expired.
    #[error("it has expired")]
    Expired,
    /// It has not been used for too long.
    #[error("it has not been used for too long")]
    Idle,
    /// It was revoked.
    #[error("it was revoked")]
    Revoked,
    /// Its client does not exist any more.
    #[error("the client is unknown")]
    UnknownClient,
    /// Its client may not authenticate any more.
    #[error("the client is closed")]
    ClientClosed(Refusal),
    /// The secret that it was got with may not be used any more.
    #[error("the secret is closed")]
    SecretClosed(Refusal),
    /// The authority that it stands for has changed since; the object is the Application.
    #[error("it was ended by a change of authority")]
    Ended(ObjectRevision),
    /// It stands for an authority that this replica does not know; the object is the Application.
    #[error("its permissions are not known here")]
    OtherAuthority(ObjectRevision),
    /// Its epoch is one that this replica has not come to; the object is the Application.
    #[error("its epoch is newer than what is known here")]
    Newer(ObjectRevision),
}

impl TokenFault {
    /// One word: which rule refused.
    #[must_use]
    pub fn rule(&self) -> &'static str {
        match self {
            Self::UnknownKey => "UnknownKey",
            Self::WrongSignature => "WrongSignature",
            Self::NotSealed => "NotSealed",
            Self::Claims => "MalformedClaims",
            Self::OtherIssuer => "OtherIssuer",
            Self::Expired => "TokenExpired",
            Self::Idle => "TokenIdle",
            Self::Revoked => "TokenRevoked",
            Self::UnknownClient => "UnknownClient",
            Self::ClientClosed(refusal) | Self::SecretClosed(refusal) => refusal.rule,
            Self::Ended(_) => "AuthorityChanged",
            Self::OtherAuthority(_) | Self::Newer(_) => "OtherAuthority",
        }
    }

    /// The object that refused, where there is one.
    #[must_use]
    pub fn object(&self) -> Option<&ObjectRevision> {
        match self {
            Self::ClientClosed(refusal) | Self::SecretClosed(refusal) => Some(&refusal.object),
            Self::Ended(object) | Self::OtherAuthority(object) | Self::Newer(object) => Some(object),
            Self::UnknownKey
            | Self::WrongSignature
            | Self::NotSealed
            | Self::Claims
            | Self::OtherIssuer
            | Self::Expired
            | Self::Idle
            | Self::Revoked
            | Self::UnknownClient => None,
        }
    }

    /// Whether a change that this replica has not seen yet could turn this into a success: another replica, which has
    /// seen it, may have issued the token.
    fn may_be_behind(&self) -> bool {
        matches!(self, Self::UnknownClient | Self::ClientClosed(_) | Self::OtherAuthority(_) | Self::Newer(_))
    }
}

impl From<NotOurs> for TokenFault {
    fn from(error: NotOurs) -> Self {
        match error {
            NotOurs::Header => Self::UnknownKey,
            NotOurs::Signature => Self::WrongSignature,
        }
    }
}

/// Why it is not said that a token is good.
#[derive(Debug, Eq, PartialEq)]
pub enum NotGood {
    /// It is not.
    Fault(TokenFault),
    /// That cannot be told now.
    Unavailable(Unavailable),
}

impl From<TokenFault> for NotGood {
    fn from(fault: TokenFault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Unavailable> for NotGood {
    fn from(error: Unavailable) -> Self {
        Self::Unavailable(error)
    }
}

/// A token that is good now.
#[derive(Debug)]
pub struct Live<'p> {
    /// What it says.
    pub claims: OwnClaims<'p>,
    /// The client it was issued to, as it is now.
    pub record: Arc<ClientRecord>,
    /// When it ends unless it is used, in seconds since 1970.
    pub ends: i64,
}

impl<C: Clients, K: Clock> TokenService<C, K> {
    /// What a token of ours says, as JSON.
    pub(super) fn payload(&self, token: &[u8]) -> Result<Vec<u8>, NotGood> {
        if token.starts_with(opaque::PREFIX.as_bytes()) {
            let keys = self.keys.install.load();
            let keys = keys.as_ref().ok_or(Unavailable::NoKey)?;
            Ok(opaque::open(keys, token).ok_or(TokenFault::NotSealed)?)
        } else {
            let keys = self.keys.signing.load();
            let keys = keys.as_ref().ok_or(Unavailable::NoKey)?;
            Ok(jwt::verify_access_token(keys, token).map_err(TokenFault::from)?)
        }
    }

    /// The token with this payload, if it is good at `now`. `facts` is filled as far as that is known.
    pub(super) async fn live<'p>(
        &self,
        now: Timestamp,
        payload: &'p [u8],
        facts: &mut Facts,
    ) -> Result<Live<'p>, NotGood> {
        let claims = own_claims(payload)?;
        facts.jti = Some(claims.jti.to_string());
        let judged = self.judged(now, &claims).await;
        let client_id = judged.as_ref().map(|(record, _)| Arc::clone(&record.client_id));
        facts.client_id = Some(client_id.unwrap_or_else(|_| claims.client_id.as_ref().into()));
        judged.map(|(record, ends)| Live { claims, record, ends })
    }

    /// The client of a good token, and when the token ends. What this replica may have missed is looked up.
    async fn judged(&self, now: Timestamp, claims: &OwnClaims<'_>) -> Result<(Arc<ClientRecord>, i64), NotGood> {
        let ends = self.ends(now.as_second(), claims)?;
        let mut judged = self.judge(now, claims);
        if judged.as_ref().is_err_and(TokenFault::may_be_behind) {
            let stands_for = format!("{:?} {}", claims.postern_epoch, claims.postern_authority);
            let caught_up = self.clients.catch_up(&claims.client_id, &stands_for).await;
            caught_up.map_err(Unavailable::from)?;
            judged = self.judge(now, claims);
            // Of what was deleted no read tells. The token proves that there is something that this replica has not seen.
            let is_young = now.as_second().saturating_sub(claims.iat) < LAG_MAX.as_secs();
            if is_young && matches!(judged, Err(TokenFault::Newer(_))) {
                return Err(Unavailable::Behind.into());
            }
        }
        Ok((judged?, ends))
    }

    /// Notes that a good token was used, which keeps an idle one from ending. Where it cannot be noted it does not.
    pub(super) fn touch(&self, now: Timestamp, live: &mut Live<'_>) {
        let Live { claims, record, .. } = live;
        let namespace = &record.application.namespace;
        if let Some(idle) = claims.postern_idle
            && self.clients.used(&claims.jti, namespace, self.used(claims), now.as_second(), idle, claims.exp)
        {
            live.ends = now.as_second().saturating_add(idle).min(claims.exp);
        }
    }

    /// The claims of a token that was issued in our name and whose time is not over.
    pub(super) fn unexpired<'p>(&self, now: Timestamp, payload: &'p [u8]) -> Result<OwnClaims<'p>, TokenFault> {
        let claims = own_claims(payload)?;
        self.check_time(now.as_second(), &claims)?;
        Ok(claims)
    }

    fn check_time(&self, now: i64, claims: &OwnClaims<'_>) -> Result<(), TokenFault> {
        if claims.iss != self.issuer.as_str() {
            Err(TokenFault::OtherIssuer)
        } else if claims.exp <= now {
            Err(TokenFault::Expired)
        } else {
            Ok(())
        }
    }

    /// When the token ends unless it is used, if it has not ended by its own time, by revocation or by lack of use.
    fn ends(&self, now: i64, claims: &OwnClaims<'_>) -> Result<i64, TokenFault> {
        self.check_time(now, claims)?;
        if self.clients.is_revoked(&claims.jti) {
            return Err(TokenFault::Revoked);
        }
        let Some(idle) = claims.postern_idle else { return Ok(claims.exp) };
        let ends = self.used(claims).saturating_add(idle).min(claims.exp);
        if ends <= now { Err(TokenFault::Idle) } else { Ok(ends) }
    }

    /// When it was used last, or issued.
    fn used(&self, claims: &OwnClaims<'_>) -> i64 {
        self.clients.last_use(&claims.jti).unwrap_or(claims.iat).max(claims.iat)
    }

    /// What the read model says of the client for which the token was issued.
    fn judge(&self, now: Timestamp, claims: &OwnClaims<'_>) -> Result<Arc<ClientRecord>, TokenFault> {
        match self.clients.lookup(&claims.client_id) {
            Lookup::Live(record) => judge(&record, now, claims).map(|()| record),
            Lookup::Closed(refusal) => Err(TokenFault::ClientClosed(Refusal::clone(&refusal))),
            Lookup::Unknown => Err(TokenFault::UnknownClient),
        }
    }
}

/// Whether the token stands for what its client holds at `now`.
pub(crate) fn judge(record: &ClientRecord, now: Timestamp, claims: &OwnClaims<'_>) -> Result<(), TokenFault> {
    let ended = || TokenFault::Ended(record.application.clone());
    let [of_user, of_application] = claims.postern_epoch;
    let epoch = Epoch { service_user: of_user, application: of_application };
    if record.past.ended(&claims.postern_authority, epoch, claims.iat) {
        return Err(ended());
    }
    // Issued before this replica saw the last change: what it does not know now, it knew before.
    let is_old = claims.iat < record.changed_at.as_second() && !record.is_behind;
    let not_known = || if is_old { ended() } else { TokenFault::OtherAuthority(record.application.clone()) };
    let secret = record.secrets.iter().find(|secret| *secret.authority == *claims.postern_authority);
    // Epochs of two service users say nothing of each other.
    let same_user = *record.subject == *claims.sub;
    let of_user = if same_user { of_user.cmp(&record.epoch.service_user) } else { Ordering::Equal };
    let epochs = [of_application.cmp(&record.epoch.application), of_user];
    if epochs.contains(&Ordering::Less) {
        // An Application that was created again begins anew, and this replica may still have the one before.
        return Err(if secret.is_some() { ended() } else { not_known() });
    }
    if epochs.contains(&Ordering::Greater) {
        return Err(TokenFault::Newer(record.application.clone()));
    }
    match secret {
        Some(secret) => match &secret.closed {
            Some(refusal) => Err(TokenFault::SecretClosed(refusal.as_ref().clone())),
            None if secret.expires_at.is_some_and(|end| end <= now) => Err(TokenFault::Expired),
            None => Ok(()),
        },
        None => Err(not_known()),
    }
}

fn own_claims(payload: &[u8]) -> Result<OwnClaims<'_>, TokenFault> {
    serde_json::from_slice(payload).map_err(|_| TokenFault::Claims)
}
