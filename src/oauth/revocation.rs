//! Revocation (RFC 7009): a client revokes its tokens.

use crate::clock::Clock;
use crate::oauth::access_token::{TokenFault, VerifyError};
use crate::oauth::client_auth::RequestContext;
use crate::oauth::client_store::ClientStore;
use crate::oauth::denial_rule::DenialRule;
use crate::oauth::error::{RequestError, TokenError, Unavailable};
use crate::oauth::form::Form;
use crate::oauth::token::{AuditRecord, AuthorizationServer};

/// The result of a request. The caller gets the same answer for all (RFC 7009 §2.2).
#[derive(Debug, Eq, PartialEq)]
pub enum Revocation {
    /// The token is revoked.
    Ended,
    /// It is not a token that can be revoked.
    Nothing(TokenFault),
    /// It was issued to another client. RFC 7009 §2.1 requires that the client is informed, but then a client that
    /// found a token would learn whether it is genuine.
    Foreign,
}

impl Revocation {
    /// Why nothing was revoked, as one word for the operator.
    #[must_use]
    pub fn rule(&self) -> Option<DenialRule> {
        match self {
            Self::Ended => None,
            Self::Nothing(fault) => Some(fault.rule()),
            Self::Foreign => Some(DenialRule::TokenOfOtherClient),
        }
    }
}

impl<C: ClientStore, K: Clock> AuthorizationServer<C, K> {
    /// Answers one request. `token_type_hint` is ignored: every token shows its type. Fills `facts` as far as
    /// processing gets.
    ///
    /// # Errors
    /// [`TokenError`]; [`Unavailable`] when the revocation could not be recorded where it survives this process.
    pub async fn revoke<'a>(
        &self,
        arrival: RequestContext<'_>,
        authorization: impl IntoIterator<Item = &'a [u8]>,
        body: &[u8],
        facts: &mut AuditRecord,
    ) -> Result<Revocation, TokenError> {
        let form = Form::parse(body)?;
        let client = self.caller(arrival, authorization, &form, facts).await?;
        let text = form.one("token").ok_or(RequestError::MissingToken)?;
        let payload = match self.payload(text.as_bytes()) {
            Ok(payload) => payload,
            Err(VerifyError::Fault(fault)) => return Ok(Revocation::Nothing(fault)),
            Err(VerifyError::Unavailable(error)) => return Err(error.into()),
        };
        let claims = match self.unexpired(arrival.now, &payload) {
            Ok(claims) => claims,
            Err(fault) => return Ok(Revocation::Nothing(fault)),
        };
        if *claims.client_id != *client.record.client_id {
            return Ok(Revocation::Foreign);
        }
        facts.jti = Some(claims.jti.to_string());
        let recorded = self.clients.revoke(&claims.jti, claims.exp, &client.record, arrival.now).await;
        recorded.map_err(Unavailable::from)?;
        Ok(Revocation::Ended)
    }
}
