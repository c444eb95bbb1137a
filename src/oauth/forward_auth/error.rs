//! All reasons to refuse a request, and the only place that defines what the caller gets for each (RFC 6750 §3).

use std::fmt;
use std::num::NonZeroU32;

use crate::crypto::public_key;
use crate::oauth::access_token::{TokenFault, VerifyError};
use crate::oauth::authorization_header::{HeaderError, TokenScheme};
use crate::oauth::client_record::ObjectRevision;
use crate::oauth::denial_rule::DenialRule;
use crate::oauth::dpop::{ProofError, wants_nonce};
use crate::oauth::error::{ClientError, ErrorCode, TokenError, Unavailable};
use crate::oauth::response::ErrorBody;

/// Why a request is refused.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
pub enum AccessError {
    /// It has no credentials that are supported here.
    #[error("the request carries no credentials")]
    NoCredentials,
    /// The request of the proxy is malformed.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// Id and secret are not those of a client, or may not be used here.
    #[error("client authentication failed")]
    Client(Box<ClientError>),
    /// The token was not issued by Postern, or is no longer valid.
    #[error("the access token is not accepted")]
    Token(#[from] TokenFault),
    /// The DPoP proof is missing or refused.
    #[error("the DPoP proof is not accepted")]
    Proof(DenialRule),
    /// The caller is authenticated, but does not have what is required.
    #[error("what is required is not granted")]
    Insufficient {
        /// What the caller does not have.
        missing: Missing,
        /// The required scopes.
        scope: Option<String>,
        /// The object that lacks it; `None`: a token, which carries what it was granted.
        object: Option<ObjectRevision>,
    },
    /// The request is correct; it cannot be answered now.
    #[error("the endpoint cannot answer now")]
    Unavailable(Unavailable),
}

/// A malformed request. It is the proxy's fault, except for the first variant.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Malformed {
    /// More than one Authorization header.
    SeveralHeaders,
    /// The query contains something other than `audience`, `scope` and `anyone`, or a repeated, empty or malformed
    /// parameter.
    Query,
    /// No audience is required, or one is required together with `anyone`.
    NoAudience,
    /// A query where none is allowed.
    AnyQuery,
    /// The proxy did not send the method and the URL of the original request, which a DPoP proof is for.
    OriginalRequest,
    /// A header of Postern has an unknown name, is repeated, empty or malformed, or is sent to a URL that reads the
    /// query.
    Header,
}

/// What the caller does not have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Missing {
    /// The audience.
    Audience,
    /// A scope, at that audience.
    Scope,
}

/// What the proxy and its caller get for an [`AccessError`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AccessResponse {
    /// HTTP status.
    pub status: u16,
    /// `error`; without one the body is empty (RFC 6750 §3.1).
    pub code: Option<&'static str>,
    /// `error_description`: constant text, so that no input is echoed.
    pub description: &'static str,
    /// Values of `WWW-Authenticate`.
    pub challenges: Vec<String>,
    /// `Retry-After` in seconds.
    pub retry_after_s: Option<NonZeroU32>,
}

/// RFC 7617 §2.
const BASIC: &str = r#"Basic realm="postern", charset="UTF-8""#;
/// RFC 6750 §3.
const BEARER: &str = r#"Bearer realm="postern""#;

/// The challenge of a scheme for tokens (RFC 6750 §3, RFC 9449 §7.1).
fn challenge(scheme: TokenScheme) -> String {
    match scheme {
        TokenScheme::Bearer => BEARER.to_owned(),
        TokenScheme::Dpop => format!(r#"DPoP realm="postern", algs="{}""#, public_key::ALGORITHMS.join(" ")),
    }
}

impl AccessResponse {
    /// The JSON body, if there is one.
    #[must_use]
    pub fn body(&self) -> Option<Vec<u8>> {
        let body = ErrorBody { error: self.code?, error_description: self.description };
        Some(serde_json::to_vec(&body).unwrap_or_default())
    }
}

impl From<HeaderError> for AccessError {
    fn from(error: HeaderError) -> Self {
        match error {
            HeaderError::Absent => Self::NoCredentials,
            HeaderError::Several => Malformed::SeveralHeaders.into(),
        }
    }
}

/// `error` for a refused proof.
fn proof_code(rule: DenialRule) -> &'static str {
    if wants_nonce(rule) { ErrorCode::UseDpopNonce.as_str() } else { ErrorCode::InvalidDpopProof.as_str() }
}

impl AccessError {
    /// The answer to this error of a request with this scheme.
    #[must_use]
    pub fn to_response(&self, scheme: TokenScheme) -> AccessResponse {
        let (status, code, description) = match self {
            Self::NoCredentials => (401, None, ""),
            Self::Malformed(error) => (400, Some("invalid_request"), error.description()),
            Self::Client(error) if error.is_disclosed() => {
                (403, Some("unauthorized_client"), "this secret may not be used for this")
            }
            // The same answer for every other reason, as at the token endpoint.
            Self::Client(_) => (401, Some("invalid_client"), "client authentication failed"),
            Self::Token(_) => (401, Some("invalid_token"), "the access token is not valid here, or not any more"),
            Self::Proof(rule) => (401, Some(proof_code(*rule)), rule.meaning()),
            Self::Insufficient { .. } => {
                (403, Some("insufficient_scope"), "the required scope or audience is not granted")
            }
            Self::Unavailable(error) => (error.status(), Some("temporarily_unavailable"), error.description()),
        };
        let retry_after_s = match self {
            Self::Unavailable(error) => Some(error.retry_after_s()),
            _ => None,
        };
        AccessResponse { status, code, description, challenges: self.challenges(scheme), retry_after_s }
    }

