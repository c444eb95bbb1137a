//! Certificates of clients (RFC 8705 §2): what one identifies, and whether a trusted CA issued it.
//!
//! TLS has proved that the client has the private key, or a proxy states so. Nothing else about the certificate is
//! known before these checks.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

use crate::crypto::client_ca::{ClientCas, NotIssued};
use crate::crypto::distinguished_name::DistinguishedName;

/// Longest chain in bytes. Four certificates with RSA keys of 4096 bits take 7 KiB.
pub const CHAIN_BYTES_MAX: usize = 8 * 1024;
/// A chain is checked again after this time: an intermediate certificate may have expired.
const CHECKED_FOR_S: i64 = 60;

/// A chain that a client has presented, and what its first certificate contains.
pub struct ClientCertificate {
    /// The certificate of the client is the first one.
    chain: Vec<CertificateDer<'static>>,
    thumbprint: Thumbprint,
    subject: DistinguishedName,
    dns_names: Vec<Box<str>>,
    uris: Vec<Box<str>>,
    not_before: i64,
    not_after: i64,
    /// The last check: requests of a connection share it.
    checked: Mutex<Option<Checked>>,
}

struct Checked {
    cas: Arc<ClientCas>,
    at: i64,
    result: Result<(), NotIssued>,
}

/// Bytes are not a chain of certificates, or have more than [`CHAIN_BYTES_MAX`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("is not a certificate (RFC 5280), or has too long a chain")]
pub struct MalformedCertificate;

/// Why an instant is outside the validity period of a certificate (RFC 5280 §4.1.2.5).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NotValid {
    /// It is after the end.
    Expired,
    /// It is before the start.
    NotYet,
}

impl ClientCertificate {
    /// Reads a chain, with the certificate of the client first.
    ///
    /// # Errors
    /// [`MalformedCertificate`]
    pub fn new(chain: Vec<CertificateDer<'static>>) -> Result<Self, MalformedCertificate> {
        if chain.iter().map(|certificate| certificate.len()).sum::<usize>() > CHAIN_BYTES_MAX {
            return Err(MalformedCertificate);
        }
        let leaf = chain.first().ok_or(MalformedCertificate)?;
        let (rest, read) = X509Certificate::from_der(leaf).map_err(|_| MalformedCertificate)?;
        let names = read.subject_alternative_name().map_err(|_| MalformedCertificate)?;
        let subject = DistinguishedName::from_der(read.subject().as_raw()).map_err(|_| MalformedCertificate)?;
        if !rest.is_empty() {
            return Err(MalformedCertificate);
        }
        let (mut dns_names, mut uris) = (Vec::new(), Vec::new());
        for name in names.iter().flat_map(|names| &names.value.general_names) {
            match name {
                GeneralName::DNSName(name) => dns_names.push(Box::from(*name)),
                GeneralName::URI(uri) => uris.push(Box::from(*uri)),
                _ => {}
            }
        }
        let validity = read.validity();
        let (not_before, not_after) = (validity.not_before.timestamp(), validity.not_after.timestamp());
        let thumbprint = Thumbprint::of(leaf);
        Ok(Self { thumbprint, subject, dns_names, uris, not_before, not_after, checked: Mutex::default(), chain })
    }

    /// SHA-256 of the certificate of the client.
    #[must_use]
    pub fn thumbprint(&self) -> Thumbprint {
        self.thumbprint
    }

    /// Whether the certificate has this id.
    #[must_use]
    pub fn has(&self, id: &CertificateId) -> bool {
        match id {
            // A wildcard of a certificate is a name like any other: it stands for no other name.
            CertificateId::SanDns(name) => self.dns_names.iter().any(|dns| dns.eq_ignore_ascii_case(name)),
            CertificateId::SanUri(uri) => self.uris.contains(uri),
            CertificateId::SubjectDn(subject) => self.subject == *subject,
            CertificateId::Thumbprint(thumbprint) => self.thumbprint == *thumbprint,
        }
    }

    /// Whether `now` is within the validity period of the certificate.
    ///
    /// # Errors
    /// [`NotValid`]
    pub fn check_validity(&self, now: Timestamp) -> Result<(), NotValid> {
        let now = now.as_second();
        if now > self.not_after {
            Err(NotValid::Expired)
        } else if now < self.not_before {
            Err(NotValid::NotYet)
        } else {
            Ok(())
        }
    }

