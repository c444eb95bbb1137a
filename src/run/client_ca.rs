//! The CAs of clients' certificates (`--mtls-client-ca-file`), read again when the file changes.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::RunError;
use crate::crypto::client_ca::ClientCas;
use crate::oauth::client_auth::TrustedCas;
use crate::util::error_chain::display_chain;

/// How often the file is checked: soon enough for a person who waits for a change, and at a negligible cost.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Puts the CAs in the file into use, and again when it changes, until `closing`. If a changed file cannot be read, or
/// has no CA, the CAs in use stay: an update may be in progress.
///
/// # Errors
/// [`RunError::ClientCa`], if the first read fails.
pub(super) async fn load(file: PathBuf, cas: &TrustedCas, closing: &CancellationToken) -> Result<(), RunError> {
    let unusable = |problem| RunError::ClientCa { file: file.clone(), problem };
    let text = read(&file).await.map_err(unusable)?;
    let first = ClientCas::from_pem(&text).map_err(|error| unusable(display_chain(&error)))?;
    cas.store(Arc::new(first));
    tokio::spawn(follow(file, text, Arc::clone(cas), closing.clone()));
    Ok(())
}

async fn follow(file: PathBuf, mut in_use: String, cas: TrustedCas, closing: CancellationToken) {
    let mut reported = String::new();
    while closing.run_until_cancelled(tokio::time::sleep(POLL_INTERVAL)).await.is_some() {
        let problem = match read(&file).await {
            Ok(text) if text == in_use => String::new(),
            Ok(text) => match ClientCas::from_pem(&text) {
                Ok(new) => {
                    cas.store(Arc::new(new));
                    in_use = text;
                    tracing::info!(file = %file.display(), "new CAs of client certificates in use");
                    String::new()
                }
                Err(error) => display_chain(&error),
            },
            Err(problem) => problem,
        };
        if !problem.is_empty() && problem != reported {
            tracing::warn!(
                file = %file.display(),
                problem,
                "--mtls-client-ca-file cannot be used: the CAs that were read before stay in use"
            );
        }
        reported = problem;
    }
}

async fn read(file: &PathBuf) -> Result<String, String> {
    tokio::fs::read_to_string(file).await.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

    use super::*;

    /// A CA in PEM, and a certificate that it issued.
    fn made() -> (String, Vec<rustls::pki_types::CertificateDer<'static>>) {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let ca = params.self_signed(&key).unwrap();
        let leaf = KeyPair::generate().unwrap();
        let leaf = CertificateParams::default().signed_by(&leaf, &Issuer::new(params, key)).unwrap();
        (ca.pem(), vec![leaf.der().clone()])
    }

    #[tokio::test(start_paused = true)]
    async fn a11_a_changed_file_replaces_the_cas_and_an_unusable_one_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.crt");
        let ((first, of_first), (second, of_second)) = (made(), made());
        std::fs::write(&file, &first).unwrap();
        let closing = CancellationToken::new();
        let cas = TrustedCas::default();
        load(file.clone(), &cas, &closing).await.unwrap();
        let now = "2026-11-22T02:00:00Z".parse().unwrap();
        let trusts = |chain| cas.load().check(chain, now).is_ok();
        assert_eq!((trusts(&of_first), trusts(&of_second)), (true, false));
        for unusable in ["", "nonsense"] {
            std::fs::write(&file, unusable).unwrap();
            tokio::time::sleep(POLL_INTERVAL * 3).await;
            assert!(trusts(&of_first), "{unusable:?}");
        }
        std::fs::write(&file, &second).unwrap();
        while trusts(&of_first) {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        assert!(trusts(&of_second));
    }

    #[tokio::test]
    async fn a11_a_file_without_cas_is_refused_at_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.crt");
        let (cas, closing) = (TrustedCas::default(), CancellationToken::new());
        for text in [None, Some(""), Some("nonsense")] {
            if let Some(text) = text {
                std::fs::write(&file, text).unwrap();
            }
            assert!(load(file.clone(), &cas, &closing).await.is_err(), "{text:?}");
        }
        assert!(cas.load().check(&made().1, "2026-11-22T02:00:00Z".parse().unwrap()).is_err(), "there is no CA");
    }
}
