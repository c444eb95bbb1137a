//! Assertions that the client signs: `private_key_jwt` (RFC 7523 §2.2), and the JWT bearer grant (§2.1). Order: client → key →
//! signature → claims → the rules of every method → single use. So an assertion that is refused here is not used up.
//!
//! A refusal that an unseen change of the keys could turn into a success is sent only after catching up.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::assertion::{Assertion, AssertionUse, Claims, live, refused, remembered_until};
use super::signing_key::signing_key;
use super::{Authenticated, Authenticator, Method};
use crate::crypto::public_key::{self, SignedJwt};
use crate::oauth::client_record::ClientRecord;
use crate::oauth::client_store::{ClientRef, ClientStore, Lookup, UseError};
use crate::oauth::denial_rule::DenialRule;
use crate::oauth::error::{ClientError, TokenError, Unavailable};

impl<C: ClientStore> Authenticator<'_, C> {
    pub(super) async fn signed_assertion(
        &self,
        presented: &Assertion,
        jwt: &SignedJwt<'_>,
        claims: &Claims,
    ) -> Result<Authenticated, TokenError> {
        let identity = claims.identity(presented, jwt).map_err(refused)?;
        let known = self.clients.find(&identity).map_err(refused)?;
        let outcome = self.try_assertion(presented.purpose, jwt, claims, &known);
        match &outcome {
            Err(TokenError::Client(error)) if error.may_be_behind() => {}
            _ => return outcome,
        }
        let key_id = jwt.key_id().unwrap_or_default();
        self.clients.catch_up(&identity, key_id).await.map_err(Unavailable::from)?;
        let current = self.clients.find(&identity).map_err(refused)?;
        // Signatures are checked again only for a client that has changed.
        let outcome = if current.is_same(&known) {
            outcome
        } else {
            self.try_assertion(presented.purpose, jwt, claims, &current)
        };
        if let Err(TokenError::Client(error)) = &outcome {
            self.expect_keys(error, &current, None)?;
        }
        outcome
    }

    fn try_assertion(
        &self,
        purpose: AssertionUse,
        jwt: &SignedJwt<'_>,
        claims: &Claims,
        client: &Lookup,
    ) -> Result<Authenticated, TokenError> {
        let record = live(client, jwt)?;
        let of_client = |rule| ClientError::Assertion(rule, Some(record.application.clone()));
        if !claims.is_about(record, purpose) {
            public_key::verify_nothing(jwt);
            return Err(of_client(DenialRule::AssertionIssuer).into());
        }
        let credential = signing_key(record, jwt, self.keys, self.arrival.now).map_err(|rule| match rule {
            DenialRule::AssertionKeyUnknown if self.may_lack_keys => TokenError::from(Unavailable::Behind),
            rule => of_client(rule).into(),
        })?;
        if !self.is_addressed(claims, purpose) {
            return Err(of_client(DenialRule::AssertionAudience).into());
        }
        let exp = claims.check_times(self.arrival.now, self.assertions.lifetime_max).map_err(of_client)?;
        let id = claims.id().map_err(of_client)?;
        if id.is_none() && purpose == AssertionUse::Authentication {
            return Err(of_client(DenialRule::AssertionWithoutId).into());
        }
        let client = self.admit(record, Method::PrivateKeyJwt, &credential)?;
        if let Some(id) = id {
            self.use_up(record, id, remembered_until(exp))?;
        }
        Ok(client)
    }

    /// As client authentication, `aud` is one string: an assertion for several servers could be used at each of them by
    /// the others. A grant may name several (RFC 7523 §3), and ZITADEL's clients send a list.
    fn is_addressed(&self, claims: &Claims, purpose: AssertionUse) -> bool {
        let is_accepted = |audience: &str| self.assertions.audiences.iter().any(|accepted| accepted == audience);
        match purpose {
            AssertionUse::Authentication => claims.audience().is_some_and(is_accepted),
            AssertionUse::Grant => claims.audiences().any(is_accepted),
        }
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

impl Claims {
    /// How to find the client that signed: issuer and subject are the same, the client id. In a grant they may also be the
    /// subject of the service user, as in ZITADEL's JWT profile; the key then identifies the client.
    fn identity<'a>(&'a self, presented: &'a Assertion, jwt: &'a SignedJwt<'_>) -> Result<ClientRef<'a>, DenialRule> {
        let id = self.sub.as_deref().filter(|id| !id.is_empty()).ok_or(DenialRule::AssertionIssuer)?;
        if self.iss.as_deref() != Some(id) {
            return Err(DenialRule::AssertionIssuer);
        }
        match (presented.client_id.as_deref(), presented.purpose) {
            (None, AssertionUse::Authentication) => Ok(ClientRef::Id(id)),
            (None, AssertionUse::Grant) => Ok(ClientRef::Signer { id, key_id: jwt.key_id() }),
            (Some(client_id), AssertionUse::Authentication) if client_id != id => Err(DenialRule::AssertionIssuer),
            (Some(client_id), _) => Ok(ClientRef::Id(client_id)),
        }
    }

    /// Whether issuer and subject may be those of an assertion of this client.
    fn is_about(&self, record: &ClientRecord, purpose: AssertionUse) -> bool {
        let is = |id: &str| self.sub.as_deref() == Some(id);
        is(&record.client_id) || purpose == AssertionUse::Grant && is(&record.subject)
    }
}
