//! Forward authentication: a proxy asks whether a request may be forwarded to an API.
//!
//! ```text
//! Authorization of the original request ─┬─ Basic ──▶ authenticate (a secret with use Direct) ──▶ its grant ─┐
//!                                        └─ Bearer, DPoP ─▶ one of our access tokens ────────▶ its claims ───┤
//! what the proxy requires: an audience, scopes ──────────────────────────────────────────────▶ covers? ◀─────┘
//! ```
//!
//! Every refusal is an [`AccessError`], and one match in its module defines what the caller gets for each.

mod error;
mod original_request;
mod possession;
mod requirement;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use error::{AccessError, AccessResponse, Malformed, Missing};
pub use original_request::OriginalRequest;
pub(super) use possession::PresentedToken;
pub use requirement::Requirement;

use crate::clock::Clock;
use crate::oauth::access_token::ActiveToken;
pub use crate::oauth::authorization_header::TokenScheme;
use crate::oauth::authorization_header::{auth_params, single_authorization};
use crate::oauth::claims::OwnClaims;
use crate::oauth::client_auth::{self, Authenticated, RequestContext};
use crate::oauth::client_record::{Grant, Purpose, Role};
use crate::oauth::client_store::ClientStore;
use crate::oauth::dpop::PresentedProof;
use crate::oauth::token::{AuditRecord, AuthorizationServer};

/// The identity of an accepted caller, for the headers that the API gets.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Access {
    /// UID of the ServiceUser.
    pub subject: String,
    /// The client.
    pub client_id: Arc<str>,
    /// Roles, separated by single spaces, sorted.
    pub roles: String,
    /// Scopes, separated by single spaces.
    pub scope: String,
}

impl Access {
    fn of(claims: OwnClaims<'_>) -> Self {
        Self {
            subject: claims.sub.into_owned(),
            client_id: claims.client_id.into(),
            roles: claims.roles.iter().map(|role| &*role.0).collect::<Vec<_>>().join(" "),
            scope: claims.scope.into_owned(),
        }
    }
}

impl<C: ClientStore, K: Clock> AuthorizationServer<C, K> {
    /// Whether a request with these Authorization headers meets `requirement`. `proof` is an error if the request has a
    /// DPoP header, and the proxy did not send what the proof must be for. Fills `facts` as far as processing gets.
    ///
    /// # Errors
    /// [`AccessError`]
    pub async fn access<'a>(
        &self,
        arrival: RequestContext<'_>,
        authorization: impl IntoIterator<Item = &'a [u8]>,
        proof: Result<Option<&PresentedProof>, Malformed>,
        requirement: &Requirement<'_>,
        facts: &mut AuditRecord,
    ) -> Result<Access, AccessError> {
        facts.audience = requirement.audience.map(str::to_owned);
        facts.scope = (!requirement.scopes.is_empty()).then(|| requirement.scopes.join(" "));
        let (scheme, header) = single_authorization(authorization)?;
        if scheme.eq_ignore_ascii_case(b"basic") {
            return self.direct(arrival, header, requirement, facts).await;
        }
        // RFC 6750 §3.1: an unsupported scheme is treated like no credentials.
        let token_scheme = TokenScheme::parse(scheme).ok_or(AccessError::NoCredentials)?;
        let presented = match token_scheme {
            TokenScheme::Bearer => PresentedToken::bearer(auth_params(scheme, header)),
            TokenScheme::Dpop => PresentedToken::dpop(auth_params(scheme, header), proof?),
        };
        let payload = self.payload(presented.text)?;
        Ok(Access::of(self.with_token(arrival, &payload, &presented, requirement, facts).await?.claims))
    }

    /// The token with this payload, if it is valid, sent by its owner, and meets `requirement`. Counts as a use of the
    /// token.
    pub(super) async fn with_token<'p>(
        &self,
        arrival: RequestContext<'_>,
        payload: &'p [u8],
        presented: &PresentedToken<'_>,
        requirement: &Requirement<'_>,
        facts: &mut AuditRecord,
    ) -> Result<ActiveToken<'p>, AccessError> {
        let mut live = self.live(arrival.now, payload, facts).await?;
        self.check_possession(arrival, presented, &live, facts)?;
        if requirement.audience.is_some_and(|audience| !live.claims.aud.contains(audience)) {
            return Err(requirement.not_met(Missing::Audience, None));
        }
        if !requirement.scopes.iter().all(|scope| live.claims.has_scope(scope)) {
            return Err(requirement.not_met(Missing::Scope, None));
        }
        self.record_use(arrival.now, &mut live);
        Ok(live)
    }

    async fn direct(
        &self,
        arrival: RequestContext<'_>,
        header: &[u8],
        requirement: &Requirement<'_>,
        facts: &mut AuditRecord,
    ) -> Result<Access, AccessError> {
        let client = self.with_secret(arrival, Purpose::Direct, header, facts).await?;
        let (scopes, roles) = held(&client.grant, requirement).map_err(|missing| {
            let without_secret = held(&client.record.grant, requirement).is_ok();
            requirement.not_met(missing, Some(client.denying_object(without_secret)))
        })?;
        Ok(Access {
            subject: client.record.subject.clone(),
            client_id: Arc::clone(&client.record.client_id),
            roles: joined(roles),
            scope: joined(scopes),
        })
    }

    /// The client of a Basic header, if its secret is allowed for this purpose.
    pub(super) async fn with_secret(
        &self,
        arrival: RequestContext<'_>,
        purpose: Purpose,
        header: &[u8],
        facts: &mut AuditRecord,
    ) -> Result<Authenticated, AccessError> {
        let presented =
            client_auth::basic(header, None).map_err(|error| self.without_credential(arrival, error))?.into();
        facts.presented(&presented);
        let client = self.authenticate(arrival, purpose, &presented).await?;
        facts.authenticated(&client);
        Ok(client)
    }
}

