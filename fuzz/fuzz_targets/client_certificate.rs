//! The certificate of a client: in the handshake, or in the header of a proxy (RFC 9440, and that of nginx).

#![no_main]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use pem::Pem;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use postern::crypto::client_certificate::{CertificateId, ClientCertificate, Thumbprint};
use postern::crypto::distinguished_name::DistinguishedName;
use postern::http::server::CertificateHeader;

const CLIENT_CERT: &str = "client-cert";
const SSL_CLIENT_CERT: &str = "ssl-client-cert";

/// `None`: no certificate; `Some(None)`: a malformed one.
fn read(header: CertificateHeader, name: &'static str, values: &[&[u8]]) -> Option<Option<ClientCertificate>> {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(name, HeaderValue::from_bytes(value).ok()?);
    }
    header.read(&headers).map(Result::ok)
}

// Bytes as a certificate, and as the value of each header.
fuzz_target!(|bytes: &[u8]| {
    for (header, name) in
        [(CertificateHeader::ClientCert, CLIENT_CERT), (CertificateHeader::SslClientCert, SSL_CLIENT_CERT)]
    {
        // Two headers are malformed, whatever they contain.
        assert!(read(header, name, &[bytes, bytes]).is_none_or(|read| read.is_none()));
        if let Some(Some(certificate)) = read(header, name, &[bytes]) {
            check(&certificate);
        }
    }
    let handshake = ClientCertificate::new(vec![bytes.to_vec().into()]).ok();
    if let Some(certificate) = &handshake {
        check(certificate);
        assert_eq!(certificate.thumbprint(), Thumbprint::of(bytes));
    }
    // A proxy that names the certificate leads to the same client as the handshake. An empty value is no certificate.
    if !bytes.is_empty() {
        let expected = Some(handshake.map(|certificate| certificate.thumbprint()));
        let byte_sequence = format!(":{}:", STANDARD.encode(bytes));
        let escaped = utf8_percent_encode(&pem::encode(&Pem::new("CERTIFICATE", bytes)), NON_ALPHANUMERIC).to_string();
        for (header, name, value) in [
            (CertificateHeader::ClientCert, CLIENT_CERT, byte_sequence),
            (CertificateHeader::SslClientCert, SSL_CLIENT_CERT, escaped),
        ] {
            let read = read(header, name, &[value.as_bytes()]);
            assert_eq!(read.map(|read| read.map(|certificate| certificate.thumbprint())), expected);
        }
    }
    // A subject is the one that its text names, as an administrator copies it into `subjectDn`.
    if let Ok(subject) = DistinguishedName::from_der(bytes)
        && let Ok(copied) = subject.to_string().parse::<DistinguishedName>()
    {
        assert_eq!(copied, subject);
    }
});

/// A certificate has its thumbprint as an id.
fn check(certificate: &ClientCertificate) {
    let id = |field, value: &str| CertificateId::parse(field, value).unwrap();
    assert!(certificate.has(&id("thumbprintSha256", &certificate.thumbprint().to_string())));
    assert_eq!(certificate.thumbprint().base64url().len(), 43);
}
