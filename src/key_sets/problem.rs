//! Why a key set is missing or old, for the tenant.

use super::document::KEYS_MAX;
use super::schedule::SOURCES_MAX;
use crate::outbound::RequestError;

/// Why a key set is missing, empty or old. Its message is for the tenant: see [`RequestError`] for what it does not reveal.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum Problem {
    /// The set could not be requested.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The response is not JSON with a list `keys`.
    #[error("the response is not a JWK Set (RFC 7517)")]
    NotAKeySet,
    /// The set contains a private or symmetric key.
    #[error("the set contains a private or symmetric key, so none of its keys is used")]
    PrivateKey,
    /// The set has too many keys.
    #[error("the set has {0} keys, which is more than {KEYS_MAX}, so none is used")]
    TooManyKeys(usize),
    /// The set has no key that can verify assertions.
    #[error("the set has no key that can verify assertions")]
    NoUsableKey,
    /// The response is not the metadata of an issuer.
    #[error("the response is not the metadata of an issuer (OpenID Connect Discovery)")]
    NotMetadata,
    /// The metadata is that of another issuer.
    #[error("its metadata names another issuer")]
    OtherIssuer,
    /// The key set that the metadata of an issuer names could not be requested.
    #[error("{error} ({host}, from jwks_uri of its metadata)")]
    KeysOfIssuer {
        /// Host of `jwks_uri`.
        host: String,
        /// Why.
        error: RequestError,
    },
    /// The namespace has too many sources.
    #[error("older Applications of this namespace have {SOURCES_MAX} other URLs and issuers")]
    TooManySources,
}

impl Problem {
    /// What to do about it, as a sentence. `host` is that of the source.
    #[must_use]
    pub fn remedy(&self, host: &str) -> String {
        match self {
            Self::Request(error) => remedy_of_request(error, host),
            Self::KeysOfIssuer { host, error } => remedy_of_request(error, host),
            Self::NotAKeySet | Self::NotMetadata => CORRECT_RESPONSE.to_owned(),
            Self::OtherIssuer => "Write the issuer exactly as in its metadata.".to_owned(),
            Self::PrivateKey => "Remove the key from the URL, and replace it: it has been shown.".to_owned(),
            Self::TooManyKeys(_) => "Remove keys that are no longer used.".to_owned(),
            Self::NoUsableKey => {
                "Publish a key of the type EC (P-256), RSA or OKP (Ed25519), with a kid of at most 128 visible ASCII \
                                   characters."
                    .to_owned()
            }
            Self::TooManySources => "Publish several keys at one URL, or use spec.auth.jwks.".to_owned(),
        }
    }

    /// Whether the keys exist and this process may receive them later, without a change of the configuration.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        let error = match self {
            Self::TooManySources => return false,
            Self::Request(error) | Self::KeysOfIssuer { error, .. } => error,
            _ => return true,
        };
        !matches!(error, RequestError::Url | RequestError::HostNotAllowed)
    }
}

const CORRECT_RESPONSE: &str = "Correct the response of the host.";

fn remedy_of_request(error: &RequestError, host: &str) -> String {
    match error {
        RequestError::Url => "Give an https URL without user and fragment.".to_owned(),
        RequestError::HostNotAllowed => format!("Ask the operator to add {host} to --outbound-hosts."),
        RequestError::NoAddress(_) => {
            "Correct the name. If its address is not public, ask the operator to add its network to \
                                       --outbound-private-networks."
                .to_owned()
        }
        RequestError::Unreachable(_) => {
            "Check that the host accepts https connections of Postern. If its certificate has no \
                                         public CA, ask the operator to add the CA to --outbound-ca-file."
                .to_owned()
        }
        _ => CORRECT_RESPONSE.to_owned(),
    }
}
