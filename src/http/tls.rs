//! The endpoint's certificate: replaced while serving, from PEM or from files that are re-read when they change.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{InconsistentKeys, ServerConfig};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::crypto::process_mac;
use crate::crypto::process_mac::Mac;
use crate::http::any_client_certificate::AnyClientCertificate;

/// How often files are checked: soon enough for a person who waits for a change, and at a negligible cost.
const POLL_EVERY: Duration = Duration::from_secs(1);

/// Why a certificate is not usable.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The first text contains no certificate.
    #[error("the certificate file holds no certificate in PEM")]
    NoCertificate,
    /// The second text contains no private key.
    #[error("the key file holds no private key in PEM")]
    NoKey,
    /// Certificate and key do not match.
    #[error("the key does not belong to the certificate")]
    Mismatch,
    /// rustls cannot use them.
    #[error("the certificate or its key cannot be used")]
    Unusable(#[source] rustls::Error),
    /// A file cannot be read.
    #[error("could not read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
}

/// The current certificate. Open connections keep the one they started with.
pub struct TlsCertificate {
    current: ArcSwap<CertifiedKey>,
}

impl TlsCertificate {
    /// Starts with this pair: a chain with the leaf first, and its key.
    ///
    /// # Errors
    /// [`TlsError`]
    pub fn new(cert_pem: &[u8], key_pem: &[u8]) -> Result<Arc<Self>, TlsError> {
        let current = ArcSwap::from_pointee(read_pair(cert_pem, key_pem)?);
        Ok(Arc::new(Self { current }))
    }

    /// Replaces the pair. On an error the current pair stays.
    ///
    /// # Errors
    /// [`TlsError`]
    pub fn replace(&self, cert_pem: &[u8], key_pem: &[u8]) -> Result<(), TlsError> {
        self.current.store(Arc::new(read_pair(cert_pem, key_pem)?));
        Ok(())
    }

    /// A configuration that uses it: TLS 1.3 and 1.2 with the suites of RFC 9325, HTTP/2 and HTTP/1.1 by ALPN.
    ///
    /// # Errors
    /// [`TlsError::Unusable`]
    pub fn server_config(self: &Arc<Self>) -> Result<Arc<ServerConfig>, TlsError> {
        self.config(WebPkiClientVerifier::no_client_auth())
    }

    /// The same configuration, which also requests a certificate of the client. Any certificate completes the
    /// handshake, and so does none: a request for a client checks it (RFC 8705 §2).
    ///
    /// # Errors
    /// [`TlsError::Unusable`]
    pub fn mutual_server_config(self: &Arc<Self>) -> Result<Arc<ServerConfig>, TlsError> {
        self.config(Arc::new(AnyClientCertificate::default()))
    }

    fn config(self: &Arc<Self>, clients: Arc<dyn ClientCertVerifier>) -> Result<Arc<ServerConfig>, TlsError> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(TlsError::Unusable)?
            .with_client_cert_verifier(clients)
            .with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

impl ResolvesServerCert for TlsCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

impl fmt::Debug for TlsCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsCertificate").finish_non_exhaustive()
    }
}

fn read_pair(cert_pem: &[u8], key_pem: &[u8]) -> Result<CertifiedKey, TlsError> {
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(cert_pem).collect::<Result<_, _>>().map_err(|_| TlsError::NoCertificate)?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate);
    }
    let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(|_| TlsError::NoKey)?;
    CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(|error| match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => TlsError::Mismatch,
        error => TlsError::Unusable(error),
    })
}

/// A certificate in files, as cert-manager and kubelet deliver it.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The chain in PEM, leaf first.
    pub cert: PathBuf,
    /// Its private key in PEM.
    pub key: PathBuf,
}

impl TlsFiles {
    /// Reads the pair for the first time.
    ///
    /// # Errors
    /// [`TlsError`]
    pub async fn load(&self) -> Result<Arc<TlsCertificate>, TlsError> {
        let (cert, key) = self.read().await?;
        TlsCertificate::new(&cert, &key)
    }

    /// Loads changed files until `shutdown`. A pair that cannot be read, is incomplete or does not match gives one
    /// warning, and the current pair stays.
    pub async fn watch(self, certificate: Arc<TlsCertificate>, shutdown: CancellationToken) {
        self.watch_every(POLL_EVERY, certificate, shutdown).await;
    }

    async fn watch_every(self, interval: Duration, certificate: Arc<TlsCertificate>, shutdown: CancellationToken) {
        let mut watched = Watched::default();
        watched.see(&self, self.read().await, &certificate);
        while shutdown.run_until_cancelled(tokio::time::sleep(interval)).await.is_some() {
            watched.see(&self, self.read().await, &certificate);
        }
    }

