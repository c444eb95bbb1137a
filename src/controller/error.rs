//! Errors of a reconciliation, and how each affects the next attempt.

use kube::core::Status;

/// A failed reconciliation: the step and the object; the cause is the source.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A request to the API server failed.
    #[error("could not {step} {object}")]
    Api {
        /// The step that failed.
        step: &'static str,
        /// Kind, namespace and name.
        object: String,
        /// The error of the API server.
        source: Box<kube::Error>,
    },
    /// The delivered Secret could not be written.
    #[error("could not {step} {object}")]
    Delivery {
        /// The step that failed.
        step: &'static str,
        /// Kind, namespace and name.
        object: String,
        /// The error of the API server.
        source: Box<kube::Error>,
    },
    /// A verifier, or the MAC on a public key, could not be computed.
    #[error("could not hash the credential of {object}")]
    Hash {
        /// Kind, namespace and name.
        object: String,
        /// The cause.
        source: crate::crypto::install_key::InstallKeyError,
    },
    /// A key pair could not be generated.
    #[error("could not generate the key pair of {object}")]
    KeyPair {
        /// Kind, namespace and name.
        object: String,
        /// The cause.
        source: crate::crypto::key_pair::KeyPairError,
    },
    /// The delivered Secret changed between two reads.
    #[error("{object} changed while it was reconciled")]
    Conflict {
        /// Kind, namespace and name.
        object: String,
    },
}

impl Error {
    /// Whether the object has changed since it was read.
    pub(super) fn is_conflict(&self) -> bool {
        matches!(self, Self::Conflict { .. }) || self.answer().is_some_and(|answer| answer.code == 409)
    }

    /// The status with which the API server rejects a valid request: a quota, an admission policy, a missing
    /// permission.
    pub(super) fn refusal(&self) -> Option<&Status> {
        let answer = self.answer().filter(|_| !self.is_of_terminating_namespace());
        answer.filter(|answer| match answer.code {
            // Not found, timeout, conflict, too many requests: the next attempt can succeed.
            404 | 408 | 409 | 429 => false,
            // The API server reports an unreachable webhook as an internal error.
            code => code == 500 || (400..500).contains(&code),
        })
    }

    /// Whether the namespace is being deleted: objects can no longer be created there, and no report is necessary.
    pub(super) fn is_of_terminating_namespace(&self) -> bool {
        let details = self.answer().and_then(|answer| answer.details.as_ref());
        details.is_some_and(|details| details.causes.iter().any(|cause| cause.reason == "NamespaceTerminating"))
    }

    fn answer(&self) -> Option<&Status> {
        match self {
            Self::Api { source, .. } | Self::Delivery { source, .. } => match source.as_ref() {
                kube::Error::Api(status) => Some(status.as_ref()),
                _ => None,
            },
            Self::Hash { .. } | Self::KeyPair { .. } | Self::Conflict { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answered(code: u16) -> Error {
        let status = Status { code, ..Status::default() };
        let source = Box::new(kube::Error::Api(Box::new(status)));
        Error::Delivery { step: "create", object: "Secret billing/blue".to_owned(), source }
    }

    #[test]
    fn an_error_of_a_terminating_namespace_is_not_a_refusal() {
        let details = serde_json::from_value(json!({"causes": [{"reason": "NamespaceTerminating"}]})).unwrap();
        let status = Status { code: 403, details: Some(details), ..Status::default() };
        let source = Box::new(kube::Error::Api(Box::new(status)));
        let error = Error::Delivery { step: "create", object: "Secret billing/blue".to_owned(), source };
        assert!(error.is_of_terminating_namespace() && error.refusal().is_none());
        assert!(!answered(403).is_of_terminating_namespace());
    }

    #[test]
    fn the_log_has_the_message_and_the_reason_of_the_api_server() {
        let (message, reason) = ("secrets is forbidden".to_owned(), "Forbidden".to_owned());
        let status = Status { message, reason, code: 403, ..Status::default() };
        let said = crate::util::error_chain::display_chain(&kube::Error::Api(Box::new(status)));
        assert_eq!(said, "ApiError: secrets is forbidden: Forbidden");
    }

    #[test]
    fn rejected_requests_are_refusals_and_conflicts_or_temporary_errors_are_not() {
        // Forbidden by quota, policy or RBAC; invalid; denied by a webhook; an unreachable webhook.
        for code in [400, 403, 413, 422, 500] {
            assert!(answered(code).refusal().is_some() && !answered(code).is_conflict(), "{code}");
        }
        // Not found; conflict; too many requests; temporarily unavailable.
        for code in [404, 408, 409, 429, 503, 504] {
            assert!(answered(code).refusal().is_none(), "{code}");
        }
        assert!(answered(409).is_conflict());
    }
}
