//! Reads X.509 certificates (RFC 5280).

use std::net::IpAddr;

use jiff::Timestamp;
use pem::{EncodeConfig, LineEnding, Pem};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

/// Label of a certificate in PEM (RFC 7468 §5).
const LABEL: &str = "CERTIFICATE";

/// A certificate, and its fields that decisions need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    der: CertificateDer<'static>,
    subject: Vec<u8>,
    issuer: Vec<u8>,
    names: Vec<SubjectAltName>,
    not_after: Timestamp,
}

/// An alternative name of the subject (RFC 5280 §4.2.1.6) of a kind that TLS clients compare with a server.
#[derive(Clone, Debug, PartialEq, Eq)]
enum SubjectAltName {
    Dns(String),
    Ip(IpAddr),
}

/// A text contains no certificate, or one that cannot be decoded.
#[derive(Debug, thiserror::Error)]
pub enum NotACertificate {
    /// The text has no block `CERTIFICATE`.
    #[error("holds no certificate in PEM")]
    Absent,
    /// A block of the text is not PEM, or its bytes are not a certificate (RFC 5280).
    #[error("certificate {position} cannot be decoded: {reason}")]
    Malformed {
        /// The position of the certificate in the text, from 1.
        position: usize,
        /// The first problem in it.
        reason: String,
    },
}

impl Certificate {
    /// Every certificate of a text in PEM; other blocks are ignored.
    ///
    /// # Errors
    /// [`NotACertificate::Malformed`] for the first one that is malformed.
    pub fn all(pem: &str) -> Result<Vec<Self>, NotACertificate> {
        let found = CertificateDer::pem_slice_iter(pem.as_bytes()).enumerate();
        let read = found.map(|(number, der)| {
            let read = der.map_err(|error| error.to_string()).and_then(Self::decode);
            read.map_err(|reason| NotACertificate::Malformed { position: number + 1, reason })
        });
        read.collect()
    }

    /// The first certificate of a text in PEM.
    ///
    /// # Errors
    /// [`NotACertificate`] if there is none, or one of the text is malformed.
    pub fn first(pem: &str) -> Result<Self, NotACertificate> {
        Self::all(pem)?.into_iter().next().ok_or(NotACertificate::Absent)
    }

    /// Reads the fields.
    ///
    /// # Errors
    /// [`NotACertificate::Malformed`]
    pub fn from_der(der: CertificateDer<'static>) -> Result<Self, NotACertificate> {
        Self::decode(der).map_err(|reason| NotACertificate::Malformed { position: 1, reason })
    }

    /// `Err`: why the bytes are not a certificate.
    fn decode(der: CertificateDer<'static>) -> Result<Self, String> {
        let (_, read) = X509Certificate::from_der(&der).map_err(|error| error.to_string())?;
        let not_after = read.validity().not_after.timestamp();
        let names = read.subject_alternative_name().map_err(|error| error.to_string())?;
        let names = names.iter().flat_map(|names| &names.value.general_names);
        Ok(Self {
            subject: read.subject().as_raw().to_vec(),
            issuer: read.issuer().as_raw().to_vec(),
            names: names.filter_map(SubjectAltName::read).collect(),
            not_after: Timestamp::from_second(not_after).map_err(|error| error.to_string())?,
            der,
        })
    }

    /// The bytes.
    #[must_use]
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// The certificate as text (RFC 7468).
    #[must_use]
    pub fn to_pem(&self) -> String {
        let config = EncodeConfig::new().set_line_ending(LineEnding::LF);
        pem::encode_config(&Pem::new(LABEL, self.der.to_vec()), config)
    }

    /// The certificate is invalid after this instant.
    #[must_use]
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// Whether `ca` is named as the issuer.
    #[must_use]
    pub fn names_issuer(&self, ca: &Self) -> bool {
        self.issuer == ca.subject
    }

    /// Whether the certificate contains every one of these DNS names and IP addresses.
    #[must_use]
    pub fn covers(&self, names: &[String]) -> bool {
        names.iter().all(|name| match name.parse() {
            Ok(address) => self.names.contains(&SubjectAltName::Ip(address)),
            Err(_) => self.names.contains(&SubjectAltName::Dns(name.clone())),
        })
    }
}

impl SubjectAltName {
    fn read(name: &GeneralName<'_>) -> Option<Self> {
        match name {
            GeneralName::DNSName(name) => Some(Self::Dns((*name).to_owned())),
            GeneralName::IPAddress(bytes) => {
                let four = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
                four.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from)).ok().map(Self::Ip)
            }
            _ => None,
        }
    }
}
