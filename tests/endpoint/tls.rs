//! T9: TLS.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use http_body_util::{BodyExt as _, Empty, StreamBody};
use hyper::body::{Bytes, Frame};
use hyper::client::conn::http2::{Connection, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use jiff::Timestamp;
use postern::crypto::ca::{Ca, Leaf};
use postern::http::server::{ServerLimits, Timeouts};
use postern::http::tls::TlsCertificate;
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ProtocolVersion, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::http_client;
use crate::server::{FORM, GRANT, Options, TestServer};

pub(crate) struct Secured {
    pub(crate) server: TestServer,
    ca: Ca,
    certificate: Arc<TlsCertificate>,
}

/// The certificate must be valid by the system clock, which rustls reads.
fn machine_now() -> Timestamp {
    postern::clock::Clock::now(&postern::clock::SystemClock)
}

fn names() -> Vec<String> {
    vec!["localhost".to_owned()]
}

pub(crate) async fn secured(server: ServerLimits) -> Secured {
    let ca = Ca::generate(machine_now()).unwrap();
    let certificate = certificate(&ca.sign_leaf(&names(), machine_now()).unwrap());
    let tls = Some(certificate.server_config().unwrap());
    let server = TestServer::start_with(Options { server, tls, ..Options::default() }).await;
    Secured { server, ca, certificate }
}

fn certificate(leaf: &Leaf) -> Arc<TlsCertificate> {
    TlsCertificate::new(leaf.certificate.to_pem().as_bytes(), leaf.key_pem.expose_secret().as_bytes()).unwrap()
}

impl Secured {
    pub(crate) async fn connect(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        alpn: &[&[u8]],
    ) -> TlsStream<TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(self.ca.certificate().der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        let stream = TcpStream::connect(self.server.addr).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
    }
}

#[tokio::test]
async fn t9_tokens_are_served_over_tls_1_2_and_1_3() {
    let secured = secured(ServerLimits::default()).await;
    let headers = [("authorization", &*secured.server.credential.basic()), FORM];
    let request = http_client::request("POST", "/oauth2/token", &headers, GRANT.as_bytes());
    for (version, number) in [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)] {
        let stream = secured.connect(&[version], &[b"http/1.1"]).await;
        assert_eq!(stream.get_ref().1.protocol_version(), Some(number));
        assert_eq!(http_client::exchange(stream, &request).await.status, 200);
    }
    let stream = secured.connect(&[&TLS12, &TLS13], &[]).await;
    assert_eq!(stream.get_ref().1.protocol_version(), Some(ProtocolVersion::TLSv1_3), "1.3 is preferred");
}

#[tokio::test]
async fn t9_tls_1_1_is_refused() {
    let secured = secured(ServerLimits::default()).await;
    let mut hello = vec![3, 2];
    hello.extend([7; 32]);
    // No session id; RSA and ECDHE with AES-128-CBC-SHA, the suites of that time; no compression; and only the
    // extension with ecdsa_secp256r1_sha256, because a ClientHello without it would be refused for that reason.
    hello.extend([0, 0, 4, 0xc0, 0x13, 0x00, 0x2f, 1, 0, 0, 8, 0, 13, 0, 4, 0, 2, 4, 3]);
    let length = u8::try_from(hello.len()).unwrap();
    let record = [&[22, 3, 1, 0, length + 4, 1, 0, 0, length][..], &hello].concat();
    let mut stream = TcpStream::connect(secured.server.addr).await.unwrap();
    stream.write_all(&record).await.unwrap();
    let answer = http_client::to_end(&mut stream).await;
    assert_eq!((answer[0], &answer[5..7]), (21, &[2, 70][..]), "the fatal alert protocol_version: {answer:?}");
}

#[tokio::test]
async fn t9_plain_http_on_the_tls_port_gets_no_answer_and_no_redirect() {
    let secured = secured(ServerLimits::default()).await;
    let mut stream = TcpStream::connect(secured.server.addr).await.unwrap();
    stream.write_all(&http_client::request("POST", "/oauth2/token", &[FORM], GRANT.as_bytes())).await.unwrap();
    assert!(!http_client::to_end(&mut stream).await.starts_with(b"HTTP"));
}

#[tokio::test]
async fn t9_http_2_is_spoken_by_alpn() {
    let secured = secured(ServerLimits::default()).await;
    let stream = secured.connect(&[&TLS13], &[b"h2", b"http/1.1"]).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let uri = format!("https://localhost:{}/oauth2/jwks", secured.server.addr.port());
    let request = hyper::Request::get(uri).body(Empty::<Bytes>::new()).unwrap();
    let reply = client.send_request(request).await.unwrap();
    assert_eq!(reply.status(), 200);
    assert!(!reply.into_body().collect().await.unwrap().to_bytes().is_empty());
}

/// HTTP/2, with a client that answers every ping.
async fn http_2<B>(secured: &Secured) -> (SendRequest<B>, Connection<TokioIo<TlsStream<TcpStream>>, B, TokioExecutor>)
where
    B: hyper::body::Body<Data = Bytes, Error = Infallible> + Send + Unpin + 'static,
{
    let stream = secured.connect(&[&TLS13], &[b"h2"]).await;
    hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap()
}

fn impatient() -> ServerLimits {
    let timeouts = Timeouts { idle: Duration::from_millis(50), ..Timeouts::default() };
    ServerLimits { timeouts, ..ServerLimits::default() }
}

