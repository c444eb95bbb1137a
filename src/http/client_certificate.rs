//! The certificate of a client: of its connection, or as a trusted proxy names it.

use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::header::HeaderName;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::crypto::client_certificate::{ClientCertificate, MalformedCertificate};
use crate::oauth::client_auth::PresentedCertificate;

const CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");
const CLIENT_CERT_CHAIN: HeaderName = HeaderName::from_static("client-cert-chain");
const SSL_CLIENT_CERT: HeaderName = HeaderName::from_static("ssl-client-cert");
/// RFC 8941 §3.3.5.
const EMPTY_BYTE_SEQUENCE: &[u8] = b"::";

/// The header in which a proxy names the certificate of its client.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CertificateHeader {
    /// `Client-Cert` and `Client-Cert-Chain` (RFC 9440).
    ClientCert,
    /// `ssl-client-cert`, with a certificate in percent-encoded PEM: the variable `$ssl_client_escaped_cert` of nginx.
    SslClientCert,
}

impl CertificateHeader {
    /// The certificate that the proxy names; `None`: the client has presented none. A header that is repeated or
    /// malformed is a malformed certificate: another reading could be that of another client.
    #[must_use]
    pub fn read(self, headers: &HeaderMap) -> Option<PresentedCertificate> {
        let name = match self {
            Self::ClientCert => CLIENT_CERT,
            Self::SslClientCert => SSL_CLIENT_CERT,
        };
        let mut lines = headers.get_all(name).iter();
        let first = lines.next()?.as_bytes().trim_ascii();
        if lines.next().is_some() {
            return Some(Err(MalformedCertificate));
        }
        // For a client without a certificate, nginx sends no header, and other proxies an empty value.
        if first.is_empty() || (self == Self::ClientCert && first == EMPTY_BYTE_SEQUENCE) {
            return None;
        }
        let chain = match self {
            Self::ClientCert => byte_sequences(first, headers),
            Self::SslClientCert => pem(first),
        };
        Some(chain.ok_or(MalformedCertificate).and_then(ClientCertificate::new))
    }
}

/// The certificate that was presented in the handshake of a connection.
pub(super) fn of_connection(chain: &[CertificateDer<'_>]) -> Arc<PresentedCertificate> {
    Arc::new(ClientCertificate::new(chain.iter().map(|certificate| certificate.clone().into_owned()).collect()))
}

/// RFC 9440 §2.2 and §2.3: a Byte Sequence, and a List of them.
fn byte_sequences(leaf: &[u8], headers: &HeaderMap) -> Option<Vec<CertificateDer<'static>>> {
    let lines = headers.get_all(CLIENT_CERT_CHAIN).iter();
    let others = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    std::iter::once(leaf).chain(others).map(byte_sequence).collect()
}

/// RFC 8941 §3.3.5.
fn byte_sequence(text: &[u8]) -> Option<CertificateDer<'static>> {
    let base64 = text.trim_ascii().strip_prefix(b":")?.strip_suffix(b":")?;
    STANDARD.decode(base64).ok().map(CertificateDer::from)
}

fn pem(escaped: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let text: Vec<u8> = percent_decode(escaped).collect();
    CertificateDer::pem_slice_iter(&text).collect::<Result<_, _>>().ok()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

    use super::*;
    use crate::crypto::client_certificate::Thumbprint;

    fn made() -> rcgen::Certificate {
        rcgen::generate_simple_self_signed(["client".to_owned()]).unwrap().cert
    }

    fn byte_sequence_of(certificate: &rcgen::Certificate) -> String {
        format!(":{}:", STANDARD.encode(certificate.der()))
    }

    fn read(header: CertificateHeader, lines: &[(&'static str, &str)]) -> Option<Result<Thumbprint, ()>> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        header.read(&headers).map(|read| read.map(|certificate| certificate.thumbprint()).map_err(drop))
    }

    #[test]
    fn a13_the_headers_of_rfc_9440_name_a_certificate() {
        let (leaf, ca) = (made(), made());
        let (text, chain) = (byte_sequence_of(&leaf), [&leaf, &ca].map(byte_sequence_of).join(" , "));
        let expected = Some(Ok(Thumbprint::of(leaf.der())));
        let read = |lines: &[(&'static str, &str)]| read(CertificateHeader::ClientCert, lines);
        assert_eq!(read(&[("client-cert", &text)]), expected);
        assert_eq!(read(&[("client-cert", &text), ("client-cert-chain", &chain)]), expected);
        assert_eq!(read(&[]), None);
        for empty in ["", " ", "::", " :: "] {
            assert_eq!(read(&[("client-cert", empty)]), None, "{empty:?}");
            assert_eq!(read(&[("client-cert", empty), ("client-cert-chain", &chain)]), None, "{empty:?}");
        }
        assert_eq!(read(&[("client-cert-chain", &chain)]), None);
        assert_eq!(read(&[("ssl-client-cert", &text)]), None, "the header of the other form");
    }

    #[test]
    fn a13_the_header_of_nginx_names_a_certificate() {
        let leaf = made();
        let text = utf8_percent_encode(&leaf.pem(), NON_ALPHANUMERIC).to_string();
        let read = |lines: &[(&'static str, &str)]| read(CertificateHeader::SslClientCert, lines);
        assert_eq!(read(&[("ssl-client-cert", &text)]), Some(Ok(Thumbprint::of(leaf.der()))));
        assert_eq!(read(&[("client-cert", &byte_sequence_of(&leaf))]), None, "the header of the other form");
        for empty in ["", " "] {
            assert_eq!(read(&[("ssl-client-cert", empty)]), None, "{empty:?}");
        }
        for malformed in ["::", "-", "(null)", "%2D", &text[..200]] {
            assert_eq!(read(&[("ssl-client-cert", malformed)]), Some(Err(())), "{malformed}");
        }
    }

    #[test]
    fn a13_a_repeated_or_malformed_header_is_a_malformed_certificate() {
        let (one, other) = (byte_sequence_of(&made()), byte_sequence_of(&made()));
        let long = format!(":{}:", STANDARD.encode([0; 9000]));
        for lines in [
            &[("client-cert", &*one), ("client-cert", &*other)][..],
            &[("client-cert", &one), ("client-cert", "")],
            &[("client-cert", &format!("{one}, {other}"))],
            &[("client-cert", one.trim_matches(':'))],
            &[("client-cert", "::"), ("client-cert", &one)],
            &[("client-cert", ": :")],
            &[("client-cert", ":")],
            &[("client-cert", ":AAAA:")],
            &[("client-cert", &one), ("client-cert-chain", "nonsense")],
            &[("client-cert", &one), ("client-cert-chain", &long)],
        ] {
            assert_eq!(read(CertificateHeader::ClientCert, lines), Some(Err(())), "{lines:?}");
        }
    }
}
