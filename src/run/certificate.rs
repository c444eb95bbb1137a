//! The source of the endpoint's certificate: none (plain HTTP), files, or the Secret that the controller maintains.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::RunError;
use super::process::{CERTIFICATE, Process, ReadRetry};
use crate::cli::ServeArgs;
use crate::http::tls::{TlsCertificate, TlsError, TlsFiles};
use crate::keystore::{self, TlsStoreError};
use crate::util::error_chain::display_chain;

/// Interval between two reads of the Secret: a renewed certificate is in use soon after its creation.
const POLL_INTERVAL: Duration = Duration::from_secs(10);

/// The certificate to serve; `None` for plain HTTP. Updates it until `closing`.
pub(super) async fn source(
    process: &Process,
    args: &ServeArgs,
    closing: &CancellationToken,
) -> Result<Option<Arc<TlsCertificate>>, RunError> {
    let certificate = if process.args.insecure_http {
        tracing::warn!("serving plain HTTP: TLS has to be terminated in front of this process");
        None
    } else if let (Some(cert), Some(key)) = (&args.tls_cert_file, &args.tls_key_file) {
        let files = TlsFiles { cert: cert.clone(), key: key.clone() };
        let certificate = files.load().await?;
        tokio::spawn(files.watch(Arc::clone(&certificate), closing.clone()));
        Some(certificate)
    } else {
        Some(stored(process.clone(), closing.clone()).await)
    };
    process.readiness.set(CERTIFICATE, true);
    Ok(certificate)
}

/// Waits for the certificate in the Secret.
async fn stored(process: Process, closing: CancellationToken) -> Arc<TlsCertificate> {
    process.certificate_kept.cancelled().await;
    let mut retry = ReadRetry::default();
    let certificate = loop {
        match load(&process, TlsCertificate::new).await {
            Ok(certificate) => break certificate,
            Err(error) => process.waits_for(CERTIFICATE, display_chain(&error), &mut retry),
        }
        retry.wait().await;
    };
    tokio::spawn(follow(process, Arc::clone(&certificate), closing));
    certificate
}

/// Applies the content of the Secret until `closing`.
async fn follow(process: Process, certificate: Arc<TlsCertificate>, closing: CancellationToken) {
    let mut told = String::new();
    while closing.run_until_cancelled(tokio::time::sleep(POLL_INTERVAL)).await.is_some() {
        let problem = match load(&process, |cert, key| certificate.replace(cert, key)).await {
            Ok(()) => String::new(),
            Err(error) => display_chain(&error),
        };
        if !problem.is_empty() && problem != told {
            tracing::warn!(problem, "the certificate could not be read again; the one in use stays");
        }
        told = problem;
    }
}

/// The result of `take` for the pair in the Secret.
async fn load<T>(
    process: &Process,
    take: impl FnOnce(&[u8], &[u8]) -> Result<T, TlsError>,
) -> Result<T, TlsStoreError> {
    let pair = keystore::read_certificate(&process.client, &process.args.namespace).await?;
    let taken = take(pair.cert_pem.as_bytes(), pair.key_pem.expose_secret().as_bytes());
    taken.map_err(|error| TlsStoreError::Unusable(error.into()))
}
