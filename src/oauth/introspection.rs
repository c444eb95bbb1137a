//! Introspection (RFC 7662): the claims of a token, for authorized callers.
//!
//! A caller sees the tokens of its client, and those for an audience at which it has the scope `introspect`. For
//! all other callers every token looks like an unknown one.

use serde::Serialize;

use crate::clock::Clock;
use crate::crypto::jwt;
use crate::oauth::access_token::{ActiveToken, TokenFault, VerifyError};
use crate::oauth::claims::{OwnAudience, OwnClaims, Text};
use crate::oauth::client_auth::{Authenticated, RequestContext};
use crate::oauth::client_store::ClientStore;
use crate::oauth::confirmation::{Confirmation, token_type};
use crate::oauth::denial_rule::DenialRule;
use crate::oauth::error::{RequestError, TokenError};
use crate::oauth::form::Form;
use crate::oauth::scope::INTROSPECT;
use crate::oauth::token::{AuditRecord, AuthorizationServer};

/// Size of a usual answer in bytes, so that one allocation suffices.
const ANSWER_LEN: usize = 768;

/// Form of the answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ResponseFormat {
    /// RFC 7662 §2.2.
    Json,
    /// RFC 9701 §5: the same, signed, for this caller.
    Jwt,
}

/// An answer.
#[derive(Debug)]
pub struct Introspection {
    /// The body, in the form that was asked for.
    pub body: Vec<u8>,
    /// Why the token is not active, for the log.
    pub inactive: Option<Inactive>,
}

/// Why a token is not active.
#[derive(Debug)]
pub enum Inactive {
    /// It is not valid.
    Fault(TokenFault),
    /// It is valid, but the caller may not see it.
    NotForCaller,
}

impl Inactive {
    /// The rule that refused, as one word.
    #[must_use]
    pub fn rule(&self) -> DenialRule {
        match self {
            Self::Fault(fault) => fault.rule(),
            Self::NotForCaller => DenialRule::NotForCaller,
        }
    }
}

impl<C: ClientStore, K: Clock> AuthorizationServer<C, K> {
    /// Answers one request. Fills `caller` and `token` as far as processing gets.
    ///
    /// # Errors
    /// [`TokenError`]
    pub async fn introspect<'a>(
        &self,
        arrival: RequestContext<'_>,
        authorization: impl IntoIterator<Item = &'a [u8]>,
        body: &[u8],
        answer: ResponseFormat,
        [caller, token]: [&mut AuditRecord; 2],
    ) -> Result<Introspection, TokenError> {
        let form = Form::parse(body)?;
        let client = self.caller(arrival, authorization, &form, caller).await?;
        let text = form.one("token").ok_or(RequestError::MissingToken)?;
        let touch = match form.one("touch") {
            None | Some("true") => true,
            Some("false") => false,
            Some(_) => return Err(RequestError::Touch.into()),
        };
        let payload = match self.payload(text.as_bytes()) {
            Ok(payload) => payload,
            Err(error) => return self.inactive(arrival, &client, answer, error).await,
        };
        match self.live(arrival.now, &payload, token).await {
            Err(error) => self.inactive(arrival, &client, answer, error).await,
            Ok(live) if !may_introspect(&client, &live.claims) => {
                self.answer(arrival, &client, answer, &NOT_ACTIVE, Some(Inactive::NotForCaller)).await
            }
            Ok(mut live) => {
                if touch {
                    self.record_use(arrival.now, &mut live);
                }
                self.answer(arrival, &client, answer, &ActiveResponse::of(&live, self.created_by_claim), None).await
            }
        }
    }

    async fn inactive(
        &self,
        arrival: RequestContext<'_>,
        caller: &Authenticated,
        answer: ResponseFormat,
        error: VerifyError,
    ) -> Result<Introspection, TokenError> {
        match error {
            VerifyError::Fault(fault) => {
                self.answer(arrival, caller, answer, &NOT_ACTIVE, Some(Inactive::Fault(fault))).await
            }
            VerifyError::Unavailable(error) => Err(error.into()),
        }
    }

    async fn answer(
        &self,
        arrival: RequestContext<'_>,
        caller: &Authenticated,
        answer: ResponseFormat,
        about: &(impl Serialize + Sync),
        inactive: Option<Inactive>,
    ) -> Result<Introspection, TokenError> {
        let body = match answer {
            ResponseFormat::Json => {
                let mut json = Vec::with_capacity(ANSWER_LEN);
                serde_json::to_writer(&mut json, about).map_err(|_| TokenError::Internal)?;
                json
            }
            ResponseFormat::Jwt => {
                let key = self.signing_key(caller.record.token.signing_algorithm)?;
                let signed = SignedAnswer {
                    iss: self.issuer.as_str(),
                    aud: &caller.record.client_id,
                    iat: arrival.now.as_second(),
                    token_introspection: about,
                };
                let jwt = jwt::introspection_response(&key, &signed).map_err(|_| TokenError::Internal)?;
                self.signer.sign(&caller.record.client_id, key, jwt).await?.into_bytes()
            }
        };
        Ok(Introspection { body, inactive })
    }
}

/// O4 (RFC 7662 §4): its own tokens, and those for an API that it may introspect for.
fn may_introspect(caller: &Authenticated, claims: &OwnClaims<'_>) -> bool {
    let may = |audience: &str| {
        let held = caller.grant.permissions.get(audience);
        held.is_some_and(|scopes| scopes.contains_key(INTROSPECT))
    };
    *claims.client_id == *caller.record.client_id || claims.aud.iter().any(may)
}

/// RFC 7662 §2.2: the answer contains nothing else about a token that is not active.
const NOT_ACTIVE: NotActive = NotActive { active: false };

#[derive(Serialize)]
struct NotActive {
    active: bool,
}

#[derive(Serialize)]
struct ActiveResponse<'a> {
    active: bool,
    scope: &'a str,
    client_id: &'a str,
    username: &'a str,
    token_type: &'static str,
    exp: i64,
    iat: i64,
    nbf: i64,
    sub: &'a str,
    aud: &'a OwnAudience<'a>,
    iss: &'a str,
    jti: &'a str,
    roles: &'a [Text<'a>],
    planes: &'a [Text<'a>],
    location: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_by: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cnf: Option<&'a Confirmation<'a>>,
    postern_epoch: [i64; 2],
}

impl<'a> ActiveResponse<'a> {
    fn of(live: &'a ActiveToken<'a>, created_by_claim: bool) -> Self {
        let ActiveToken { claims, record, ends } = live;
        Self {
            active: true,
            scope: &claims.scope,
            client_id: &claims.client_id,
            username: &record.identity.username,
            token_type: token_type(claims.cnf.as_ref()),
            exp: *ends,
            iat: claims.iat,
            nbf: claims.iat,
            sub: &claims.sub,
            aud: &claims.aud,
            iss: &claims.iss,
            jti: &claims.jti,
            roles: &claims.roles,
            planes: &claims.planes,
            location: &claims.location,
            // Also for a token that was issued when this was a claim.
            created_by: claims.created_by.as_deref().filter(|_| created_by_claim),
            cnf: claims.cnf.as_ref(),
            postern_epoch: claims.postern_epoch,
        }
    }
}

/// RFC 9701 §5.
#[derive(Serialize)]
struct SignedAnswer<'a, T> {
    iss: &'a str,
    aud: &'a str,
    iat: i64,
    token_introspection: &'a T,
}
