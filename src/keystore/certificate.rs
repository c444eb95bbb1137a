//! The certificate that the controller creates if the endpoint has no other.

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};

use crate::api::terminating::{finalizers, is_terminating};
use crate::crypto::ca::CertificateError;
use crate::crypto::secret::SecretValue;

/// Name of the Secret.
pub(crate) const CERTIFICATE: &str = "postern-tls";
pub(crate) const CERT: &str = "tls.crt";
pub(crate) const KEY: &str = "tls.key";
pub(crate) const CA_CERT: &str = "ca.crt";
pub(crate) const CA_KEY: &str = "ca.key";
/// The CAs before, which clients may still trust. The entry may be absent.
pub(crate) const PREVIOUS_CAS: &str = "previous-ca.crt";

/// The pair to serve, in PEM.
#[derive(Debug)]
pub struct StoredCertificate {
    /// Certificate.
    pub cert_pem: String,
    /// Private key.
    pub key_pem: SecretValue,
}

/// Why there is no certificate to serve.
#[derive(Debug, thiserror::Error)]
pub enum TlsStoreError {
    /// A request to the API server failed.
    #[error("could not {step}")]
    Api {
        /// The step that failed.
        step: &'static str,
        /// The error of the API server.
        source: Box<kube::Error>,
    },
    /// The Secret does not exist.
    #[error("Secret {CERTIFICATE} does not exist yet: the controller (`postern control`) makes it")]
    Absent,
    /// The first certificate could not be made.
    #[error("could not make a certificate")]
    Make(#[source] CertificateError),
    /// The Secret is being deleted, which is treated as deleted.
    #[error(
        "Secret {CERTIFICATE} is being deleted, and its finalizers keep it ({finalizers}): remove them from \
         metadata.finalizers to have a new certificate and CA made"
    )]
    Terminating {
        /// The finalizers of the Secret.
        finalizers: String,
    },
    /// An entry of the Secret is missing.
    #[error(
        "Secret {CERTIFICATE} is damaged (no usable `{entry}`): delete it to have a new certificate and CA made, or restore it"
    )]
    Damaged {
        /// The entry.
        entry: &'static str,
    },
    /// The content of the Secret cannot be served, or not be renewed.
    #[error("Secret {CERTIFICATE} cannot be used: delete it to have a new certificate and CA made, or restore it")]
    Unusable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Reads the pair from the Secret.
pub async fn read_certificate(client: &Client, namespace: &str) -> Result<StoredCertificate, TlsStoreError> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let found = find(&api).await?.ok_or(TlsStoreError::Absent)?;
    Ok(StoredCertificate { cert_pem: entry(&found, CERT)?, key_pem: SecretValue::new(entry(&found, KEY)?) })
}

/// The Secret, if it exists.
pub(crate) async fn find(api: &Api<Secret>) -> Result<Option<Secret>, TlsStoreError> {
    let failed = |source| TlsStoreError::Api { step: "read Secret postern-tls", source: Box::new(source) };
    match api.get_opt(CERTIFICATE).await.map_err(failed)? {
        Some(found) if is_terminating(&found.metadata) => {
            Err(TlsStoreError::Terminating { finalizers: finalizers(&found.metadata) })
        }
        found => Ok(found),
    }
}

/// A text entry of the Secret.
pub(crate) fn entry(secret: &Secret, entry: &'static str) -> Result<String, TlsStoreError> {
    let found = secret.data.as_ref().and_then(|data| data.get(entry));
    found.and_then(|bytes| String::from_utf8(bytes.0.clone()).ok()).ok_or(TlsStoreError::Damaged { entry })
}
