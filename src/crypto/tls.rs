//! The certificate that Postern generates if none is configured: a private CA, and a leaf that it signs.

use std::net::IpAddr;
use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use crate::crypto::der;
use crate::crypto::secret::SecretValue;

/// Validity of the leaf: a year, the longest that every TLS client accepts.
const LEAF_LIFETIME: SignedDuration = SignedDuration::from_hours(365 * 24);
/// Validity of the CA: clients have it in their trust stores, so it should outlive the install.
const CA_LIFETIME: SignedDuration = SignedDuration::from_hours(10 * 365 * 24);
/// Certificates are backdated by this much, for clients with a slow clock.
const BACKDATE: SignedDuration = SignedDuration::from_hours(1);
/// Object identifier of the extension subjectAltName, 2.5.29.17.
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
/// Subject of every CA. Constant, so that a leaf can be renewed with the CA's key alone; verifiers distinguish two CAs
/// with this name by their key identifiers.
const CA_NAME: &str = "Postern CA";

/// A CA and a leaf that it signs, all in PEM.
#[derive(Debug)]
pub struct SelfSigned {
    /// Certificate of the CA, for trust stores. Public.
    pub ca_cert_pem: String,
    /// Private key of the CA.
    pub ca_key_pem: SecretValue,
    /// The leaf.
    pub leaf: Leaf,
}

/// A server certificate with its key, in PEM.
#[derive(Debug)]
pub struct Leaf {
    /// Certificate. Public.
    pub cert_pem: String,
    /// Private key.
    pub key_pem: SecretValue,
    /// The certificate is invalid from this instant on.
    pub not_after: Timestamp,
}

/// Why a certificate cannot be made or read.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// rcgen refused the input, for example a name that is not ASCII.
    #[error("could not make the certificate")]
    Make(#[from] rcgen::Error),
    /// The text contains no certificate, or a malformed one.
    #[error("the text is not a certificate in PEM")]
    Parse,
    /// Certificate and key of the CA do not match.
    #[error("the key is not the one of the CA's certificate")]
    Mismatch,
    /// The CA expires before a new leaf would.
    #[error("the CA ends at {0}, too soon for a new certificate")]
    CaEnds(Timestamp),
    /// An instant outside the range of X.509.
    #[error("the instant is out of range")]
    Instant,
}

/// A new CA and a leaf for these DNS names and IP addresses.
///
/// # Errors
/// [`CertificateError::Make`]
pub fn self_signed(sans: &[String], now: Timestamp) -> Result<SelfSigned, CertificateError> {
    let key = KeyPair::generate()?;
    let mut params = ca_params();
    valid(&mut params, now - BACKDATE, now + CA_LIFETIME)?;
    let ca_cert_pem = params.self_signed(&key)?.pem();
    let ca_key_pem = SecretValue::new(key.serialize_pem());
    let leaf = leaf(sans, &Issuer::new(params, key), now)?;
    Ok(SelfSigned { ca_cert_pem, ca_key_pem, leaf })
}

/// A new leaf, signed by an existing CA of [`self_signed`].
///
/// # Errors
/// [`CertificateError`] when the CA cannot be read, does not match its key, or expires before the leaf would.
pub fn renew(
    ca_cert_pem: &str,
    ca_key_pem: &SecretValue,
    sans: &[String],
    now: Timestamp,
) -> Result<Leaf, CertificateError> {
    let key = KeyPair::from_pem(ca_key_pem.expose_secret())?;
    let ca = CertificateDer::from_pem_slice(ca_cert_pem.as_bytes()).map_err(|_| CertificateError::Parse)?;
    if !belong_together(ca, ca_key_pem) {
        return Err(CertificateError::Mismatch);
    }
    let ca_ends = not_after(ca_cert_pem)?;
    if ca_ends < now + LEAF_LIFETIME {
        return Err(CertificateError::CaEnds(ca_ends));
    }
    leaf(sans, &Issuer::new(ca_params(), key), now)
}

/// Whether the key of the certificate is this one.
fn belong_together(cert: CertificateDer<'static>, key_pem: &SecretValue) -> bool {
    let Ok(key) = PrivateKeyDer::from_pem_slice(key_pem.expose_secret().as_bytes()) else { return false };
    any_supported_type(&key).is_ok_and(|key| CertifiedKey::new(vec![cert], key).keys_match().is_ok())
}

/// The instant from which on the first certificate of `cert_pem` is invalid.
///
/// # Errors
/// [`CertificateError::Parse`]
pub fn not_after(cert_pem: &str) -> Result<Timestamp, CertificateError> {
    let der = CertificateDer::from_pem_slice(cert_pem.as_bytes()).map_err(|_| CertificateError::Parse)?;
    read_not_after(&der).ok_or(CertificateError::Parse)
}

