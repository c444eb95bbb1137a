//! A13: the certificate that a proxy names in a header (RFC 9440).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use postern::http::server::CertificateHeader;

use super::*;

pub(super) const CLIENT_CERT: &str = "client-cert";

/// A server behind a proxy on this machine, and a client that is registered for its certificate.
pub(super) async fn behind_proxy(header: Option<CertificateHeader>, trusted: &str) -> (Scene, Issued) {
    let trusted_proxies = vec![trusted.parse().unwrap()];
    let scene = Scene::with(Options { certificate_header: header, trusted_proxies, ..Options::default() }).await;
    scene.register(&[Method::TlsClientAuth], &[id("sanDns", DNS)]);
    let certificate = scene.ca.issue(&[DNS], &[], |_| {});
    (scene, certificate)
}

pub(super) fn byte_sequence(issued: &Issued) -> String {
    format!(":{}:", STANDARD.encode(&issued.chain[0]))
}

#[tokio::test]
async fn a13_a_trusted_proxy_names_the_certificate_of_its_client() {
    let (scene, certificate) = behind_proxy(Some(CertificateHeader::ClientCert), "127.0.0.0/8").await;
    let reply = scene.post(None, &[(CLIENT_CERT, &byte_sequence(&certificate))], &with_id()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let issued = scene.ca.intermediate().issue(&[DNS], &[], |_| {});
    let chain = format!(":{}:", STANDARD.encode(&issued.chain[1]));
    let leaf = byte_sequence(&issued);
    let reply = scene.post(None, &[(CLIENT_CERT, &leaf), ("client-cert-chain", &chain)], &with_id()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let reply = scene.post(None, &[(CLIENT_CERT, &leaf)], &with_id()).await;
    assert_eq!(rule_of(&reply), "CertificateUntrusted", "the intermediate CA is missing");
}

#[tokio::test]
async fn a13_ingress_nginx_names_the_certificate_in_its_own_header() {
    let (scene, certificate) = behind_proxy(Some(CertificateHeader::SslClientCert), "127.0.0.0/8").await;
    let escaped = utf8_percent_encode(&certificate.pem(), NON_ALPHANUMERIC).to_string();
    assert_eq!(scene.post(None, &[("ssl-client-cert", &escaped)], &with_id()).await.status, 200);
    let reply = scene.post(None, &[(CLIENT_CERT, &byte_sequence(&certificate))], &with_id()).await;
    assert_eq!(rule_of(&reply), "CertificateMissing", "the header of the other form");
}

#[tokio::test]
async fn a13_a_header_from_another_source_or_without_the_switch_is_ignored() {
    for (header, trusted) in [(Some(CertificateHeader::ClientCert), "10.0.0.0/8"), (None, "127.0.0.0/8")] {
        let (scene, certificate) = behind_proxy(header, trusted).await;
        let text = byte_sequence(&certificate);
        let reply = scene.post(None, &[(CLIENT_CERT, &text)], &with_id()).await;
        assert_eq!(rule_of(&reply), "CertificateMissing", "{header:?}");
        // The certificate of the connection counts, whatever the header contains.
        let own = Issued::self_signed(&["other"]);
        let reply = scene.post(Some(&own), &[(CLIENT_CERT, &text)], &with_id()).await;
        assert_eq!(rule_of(&reply), "CertificateUntrusted", "{header:?}");
        let reply = scene.post(Some(&certificate), &[(CLIENT_CERT, "nonsense")], &with_id()).await;
        assert_eq!(reply.status, 200, "{header:?}");
    }
}

#[tokio::test]
async fn a13_the_certificate_of_the_proxy_itself_is_not_that_of_its_client() {
    let (scene, certificate) = behind_proxy(Some(CertificateHeader::ClientCert), "127.0.0.0/8").await;
    let reply = scene.post(Some(&certificate), &[], &with_id()).await;
    assert_eq!(rule_of(&reply), "CertificateMissing");
}

#[tokio::test]
async fn a13_a_repeated_or_malformed_header_is_refused_and_does_not_affect_other_methods() {
    let (scene, certificate) = behind_proxy(Some(CertificateHeader::ClientCert), "127.0.0.0/8").await;
    let (good, other) = (byte_sequence(&certificate), byte_sequence(&Issued::self_signed(&[])));
    let basic = scene.server.credential.basic();
    for headers in [
        &[(CLIENT_CERT, &*good), (CLIENT_CERT, &other)][..],
        &[(CLIENT_CERT, &good), (CLIENT_CERT, &good)],
        &[(CLIENT_CERT, "nonsense")],
        &[(CLIENT_CERT, &good), ("client-cert-chain", "nonsense")],
    ] {
        scene.register(&[Method::TlsClientAuth], &[id("sanDns", DNS)]);
        assert_eq!(rule_of(&scene.post(None, headers, &with_id()).await), "CertificateMalformed");
        scene.register(&[Method::ClientSecretBasic], &[]);
        let headers = [headers, &[("authorization", &*basic)]].concat();
        assert_eq!(scene.post(None, &headers, GRANT).await.status, 200);
    }
}