    /// Whether one of the CAs issued the certificate for clients. Computed once a minute for each set of CAs.
    ///
    /// # Errors
    /// [`NotIssued`]
    pub fn check_issuer(&self, cas: &Arc<ClientCas>, now: Timestamp) -> Result<(), NotIssued> {
        let mut checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        let at = now.as_second();
        let is_current =
            |known: &&Checked| Arc::ptr_eq(&known.cas, cas) && (known.at..known.at + CHECKED_FOR_S).contains(&at);
        if let Some(known) = checked.as_ref().filter(is_current) {
            return known.result;
        }
        let result = cas.check(&self.chain, now);
        *checked = Some(Checked { cas: Arc::clone(cas), at, result });
        result
    }
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificate").field("thumbprint", &self.thumbprint).finish_non_exhaustive()
    }
}

/// What identifies the certificates of a client.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum CertificateId {
    /// A DNS name of the extension subjectAltName, without regard to case.
    SanDns(Box<str>),
    /// A URI of the extension subjectAltName, such as a SPIFFE id.
    SanUri(Box<str>),
    /// The subject.
    SubjectDn(DistinguishedName),
    /// The certificate itself.
    Thumbprint(Thumbprint),
}

/// Why an entry identifies no certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum UnusableId {
    /// Not a distinguished name.
    #[error(transparent)]
    Subject(#[from] crate::crypto::distinguished_name::NotAName),
    /// Not a SHA-256.
    #[error("is not a SHA-256 in hexadecimal")]
    Thumbprint,
    /// The entry has no field, or one that is unknown.
    #[error("has none of sanDns, sanUri, subjectDn and thumbprintSha256")]
    Absent,
}

impl CertificateId {
    /// Reads a field of `spec.auth.certificates`.
    ///
    /// # Errors
    /// [`UnusableId`]
    pub fn parse(field: &str, value: &str) -> Result<Self, UnusableId> {
        match field {
            "sanDns" => Ok(Self::SanDns(value.into())),
            "sanUri" => Ok(Self::SanUri(value.into())),
            "subjectDn" => Ok(Self::SubjectDn(value.parse()?)),
            "thumbprintSha256" => value.parse().map(Self::Thumbprint),
            _ => Err(UnusableId::Absent),
        }
    }

    /// Whether it identifies one certificate, so that its issuer does not matter.
    #[must_use]
    pub fn is_one_certificate(&self) -> bool {
        matches!(self, Self::Thumbprint(_))
    }
}

/// As the field of `spec.auth.certificates` and its value.
impl fmt::Display for CertificateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SanDns(name) => write!(f, "sanDns {}", name.to_ascii_lowercase()),
            Self::SanUri(uri) => write!(f, "sanUri {uri}"),
            Self::SubjectDn(subject) => write!(f, "subjectDn {subject}"),
            Self::Thumbprint(thumbprint) => write!(f, "thumbprintSha256 {thumbprint}"),
        }
    }
}

/// SHA-256 of a certificate in DER (RFC 8705 §3.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Thumbprint([u8; 32]);

impl Thumbprint {
    /// That of a certificate.
    #[must_use]
    pub fn of(der: &[u8]) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, der).as_ref());
        Self(bytes)
    }

    /// As `x5t#S256` of `cnf` (RFC 8705 §3.1).
    #[must_use]
    pub fn base64url(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }
}

/// In hexadecimal, without colons.
impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// From hexadecimal, with or without colons between the bytes.
impl FromStr for Thumbprint {
    type Err = UnusableId;

    fn from_str(text: &str) -> Result<Self, UnusableId> {
        let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b':').collect();
        let mut bytes = [0; 32];
        let (pairs, rest) = digits.as_chunks::<2>();
        if pairs.len() != bytes.len() || !rest.is_empty() {
            return Err(UnusableId::Thumbprint);
        }
        for (byte, pair) in bytes.iter_mut().zip(pairs) {
            let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            let [high, low] = pair.map(digit);
            *byte = high.zip(low).map(|(high, low)| high << 4 | low).ok_or(UnusableId::Thumbprint)?;
        }
        Ok(Self(bytes))
    }
}
