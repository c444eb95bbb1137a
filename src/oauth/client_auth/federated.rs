//! Tokens of other issuers (protocol F4, G9): a pipeline or a pod of another cluster presents the token that its own issuer
//! signed, as client authentication or as a JWT bearer grant. Order: client → signature → subject → claims → the rules of every
//! method. The token is a bearer token that its owner reuses, so it is not single-use.
//!
//! The request must name the client. Otherwise a tenant that lists a subject of another tenant could make it ambiguous.

use jiff::Timestamp;

use super::assertion::{Assertion, Claims, check_signature, live};
use super::{Authenticated, Authenticator, Method, ProvenCredential};
use crate::crypto::public_key::{self, SignedJwt};
use crate::oauth::client_record::{ClientRecord, TrustedIssuer};
use crate::oauth::client_store::{ClientRef, ClientStore, Lookup};
use crate::oauth::denial_rule::DenialRule;
use crate::oauth::error::{ClientError, RequestError, TokenError, Unavailable};

/// A token of another issuer, before it is checked.
struct IssuedToken<'a> {
    jwt: &'a SignedJwt<'a>,
    claims: &'a Claims,
    issuer: &'a str,
}

impl Claims {
    /// The issuer, if it is not a client: an identifier of an issuer is an https URL (OpenID Connect Discovery §3), which no
    /// client id is.
    pub(super) fn other_issuer(&self) -> Option<&str> {
        self.iss.as_deref().filter(|issuer| issuer.starts_with("https://"))
    }
}

impl<C: ClientStore> Authenticator<'_, C> {
    pub(super) async fn federated(
        &self,
        presented: &Assertion,
        jwt: &SignedJwt<'_>,
        claims: &Claims,
        issuer: &str,
    ) -> Result<Authenticated, TokenError> {
        let client_id = presented.client_id.as_deref().ok_or(RequestError::MissingClientId)?;
        let token = IssuedToken { jwt, claims, issuer };
        let known = self.clients.lookup(client_id);
        let outcome = self.try_token(&token, &known);
        if !outcome.as_ref().is_err_and(ClientError::may_be_behind) {
            return Ok(outcome?);
        }
        let credential = format!("{issuer} {}", jwt.key_id().unwrap_or_default());
        self.clients.catch_up(&ClientRef::Id(client_id), &credential).await.map_err(Unavailable::from)?;
        let current = self.clients.lookup(client_id);
        let outcome = if current.is_same(&known) { outcome } else { self.try_token(&token, &current) };
        if let Err(error) = &outcome {
            self.expect_keys(error, &current, Some(issuer))?;
        }
        Ok(outcome?)
    }

    fn try_token(&self, token: &IssuedToken<'_>, client: &Lookup) -> Result<Authenticated, ClientError> {
        let record = live(client, token.jwt)?;
        let of_client = |rule| ClientError::Assertion(rule, Some(record.application.clone()));
        let (entry, exp) = self.entry(token, record).map_err(of_client)?;
        let of_application = ProvenCredential::of_application(record, &entry.subject, &entry.authority);
        // No token outlives the one that it was requested with.
        let credential = ProvenCredential { expires_at: Some(exp), ..of_application };
        let mut client = self.admit(record, Method::FederatedJwt, &credential)?;
        client.token_issuer = Some(entry.issuer.clone());
        Ok(client)
    }

    /// The entry of the Application that the token fulfils, and `exp` of the token.
    fn entry<'r>(
        &self,
        token: &IssuedToken<'_>,
        record: &'r ClientRecord,
    ) -> Result<(&'r TrustedIssuer, Timestamp), DenialRule> {
        let IssuedToken { jwt, claims, issuer } = token;
        let entries = || record.issuers.iter().filter(|entry| *entry.issuer == **issuer);
        // An access token of Postern is for an API. Accepted here, each API could act as the clients that call it.
        let Some(first) = entries().next().filter(|_| *issuer != self.issuer) else {
            public_key::verify_nothing(jwt);
            return Err(DenialRule::IssuerNotListed);
        };
        // All entries of an issuer have the same keys.
        check_signature(first.keys.iter().map(AsRef::as_ref), jwt)?;
        let mut entries = entries().filter(|entry| claims.sub.as_deref() == Some(&*entry.subject));
        let entry = entries.next().ok_or(DenialRule::SubjectNotListed)?;
        if claims.only_audience() != Some(entry.audience.as_deref().unwrap_or(self.issuer)) {
            return Err(DenialRule::AssertionAudience);
        }
        let exp = claims.check_unexpired(self.arrival.now)?;
        claims.check_age(self.arrival.now)?;
        Ok((entry, exp))
    }
}
