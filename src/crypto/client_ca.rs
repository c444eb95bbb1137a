//! The CAs whose certificates identify clients (RFC 8705 §2.1).

use std::sync::Arc;

use jiff::Timestamp;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{CertificateError, RootCertStore};

use crate::crypto::certificate::{Certificate, NotACertificate};

/// A set of trusted CAs.
#[derive(Debug, Default)]
pub struct ClientCas {
    /// `None`: no CA.
    verifier: Option<Arc<dyn ClientCertVerifier>>,
}

/// Why no trusted CA issued a certificate for clients.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NotIssued {
    /// There is no valid chain to a CA.
    NoChain,
    /// The extended key usage does not contain clientAuth (RFC 5280 §4.2.1.12).
    Purpose,
}

/// Why a text does not contain CAs.
#[derive(Debug, thiserror::Error)]
pub enum NotCas {
    /// The text has no certificates, or one that cannot be read.
    #[error(transparent)]
    Certificate(#[from] NotACertificate),
    /// A certificate cannot be a trust anchor.
    #[error("a certificate cannot be used as a CA")]
    Unusable(#[source] rustls::Error),
    /// rustls cannot use them.
    #[error("the certificates cannot be used as CAs")]
    Refused(#[source] rustls::server::VerifierBuilderError),
}

impl ClientCas {
    /// The certificates of a text in PEM: at least one.
    ///
    /// # Errors
    /// [`NotCas`]
    pub fn from_pem(pem: &str) -> Result<Self, NotCas> {
        let mut roots = RootCertStore::empty();
        for certificate in Certificate::all(pem)? {
            roots.add(certificate.der().clone()).map_err(NotCas::Unusable)?;
        }
        if roots.is_empty() {
            return Err(NotACertificate::Absent.into());
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
        Ok(Self { verifier: Some(verifier.map_err(NotCas::Refused)?) })
    }

    /// Whether one of them issued the first certificate of the chain, as RFC 5280 §6 requires. A certificate without an
    /// extended key usage is for every purpose.
    ///
    /// # Errors
    /// [`NotIssued`]
    pub fn check(&self, chain: &[CertificateDer<'_>], now: Timestamp) -> Result<(), NotIssued> {
        let (verifier, (leaf, others)) = self.verifier.as_ref().zip(chain.split_first()).ok_or(NotIssued::NoChain)?;
        let now = UnixTime::since_unix_epoch(now.as_duration().try_into().map_err(|_| NotIssued::NoChain)?);
        verifier.verify_client_cert(leaf, others, now).map(drop).map_err(|error| match error {
            rustls::Error::InvalidCertificate(
                CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. },
            ) => NotIssued::Purpose,
            _ => NotIssued::NoChain,
        })
    }
}