    async fn read(&self) -> Result<Pair, TlsError> {
        let read = async |path: &PathBuf| {
            let read = tokio::fs::read(path).await;
            read.map(Zeroizing::new).map_err(|source| TlsError::Read { path: path.clone(), source })
        };
        Ok((read(&self.cert).await?, read(&self.key).await?))
    }
}

type Pair = (Zeroizing<Vec<u8>>, Zeroizing<Vec<u8>>);

/// The result of the last check of the files.
#[derive(Default)]
struct Watched {
    in_use: Option<Mac>,
    warned: bool,
}

impl Watched {
    fn see(&mut self, files: &TlsFiles, pair: Result<Pair, TlsError>, certificate: &TlsCertificate) {
        let taken = pair.and_then(|(cert, key)| {
            let seen = process_mac::of(&[cert.as_slice(), key.as_slice()]);
            if self.in_use != Some(seen) {
                certificate.replace(&cert, &key)?;
                if self.in_use.replace(seen).is_some() {
                    tracing::info!(cert = %files.cert.display(), "new TLS certificate in use");
                }
            }
            Ok(())
        });
        match taken {
            Ok(()) => self.warned = false,
            Err(error) if !self.warned => {
                self.warned = true;
                let error = &error as &dyn std::error::Error;
                tracing::warn!(cert = %files.cert.display(), error, "TLS files not usable; the last good pair stays in use");
            }
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::ca::{Ca, Leaf};

    fn leaf() -> Leaf {
        let now = "2026-11-22T02:00:00Z".parse().unwrap();
        Ca::generate(now).unwrap().sign_leaf(&["localhost".to_owned()], now).unwrap()
    }

    fn in_use(certificate: &TlsCertificate) -> Vec<u8> {
        certificate.current.load().cert[0].to_vec()
    }

    fn der(leaf: &Leaf) -> Vec<u8> {
        leaf.certificate.der().to_vec()
    }

    fn pem(leaf: &Leaf) -> Vec<u8> {
        leaf.certificate.to_pem().into_bytes()
    }

    #[test]
    fn t9_a_mismatched_or_unreadable_pair_is_refused_and_the_valid_one_stays_in_use() {
        let (good, other) = (leaf(), leaf());
        let key = |leaf: &Leaf| leaf.key_pem.expose_secret().as_bytes().to_vec();
        let certificate = TlsCertificate::new(&pem(&good), &key(&good)).unwrap();
        let replace = |cert: &[u8], key: &[u8]| certificate.replace(cert, key).unwrap_err();
        assert!(matches!(replace(&pem(&other), &key(&good)), TlsError::Mismatch));
        assert!(matches!(replace(b"", &key(&good)), TlsError::NoCertificate));
        assert!(matches!(replace(&pem(&other)[..200], &key(&other)), TlsError::NoCertificate));
        assert!(matches!(replace(&pem(&other), b"nonsense"), TlsError::NoKey));
        assert_eq!(in_use(&certificate), der(&good));
        certificate.replace(&pem(&other), &key(&other)).unwrap();
        assert_eq!(in_use(&certificate), der(&other));
    }

    #[tokio::test]
    async fn t9_changed_files_are_put_into_use_and_half_written_ones_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let files = TlsFiles { cert: dir.path().join("tls.crt"), key: dir.path().join("tls.key") };
        let (first, second) = (leaf(), leaf());
        std::fs::write(&files.cert, pem(&first)).unwrap();
        std::fs::write(&files.key, first.key_pem.expose_secret()).unwrap();
        let certificate = files.load().await.unwrap();
        let mut watched = Watched::default();
        watched.see(&files, files.read().await, &certificate);

        std::fs::write(&files.cert, pem(&second)).unwrap();
        watched.see(&files, files.read().await, &certificate);
        assert!(watched.warned);
        assert_eq!(in_use(&certificate), der(&first), "new certificate, old key");

        std::fs::remove_file(&files.key).unwrap();
        watched.see(&files, files.read().await, &certificate);
        assert_eq!(in_use(&certificate), der(&first), "no key");

        std::fs::write(&files.key, second.key_pem.expose_secret()).unwrap();
        watched.see(&files, files.read().await, &certificate);
        assert!(!watched.warned);
        assert_eq!(in_use(&certificate), der(&second));
    }

    #[tokio::test]
    async fn the_watch_stops_on_shutdown() {
        let dir = tempfile::tempdir().unwrap();
        let files = TlsFiles { cert: dir.path().join("tls.crt"), key: dir.path().join("tls.key") };
        let pair = leaf();
        let certificate = TlsCertificate::new(&pem(&pair), pair.key_pem.expose_secret().as_bytes()).unwrap();
        let shutdown = CancellationToken::new();
        shutdown.cancel();
        files.watch_every(Duration::from_hours(1), certificate, shutdown).await;
    }
}
