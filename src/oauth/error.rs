//! All errors of a request; `wire` defines what the caller gets for each.

mod client;
mod response;

use std::fmt;
use std::num::NonZeroU32;

pub use client::ClientError;
pub(crate) use response::RETRY_AFTER_S;
pub use response::{ErrorCode, WireError};

use crate::oauth::client_record::ObjectRevision;
use crate::oauth::client_store::{CatchUpError, RecordError};
use crate::oauth::denial_rule::DenialRule;

/// Why no token was issued.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
pub enum TokenError {
    /// This endpoint does not understand the request.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// `grant_type` is not supported.
    #[error("the grant type is not supported")]
    UnsupportedGrantType,
    /// Client authentication failed.
    #[error("client authentication failed")]
    Client(Box<ClientError>),
    /// The assertion of a JWT bearer grant is refused (RFC 7523 §3.1).
    #[error("the assertion is not accepted")]
    Grant(Box<ClientError>),
    /// The DPoP proof is missing or refused; the object is the Application, if there is one.
    #[error("the DPoP proof is not accepted")]
    Proof(DenialRule, Option<ObjectRevision>),
    /// The token cannot be bound to the certificate of the client; the object is the Application.
    #[error("the token cannot be bound to a certificate")]
    Binding(DenialRule, ObjectRevision),
    /// `scope` is not of the form of RFC 6749 §3.3.
    #[error("the scope is malformed")]
    ScopeSyntax,
    /// A `resource` is not an absolute URI without fragment (RFC 8707 §2).
    #[error("a resource is not an absolute URI without fragment")]
    TargetSyntax,
    /// The client does not have what it requested.
    #[error("the request is outside the grant")]
    Authority {
        /// Why the request was denied.
        error: AuthorityError,
        /// The object that decided.
        object: ObjectRevision,
    },
    /// No endpoint of Postern would accept the token, because it would be too long.
    #[error("the token is too large")]
    TooLarge,
    /// The request is correct; it cannot be answered now.
    #[error("the endpoint cannot answer now")]
    Unavailable(Unavailable),
    /// A token could not be made although the request was granted.
    #[error("the token could not be made")]
    Internal,
}

/// A malformed request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RequestError {
    /// The body is not `application/x-www-form-urlencoded` (RFC 6749 §4.4.2).
    NotAForm,
    /// There are parameters in the URL (RFC 6749 §2.3.1).
    Query,
    /// The body is longer than the limit.
    BodyTooLarge,
    /// The body did not arrive in time.
    BodyTimeout,
    /// The connection ended, or broke the transfer coding, within the body.
    BodyIncomplete,
    /// Not UTF-8 after decoding (RFC 6749 Appendix B).
    NotUtf8,
    /// A parameter is repeated (RFC 6749 §3.2).
    Repeated,
    /// More parameters than any request needs.
    TooManyParameters,
    /// `grant_type` is missing (RFC 6749 §5.2).
    MissingGrantType,
    /// `assertion` is missing (RFC 7521 §4.1).
    MissingAssertion,
    /// `client_id` is missing in a request with a token of another issuer.
    MissingClientId,
    /// `token` is missing (RFC 7662 §2.1, RFC 7009 §2.1).
    MissingToken,
    /// `touch` is neither `true` nor `false`.
    Touch,
    /// More than one way of client authentication (RFC 6749 §2.3).
    SeveralMethods,
    /// `client_id` in the body is not the client that authenticates in the header.
    ClientIdMismatch,
}

/// Why the grant does not cover the request (RFC 6749 §5.2, RFC 8707 §2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AuthorityError {
    /// The client has no permissions.
    NoPermissions,
    /// The client does not have a requested scope.
    ScopeNotGranted,
    /// No scope remains that can be granted.
    NoScope,
    /// The client does not have a requested audience.
    AudienceNotGranted,
    /// No audience was requested, the client has several and none is the default.
    AudienceAmbiguous,
    /// Several audiences were requested, and the Application allows one per token.
    SeveralAudiences,
}

