//! A private CA, and the server certificates that it signs.

use std::fmt::Write as _;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::sign::CertifiedKey;

use super::certificate::{Certificate, NotACertificate};
use super::secret::SecretValue;

/// Validity of a server certificate: a year, the longest that every TLS client accepts.
const LEAF_LIFETIME: SignedDuration = SignedDuration::from_hours(365 * 24);
/// Validity of the CA: clients have it in their trust stores, so it should outlive the install.
const CA_LIFETIME: SignedDuration = SignedDuration::from_hours(10 * 365 * 24);
/// A CA is replaced when half of its validity is left: clients that do not follow the change have years to do so.
const REPLACE_CA_BEFORE: SignedDuration = SignedDuration::from_hours(5 * 365 * 24);
/// Certificates are backdated by this much, for clients with a slow clock.
const BACKDATE: SignedDuration = SignedDuration::from_hours(1);
/// Bytes of the key identifier that a CA has in its name.
const NAME_BYTES: usize = 4;

/// A CA that can sign.
#[derive(Clone, Debug)]
pub struct Ca {
    certificate: Certificate,
    key_pem: SecretValue,
}

/// A server certificate with its key.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// The certificate. Public.
    pub certificate: Certificate,
    /// Private key in PEM.
    pub key_pem: SecretValue,
}

/// Why a certificate cannot be made or read.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// rcgen refused the input, for example a name that is not ASCII.
    #[error("could not make the certificate")]
    Make(#[from] rcgen::Error),
    /// A text contains no certificate, or a malformed one.
    #[error(transparent)]
    Parse(#[from] NotACertificate),
    /// Certificate and key of the CA do not match.
    #[error("the key is not the one of the CA's certificate")]
    Mismatch,
    /// An instant outside the range of X.509.
    #[error("the instant is out of range")]
    Instant,
}

impl Ca {
    /// A new CA.
    ///
    /// # Errors
    /// [`CertificateError`], if the instant is out of range.
    pub fn generate(now: Timestamp) -> Result<Self, CertificateError> {
        let key = KeyPair::generate()?;
        let mut params = ca_params(&key);
        set_validity(&mut params, now, now + CA_LIFETIME)?;
        let certificate = Certificate::from_der(params.self_signed(&key)?.into())?;
        Ok(Self { certificate, key_pem: SecretValue::new(key.serialize_pem()) })
    }

    /// An existing CA. Whether the key is the one of the certificate is checked before it signs.
    #[must_use]
    pub fn from_parts(certificate: Certificate, key_pem: SecretValue) -> Self {
        Self { certificate, key_pem }
    }

    /// The certificate, for trust stores. Public.
    #[must_use]
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The private key in PEM.
    #[must_use]
    pub fn key_pem(&self) -> &SecretValue {
        &self.key_pem
    }

    /// Whether another CA should take the place of this one.
    #[must_use]
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.certificate.not_after().duration_since(now) < REPLACE_CA_BEFORE
    }

    /// A new server certificate for these DNS names and IP addresses.
    ///
    /// # Errors
    /// [`CertificateError`], if a name is not ASCII, the instant is out of range or the key is not that of the CA.
    pub fn sign_leaf(&self, names: &[String], now: Timestamp) -> Result<Leaf, CertificateError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "postern");
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        set_validity(&mut params, now, now + LEAF_LIFETIME)?;
        let certificate = Certificate::from_der(params.signed_by(&key, &self.issuer()?)?.into())?;
        Ok(Leaf { certificate, key_pem: SecretValue::new(key.serialize_pem()) })
    }

    /// A certificate of `successor` for clients that trust only this CA. It is as long valid as this CA.
    ///
    /// # Errors
    /// [`CertificateError`], if the instant is out of range or the key is not that of the CA.
    pub fn cross_sign(&self, successor: &Self, now: Timestamp) -> Result<Certificate, CertificateError> {
        let key = successor.key()?;
        let mut params = ca_params(&key);
        params.use_authority_key_identifier_extension = true;
        set_validity(&mut params, now, self.certificate.not_after())?;
        Ok(Certificate::from_der(params.signed_by(&key, &self.issuer()?)?.into())?)
    }

    fn issuer(&self) -> Result<Issuer<'static, KeyPair>, CertificateError> {
        let key = PrivateKeyDer::from_pem_slice(self.key_pem.expose_secret().as_bytes());
        let key = key.ok().and_then(|key| any_supported_type(&key).ok()).ok_or(CertificateError::Mismatch)?;
        let pair = CertifiedKey::new(vec![self.certificate.der().clone()], key);
        pair.keys_match().map_err(|_| CertificateError::Mismatch)?;
        Ok(Issuer::from_ca_cert_der(self.certificate.der(), self.key()?)?)
    }

    fn key(&self) -> Result<KeyPair, CertificateError> {
        Ok(KeyPair::from_pem(self.key_pem.expose_secret())?)
    }
}

