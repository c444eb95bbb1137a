//! Everything that can go wrong with a request, and the one place that says what each looks like on the wire.

use std::fmt;
use std::num::NonZeroU32;

use crate::oauth::client::{CatchUpError, ObjectRevision, Refusal};

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
    /// The token was issued to another client (RFC 7009 §2.1).
    #[error("the token was issued to another client")]
    ForeignToken,
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

/// Why client authentication failed. For the operator's log: the caller is told nothing of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ClientError {
    /// The request carries no complete credentials.
    NoCredentials,
    /// The Authorization header cannot be read.
    MalformedHeader,
    /// An authentication scheme or method that does not exist here.
    UnsupportedMethod,
    /// The secret does not have the form of a generated one, or its checksum is wrong.
    MalformedSecret,
    /// No object claims the client id.
    UnknownClient,
    /// An object claims the client id, and a rule closes it.
    ClientClosed(Refusal),
    /// The client has no secret with that version id; the object is the Application.
    UnknownSecret(ObjectRevision),
    /// The value does not match the verifier; the object is the ClientSecret.
    WrongSecret(ObjectRevision),
    /// The value is right, the way it was sent is not allowed for this client.
    MethodNotAllowed(ObjectRevision),
    /// The value is right, and a rule closes the secret.
    SecretClosed(Refusal),
    /// The value is right, and the secret has expired.
    SecretExpired(ObjectRevision),
    /// The value is right, and was replaced by a newer version.
    VersionRetired(ObjectRevision),
    /// The value is right, and does not work from where it was sent.
    NetworkNotAllowed(ObjectRevision),
    /// Everything is right, but the secret is not for what it was used for. The one reason that the caller is told: it
    /// holds a secret that is in force.
    UseNotAllowed(ObjectRevision),
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
}

/// `error` of an error response (RFC 6749 §5.2, RFC 8707 §2, and for 429, 500 and 503 the codes of §4.1.2.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "the names are the protocol's own")]
pub enum ErrorCode {
    InvalidRequest,
    InvalidClient,
    UnauthorizedClient,
    UnsupportedGrantType,
    InvalidScope,
    InvalidTarget,
    ServerError,
    TemporarilyUnavailable,
}

impl ErrorCode {
    /// The code as it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
            Self::ServerError => "server_error",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
        }
    }
}

/// What the caller sees of a [`TokenError`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct WireError {
    /// HTTP status.
    pub status: u16,
    /// `error`
    pub code: ErrorCode,
    /// `error_description`: constant text, so that no input is ever echoed.
    pub description: &'static str,
    /// `Retry-After` in seconds.
    pub retry_after_s: Option<NonZeroU32>,
}

/// Long enough to spread a burst, short enough to go unnoticed.
pub(crate) const RETRY_AFTER_S: NonZeroU32 = NonZeroU32::MIN;

impl TokenError {
    /// The answer to this error.
    #[must_use]
    pub fn on_the_wire(&self) -> WireError {
        use ErrorCode as Code;
        let (status, code, description) = match self {
            Self::Request(error) => (error.status(), Code::InvalidRequest, error.description()),
            Self::UnsupportedGrantType => (400, Code::UnsupportedGrantType, "this grant_type is not supported"),
            Self::Client(error) if error.is_told() => {
                (400, Code::UnauthorizedClient, "this secret may not be used here")
            }
            // One answer for every other reason: who fails learns nothing about which clients and secrets exist.
            Self::Client(_) => (401, Code::InvalidClient, "client authentication failed"),
            Self::ScopeSyntax => (400, Code::InvalidScope, "scope must be scope-tokens with single spaces between"),
            Self::TargetSyntax => (400, Code::InvalidTarget, "resource must be an absolute URI without fragment"),
            Self::Authority { error, .. } => match error {
                AuthorityError::NothingHeld => (400, Code::InvalidScope, "the client holds no scope"),
                AuthorityError::ScopeNotHeld => (400, Code::InvalidScope, "a requested scope is not held"),
                AuthorityError::NoScope => (400, Code::InvalidScope, "no scope can be granted for this audience"),
                AuthorityError::AudienceNotHeld => (400, Code::InvalidTarget, "a requested audience is not held"),
                AuthorityError::AudienceAmbiguous => {
                    (400, Code::InvalidTarget, "several audiences are held: name one with resource or audience")
                }
                AuthorityError::SeveralAudiences => {
                    (400, Code::InvalidTarget, "only one audience per token is allowed")
                }
            },
            Self::ForeignToken => (400, Code::UnauthorizedClient, "the token was issued to another client"),
            Self::Unavailable(Unavailable::RateLimited) => {
                (429, Code::TemporarilyUnavailable, "too many unknown credentials, try again")
            }
            Self::Unavailable(_) => (503, Code::TemporarilyUnavailable, "the endpoint cannot answer now, try again"),
            Self::Internal => (500, Code::ServerError, "the token could not be made"),
        };
        let retry_after_s = matches!(self, Self::Unavailable(_)).then_some(RETRY_AFTER_S);
        WireError { status, code, description, retry_after_s }
    }

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
            Self::ForeignToken => "ForeignToken",
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
            | Self::ForeignToken
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

