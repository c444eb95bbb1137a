//! Everything that can go wrong with a request; `wire` says what each looks like to the caller.

mod client;
mod wire;

use std::fmt;
use std::num::NonZeroU32;

pub use client::ClientError;
pub(crate) use wire::RETRY_AFTER_S;
pub use wire::{ErrorCode, WireError};

use crate::oauth::client::{CatchUpError, ObjectRevision, RecordError};

/// Why no token was issued.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
pub enum TokenError {
    /// The request is not one that this endpoint understands.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// `grant_type` is none of ours.
    #[error("the grant type is not supported")]
    UnsupportedGrantType,
    /// Client authentication failed.
    #[error("client authentication failed")]
    Client(Box<ClientError>),
    /// `scope` is not of the form of RFC 6749 §3.3.
    #[error("the scope is malformed")]
    ScopeSyntax,
    /// A `resource` is not an absolute URI without fragment (RFC 8707 §2).
    #[error("a resource is not an absolute URI without fragment")]
    TargetSyntax,
    /// What was asked for is outside what is held.
    #[error("the request is outside the grant")]
    Authority {
        /// In which way.
        error: AuthorityError,
        /// The object that decided.
        object: ObjectRevision,
    },
    /// So much was granted that no endpoint of ours would accept the token.
    #[error("the token is too large")]
    TooLarge,
    /// Nothing wrong with the request; it cannot be answered now.
    #[error("the endpoint cannot answer now")]
    Unavailable(Unavailable),
    /// A token could not be made although everything was in order.
    #[error("the token could not be made")]
    Internal,
}

/// A request that is wrong in itself.
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
    /// A parameter is there twice (RFC 6749 §3.2).
    Repeated,
    /// More parameters than any request needs.
    TooManyParameters,
    /// `grant_type` is missing (RFC 6749 §5.2).
    MissingGrantType,
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
    /// The client holds nothing at all.
    NothingHeld,
    /// A requested scope is not held.
    ScopeNotHeld,
    /// No scope is left to be granted.
    NoScope,
    /// A requested audience is not held.
    AudienceNotHeld,
    /// No audience was requested, several are held and none is the default.
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
    /// Too many hashes are waiting.
    Overloaded,
    /// There is no install key, or no signing key of the client's algorithm.
    NoKey,
    /// Too many unknown credentials are being looked up.
    RateLimited,
    /// The client had too much recorded; it may try again after this many seconds.
    TooOften(NonZeroU32),
    /// The namespace of the client has its share of what can be recorded.
    NoRoom,
}

impl TokenError {
    /// One word for the operator: which rule refused.
    #[must_use]
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Request(_) => "InvalidRequest",
            Self::UnsupportedGrantType => "UnsupportedGrantType",
            Self::Client(error) => error.rule(),
            Self::ScopeSyntax => "ScopeSyntax",
            Self::TargetSyntax => "TargetSyntax",
            Self::Authority { error, .. } => match error {
                AuthorityError::NothingHeld => "NothingHeld",
                AuthorityError::ScopeNotHeld => "ScopeNotHeld",
                AuthorityError::NoScope => "NoScope",
                AuthorityError::AudienceNotHeld => "AudienceNotHeld",
                AuthorityError::AudienceAmbiguous => "AudienceAmbiguous",
                AuthorityError::SeveralAudiences => "SeveralAudiences",
            },
            Self::TooLarge => "TokenTooLarge",
            Self::Unavailable(error) => error.rule(),
            Self::Internal => "Internal",
        }
    }

    /// The object that refused, where there is one.
    #[must_use]
    pub fn object(&self) -> Option<&ObjectRevision> {
        match self {
            Self::Client(error) => error.object(),
            Self::Authority { object, .. } => Some(object),
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
    /// One word: why not.
    #[must_use]
    pub fn rule(self) -> &'static str {
        match self {
            Self::NotSynced => "NotSynced",
            Self::Stale => "Stale",
            Self::Behind => "Behind",
            Self::Overloaded => "Overloaded",
            Self::NoKey => "NoKey",
            Self::RateLimited => "RateLimited",
            Self::TooOften(_) => "TooOften",
            Self::NoRoom => "NoRoom",
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
#[path = "error_tests.rs"]
mod tests;
