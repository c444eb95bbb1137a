//! Where the endpoint's certificate comes from: nowhere (plain HTTP), files, or a Secret that Postern keeps.

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use rustls::ServerConfig;
use tokio_util::sync::CancellationToken;

use super::RunError;
use crate::chain::chain;
use crate::cli::RunArgs;
use crate::clock::{Clock, SystemClock};
use crate::controller::{self, TlsStoreError};
use crate::http::tls::{TlsCertificate, TlsError, TlsFiles};
use crate::oauth::issuer::Issuer;

/// Pause before a certificate that the API server did not give is asked for again.
const RETRY: Duration = Duration::from_secs(1);
/// How often the certificate that Postern made is looked at: it is renewed months before its end, by any replica.
const LOOK_EVERY: Duration = Duration::from_mins(10);

/// What to serve with; `None` for plain HTTP. Keeps it up to date until `closing`.
pub(super) async fn source(
    args: &RunArgs,
    client: Client,
    issuer: &Issuer,
    closing: &CancellationToken,
) -> Result<Option<Arc<ServerConfig>>, RunError> {
    if args.insecure_http {
        tracing::warn!("serving plain HTTP: TLS has to be terminated in front of this process");
        return Ok(None);
    }
    let certificate = match (&args.tls_cert_file, &args.tls_key_file) {
        (Some(cert), Some(key)) => {
            let files = TlsFiles { cert: cert.clone(), key: key.clone() };
            let certificate = files.load().await?;
            tokio::spawn(files.watch(Arc::clone(&certificate), closing.clone()));
            certificate
        }
        _ => own(client, args.namespace.clone(), names(args, issuer), closing.clone()).await,
    };
    Ok(Some(certificate.server_config()?))
}

/// The certificate that Postern makes for itself, as soon as the API server lets it be kept.
async fn own(client: Client, namespace: String, names: Vec<String>, closing: CancellationToken) -> Arc<TlsCertificate> {
    let certificate = loop {
        match stored(&client, &namespace, &names, TlsCertificate::new).await {
            Ok(certificate) => break certificate,
            Err(error) => tracing::error!(error, "there is no certificate to serve with, trying again"),
        }
        tokio::time::sleep(RETRY).await;
    };
    let kept = Arc::clone(&certificate);
    tokio::spawn(async move {
        while closing.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
            let renewed = stored(&client, &namespace, &names, |cert, key| kept.replace(cert, key)).await;
            if let Err(error) = renewed {
                tracing::warn!(error, "the certificate could not be looked at; the one in use stays");
            }
        }
    });
    certificate
}

/// What `load` makes of the pair in the Secret, or a line that says which Secret it is and what to do.
async fn stored<T>(
    client: &Client,
    namespace: &str,
    names: &[String],
    load: impl FnOnce(&[u8], &[u8]) -> Result<T, TlsError>,
) -> Result<T, String> {
    let pair = controller::load_or_create_certificate(client, namespace, names, SystemClock.now()).await;
    let loaded = pair.and_then(|pair| {
        let loaded = load(pair.cert_pem.as_bytes(), pair.key_pem.expose_secret().as_bytes());
        loaded.map_err(|error| TlsStoreError::Unusable(error.into()))
    });
    loaded.map_err(|error| chain(&error))
}

/// The issuer's host, what the flag adds, and the names of this machine.
fn names(args: &RunArgs, issuer: &Issuer) -> Vec<String> {
    let url = url::Url::parse(issuer.as_str()).ok();
    let host = url.as_ref().and_then(url::Url::host_str).map(|host| host.trim_matches(['[', ']']).to_owned());
    let own = ["localhost", "127.0.0.1"].map(str::to_owned);
    let mut names: Vec<String> = host.into_iter().chain(args.tls_san.iter().cloned()).chain(own).collect();
    names.sort();
    names.dedup();
    names
}
