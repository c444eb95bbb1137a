//! X5: tokens that are bound to a certificate, at forward authentication. The certificate is that of the client of the
//! proxy.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use postern::http::server::CertificateHeader;
use postern::oauth::client_record::{SenderConstraint, TokenPolicy};

use super::header::{CLIENT_CERT, behind_proxy, byte_sequence};
use super::*;
use crate::forward_auth::{ANYONE, challenges};
use crate::server::SUBJECT;

/// A server behind a proxy on this machine, a certificate, and a token that is bound to it.
async fn bound(header: Option<CertificateHeader>, trusted: &str) -> (Scene, Issued, String) {
    let (scene, certificate) = behind_proxy(header, trusted).await;
    let client = scene.client(&[Method::TlsClientAuth], &[id("sanDns", DNS)]);
    let token = TokenPolicy { sender_constraint: SenderConstraint::MutualTls, ..client.token.clone() };
    scene.server.clients.put(ClientRecord { token, ..client });
    let named = match header {
        Some(CertificateHeader::ClientCert) => ("client-cert", byte_sequence(&certificate)),
        Some(CertificateHeader::SslClientCert) => ("ssl-client-cert", escaped(&certificate)),
        None => ("x-none", String::new()),
    };
    // Over a connection with the certificate where the header does not count.
    let reply = scene.post(Some(&certificate), &[(named.0, &named.1)], &with_id()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let token = reply.json()["access_token"].as_str().expect("a token").to_owned();
    (scene, certificate, token)
}

fn escaped(issued: &Issued) -> String {
    utf8_percent_encode(&issued.pem(), NON_ALPHANUMERIC).to_string()
}

/// The question of a proxy about a request with this token, over a connection with this certificate.
async fn ask(scene: &Scene, connection: Option<&Issued>, target: &str, token: &str, named: &[(&str, &str)]) -> Reply {
    let authorization = format!("Bearer {token}");
    let mut headers = vec![("authorization", authorization.as_str())];
    if target != ANYONE {
        headers.push(("x-postern-require-anyone", "true"));
    }
    headers.extend(named);
    let request = http_client::request("GET", target, &headers, b"");
    http_client::exchange(scene.connect(connection).await, &request).await
}

fn token_rule(reply: &Reply) -> String {
    assert_eq!(reply.error(), (401, "invalid_token".to_owned()), "{}", reply.text());
    assert_eq!(challenges(reply), [r#"Bearer realm="postern", error="invalid_token""#]);
    audit(reply)["rule"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn x5_a_bound_token_passes_with_the_certificate_that_the_proxy_names() {
    for (header, name) in
        [(CertificateHeader::ClientCert, CLIENT_CERT), (CertificateHeader::SslClientCert, "ssl-client-cert")]
    {
        let (scene, certificate, token) = bound(Some(header), "127.0.0.0/8").await;
        let text = |issued: &Issued| match header {
            CertificateHeader::ClientCert => byte_sequence(issued),
            CertificateHeader::SslClientCert => escaped(issued),
        };
        let (own, other) = (text(&certificate), text(&Issued::self_signed(&["other"])));
        for target in [ANYONE, "/auth/request/invoices"] {
            let reply = ask(&scene, None, target, &token, &[(name, &own)]).await;
            assert_eq!((reply.status, reply.header("x-postern-subject")), (200, Some(SUBJECT)), "{}", reply.text());
            for (named, expected) in [
                (&[][..], "TokenCertificateMissing"),
                (&[(name, "")], "TokenCertificateMissing"),
                (&[(name, &*other)], "TokenOtherCertificate"),
                (&[(name, "nonsense")], "CertificateMalformed"),
                (&[(name, &*own), (name, &*own)], "CertificateMalformed"),
                (&[(name, &*own), (name, &*other)], "CertificateMalformed"),
            ] {
                assert_eq!(token_rule(&ask(&scene, None, target, &token, named).await), expected, "{named:?}");
            }
        }
    }
}

#[tokio::test]
async fn x5_the_certificate_of_the_proxy_itself_is_not_that_of_its_client() {
    // The token of the proxy itself: otherwise every client could use it through the proxy.
    for (header, trusted) in
        [(None, "127.0.0.0/8"), (None, "10.0.0.0/8"), (Some(CertificateHeader::ClientCert), "10.0.0.0/8")]
    {
        let (scene, certificate, token) = bound(header, trusted).await;
        for target in [ANYONE, "/auth/request/invoices"] {
            let reply = ask(&scene, Some(&certificate), target, &token, &[]).await;
            assert_eq!(token_rule(&reply), "TokenCertificateMissing", "{header:?} {trusted}");
            // Nor does the header count, which anybody may have sent.
            let named = [(CLIENT_CERT, &*byte_sequence(&certificate))];
            let reply = ask(&scene, Some(&certificate), target, &token, &named).await;
            assert_eq!(token_rule(&reply), "TokenCertificateMissing", "{header:?} {trusted}");
        }
    }
    let (scene, certificate, token) = bound(Some(CertificateHeader::ClientCert), "127.0.0.0/8").await;
    let reply = ask(&scene, Some(&certificate), ANYONE, &token, &[]).await;
    assert_eq!(token_rule(&reply), "TokenCertificateMissing");
    let other = [(CLIENT_CERT, &*byte_sequence(&Issued::self_signed(&["other"])))];
    assert_eq!(token_rule(&ask(&scene, Some(&certificate), ANYONE, &token, &other).await), "TokenOtherCertificate");
}
