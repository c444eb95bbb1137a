//! A TLS server for tests: it answers each request with bytes of the test.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::task::AbortOnDropHandle;

use super::{Client, Policy, Resolve};

/// The name of the server.
pub(crate) const NAME: &str = "keys.example.com";

/// What the server answers.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// These bytes.
    Bytes(Vec<u8>),
    /// These bytes, and then more and more.
    Endless(&'static str),
    /// One byte after the other, slowly.
    Slow,
    /// It closes the connection without TLS.
    Closed,
}

impl Reply {
    /// The status 200 with this body.
    pub(crate) fn ok(body: &str) -> Self {
        Self::headers("200 OK", "", body)
    }

    pub(crate) fn headers(status: &str, headers: &str, body: &str) -> Self {
        Self::Bytes(format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len()).into())
    }
}

/// The server.
pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    /// The CA of its certificate.
    pub(crate) ca: Arc<str>,
    pub(crate) reply: Arc<Mutex<Reply>>,
    /// The requests so far.
    pub(crate) requests: Arc<Mutex<Vec<String>>>,
    /// The connections so far.
    pub(crate) connections: Arc<AtomicUsize>,
    _serving: AbortOnDropHandle<()>,
}

impl TestServer {
    /// A server with a certificate for [`NAME`] and 127.0.0.1.
    pub(crate) async fn start(reply: Reply) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let (ca, config) = certificate();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (reply, requests) = (Arc::new(Mutex::new(reply)), Arc::default());
        let connections = Arc::<AtomicUsize>::default();
        let (current, seen, count) = (Arc::clone(&reply), Arc::clone(&requests), Arc::clone(&connections));
        let serving = tokio::spawn(async move {
            let acceptor = TlsAcceptor::from(config);
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                let reply = current.lock().unwrap().clone();
                tokio::spawn(serve(acceptor.clone(), stream, reply, Arc::clone(&seen)));
            }
        });
        Self { address, ca, reply, requests, connections, _serving: AbortOnDropHandle::new(serving) }
    }

    pub(crate) fn url(&self, host: &str) -> String {
        format!("https://{host}:{}/jwks.json", self.address.port())
    }

    pub(crate) fn answer(&self, reply: Reply) {
        *self.reply.lock().unwrap() = reply;
    }

    /// The policy that allows the server.
    pub(crate) fn policy(&self) -> Policy {
        let hosts = [NAME, "127.0.0.1"].map(|host| format!("{host}:{}", self.address.port()).parse().unwrap());
        Policy { hosts: hosts.into(), private_networks: vec!["127.0.0.0/8".parse().unwrap()] }
    }

    /// A client that trusts the server.
    pub(crate) fn client(&self, policy: Policy, resolver: impl Resolve) -> Client {
        let (_, roots) = watch::channel(Some(Arc::clone(&self.ca)));
        Client::new(policy, Arc::new(resolver), roots)
    }
}

async fn serve(acceptor: TlsAcceptor, stream: TcpStream, reply: Reply, requests: Arc<Mutex<Vec<String>>>) {
    if matches!(reply, Reply::Closed) {
        return;
    }
    let Ok(mut stream) = acceptor.accept(stream).await else { return };
    let mut request = vec![0; 4096];
    let length = stream.read(&mut request).await.unwrap_or_default();
    requests.lock().unwrap().push(String::from_utf8_lossy(&request[..length]).into_owned());
    let _ = write(&mut stream, reply).await;
    let _ = stream.shutdown().await;
}

async fn write(stream: &mut TlsStream<TcpStream>, reply: Reply) -> io::Result<()> {
    match reply {
        Reply::Bytes(bytes) => stream.write_all(&bytes).await,
        Reply::Endless(start) => {
            stream.write_all(start.as_bytes()).await?;
            loop {
                stream.write_all(&[b'a'; 4096]).await?;
            }
        }
        Reply::Slow => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n").await?;
            loop {
                stream.write_all(b" ").await?;
                stream.flush().await?;
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
        Reply::Closed => Ok(()),
    }
}

fn certificate() -> (Arc<str>, Arc<ServerConfig>) {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_key = KeyPair::generate().unwrap();
    let ca = authority.self_signed(&ca_key).unwrap();
    let issuer = Issuer::new(authority, ca_key);
    let key = KeyPair::generate().unwrap();
    let names = CertificateParams::new([NAME.to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let leaf = names.signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder().with_no_client_auth();
    (ca.pem().into(), Arc::new(config.with_single_cert(vec![leaf.der().clone()], key).unwrap()))
}

/// A resolver that gives each answer once, and the last one from then on.
#[derive(Clone, Debug)]
pub(crate) struct Answers {
    answers: Arc<Vec<Vec<&'static str>>>,
    pub(crate) asked: Arc<AtomicUsize>,
}

impl Answers {
    pub(crate) fn new(answers: &[&[&'static str]]) -> Self {
        Self { answers: Arc::new(answers.iter().map(|answer| answer.to_vec()).collect()), asked: Arc::default() }
    }
}

impl Resolve for Answers {
    fn resolve(&self, domain: String, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        assert_eq!(domain, NAME);
        let number = self.asked.fetch_add(1, Ordering::Relaxed).min(self.answers.len() - 1);
        let addresses = self.answers[number].iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), port)).collect();
        async move { Ok(addresses) }.boxed()
    }
}
