//! Certificates as client authentication (RFC 8705 §2). Order: validity period and issuer → client → entry → the rules of
//! every method.
//!
//! A certificate counts only for a client that is registered for it, and only if the request has no other credential: a
//! client with a secret may use the same connection.
//!
//! A refusal that an unseen change of the entries could turn into a success is sent only after catching up.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::{Authenticated, Authenticator, Method, ProvenCredential};
use crate::crypto::client_ca::{ClientCas, NotIssued};
use crate::crypto::client_certificate::{ClientCertificate, MalformedCertificate, NotValid};
use crate::oauth::client_record::{ClientRecord, RegisteredCertificate};
use crate::oauth::client_store::{ClientRef, ClientStore, Lookup};
use crate::oauth::denial_rule::DenialRule;
use crate::oauth::error::{ClientError, TokenError, Unavailable};

/// The certificate of a connection, or of a header. A malformed one is an error only for a request that needs it.
pub type PresentedCertificate = Result<ClientCertificate, MalformedCertificate>;

/// The CAs of `tls_client_auth`; replaced when their file changes.
pub type TrustedCas = Arc<ArcSwap<ClientCas>>;

impl<C: ClientStore> Authenticator<'_, C> {
    /// The client of a request whose only credential may be a certificate.
    pub(super) async fn certificate(&self, client_id: &str) -> Result<Authenticated, TokenError> {
        let Some(presented) = self.arrival.certificate else {
            return Err(self.without_certificate(client_id).into());
        };
        let refused = |rule| ClientError::Certificate(rule, None);
        let certificate = presented.as_ref().map_err(|_| refused(DenialRule::CertificateMalformed))?;
        // For every client alike: neither the result nor the time of these checks shows which client ids exist.
        certificate.check_validity(self.arrival.now).map_err(|error| {
            refused(match error {
                NotValid::Expired => DenialRule::CertificateExpired,
                NotValid::NotYet => DenialRule::CertificateNotYetValid,
            })
        })?;
        let issued = certificate.check_issuer(&self.client_cas.load_full(), self.arrival.now);
        let presented = Presented { certificate, issued };
        let known = self.clients.lookup(client_id);
        let outcome = self.try_certificate(&presented, &known);
        match &outcome {
            Err(error) if error.may_be_behind() => {}
            _ => return Ok(outcome?),
        }
        let thumbprint = certificate.thumbprint().to_string();
        self.clients.catch_up(&ClientRef::Id(client_id), &thumbprint).await.map_err(Unavailable::from)?;
        let current = self.clients.lookup(client_id);
        Ok(if current.is_same(&known) { outcome } else { self.try_certificate(&presented, &current) }?)
    }

    /// Only the log distinguishes a client that needs a certificate from one that needs another credential.
    fn without_certificate(&self, client_id: &str) -> ClientError {
        match self.clients.lookup(client_id) {
            Lookup::Live(record) if is_registered(&record) => {
                ClientError::Certificate(DenialRule::CertificateMissing, Some(record.application.clone()))
            }
            _ => ClientError::NoCredentials,
        }
    }

    fn try_certificate(&self, presented: &Presented<'_>, client: &Lookup) -> Result<Authenticated, ClientError> {
        let record = client.live()?;
        let of_client = |rule| ClientError::Certificate(rule, Some(record.application.clone()));
        if !is_registered(record) {
            return Err(of_client(DenialRule::CertificateNotRegistered));
        }
        let (method, entry) = presented.entry(record).map_err(of_client)?;
        let thumbprint = presented.certificate.thumbprint().to_string();
        self.admit(record, method, &ProvenCredential::of_application(record, &thumbprint, &entry.authority))
    }
}

/// Whether the client may authenticate with a certificate at all.
fn is_registered(record: &ClientRecord) -> bool {
    record.auth_methods.contains(Method::TlsClientAuth) || record.auth_methods.contains(Method::SelfSignedTlsClientAuth)
}

/// A certificate, and whether a trusted CA issued it.
struct Presented<'a> {
    certificate: &'a ClientCertificate,
    issued: Result<(), NotIssued>,
}

impl Presented<'_> {
    /// The entry that identifies the certificate, and the method that the client uses with it.
    fn entry<'r>(&self, record: &'r ClientRecord) -> Result<(Method, &'r RegisteredCertificate), DenialRule> {
        let find = |method: Method| {
            let is_one = method == Method::SelfSignedTlsClientAuth;
            let mut entries = record.certificates.iter().filter(|entry| entry.id.is_one_certificate() == is_one);
            let found = entries.find(|entry| self.certificate.has(&entry.id));
            found.filter(|_| record.auth_methods.contains(method)).map(|entry| (method, &**entry))
        };
        if let Some(found) = find(Method::SelfSignedTlsClientAuth) {
            return Ok(found);
        }
        if record.auth_methods.contains(Method::TlsClientAuth) {
            self.issued.map_err(|error| match error {
                NotIssued::NoChain => DenialRule::CertificateUntrusted,
                NotIssued::Purpose => DenialRule::CertificatePurpose,
            })?;
        }
        find(Method::TlsClientAuth).ok_or(DenialRule::CertificateUnknown)
    }
}
