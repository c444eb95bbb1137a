//! The certificates that an outbound connection trusts.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

/// A TLS client that trusts the public CAs, and those of the operator (PEM). A certificate that rustls cannot use as a CA is
/// left out.
pub(super) fn client(own: Option<&str>) -> Arc<ClientConfig> {
    let mut roots: RootCertStore = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
    let own = own.into_iter().flat_map(|pem| CertificateDer::pem_slice_iter(pem.as_bytes()).flatten());
    roots.add_parsable_certificates(own);
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // Each request has a separate connection, minutes after the last one.
    config.resumption = rustls::client::Resumption::disabled();
    Arc::new(config)
}
