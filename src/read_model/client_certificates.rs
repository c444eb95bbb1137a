//! Compiles the certificates by which an Application authenticates.

use std::sync::Arc;

use super::secret_records::ApplicationGrant;
use crate::api::Application;
use crate::api::fingerprint::token_fingerprint;
use crate::crypto::client_certificate::CertificateId;
use crate::crypto::x5c;
use crate::oauth::client_record::RegisteredCertificate;

/// The entries that identify certificates, in their order. The condition `CertificatesResolved` of the Application
/// names the others.
pub(super) fn client_certificates(
    application: &Application,
    held: &ApplicationGrant<'_>,
) -> Vec<Arc<RegisteredCertificate>> {
    if let Some(record) = held.unchanged(application) {
        return record.certificates.clone();
    }
    let registered = |id: CertificateId| {
        // Another way to write the same entry is the same credential.
        let authority = token_fingerprint(&format!("certificate {id}"), &held.digest).into();
        Arc::new(RegisteredCertificate { id, authority })
    };
    certificate_ids(application).into_iter().map(registered).collect()
}

/// What identifies certificates of the client: the entries of `spec.auth.certificates`, then the `x5c` of its keys.
pub(super) fn certificate_ids(application: &Application) -> Vec<CertificateId> {
    let spec = &application.spec;
    let entries = spec.certificates().filter_map(|entry| {
        let (field, value) = entry.field()?;
        CertificateId::parse(field, value).ok()
    });
    let keys = spec.keys().filter_map(|jwk| x5c::certificate(&jwk.to_json())?.ok());
    let mut ids: Vec<CertificateId> = Vec::new();
    for id in entries.chain(keys) {
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    ids
}
