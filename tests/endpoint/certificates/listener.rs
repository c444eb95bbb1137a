//! A13: the listener that requests certificates.

use std::time::Duration;

use postern::http::server::ServerLimits;
use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{HandshakeKind, SignatureScheme};
use tokio::io::AsyncReadExt as _;

use super::*;

/// Presents this certificate with this key, also if they do not match.
#[derive(Debug)]
struct Presents(Arc<CertifiedKey>);

impl ResolvesClientCert for Presents {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn a13_a_resumed_session_keeps_the_certificate_of_the_client() {
    let scene = Scene::new().await;
    scene.register(&[Method::TlsClientAuth], &[id("sanDns", DNS)]);
    let certificate = scene.ca.issue(&[DNS], &[], |_| {});
    let request = http_client::request("POST", "/oauth2/token", &[FORM], with_id().as_bytes());
    for version in [&TLS12, &TLS13] {
        let config = scene.config(Some(&certificate), &[version]);
        for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let mut stream = scene.handshake(config.clone()).await.unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut stream, &request).await.unwrap();
            let reply = http_client::one(&mut stream).await;
            assert_eq!(reply.status, 200, "{version:?} {expected:?}: {}", reply.text());
            assert_eq!(stream.get_ref().1.handshake_kind(), Some(expected), "{version:?}");
        }
    }
}

#[tokio::test]
async fn a13_the_certificate_of_another_without_its_key_completes_no_handshake() {
    let scene = Scene::new().await;
    let (stolen, own) = (scene.ca.issue(&[DNS], &[], |_| {}), Issued::self_signed(&[]));
    let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&own.key()).unwrap();
    for version in [&TLS12, &TLS13] {
        let mut config = scene.config(None, &[version]);
        let presented = CertifiedKey::new(stolen.chain.clone(), Arc::clone(&key));
        config.client_auth_cert_resolver = Arc::new(Presents(Arc::new(presented)));
        assert!(!completes(&scene, config).await, "{version:?}");
    }
    assert!(completes(&scene, scene.config(Some(&own), &[&TLS13])).await);
}

#[tokio::test]
async fn a13_a_chain_that_is_too_long_completes_no_handshake() {
    let scene = Scene::new().await;
    let mut issued = scene.ca.issue(&[DNS], &[], |_| {});
    while issued.chain.iter().map(|certificate| certificate.len()).sum::<usize>() <= 8 * 1024 {
        issued.chain.push(issued.chain[0].clone());
    }
    assert!(!completes(&scene, scene.config(Some(&issued), &[&TLS13])).await);
    issued.chain.pop();
    assert!(completes(&scene, scene.config(Some(&issued), &[&TLS13])).await);
}

/// Whether the server answers a request. With TLS 1.3 a client learns only then that its certificate was refused.
async fn completes(scene: &Scene, config: ClientConfig) -> bool {
    let Ok(mut stream) = scene.handshake(config).await else { return false };
    let request = http_client::request("GET", "/oauth2/jwks", &[("connection", "close")], b"");
    let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, &request).await;
    let mut read = Vec::new();
    let _ = stream.read_to_end(&mut read).await;
    read.starts_with(b"HTTP/1.1 200")
}

#[tokio::test]
async fn a13_the_main_listener_requests_no_certificate() {
    let scene = Scene::new().await;
    scene.register(&[Method::TlsClientAuth], &[id("sanDns", DNS)]);
    let certificate = scene.ca.issue(&[DNS], &[], |_| {});
    let config = Arc::new(scene.config(Some(&certificate), &[&TLS13]));
    let stream = TcpStream::connect(scene.server.addr).await.unwrap();
    let stream = TlsConnector::from(config).connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap();
    let request = http_client::request("POST", "/oauth2/token", &[FORM], with_id().as_bytes());
    assert_eq!(rule_of(&http_client::exchange(stream, &request).await), "CertificateMissing");
}

#[tokio::test]
async fn a13_the_listeners_share_one_limit_of_connections() {
    let server = ServerLimits { connections: 2, ..ServerLimits::default() };
    let scene = Scene::with(Options { server, ..Options::default() }).await;
    let connect = async || {
        let stream = TcpStream::connect(scene.server.addr).await.unwrap();
        let config = Arc::new(scene.config(None, &[&TLS13]));
        TlsConnector::from(config).connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap()
    };
    let mut idle = [connect().await, connect().await];
    // An idle connection may be closed for another one after a moment.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(completes(&scene, scene.config(None, &[&TLS13])).await);
    let [first, second] = &mut idle;
    let (mut one, mut other) = ([0], [0]);
    let read = tokio::select! {
        read = first.read(&mut one) => read,
        read = second.read(&mut other) => read,
    };
    assert!(matches!(read, Ok(0) | Err(_)), "one of the idle connections is closed");
}

#[tokio::test]
async fn a13_x5_the_metadata_names_methods_aliases_and_bound_tokens_only_where_certificates_are_requested() {
    let scene = Scene::new().await;
    let request = http_client::request("GET", "/.well-known/oauth-authorization-server", &[], b"");
    let metadata = http_client::exchange(scene.connect(None).await, &request).await.json();
    let url = |path: &str| json!(format!("https://mtls.example.com/oauth2/{path}"));
    assert_eq!(
        metadata["mtls_endpoint_aliases"],
        json!({
            "token_endpoint": url("token"), "introspection_endpoint": url("introspect"),
            "revocation_endpoint": url("revoke"), "userinfo_endpoint": url("userinfo"),
        })
    );
    assert_eq!(metadata["tls_client_certificate_bound_access_tokens"], json!(true));
    let methods = json!([
        "client_secret_basic",
        "client_secret_post",
        "private_key_jwt",
        "kubernetes_service_account",
        "tls_client_auth",
        "self_signed_tls_client_auth",
    ]);
    for endpoint in ["token", "introspection", "revocation"] {
        assert_eq!(metadata[format!("{endpoint}_endpoint_auth_methods_supported")], methods);
    }
    let plain = TestServer::start().await.get("/.well-known/oauth-authorization-server").await.json();
    assert_eq!(plain["mtls_endpoint_aliases"], Value::Null);
    assert_eq!(plain["tls_client_certificate_bound_access_tokens"], Value::Null);
    assert!(!plain["token_endpoint_auth_methods_supported"].to_string().contains("tls_client_auth"));
}
