//! Userinfo (OpenID Connect Core §5.3): a service user reads its own identity.

use serde::Serialize;

use crate::clock::Clock;
use crate::oauth::authorization_header::{TokenScheme, auth_params, single_authorization};
use crate::oauth::claims::Email;
use crate::oauth::client_auth::RequestContext;
use crate::oauth::client_store::ClientStore;
use crate::oauth::dpop::PresentedProof;
use crate::oauth::forward_auth::{AccessError, PresentedToken, Requirement};
use crate::oauth::scope::{EMAIL, OPENID, PROFILE};
use crate::oauth::token::{AuditRecord, AuthorizationServer};

#[derive(Serialize)]
struct UserInfo<'a> {
    sub: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    preferred_username: Option<&'a str>,
    #[serde(flatten)]
    email: Option<Email<'a>>,
}

impl<C: ClientStore, K: Clock> AuthorizationServer<C, K> {
    /// What the bearer of a token with scope `openid` may read about itself, as JSON. A token is accepted only in the
    /// header (RFC 6750 §2.1).
    ///
    /// # Errors
    /// [`AccessError`]
    pub async fn userinfo<'a>(
        &self,
        arrival: RequestContext<'_>,
        authorization: impl IntoIterator<Item = &'a [u8]>,
        proof: Option<&PresentedProof>,
        facts: &mut AuditRecord,
    ) -> Result<Vec<u8>, AccessError> {
        let (scheme, header) = single_authorization(authorization)?;
        let presented = match TokenScheme::parse(scheme).ok_or(AccessError::NoCredentials)? {
            TokenScheme::Bearer => PresentedToken::bearer(auth_params(scheme, header)),
            TokenScheme::Dpop => PresentedToken::dpop(auth_params(scheme, header), proof),
        };
        let payload = self.payload(presented.text)?;
        let requirement = Requirement { audience: None, scopes: vec![OPENID] };
        let live = self.with_token(arrival, &payload, &presented, &requirement, facts).await?;
        let (claims, identity) = (&live.claims, &live.record.identity);
        let profile = claims.has_scope(PROFILE);
        let info = UserInfo {
            sub: &claims.sub,
            name: identity.name.as_deref().filter(|_| profile),
            preferred_username: profile.then_some(&identity.username),
            email: identity.email.as_deref().filter(|_| claims.has_scope(EMAIL)).map(Email::unverified),
        };
        Ok(serde_json::to_vec(&info).unwrap_or_default())
    }
}