    fn description(self) -> &'static str {
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
            Self::MissingToken => "token is missing",
            Self::Touch => "touch must be true or false",
            Self::SeveralMethods => "more than one client authentication method in one request",
            Self::ClientIdMismatch => "client_id differs from the client in the Authorization header",
        }
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.description())
    }
}

impl std::error::Error for RequestError {}

impl ClientError {
    /// One word: which rule refused.
    #[must_use]
    pub fn rule(&self) -> &'static str {
        match self {
            Self::NoCredentials => "NoCredentials",
            Self::MalformedHeader => "MalformedHeader",
            Self::UnsupportedMethod => "UnsupportedMethod",
            Self::MalformedSecret => "MalformedSecret",
            Self::UnknownClient => "UnknownClient",
            Self::UnknownSecret(_) => "UnknownSecret",
            Self::WrongSecret(_) => "WrongSecret",
            Self::MethodNotAllowed(_) => "MethodNotAllowed",
            Self::ClientClosed(refusal) | Self::SecretClosed(refusal) => refusal.rule,
            Self::SecretExpired(_) => "Expired",
            Self::VersionRetired(_) => "Retired",
            Self::NetworkNotAllowed(_) => "NetworkNotAllowed",
            Self::UseNotAllowed(_) => "UseNotAllowed",
        }
    }

    /// The object that refused, where there is one.
    #[must_use]
    pub fn object(&self) -> Option<&ObjectRevision> {
        match self {
            Self::NoCredentials
            | Self::MalformedHeader
            | Self::UnsupportedMethod
            | Self::MalformedSecret
            | Self::UnknownClient => None,
            Self::ClientClosed(refusal) | Self::SecretClosed(refusal) => Some(&refusal.object),
            Self::UnknownSecret(object)
            | Self::WrongSecret(object)
            | Self::MethodNotAllowed(object)
            | Self::SecretExpired(object)
            | Self::VersionRetired(object)
            | Self::NetworkNotAllowed(object)
            | Self::UseNotAllowed(object) => Some(object),
        }
    }

    /// Whether a change that this replica has not seen yet could turn this into a success.
    ///
    /// Not for a wrong value: the version it claims to be is known, and a version never changes its value. Not for
    /// what never reached a lookup.
    #[must_use]
    pub(crate) fn may_be_behind(&self) -> bool {
        match self {
            Self::NoCredentials
            | Self::MalformedHeader
            | Self::UnsupportedMethod
            | Self::MalformedSecret
            | Self::WrongSecret(_) => false,
            Self::UnknownClient
            | Self::ClientClosed(_)
            | Self::UnknownSecret(_)
            | Self::MethodNotAllowed(_)
            | Self::SecretClosed(_)
            | Self::SecretExpired(_)
            | Self::VersionRetired(_)
            | Self::NetworkNotAllowed(_)
            | Self::UseNotAllowed(_) => true,
        }
    }

    /// Whether whoever sent the request showed a right value, which a rule then refused.
    #[must_use]
    pub(crate) fn value_was_right(&self) -> bool {
        match self {
            Self::NoCredentials
            | Self::MalformedHeader
            | Self::UnsupportedMethod
            | Self::MalformedSecret
            | Self::UnknownClient
            | Self::ClientClosed(_)
            | Self::UnknownSecret(_)
            | Self::WrongSecret(_) => false,
            Self::MethodNotAllowed(_)
            | Self::SecretClosed(_)
            | Self::SecretExpired(_)
            | Self::VersionRetired(_)
            | Self::NetworkNotAllowed(_)
            | Self::UseNotAllowed(_) => true,
        }
    }

    /// Whether the caller may know the reason.
    #[must_use]
    pub(crate) fn is_told(&self) -> bool {
        matches!(self, Self::UseNotAllowed(_))
    }
}

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

