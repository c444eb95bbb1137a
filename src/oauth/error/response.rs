//! The only place that defines what the caller gets for an error.

use std::num::NonZeroU32;

use super::{AuthorityError, RequestError, TokenError, Unavailable};
use crate::oauth::dpop::wants_nonce;

/// `error` of an error response (RFC 6749 §5.2, RFC 8707 §2, RFC 9449 §12.2, and for 429, 500 and 503 the codes of §4.1.2.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "the names are the protocol's own")]
pub enum ErrorCode {
    InvalidRequest,
    InvalidClient,
    InvalidGrant,
    UnauthorizedClient,
    UnsupportedGrantType,
    InvalidScope,
    InvalidTarget,
    InvalidDpopProof,
    UseDpopNonce,
    ServerError,
    TemporarilyUnavailable,
}

impl ErrorCode {
    /// The code as a string.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
            Self::InvalidDpopProof => "invalid_dpop_proof",
            Self::UseDpopNonce => "use_dpop_nonce",
            Self::ServerError => "server_error",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
        }
    }
}

/// What the caller gets for a [`TokenError`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct WireError {
    /// HTTP status.
    pub status: u16,
    /// `error`
    pub code: ErrorCode,
    /// `error_description`: constant text, so that no input is echoed.
    pub description: &'static str,
    /// `Retry-After` in seconds.
    pub retry_after_s: Option<NonZeroU32>,
}

/// Long enough to spread a burst, and short enough not to be noticed.
pub(crate) const RETRY_AFTER_S: NonZeroU32 = NonZeroU32::MIN;
/// Capacity is freed as tokens expire and rotation requests age, which takes minutes.
const ROOM_RETRY_AFTER_S: NonZeroU32 = NonZeroU32::MIN.saturating_add(59);

impl TokenError {
    /// The answer to this error.
    #[must_use]
    pub fn to_response(&self) -> WireError {
        use ErrorCode as Code;
        let (status, code, description) = match self {
            Self::Request(error) => (error.status(), Code::InvalidRequest, error.description()),
            Self::UnsupportedGrantType => (400, Code::UnsupportedGrantType, "this grant_type is not supported"),
            Self::Client(error) | Self::Grant(error) if error.is_disclosed() => {
                (400, Code::UnauthorizedClient, "this secret may not be used here")
            }
            // The same answer for every other reason: a caller that fails learns nothing about existing clients and
            // secrets.
            Self::Client(_) => (401, Code::InvalidClient, "client authentication failed"),
            Self::Grant(_) => (400, Code::InvalidGrant, "the assertion is not accepted"),
            // The proof is the caller's own, so its reason reveals nothing.
            Self::Proof(rule, _) if wants_nonce(*rule) => (400, Code::UseDpopNonce, rule.meaning()),
            Self::Proof(rule, _) => (400, Code::InvalidDpopProof, rule.meaning()),
            // RFC 8705 defines no code. The client is authenticated, and the binding is that of its own token.
            Self::Binding(rule, _) => (400, Code::InvalidRequest, rule.meaning()),
            Self::ScopeSyntax => (400, Code::InvalidScope, "scope must be scope-tokens with single spaces between"),
            Self::TargetSyntax => (400, Code::InvalidTarget, "resource must be an absolute URI without fragment"),
            Self::Authority { error, .. } => match error {
                AuthorityError::NoPermissions => (400, Code::InvalidScope, "the client has no scope"),
                AuthorityError::ScopeNotGranted => {
                    (400, Code::InvalidScope, "a requested scope is not granted to the client")
                }
                AuthorityError::NoScope => (400, Code::InvalidScope, "no scope can be granted for this audience"),
                AuthorityError::AudienceNotGranted => {
                    (400, Code::InvalidTarget, "a requested audience is not granted to the client")
                }
                AuthorityError::AudienceAmbiguous => {
                    (400, Code::InvalidTarget, "several audiences are granted: name one with resource or audience")
                }
                AuthorityError::SeveralAudiences => {
                    (400, Code::InvalidTarget, "only one audience per token is allowed")
                }
            },
            Self::TooLarge => {
                (400, Code::InvalidScope, "the token would be too large: request fewer scopes with scope")
            }
            Self::Unavailable(error) => (error.status(), Code::TemporarilyUnavailable, error.description()),
            Self::Internal => (500, Code::ServerError, "the token could not be made"),
        };
        let retry_after_s = match self {
            Self::Unavailable(error) => Some(error.retry_after_s()),
            _ => None,
        };
        WireError { status, code, description, retry_after_s }
    }
}

impl Unavailable {
    /// HTTP status (RFC 6585 §4, RFC 9110 §15.6.4).
    pub(crate) fn status(self) -> u16 {
        match self {
            Self::RateLimited | Self::FailureLimit(_) | Self::HashLimit | Self::TokenLimit(_) | Self::TooOften(_) => {
                429
            }
            Self::NotSynced | Self::Stale | Self::Behind | Self::Overloaded | Self::NoKey | Self::NoRoom => 503,
        }
    }

    pub(crate) fn description(self) -> &'static str {
        match self {
            Self::RateLimited => "too many unknown credentials, try again",
            Self::FailureLimit(_) => "too many failed authentications from this address, try again later",
            Self::HashLimit => "too many secrets are checked, try again",
            Self::TokenLimit(_) => "too many token requests of this client, try again later",
            Self::TooOften(_) => "too many requests of this client to record something, try again later",
            Self::NoRoom => "the quota of the client's namespace is exhausted, try again later",
            Self::NotSynced | Self::Stale | Self::Behind | Self::Overloaded | Self::NoKey => {
                "the endpoint cannot answer now, try again"
            }
        }
    }

    pub(crate) fn retry_after_s(self) -> NonZeroU32 {
        match self {
            Self::FailureLimit(seconds) | Self::TokenLimit(seconds) | Self::TooOften(seconds) => seconds,
            Self::NoRoom => ROOM_RETRY_AFTER_S,
            Self::RateLimited
            | Self::HashLimit
            | Self::NotSynced
            | Self::Stale
            | Self::Behind
            | Self::Overloaded
            | Self::NoKey => RETRY_AFTER_S,
        }
    }
}

impl RequestError {
    fn status(self) -> u16 {
        match self {
            Self::BodyTooLarge => 413,
            Self::BodyTimeout => 408,
            _ => 400,
        }
    }

    pub(super) fn description(self) -> &'static str {
        match self {
            Self::NotAForm => "Content-Type must be application/x-www-form-urlencoded",
            Self::Query => "parameters belong in the body, none in the query string",
            Self::BodyTooLarge => "the request body is too large",
            Self::BodyTimeout => "the request body did not arrive in time",
            Self::BodyIncomplete => "the request body is incomplete",
            Self::NotUtf8 => "the request body is not UTF-8",
            Self::Repeated => "a parameter is repeated",
            Self::TooManyParameters => "the request has too many parameters",
            Self::MissingGrantType => "grant_type is missing",
            Self::MissingAssertion => "assertion is missing",
            Self::MissingClientId => "client_id is missing: a request with a token of another issuer needs it",
            Self::MissingToken => "token is missing",
            Self::Touch => "touch must be true or false",
            Self::SeveralMethods => "more than one client authentication method in one request",
            Self::ClientIdMismatch => "client_id differs from the client in the Authorization header",
        }
    }
}