/// Every CA has a different name: some TLS clients choose an issuer by its name alone.
fn ca_params(key: &KeyPair) -> CertificateParams {
    let mut params = CertificateParams::default();
    let mut name = "Postern CA ".to_owned();
    for byte in params.key_identifier(key).iter().take(NAME_BYTES) {
        let _ = write!(name, "{byte:02x}");
    }
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    // Without a limit of the path: a CA signs its successor, which may sign another one.
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// Sets the validity period, to the second. The crate of rcgen's time type is not a direct dependency.
fn set_validity(params: &mut CertificateParams, now: Timestamp, until: Timestamp) -> Result<(), CertificateError> {
    let since_1970 = |instant: Timestamp| u64::try_from(instant.as_second()).map_err(|_| CertificateError::Instant);
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + Duration::from_secs(since_1970(now - BACKDATE)?);
    params.not_after = epoch + Duration::from_secs(since_1970(until)?);
    Ok(())
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

    fn names() -> Vec<String> {
        ["postern.postern-system.svc", "localhost", "127.0.0.1"].map(str::to_owned).to_vec()
    }

    /// Whether a client that trusts `ca` alone accepts the leaf with the other certificates of its chain.
    fn trusts(ca: &Ca, leaf: &Leaf, chain: &[Certificate], name: &str, at: Timestamp) -> bool {
        let mut roots = RootCertStore::empty();
        roots.add(ca.certificate().der().clone()).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        let chain: Vec<_> = chain.iter().map(|certificate| certificate.der().clone()).collect();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let at = UnixTime::since_unix_epoch(Duration::from_secs(at.as_second().try_into().unwrap()));
        verifier.verify_server_cert(leaf.certificate.der(), &chain, &name, &[], at).is_ok()
    }

    #[test]
    fn clients_that_trust_the_ca_accept_the_leaf_for_its_names_and_time() {
        let [ca, other] = [(); 2].map(|()| Ca::generate(now()).unwrap());
        let leaf = ca.sign_leaf(&names(), now()).unwrap();
        for name in names() {
            assert!(trusts(&ca, &leaf, &[], &name, now()), "{name}");
        }
        assert!(!trusts(&ca, &leaf, &[], "example.com", now()));
        let end = leaf.certificate.not_after();
        assert!(!trusts(&ca, &leaf, &[], "localhost", end + SignedDuration::from_secs(1)));
        assert!(!trusts(&other, &leaf, &[], "localhost", now()));
    }

    #[test]
    fn a_stored_ca_signs_like_the_one_that_was_made() {
        let made = Ca::generate(now()).unwrap();
        let certificate = Certificate::first(&made.certificate().to_pem()).unwrap();
        let stored = Ca::from_parts(certificate, made.key_pem().clone());
        let later = now() + SignedDuration::from_hours(300 * 24);
        let leaf = stored.sign_leaf(&names(), later).unwrap();
        assert!(trusts(&made, &leaf, &[], "localhost", later + SignedDuration::from_hours(300 * 24)));
        assert!(leaf.certificate.names_issuer(made.certificate()));
    }

    #[test]
    fn a_foreign_key_is_refused() {
        let [made, other] = [(); 2].map(|()| Ca::generate(now()).unwrap());
        for key in [other.key_pem().clone(), SecretValue::new("nonsense".to_owned())] {
            let mixed = Ca::from_parts(made.certificate().clone(), key);
            let [leaf, cross] = [mixed.sign_leaf(&names(), now()).err(), mixed.cross_sign(&other, now()).err()];
            assert!(matches!((&leaf, &cross), (Some(CertificateError::Mismatch), Some(CertificateError::Mismatch))));
        }
    }

    #[test]
    fn a_client_that_trusts_an_earlier_ca_accepts_its_successors_until_that_ca_expires() {
        let [first, second, third] = [(); 3].map(|()| Ca::generate(now()).unwrap());
        let chain = [second.cross_sign(&third, now()).unwrap(), first.cross_sign(&second, now()).unwrap()];
        let leaf = third.sign_leaf(&names(), now()).unwrap();
        for ca in [&first, &second, &third] {
            assert!(trusts(ca, &leaf, &chain, "localhost", now()));
        }
        assert!(!trusts(&first, &leaf, &chain[..1], "localhost", now()), "nothing leads to the first");
        assert_eq!(chain[1].not_after(), first.certificate().not_after());
    }

    #[test]
    fn a_ca_is_due_for_replacement_after_half_of_its_lifetime() {
        let ca = Ca::generate(now()).unwrap();
        assert!(!ca.is_due(now() + SignedDuration::from_hours(4 * 365 * 24)));
        assert!(ca.is_due(now() + SignedDuration::from_hours(5 * 365 * 24 + 1)));
    }

    #[test]
    fn the_expiry_is_read_from_the_certificate() {
        let ends = |now: &str| {
            let now = now.parse().unwrap();
            Ca::generate(now).unwrap().sign_leaf(&names(), now).unwrap().certificate.not_after().to_string()
        };
        assert_eq!(ends("2026-11-22T02:00:00Z"), "2027-11-22T02:00:00Z");
        // From 2050 on the field has another type (RFC 5280 §4.1.2.5).
        assert_eq!(ends("2049-06-01T00:00:00Z"), "2050-06-01T00:00:00Z");
        assert!(Certificate::first("nonsense").is_err());
    }

    #[test]
    fn a_certificate_covers_the_names_it_was_made_for() {
        let ca = Ca::generate(now()).unwrap();
        let names = ["*.example.com", "api.example.com", "127.0.0.1", "fd00::1"].map(str::to_owned);
        let leaf = ca.sign_leaf(&names, now()).unwrap();
        assert!(leaf.certificate.covers(&names));
        assert!(trusts(&ca, &leaf, &[], "any.example.com", now()));
        assert!(!leaf.certificate.covers(&["any.example.com".to_owned()]), "it is not written in it");
        assert!(!leaf.certificate.covers(&["other.example.org".to_owned()]));
        assert!(!leaf.certificate.covers(&["127.0.0.2".to_owned()]));
        let without = ca.sign_leaf(&names[1..], now()).unwrap();
        assert!(!without.certificate.covers(&names), "it is to be made anew");
    }

    #[test]
    fn k6_debug_output_shows_no_private_key() {
        let ca = Ca::generate(now()).unwrap();
        let leaf = ca.sign_leaf(&names(), now()).unwrap();
        assert!(!format!("{ca:?} {leaf:?}").contains("PRIVATE KEY"));
    }
}
