//! Whether a token is one of our access tokens, and still good for something.

use jiff::Timestamp;

use crate::clock::Clock;
use crate::crypto::jwt::{self, NotOurs};
use crate::oauth::claims::OwnClaims;
use crate::oauth::client::{CatchUpError, ClientRecord, Clients, Lookup, ObjectRevision, Refusal};
use crate::oauth::error::Unavailable;
use crate::oauth::forward_auth::{Access, AccessError, Missing, Requirement};
use crate::oauth::token::{Facts, TokenService};

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
    /// The claims are not those of an access token, although our key signed them.
    #[error("the claims are not those of an access token")]
    Claims,
    /// Issued under another name.
    #[error("the issuer is another one")]
    OtherIssuer,
    /// Its time is over.
    #[error("it has expired")]
    Expired,
    /// Its client does not exist any more.
    #[error("the client is unknown")]
    UnknownClient,
    /// Its client may not authenticate any more.
    #[error("the client is closed")]
    ClientClosed(Refusal),
    /// Its client acts for another ServiceUser now; the object is the Application.
    #[error("the client is another subject now")]
    OtherSubject(ObjectRevision),
    /// The authority that it stands for has changed since; the object is the Application.
    #[error("it was ended by a change of authority")]
    Ended(ObjectRevision),
}

impl TokenFault {
    /// One word: which rule refused.
    #[must_use]
    pub fn rule(&self) -> &'static str {
        match self {
            Self::UnknownKey => "UnknownKey",
            Self::WrongSignature => "WrongSignature",
            Self::Claims => "MalformedClaims",
            Self::OtherIssuer => "OtherIssuer",
            Self::Expired => "TokenExpired",
            Self::UnknownClient => "UnknownClient",
            Self::ClientClosed(refusal) => refusal.rule,
            Self::OtherSubject(_) => "OtherSubject",
            Self::Ended(_) => "EpochPassed",
        }
    }

    /// The object that refused, where there is one.
    #[must_use]
    pub fn object(&self) -> Option<&ObjectRevision> {
        match self {
            Self::ClientClosed(refusal) => Some(&refusal.object),
            Self::OtherSubject(object) | Self::Ended(object) => Some(object),
            Self::UnknownKey
            | Self::WrongSignature
            | Self::Claims
            | Self::OtherIssuer
            | Self::Expired
            | Self::UnknownClient => None,
        }
    }

    /// Whether a change that this replica has not seen yet could turn this into a success: another replica, which has
    /// seen it, may have issued the token.
    fn may_be_behind(&self) -> bool {
        matches!(self, Self::UnknownClient | Self::ClientClosed(_) | Self::OtherSubject(_))
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

impl<C: Clients, K: Clock> TokenService<C, K> {
    /// Whether this access token meets `requirement`.
    ///
    /// # Errors
    /// [`AccessError`]
    pub(super) async fn with_token(
        &self,
        now: Timestamp,
        token: &[u8],
        requirement: &Requirement<'_>,
        facts: &mut Facts,
    ) -> Result<Access, AccessError> {
        let claims = self.own_claims(token)?;
        facts.client_id = Some(claims.client_id.clone());
        facts.jti = Some(claims.jti.clone());
        self.still_good(now, &claims).await?;
        if requirement.audience.is_some_and(|audience| !claims.aud.contains(audience)) {
            return Err(requirement.not_met(Missing::Audience));
        }
        if !requirement.scopes.iter().all(|scope| claims.scope.split(' ').any(|held| held == *scope)) {
            return Err(requirement.not_met(Missing::Scope));
        }
        let OwnClaims { sub: subject, client_id, scope, roles, .. } = claims;
        Ok(Access { subject, client_id, roles: roles.join(" "), scope })
    }

    /// The claims of a token that our key signed as an access token.
    fn own_claims(&self, token: &[u8]) -> Result<OwnClaims, AccessError> {
        let keys = self.keys.signing.load();
        let keys = keys.as_ref().ok_or(Unavailable::NoKey)?;
        let claims = jwt::verify_access_token(keys, token).map_err(TokenFault::from)?;
        Ok(serde_json::from_slice(&claims).map_err(|_| TokenFault::Claims)?)
    }

    async fn still_good(&self, now: Timestamp, claims: &OwnClaims) -> Result<(), AccessError> {
        if claims.iss != self.issuer.as_str() {
            return Err(TokenFault::OtherIssuer.into());
        }
        if claims.exp <= now.as_second() {
            return Err(TokenFault::Expired.into());
        }
        let mut judged = self.judge(claims);
        if judged.as_ref().is_err_and(TokenFault::may_be_behind) {
            // No secret is looked for: one memory for all tokens of the client.
            self.clients.catch_up(&claims.client_id, "").await.map_err(|error| match error {
                CatchUpError::RateLimited => Unavailable::RateLimited,
                CatchUpError::Behind => Unavailable::Behind,
            })?;
            judged = self.judge(claims);
        }
        Ok(judged?)
    }

    /// What the read model says of the client for which the token was issued.
    fn judge(&self, claims: &OwnClaims) -> Result<(), TokenFault> {
        let record = match self.clients.lookup(&claims.client_id) {
            Lookup::Live(record) => record,
            Lookup::Closed(refusal) => return Err(TokenFault::ClientClosed(Refusal::clone(&refusal))),
            Lookup::Unknown => return Err(TokenFault::UnknownClient),
        };
        let ClientRecord { subject, epoch, application, .. } = &*record;
        let [service_user, of_application] = claims.postern_epoch;
        if *subject != claims.sub {
            Err(TokenFault::OtherSubject(application.clone()))
        } else if service_user < epoch.service_user || of_application < epoch.application {
            Err(TokenFault::Ended(application.clone()))
        } else {
            Ok(())
        }
    }
}