/// The scopes and roles of the required audience, or of all audiences if none is required.
fn held<'a>(
    grant: &'a Grant,
    requirement: &Requirement<'_>,
) -> Result<(BTreeSet<&'a str>, BTreeSet<&'a str>), Missing> {
    let permissions: Vec<&BTreeMap<Arc<str>, BTreeSet<Role>>> = match requirement.audience {
        Some(audience) => grant.permissions.get(audience).into_iter().filter(|scopes| !scopes.is_empty()).collect(),
        None => grant.permissions.values().collect(),
    };
    if permissions.is_empty() && requirement.audience.is_some() {
        return Err(Missing::Audience);
    }
    let held = || permissions.iter().flat_map(|scopes| scopes.iter());
    let scopes: BTreeSet<&str> = held().map(|(scope, _)| scope.as_ref()).collect();
    if !requirement.scopes.iter().all(|scope| scopes.contains(scope)) {
        return Err(Missing::Scope);
    }
    let roles = held().flat_map(|(_, roles)| roles).map(|role| role.name.as_ref()).collect();
    Ok((scopes, roles))
}

fn joined(texts: BTreeSet<&str>) -> String {
    texts.into_iter().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(permissions: &[(&str, &str, &str)]) -> Grant {
        let mut grant = Grant::default();
        for (audience, scope, role) in permissions {
            let scopes = grant.permissions.entry((*audience).into()).or_default();
            let role = Role { name: (*role).into(), plane: "Operational" };
            scopes.entry((*scope).into()).or_default().insert(role);
        }
        grant
    }

    #[test]
    fn a_pair_of_audience_and_scope_is_required_not_one_of_each() {
        let grant = grant(&[("a", "read", "a.reader"), ("b", "write", "b.writer"), ("b", "read", "b.reader")]);
        for (audience, scopes, expected) in [
            (None, &[][..], Some(("read write", "a.reader b.reader b.writer"))),
            (None, &["read", "write"], Some(("read write", "a.reader b.reader b.writer"))),
            (None, &["delete"], None),
            (Some("a"), &[], Some(("read", "a.reader"))),
            (Some("a"), &["read"], Some(("read", "a.reader"))),
            (Some("a"), &["write"], None),
            (Some("a"), &["read", "write"], None),
            (Some("b"), &["read"], Some(("read write", "b.reader b.writer"))),
            (Some("c"), &[], None),
        ] {
            let requirement = Requirement { audience, scopes: scopes.to_vec() };
            let found = held(&grant, &requirement).ok().map(|(scopes, roles)| (joined(scopes), joined(roles)));
            let expected = expected.map(|(scopes, roles)| (scopes.to_owned(), roles.to_owned()));
            assert_eq!(found, expected, "{audience:?} {scopes:?}");
        }
    }

    #[test]
    fn a_client_without_permissions_passes_only_if_nothing_is_required() {
        let nothing = Grant::default();
        assert!(held(&nothing, &Requirement::default()).is_ok());
        assert!(held(&nothing, &Requirement { audience: Some("a"), scopes: vec![] }).is_err());
        assert!(held(&nothing, &Requirement { audience: None, scopes: vec!["read"] }).is_err());
    }
}