#[tokio::test]
async fn t10_an_idle_http_1_connection_is_closed_with_close_notify() {
    let secured = secured(impatient()).await;
    let mut stream = secured.connect(&[&TLS13], &[b"http/1.1"]).await;
    stream.write_all(b"GET /oauth2/jwks HTTP/1.1\r\nhost: p\r\n\r\n").await.unwrap();
    assert_eq!(http_client::one(&mut stream).await.status, 200);
    // rustls reports an end without close_notify as an error.
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn t10_an_http_2_connection_that_never_begins_is_closed() {
    let secured = secured(impatient()).await;
    let mut silent = secured.connect(&[&TLS13], &[b"h2"]).await;
    http_client::to_end(&mut silent).await;
    let mut half = secured.connect(&[&TLS13], &[b"h2"]).await;
    half.write_all(b"PRI * HTTP/2.0\r\n").await.unwrap();
    http_client::to_end(&mut half).await;
}

#[tokio::test]
async fn t10_an_http_2_connection_without_a_request_is_closed_gracefully() {
    let secured = secured(ServerLimits { connections: 1, ..impatient() }).await;
    let (_client, connection) = http_2::<Empty<Bytes>>(&secured).await;
    connection.await.expect("a graceful end");
    let (mut client, connection) = http_2::<Empty<Bytes>>(&secured).await;
    let connection = tokio::spawn(connection);
    let uri = format!("https://localhost:{}/oauth2/jwks", secured.server.addr.port());
    let reply = client.send_request(hyper::Request::get(uri).body(Empty::new()).unwrap()).await.unwrap();
    assert_eq!(reply.status(), 200, "the next one has its place");
    connection.await.unwrap().expect("a graceful end, once nobody uses it any more");
}

#[tokio::test]
async fn t10_an_http_2_connection_is_kept_while_a_request_is_under_way() {
    let secured = secured(impatient()).await;
    let (mut client, connection) = http_2(&secured).await;
    let connection = tokio::spawn(connection);
    let slow = futures::stream::once(Box::pin(async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        Ok(Frame::data(Bytes::from(GRANT)))
    }));
    let request = hyper::Request::post(format!("https://localhost:{}/oauth2/token", secured.server.addr.port()))
        .header("authorization", secured.server.credential.basic())
        .header(FORM.0, FORM.1)
        .body(StreamBody::new(slow))
        .unwrap();
    assert_eq!(client.send_request(request).await.unwrap().status(), 200);
    connection.await.unwrap().unwrap();
}

#[tokio::test]
async fn t10_a_request_of_http_2_has_no_more_headers_than_one_of_http_1() {
    let secured = secured(ServerLimits::default()).await;
    let (mut client, connection) = http_2(&secured).await;
    tokio::spawn(connection);
    for (headers, status) in [(50, 200), (101, 431)] {
        let uri = format!("https://localhost:{}/oauth2/jwks", secured.server.addr.port());
        let request = (0..headers).fold(hyper::Request::get(uri), |request, _| request.header("a", ""));
        let reply = client.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
        assert_eq!(reply.status(), status, "{headers} headers");
    }
}

#[tokio::test]
async fn t10_http_2_carries_no_more_concurrent_requests_than_there_are_slots() {
    let secured = secured(ServerLimits { requests: 2, ..ServerLimits::default() }).await;
    let (mut client, connection) = http_2(&secured).await;
    tokio::spawn(connection);
    let post = |when: oneshot::Receiver<()>| {
        let body = when.map(|_| Ok(Frame::data(Bytes::from(GRANT)))).into_stream();
        hyper::Request::post(format!("https://localhost:{}/oauth2/token", secured.server.addr.port()))
            .header("authorization", secured.server.credential.basic())
            .header(FORM.0, FORM.1)
            .body(StreamBody::new(body))
            .unwrap()
    };
    let (mut ends, mut open) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        let (end, ended) = oneshot::channel();
        open.push(tokio::spawn(client.send_request(post(ended))));
        ends.push(end);
    }
    let refused = async {
        loop {
            let reply = client.send_request(post(oneshot::channel().1)).await.unwrap();
            if reply.status() != 200 {
                break reply;
            }
        }
    };
    let reply = tokio::time::timeout(Duration::from_secs(5), refused).await.expect("there is no place for a third");
    assert_eq!(reply.status(), 503);
    assert!(reply.headers().contains_key("retry-after"));
    drop(ends);
    for request in open {
        assert_eq!(request.await.unwrap().unwrap().status(), 200);
    }
}

#[tokio::test]
async fn t9_a_new_certificate_serves_new_connections_without_a_restart() {
    let secured = secured(ServerLimits::default()).await;
    let presented = async || secured.connect(&[&TLS13], &[]).await.get_ref().1.peer_certificates().unwrap()[0].to_vec();
    let before = presented().await;
    let renewed = secured.ca.sign_leaf(&names(), machine_now()).unwrap();
    let pem = renewed.certificate.to_pem();
    secured.certificate.replace(pem.as_bytes(), renewed.key_pem.expose_secret().as_bytes()).unwrap();
    let after = presented().await;
    assert_ne!(before, after);
    assert_eq!(after, renewed.certificate.der().to_vec());
}

#[tokio::test]
async fn t10_a_handshake_that_does_not_complete_is_closed() {
    let timeouts = Timeouts { tls_handshake: Duration::from_millis(50), ..Timeouts::default() };
    let server = ServerLimits { timeouts, ..ServerLimits::default() };
    let secured = secured(server).await;
    let mut silent = TcpStream::connect(secured.server.addr).await.unwrap();
    assert_eq!(http_client::to_end(&mut silent).await, b"");
}