/// Why a request cannot be answered now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unavailable {
    /// The first full sync is not done.
    NotSynced,
    /// The read model is older than the staleness limit.
    Stale,
    /// This replica could not catch up with the API server in time.
    Behind,
    /// Too many hashes are waiting, or too many requests.
    Overloaded,
    /// There is no install key, or no signing key of the client's algorithm.
    NoKey,
    /// Too many unknown credentials are being looked up.
    RateLimited,
    /// Too many authentications from the network of the caller have failed; it may retry after this many seconds.
    FailureLimit(NonZeroU32),
    /// Too many hashes were computed in this second.
    HashLimit,
    /// The client has requested too many tokens; it may retry after this many seconds.
    TokenLimit(NonZeroU32),
    /// Too much was recorded for the client; it may retry after this many seconds.
    TooOften(NonZeroU32),
    /// The namespace of the client has used its share of what can be recorded.
    NoRoom,
}

impl TokenError {
    /// The same for an assertion that is a grant instead of client authentication.
    pub(crate) fn of_grant(self) -> Self {
        match self {
            Self::Client(error) => Self::Grant(error),
            other => other,
        }
    }

    /// The rule that refused, as one word for the operator.
    #[must_use]
    pub fn rule(&self) -> DenialRule {
        match self {
            Self::Request(_) => DenialRule::InvalidRequest,
            Self::UnsupportedGrantType => DenialRule::UnsupportedGrantType,
            Self::Client(error) | Self::Grant(error) => error.rule(),
            Self::Proof(rule, _) | Self::Binding(rule, _) => *rule,
            Self::ScopeSyntax => DenialRule::ScopeSyntax,
            Self::TargetSyntax => DenialRule::TargetSyntax,
            Self::Authority { error, .. } => match error {
                AuthorityError::NoPermissions => DenialRule::NoPermissions,
                AuthorityError::ScopeNotGranted => DenialRule::ScopeNotGranted,
                AuthorityError::NoScope => DenialRule::NoScope,
                AuthorityError::AudienceNotGranted => DenialRule::AudienceNotGranted,
                AuthorityError::AudienceAmbiguous => DenialRule::AudienceAmbiguous,
                AuthorityError::SeveralAudiences => DenialRule::SeveralAudiences,
            },
            Self::TooLarge => DenialRule::TokenTooLarge,
            Self::Unavailable(error) => error.rule(),
            Self::Internal => DenialRule::Internal,
        }
    }

    /// The object that refused, if there is one.
    #[must_use]
    pub fn object(&self) -> Option<&ObjectRevision> {
        match self {
            Self::Client(error) | Self::Grant(error) => error.object(),
            Self::Authority { object, .. } | Self::Binding(_, object) => Some(object),
            Self::Proof(_, object) => object.as_ref(),
            Self::Request(_)
            | Self::UnsupportedGrantType
            | Self::ScopeSyntax
            | Self::TargetSyntax
            | Self::TooLarge
            | Self::Unavailable(_)
            | Self::Internal => None,
        }
    }
}

impl Unavailable {
    /// The reason, as one word.
    #[must_use]
    pub fn rule(self) -> DenialRule {
        match self {
            Self::NotSynced => DenialRule::NotSynced,
            Self::Stale => DenialRule::Stale,
            Self::Behind => DenialRule::Behind,
            Self::Overloaded => DenialRule::Overloaded,
            Self::NoKey => DenialRule::NoKey,
            Self::RateLimited => DenialRule::RateLimited,
            Self::FailureLimit(_) => DenialRule::FailureLimit,
            Self::HashLimit => DenialRule::HashLimit,
            Self::TokenLimit(_) => DenialRule::TokenLimit,
            Self::TooOften(_) => DenialRule::TooOften,
            Self::NoRoom => DenialRule::NoRoom,
        }
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.description())
    }
}

impl std::error::Error for RequestError {}

impl From<ClientError> for TokenError {
    fn from(error: ClientError) -> Self {
        Self::Client(Box::new(error))
    }
}

impl From<CatchUpError> for Unavailable {
    fn from(error: CatchUpError) -> Self {
        match error {
            CatchUpError::RateLimited => Self::RateLimited,
            CatchUpError::Behind => Self::Behind,
        }
    }
}

impl From<RecordError> for Unavailable {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::TooOften(seconds) => Self::TooOften(seconds),
            RecordError::NoRoom => Self::NoRoom,
            RecordError::Behind => Self::Behind,
        }
    }
}

impl From<Unavailable> for TokenError {
    fn from(error: Unavailable) -> Self {
        Self::Unavailable(error)
    }
}

#[cfg(test)]
mod tests;
