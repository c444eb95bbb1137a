//! Why client authentication failed.

use crate::oauth::client::{ObjectRevision, Refusal};

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
