//! The install keys and the signing keys.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};

use crate::api::terminating::{finalizers, is_terminating};
use crate::crypto::install_key::{InstallKey, InstallKeyError, InstallKeys};
use crate::crypto::signing::{SigningAlgorithm, SigningKey};

/// The Secret with the install keys: the entry `current` names the one for new verifiers.
pub(crate) const INSTALL_KEY: &str = "postern-install-key";
pub(crate) const CURRENT: &str = "current";
/// The Secret with the signing keys: PKCS#8, one entry per algorithm.
pub(crate) const SIGNING_KEYS: &str = "postern-signing-keys";
/// The algorithms of the signing keys. RS256 is included because RFC 9068 §2.1 requires it.
pub(crate) const ALGORITHMS: [(&str, SigningAlgorithm); 2] =
    [("es256.pk8", SigningAlgorithm::Es256), ("rs256.pk8", SigningAlgorithm::Rs256)];
/// The keys in the Secrets.
pub struct StoredKeys {
    /// For verifiers.
    pub install: InstallKeys,
    /// For tokens, in the order of preference.
    pub signing: Vec<Arc<SigningKey>>,
}

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

/// Reads both Secrets.
pub async fn read_keys(client: &Client, namespace: &str) -> Result<StoredKeys, KeystoreError> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let damaged = |name| move |problem| KeystoreError::Damaged { namespace: namespace.to_owned(), name, problem };
    let install = install_keys(&get(&api, namespace, INSTALL_KEY).await?).map_err(damaged(INSTALL_KEY))?;
    let signing = signing_keys(&get(&api, namespace, SIGNING_KEYS).await?).map_err(damaged(SIGNING_KEYS))?;
    Ok(StoredKeys { install, signing })
}

async fn get(api: &Api<Secret>, namespace: &str, name: &'static str) -> Result<Data, KeystoreError> {
    let found = find(api, namespace, name).await?;
    found.ok_or_else(|| KeystoreError::Absent { namespace: namespace.to_owned(), name })
}

/// The data of one of the Secrets, if it exists.
pub(crate) async fn find(
    api: &Api<Secret>,
    namespace: &str,
    name: &'static str,
) -> Result<Option<Data>, KeystoreError> {
    let namespace = namespace.to_owned();
    match api.get_opt(name).await {
        Ok(Some(found)) if is_terminating(&found.metadata) => {
            Err(KeystoreError::Terminating { namespace, name, finalizers: finalizers(&found.metadata) })
        }
        Ok(found) => Ok(found.map(|secret| secret.data.unwrap_or_default())),
        Err(source) => Err(KeystoreError::Api { step: "read", namespace, name, source: Box::new(source) }),
    }
}

/// The install keys in a Secret, or the problem with them; never the content.
pub(crate) fn install_keys(data: &Data) -> Result<InstallKeys, String> {
    let current = data.get(CURRENT).ok_or("it has no entry `current`")?;
    let current = std::str::from_utf8(&current.0).map_err(|_| "its entry `current` is not text")?;
    let keys = data.iter().filter(|(id, _)| *id != CURRENT).map(|(id, key)| {
        let key =
            <[u8; 32]>::try_from(key.0.as_slice()).map_err(|_| format!("its entry `{id}` is not 32 bytes long"))?;
        InstallKey::new(id, key).map_err(|error: InstallKeyError| format!("its entry `{id}`: {error}"))
    });
    let keys = keys.collect::<Result<Vec<_>, _>>()?;
    InstallKeys::new(keys, current).map_err(|error| error.to_string())
}

/// The signing keys in a Secret, or the problem with them; never the content.
pub(crate) fn signing_keys(data: &Data) -> Result<Vec<Arc<SigningKey>>, String> {
    let read = |(entry, algorithm): (&str, SigningAlgorithm)| {
        let key = data.get(entry).ok_or_else(|| format!("it has no entry `{entry}`"))?;
        SigningKey::from_pkcs8(algorithm, &key.0).map(Arc::new).map_err(|error| format!("its entry `{entry}`: {error}"))
    };
    ALGORITHMS.into_iter().map(read).collect()
}