impl From<Unavailable> for TokenError {
    fn from(error: Unavailable) -> Self {
        Self::Unavailable(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every error, each from the one before it: a variant that is missing here does not compile.
    fn every_error() -> Vec<TokenError> {
        std::iter::successors(Some(TokenError::UnsupportedGrantType), after).collect()
    }

    fn object() -> ObjectRevision {
        ObjectRevision { kind: "ClientSecret", namespace: "billing".into(), name: "blue".into(), resource_version: 7 }
    }

    fn refusal() -> Refusal {
        Refusal { rule: "Revoked", object: object() }
    }

    fn after(error: &TokenError) -> Option<TokenError> {
        let authority = |error| TokenError::Authority { error, object: object() };
        Some(match error {
            TokenError::UnsupportedGrantType => TokenError::ScopeSyntax,
            TokenError::ScopeSyntax => TokenError::TargetSyntax,
            TokenError::TargetSyntax => TokenError::ForeignToken,
            TokenError::ForeignToken => TokenError::Internal,
            TokenError::Internal => RequestError::NotAForm.into(),
            TokenError::Request(error) => match error {
                RequestError::NotAForm => RequestError::Query.into(),
                RequestError::Query => RequestError::BodyTooLarge.into(),
                RequestError::BodyTooLarge => RequestError::BodyTimeout.into(),
                RequestError::BodyTimeout => RequestError::BodyIncomplete.into(),
                RequestError::BodyIncomplete => RequestError::NotUtf8.into(),
                RequestError::NotUtf8 => RequestError::Repeated.into(),
                RequestError::Repeated => RequestError::TooManyParameters.into(),
                RequestError::TooManyParameters => RequestError::MissingGrantType.into(),
                RequestError::MissingGrantType => RequestError::MissingToken.into(),
                RequestError::MissingToken => RequestError::Touch.into(),
                RequestError::Touch => RequestError::SeveralMethods.into(),
                RequestError::SeveralMethods => RequestError::ClientIdMismatch.into(),
                RequestError::ClientIdMismatch => ClientError::NoCredentials.into(),
            },
            TokenError::Client(error) => match **error {
                ClientError::NoCredentials => ClientError::MalformedHeader.into(),
                ClientError::MalformedHeader => ClientError::UnsupportedMethod.into(),
                ClientError::UnsupportedMethod => ClientError::MalformedSecret.into(),
                ClientError::MalformedSecret => ClientError::UnknownClient.into(),
                ClientError::UnknownClient => ClientError::ClientClosed(refusal()).into(),
                ClientError::ClientClosed(_) => ClientError::UnknownSecret(object()).into(),
                ClientError::UnknownSecret(_) => ClientError::WrongSecret(object()).into(),
                ClientError::WrongSecret(_) => ClientError::MethodNotAllowed(object()).into(),
                ClientError::MethodNotAllowed(_) => ClientError::SecretClosed(refusal()).into(),
                ClientError::SecretClosed(_) => ClientError::SecretExpired(object()).into(),
                ClientError::SecretExpired(_) => ClientError::VersionRetired(object()).into(),
                ClientError::VersionRetired(_) => ClientError::NetworkNotAllowed(object()).into(),
                ClientError::NetworkNotAllowed(_) => ClientError::UseNotAllowed(object()).into(),
                ClientError::UseNotAllowed(_) => authority(AuthorityError::NothingHeld),
            },
            TokenError::Authority { error, .. } => match error {
                AuthorityError::NothingHeld => authority(AuthorityError::ScopeNotHeld),
                AuthorityError::ScopeNotHeld => authority(AuthorityError::NoScope),
                AuthorityError::NoScope => authority(AuthorityError::AudienceNotHeld),
                AuthorityError::AudienceNotHeld => authority(AuthorityError::AudienceAmbiguous),
                AuthorityError::AudienceAmbiguous => authority(AuthorityError::SeveralAudiences),
                AuthorityError::SeveralAudiences => Unavailable::NotSynced.into(),
            },
            TokenError::Unavailable(error) => match error {
                Unavailable::NotSynced => Unavailable::Stale.into(),
                Unavailable::Stale => Unavailable::Behind.into(),
                Unavailable::Behind => Unavailable::Overloaded.into(),
                Unavailable::Overloaded => Unavailable::NoKey.into(),
                Unavailable::NoKey => Unavailable::RateLimited.into(),
                Unavailable::RateLimited => return None,
            },
        })
    }

    #[test]
    fn r4_descriptions_are_printable_ascii_without_quotes_and_backslashes() {
        for error in every_error() {
            let wire = error.on_the_wire();
            let allowed = |byte: u8| matches!(byte, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e);
            assert!(wire.description.bytes().all(allowed), "{}", wire.description);
        }
    }

    #[test]
    fn r4_errors_are_400_except_invalid_client_and_what_is_not_about_the_protocol() {
        for error in every_error() {
            let wire = error.on_the_wire();
            let expected: &[u16] = match wire.code {
                ErrorCode::InvalidClient => &[401],
                ErrorCode::TemporarilyUnavailable => &[429, 503],
                ErrorCode::ServerError => &[500],
                ErrorCode::InvalidRequest => &[400, 408, 413],
                _ => &[400],
            };
            assert!(expected.contains(&wire.status), "{error:?}: {}", wire.status);
        }
    }

    #[test]
    fn a4_every_failed_authentication_looks_alike() {
        let answers: Vec<WireError> = every_error()
            .iter()
            .filter(|error| matches!(error, TokenError::Client(error) if !error.is_told()))
            .map(TokenError::on_the_wire)
            .collect();
        assert!(answers.len() > 1 && answers.windows(2).all(|pair| pair[0] == pair[1]));
    }

    #[test]
    fn r6_who_may_come_again_is_told_when() {
        for error in every_error() {
            let wire = error.on_the_wire();
            assert_eq!(wire.retry_after_s.is_some(), matches!(wire.status, 429 | 503), "{error:?}");
        }
    }

    #[test]
    fn rules_are_one_word() {
        for error in every_error() {
            assert!(error.rule().bytes().all(|byte| byte.is_ascii_alphanumeric()), "{}", error.rule());
        }
    }
}