    fn challenges(&self, scheme: TokenScheme) -> Vec<String> {
        let token = challenge(scheme);
        match self {
            Self::NoCredentials => vec![BASIC.to_owned(), BEARER.to_owned(), challenge(TokenScheme::Dpop)],
            Self::Malformed(_) => vec![format!(r#"{token}, error="invalid_request""#)],
            Self::Client(error) if error.is_disclosed() => vec![],
            Self::Client(_) => vec![BASIC.to_owned()],
            // The token is good for the other scheme (RFC 9449 §7.2).
            Self::Token(TokenFault::Bound) => {
                vec![format!(r#"{token}, error="invalid_token""#), challenge(TokenScheme::Dpop)]
            }
            Self::Token(_) => vec![format!(r#"{token}, error="invalid_token""#)],
            Self::Proof(rule) => vec![format!(r#"{token}, error="{}""#, proof_code(*rule))],
            // Scope-tokens contain neither quotes nor backslashes, and these come from the proxy.
            Self::Insufficient { scope: Some(scope), .. } => {
                vec![format!(r#"{token}, error="insufficient_scope", scope="{scope}""#)]
            }
            Self::Insufficient { scope: None, .. } => vec![format!(r#"{token}, error="insufficient_scope""#)],
            Self::Unavailable(_) => vec![],
        }
    }

    /// The rule that refused, as one word for the operator.
    #[must_use]
    pub fn rule(&self) -> DenialRule {
        match self {
            Self::NoCredentials => DenialRule::NoCredentials,
            Self::Malformed(_) => DenialRule::InvalidRequest,
            Self::Client(error) => error.rule(),
            Self::Token(fault) => fault.rule(),
            Self::Proof(rule) => *rule,
            Self::Insufficient { missing: Missing::Audience, .. } => DenialRule::AudienceNotGranted,
            Self::Insufficient { missing: Missing::Scope, .. } => DenialRule::ScopeNotGranted,
            Self::Unavailable(error) => error.rule(),
        }
    }

    /// The object that refused, if there is one.
    #[must_use]
    pub fn object(&self) -> Option<&ObjectRevision> {
        match self {
            Self::Client(error) => error.object(),
            Self::Token(fault) => fault.object(),
            Self::Insufficient { object, .. } => object.as_ref(),
            Self::NoCredentials | Self::Malformed(_) | Self::Proof(_) | Self::Unavailable(_) => None,
        }
    }
}

impl Malformed {
    fn description(self) -> &'static str {
        match self {
            Self::SeveralHeaders => "more than one Authorization header",
            Self::Query => {
                "the query may hold audience, scope and anyone=true, each once and with a value, and nothing else"
            }
            Self::NoAudience => "either an audience or anyone=true is required",
            Self::AnyQuery => "the query must be empty",
            Self::OriginalRequest => {
                "a DPoP proof is for the original request: the proxy must send X-Forwarded-Method, -Proto, -Host and \
                 -Uri (below /auth/request only -Proto), each once"
            }
            Self::Header => {
                "of the headers X-Postern- only X-Postern-Require-Audience, -Scope and -Anyone (true) are understood, \
                 each at most once and with a value, and only below /auth/request"
            }
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.description())
    }
}

impl std::error::Error for Malformed {}

impl From<Unavailable> for AccessError {
    fn from(error: Unavailable) -> Self {
        Self::Unavailable(error)
    }
}

/// A token that is bound to another key is the fault of the token (RFC 9449 §7.1).
impl From<ProofError> for AccessError {
    fn from(error: ProofError) -> Self {
        match error {
            ProofError::Refused(DenialRule::ProofOtherKey) => Self::Token(TokenFault::OtherKey),
            ProofError::Refused(rule) => Self::Proof(rule),
            ProofError::Unavailable(error) => Self::Unavailable(error),
        }
    }
}

impl From<VerifyError> for AccessError {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::Fault(fault) => Self::Token(fault),
            VerifyError::Unavailable(error) => Self::Unavailable(error),
        }
    }
}

/// Errors of Basic credentials.
impl From<TokenError> for AccessError {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Client(error) => Self::Client(error),
            TokenError::Unavailable(error) => Self::Unavailable(error),
            // These belong to token requests; forward authentication grants nothing.
            TokenError::Request(_)
            | TokenError::Proof(..)
            | TokenError::Binding(..)
            | TokenError::UnsupportedGrantType
            | TokenError::Grant(_)
            | TokenError::ScopeSyntax
            | TokenError::TargetSyntax
            | TokenError::Authority { .. }
            | TokenError::TooLarge
            | TokenError::Internal => Self::Client(Box::new(ClientError::MalformedHeader)),
        }
    }
}