/// Whether the certificate contains every one of these names; if not, a new leaf is needed.
#[must_use]
pub fn covers(cert_pem: &str, sans: &[String]) -> bool {
    let Ok(der) = CertificateDer::from_pem_slice(cert_pem.as_bytes()) else { return false };
    let Some(names) = read_names(&der) else { return false };
    sans.iter().all(|name| match name.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => names.contains(&(der::IP_ADDRESS, address.octets().as_slice())),
        Ok(IpAddr::V6(address)) => names.contains(&(der::IP_ADDRESS, address.octets().as_slice())),
        Err(_) => names.contains(&(der::DNS_NAME, name.as_bytes())),
    })
}

fn ca_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, CA_NAME);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn leaf(sans: &[String], ca: &Issuer<'_, KeyPair>, now: Timestamp) -> Result<Leaf, CertificateError> {
    let key = KeyPair::generate()?;
    let ends = now + LEAF_LIFETIME;
    let mut params = CertificateParams::new(sans)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "postern");
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    valid(&mut params, now - BACKDATE, ends)?;
    let cert_pem = params.signed_by(&key, ca)?.pem();
    let not_after = Timestamp::from_second(ends.as_second()).map_err(|_| CertificateError::Instant)?;
    Ok(Leaf { cert_pem, key_pem: SecretValue::new(key.serialize_pem()), not_after })
}

/// Sets the validity period, to the second. The crate of rcgen's time type is not a direct dependency.
fn valid(params: &mut CertificateParams, from: Timestamp, until: Timestamp) -> Result<(), CertificateError> {
    let since_1970 = |instant: Timestamp| u64::try_from(instant.as_second()).map_err(|_| CertificateError::Instant);
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + Duration::from_secs(since_1970(from)?);
    params.not_after = epoch + Duration::from_secs(since_1970(until)?);
    Ok(())
}

/// The fields of a certificate from its validity on. TBSCertificate (RFC 5280 §4.1): [0] version, serial, signature,
/// issuer, validity, subject, key, …, [3] extensions.
fn from_validity(certificate: &[u8]) -> Option<der::Reader<'_>> {
    let mut fields = der::Reader(der::Reader(der::Reader(certificate).expect(der::SEQUENCE)?).expect(der::SEQUENCE)?);
    let (first, _) = fields.any()?;
    if first != der::INTEGER {
        fields.expect(der::INTEGER)?;
    }
    fields.expect(der::SEQUENCE)?;
    fields.expect(der::SEQUENCE)?;
    Some(fields)
}

/// The alternative names of the subject (RFC 5280 §4.2.1.6), each with its tag.
fn read_names(certificate: &[u8]) -> Option<Vec<(u8, &[u8])>> {
    let mut fields = from_validity(certificate)?;
    let extensions = std::iter::from_fn(|| fields.any()).find(|(tag, _)| *tag == der::EXTENSIONS)?.1;
    let mut extensions = der::Reader(der::Reader(extensions).expect(der::SEQUENCE)?);
    while let Some(extension) = extensions.expect(der::SEQUENCE) {
        let mut extension = der::Reader(extension);
        if extension.expect(der::OBJECT_IDENTIFIER)? == SUBJECT_ALT_NAME {
            let value = std::iter::from_fn(|| extension.any()).find(|(tag, _)| *tag == der::OCTET_STRING)?.1;
            let mut names = der::Reader(der::Reader(value).expect(der::SEQUENCE)?);
            return Some(std::iter::from_fn(|| names.any()).collect());
        }
    }
    None
}

