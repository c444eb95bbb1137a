//! Revocation (RFC 7009): a client ends one of its own tokens.

use crate::clock::Clock;
use crate::oauth::authenticate::Arrival;
use crate::oauth::bearer::{NotGood, TokenFault};
use crate::oauth::client::Clients;
use crate::oauth::error::{RequestError, TokenError, Unavailable};
use crate::oauth::form::Form;
use crate::oauth::token::{Facts, TokenService};

/// What became of a request. To the caller both are the same (RFC 7009 §2.2).
#[derive(Debug, Eq, PartialEq)]
pub enum Revocation {
    /// The token has ended now.
    Ended,
    /// There was nothing to end.
    Nothing(TokenFault),
}

impl<C: Clients, K: Clock> TokenService<C, K> {
    /// Answers one request. `token_type_hint` is ignored: every token says what it is. `facts` is filled as far as the
    /// request gets.
    ///
    /// # Errors
    /// [`TokenError`]; [`Unavailable`] when the revocation could not be recorded where it outlives this process.
    pub async fn revoke<'a>(
        &self,
        arrival: Arrival,
        authorization: impl IntoIterator<Item = &'a [u8]>,
        body: &[u8],
        facts: &mut Facts,
    ) -> Result<Revocation, TokenError> {
        let form = Form::parse(body)?;
        let client = self.caller(arrival, authorization, &form, facts).await?;
        let text = form.one("token").ok_or(RequestError::MissingToken)?;
        let payload = match self.payload(text.as_bytes()) {
            Ok(payload) => payload,
            Err(NotGood::Fault(fault)) => return Ok(Revocation::Nothing(fault)),
            Err(NotGood::Unavailable(error)) => return Err(error.into()),
        };
        let claims = match self.unexpired(arrival.now, &payload) {
            Ok(claims) => claims,
            Err(fault) => return Ok(Revocation::Nothing(fault)),
        };
        if *claims.client_id != *client.record.client_id {
            return Err(TokenError::ForeignToken);
        }
        facts.jti = Some(claims.jti.to_string());
        let namespace = &client.record.application.namespace;
        let recorded = self.clients.revoke(&claims.jti, claims.exp, namespace, arrival.now).await;
        recorded.map_err(Unavailable::from)?;
        Ok(Revocation::Ended)
    }
}
