//! Reads of the Secrets, and why keys are not available.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;

use crate::api::terminating::{finalizers, is_terminating};

/// Why no keys are available.
#[derive(Debug, thiserror::Error)]
pub enum KeystoreError {
    /// A request to the API server failed.
    #[error("could not {step} Secret {namespace}/{name}")]
    Api {
        /// The step that failed.
        step: &'static str,
        /// The operator's namespace.
        namespace: String,
        /// Name of the Secret.
        name: &'static str,
        /// The error of the API server.
        source: Box<kube::Error>,
    },
    /// The Secret does not exist.
    #[error("Secret {namespace}/{name} does not exist yet: the controller (`postern control`) makes it")]
    Absent {
        /// The operator's namespace.
        namespace: String,
        /// Name of the Secret.
        name: &'static str,
    },
    /// Credentials exist whose key is missing.
    #[error(
        "Secret {namespace}/{name} is missing although credentials exist: restore it from a backup; it is not made anew, \
         because that would end every credential (docs/operations.md)"
    )]
    Missing {
        /// The operator's namespace.
        namespace: String,
        /// Name of the Secret.
        name: &'static str,
    },
    /// The Secret is being deleted, which is treated as deleted.
    #[error(
        "Secret {namespace}/{name} is being deleted, and its finalizers keep it ({finalizers}): save a copy of it, remove them \
         from metadata.finalizers, and restore it from the copy (docs/operations.md)"
    )]
    Terminating {
        /// The operator's namespace.
        namespace: String,
        /// Name of the Secret.
        name: &'static str,
        /// The finalizers of the Secret.
        finalizers: String,
    },
    /// The Secret exists but cannot be used.
    #[error("Secret {namespace}/{name} is damaged ({problem}): restore it from a backup (docs/operations.md)")]
    Damaged {
        /// The operator's namespace.
        namespace: String,
        /// Name of the Secret.
        name: &'static str,
        /// The problem; never the content.
        problem: String,
    },
}

pub(crate) type Data = BTreeMap<String, ByteString>;

/// One of the Secrets, if it exists.
pub(crate) async fn find(
    api: &Api<Secret>,
    namespace: &str,
    name: &'static str,
) -> Result<Option<Secret>, KeystoreError> {
    let namespace = namespace.to_owned();
    match api.get_opt(name).await {
        Ok(Some(found)) if is_terminating(&found.metadata) => {
            Err(KeystoreError::Terminating { namespace, name, finalizers: finalizers(&found.metadata) })
        }
        Ok(found) => Ok(found),
        Err(source) => Err(KeystoreError::Api { step: "read", namespace, name, source: Box::new(source) }),
    }
}