fn read_not_after(certificate: &[u8]) -> Option<Timestamp> {
    let mut fields = from_validity(certificate)?;
    let mut validity = der::Reader(fields.expect(der::SEQUENCE)?);
    let _not_before = validity.any()?;
    let (tag, text) = validity.any()?;
    let text = std::str::from_utf8(text).ok()?;
    let text = match tag {
        // RFC 5280 §4.1.2.5.1: two-digit years from 50 on belong to the last century.
        der::UTC_TIME if text.get(..2)?.parse::<u8>().ok()? >= 50 => format!("19{text}"),
        der::UTC_TIME => format!("20{text}"),
        der::GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    let civil = DateTime::strptime("%Y%m%d%H%M%SZ", &text).ok()?;
    Offset::UTC.to_timestamp(civil).ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier as _;
    use rustls::pki_types::{ServerName, UnixTime};
    use rustls::{RootCertStore, crypto::aws_lc_rs};

    use super::*;

    fn now() -> Timestamp {
        "2026-11-22T02:00:00Z".parse().unwrap()
    }

    fn sans() -> Vec<String> {
        ["postern.postern-system.svc", "localhost", "127.0.0.1"].map(str::to_owned).to_vec()
    }

    fn trusts(ca_pem: &str, leaf_pem: &str, name: &str, at: Timestamp) -> bool {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        let leaf = CertificateDer::from_pem_slice(leaf_pem.as_bytes()).unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let at = UnixTime::since_unix_epoch(Duration::from_secs(at.as_second().try_into().unwrap()));
        verifier.verify_server_cert(&leaf, &[], &name, &[], at).is_ok()
    }

    #[test]
    fn clients_that_trust_the_ca_accept_the_leaf_for_its_names_and_time() {
        let made = self_signed(&sans(), now()).unwrap();
        let leaf = &made.leaf;
        for name in sans() {
            assert!(trusts(&made.ca_cert_pem, &leaf.cert_pem, &name, now()), "{name}");
        }
        assert!(!trusts(&made.ca_cert_pem, &leaf.cert_pem, "example.com", now()));
        assert!(!trusts(&made.ca_cert_pem, &leaf.cert_pem, "localhost", leaf.not_after + SignedDuration::from_secs(1)));
        let other = self_signed(&sans(), now()).unwrap();
        assert!(!trusts(&other.ca_cert_pem, &leaf.cert_pem, "localhost", now()));
    }

    #[test]
    fn the_end_is_read_from_the_certificate() {
        let made = self_signed(&sans(), now()).unwrap();
        assert_eq!(not_after(&made.leaf.cert_pem).unwrap(), made.leaf.not_after);
        assert_eq!(made.leaf.not_after.to_string(), "2027-11-22T02:00:00Z");
        // From 2050 on the field has another type (RFC 5280 §4.1.2.5).
        let late = self_signed(&sans(), "2049-06-01T00:00:00Z".parse().unwrap()).unwrap();
        assert_eq!(not_after(&late.leaf.cert_pem).unwrap().to_string(), "2050-06-01T00:00:00Z");
        assert!(not_after("nonsense").is_err());
    }

    #[test]
    fn a_leaf_is_renewed_under_the_same_ca() {
        let made = self_signed(&sans(), now()).unwrap();
        let later = now() + SignedDuration::from_hours(300 * 24);
        let renewed = renew(&made.ca_cert_pem, &made.ca_key_pem, &sans(), later).unwrap();
        let at = made.leaf.not_after + SignedDuration::from_hours(24);
        assert!(trusts(&made.ca_cert_pem, &renewed.cert_pem, "localhost", at));
    }

    #[test]
    fn a_foreign_or_ending_ca_is_refused() {
        let (made, other) = (self_signed(&sans(), now()).unwrap(), self_signed(&sans(), now()).unwrap());
        let mixed = renew(&made.ca_cert_pem, &other.ca_key_pem, &sans(), now());
        assert!(matches!(mixed, Err(CertificateError::Mismatch)), "{mixed:?}");
        let late = renew(&made.ca_cert_pem, &made.ca_key_pem, &sans(), now() + SignedDuration::from_hours(87_000));
        assert!(matches!(late, Err(CertificateError::CaEnds(_))), "{late:?}");
    }

    #[test]
    fn a_certificate_covers_the_names_it_was_made_for() {
        let made = self_signed(&sans(), now()).unwrap();
        assert!(covers(&made.leaf.cert_pem, &sans()));
        assert!(!covers(&made.leaf.cert_pem, &["other.example.com".to_owned()]));
        assert!(!covers("nonsense", &sans()));
    }

    #[test]
    fn a_wildcard_is_a_name_like_any_other() {
        let names = ["*.example.com", "api.example.com", "fd00::1"].map(str::to_owned);
        let made = self_signed(&names, now()).unwrap();
        assert!(covers(&made.leaf.cert_pem, &names));
        assert!(trusts(&made.ca_cert_pem, &made.leaf.cert_pem, "any.example.com", now()));
        let without = self_signed(&names[1..], now()).unwrap();
        assert!(!covers(&without.leaf.cert_pem, &names), "it is to be made anew");
        assert!(!covers(&made.leaf.cert_pem, &["any.example.com".to_owned()]), "it is not written in it");
    }

    #[test]
    fn k6_debug_output_shows_no_private_key() {
        let made = self_signed(&sans(), now()).unwrap();
        assert!(!format!("{made:?}").contains("PRIVATE KEY"));
    }
}
