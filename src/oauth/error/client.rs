//! Why client authentication failed.

use crate::oauth::client_record::{Denial, ObjectRevision};
use crate::oauth::denial_rule::DenialRule;

/// Why client authentication failed. For the operator's log only: the caller does not get the reason.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ClientError {
    /// The request carries no complete credentials.
    NoCredentials,
    /// The Authorization header is malformed.
    MalformedHeader,
    /// The authentication scheme or method is not supported.
    UnsupportedMethod,
    /// The secret does not have the form of a generated one, or its checksum is wrong.
    MalformedSecret,
    /// A client assertion is refused; the object is the Application, if there is one.
    Assertion(DenialRule, Option<ObjectRevision>),
    /// A certificate is refused; the object is the Application, if there is one.
    Certificate(DenialRule, Option<ObjectRevision>),
    /// No object has the client id.
    UnknownClient,
    /// An object has the client id, and a rule disables it.
    ClientDisabled(Denial),
    /// The client has no secret with that version id; the object is the Application.
    UnknownSecret(ObjectRevision),
    /// The value does not match the verifier; the object is the ClientSecret.
    WrongSecret(ObjectRevision),
    /// The secrets of the client are locked, so the value was not checked; the object is the Application.
    Locked(ObjectRevision),
    /// No method of the client uses a secret, so the value was not checked; the object is the Application.
    SecretsNotAllowed(ObjectRevision),
    /// The value is correct, but the client may not use this authentication method.
    MethodNotAllowed(ObjectRevision),
    /// The value is correct, and a rule disables the secret.
    SecretDisabled(Denial),
    /// The value is correct, and the secret has expired.
    SecretExpired(ObjectRevision),
    /// The value is correct, and was replaced by a newer version.
    VersionRetired(ObjectRevision),
    /// The value is correct, but is not accepted from this source address.
    NetworkNotAllowed(ObjectRevision),
    /// The secret is valid, but not allowed for this purpose. The caller gets only this reason, because it has a valid
    /// secret.
    UseNotAllowed(ObjectRevision),
}

impl ClientError {
    /// The rule that refused, as one word.
    #[must_use]
    pub fn rule(&self) -> DenialRule {
        match self {
            Self::NoCredentials => DenialRule::NoCredentials,
            Self::MalformedHeader => DenialRule::MalformedHeader,
            Self::UnsupportedMethod => DenialRule::UnsupportedMethod,
            Self::MalformedSecret => DenialRule::MalformedSecret,
            Self::Assertion(rule, _) | Self::Certificate(rule, _) => *rule,
            Self::UnknownClient => DenialRule::UnknownClient,
            Self::UnknownSecret(_) => DenialRule::UnknownSecret,
            Self::WrongSecret(_) => DenialRule::WrongSecret,
            Self::Locked(_) => DenialRule::Locked,
            Self::SecretsNotAllowed(_) => DenialRule::SecretsNotAllowed,
            Self::MethodNotAllowed(_) => DenialRule::MethodNotAllowed,
            Self::ClientDisabled(refusal) | Self::SecretDisabled(refusal) => refusal.rule,
            Self::SecretExpired(_) => DenialRule::Expired,
            Self::VersionRetired(_) => DenialRule::Retired,
            Self::NetworkNotAllowed(_) => DenialRule::NetworkNotAllowed,
            Self::UseNotAllowed(_) => DenialRule::UseNotAllowed,
        }
    }

    /// The object that refused, if there is one.
    #[must_use]
    pub fn object(&self) -> Option<&ObjectRevision> {
        match self {
            Self::NoCredentials
            | Self::MalformedHeader
            | Self::UnsupportedMethod
            | Self::MalformedSecret
            | Self::UnknownClient => None,
            Self::Assertion(_, object) | Self::Certificate(_, object) => object.as_ref(),
            Self::ClientDisabled(refusal) | Self::SecretDisabled(refusal) => Some(&refusal.object),
            Self::UnknownSecret(object)
            | Self::WrongSecret(object)
            | Self::Locked(object)
            | Self::SecretsNotAllowed(object)
            | Self::MethodNotAllowed(object)
            | Self::SecretExpired(object)
            | Self::VersionRetired(object)
            | Self::NetworkNotAllowed(object)
            | Self::UseNotAllowed(object) => Some(object),
        }
    }

    /// Whether a change that this replica has not seen yet could turn this into a success.
    ///
    /// Not for a wrong value: the version that it names is known, and a version never changes its value. Not for
    /// errors that occur before a lookup.
    #[must_use]
    pub(crate) fn may_be_behind(&self) -> bool {
        match self {
            Self::NoCredentials
            | Self::MalformedHeader
            | Self::UnsupportedMethod
            | Self::MalformedSecret
            | Self::Locked(_)
            | Self::WrongSecret(_) => false,
            // A key, an issuer or a ServiceAccount that was added or replaced, or another service user.
            Self::Assertion(rule, _) => {
                matches!(
                    rule,
                    DenialRule::AssertionKeyUnknown
                        | DenialRule::AssertionSignature
                        | DenialRule::IssuerNotListed
                        | DenialRule::SubjectNotListed
                        | DenialRule::AssertionAudience
                        | DenialRule::AssertionIssuer
                        | DenialRule::ServiceAccountNotListed
                        | DenialRule::ServiceAccountDefault
                        | DenialRule::ServiceAccountRecreated
                )
            }
            // An entry or a method that was added.
            Self::Certificate(rule, _) => {
                matches!(
                    rule,
                    DenialRule::CertificateNotRegistered
                        | DenialRule::CertificateUntrusted
                        | DenialRule::CertificatePurpose
                        | DenialRule::CertificateUnknown
                )
            }
            Self::UnknownClient
            | Self::ClientDisabled(_)
            | Self::UnknownSecret(_)
            | Self::SecretsNotAllowed(_)
            | Self::MethodNotAllowed(_)
            | Self::SecretDisabled(_)
            | Self::SecretExpired(_)
            | Self::VersionRetired(_)
            | Self::NetworkNotAllowed(_)
            | Self::UseNotAllowed(_) => true,
        }
    }

    /// Whether the caller presented a correct value that a rule then refused.
    #[must_use]
    pub(crate) fn secret_matched(&self) -> bool {
        match self {
            Self::NoCredentials
            | Self::MalformedHeader
            | Self::UnsupportedMethod
            | Self::MalformedSecret
            | Self::Assertion(..)
            | Self::Certificate(..)
            | Self::UnknownClient
            | Self::ClientDisabled(_)
            | Self::UnknownSecret(_)
            | Self::SecretsNotAllowed(_)
            | Self::Locked(_)
            | Self::WrongSecret(_) => false,
            Self::MethodNotAllowed(_)
            | Self::SecretDisabled(_)
            | Self::SecretExpired(_)
            | Self::VersionRetired(_)
            | Self::NetworkNotAllowed(_)
            | Self::UseNotAllowed(_) => true,
        }
    }

    /// Whether the caller may know the reason.
    #[must_use]
    pub(crate) fn is_disclosed(&self) -> bool {
        matches!(self, Self::UseNotAllowed(_))
    }
}
