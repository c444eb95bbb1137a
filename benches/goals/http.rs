//! A keep-alive connection to a token endpoint.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;

use crate::Result;

/// Paths of the endpoint.
pub const TOKEN: &str = "/oauth2/token";
pub const INTROSPECT: &str = "/oauth2/introspect";
pub const REVOKE: &str = "/oauth2/revoke";

/// Where a token endpoint is.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Target {
    /// Its address.
    pub address: SocketAddr,
    /// The CA (PEM) of its certificate; none: plain HTTP.
    pub ca: Option<String>,
}

impl Target {
    /// How its certificate is checked; none: plain HTTP. Made once for all connections.
    pub fn tls(&self) -> Result<Option<TlsConnector>> {
        self.tls_with(b"http/1.1")
    }

    /// The same, to speak this protocol.
    pub fn tls_with(&self, alpn: &[u8]) -> Result<Option<TlsConnector>> {
        let Some(ca) = &self.ca else { return Ok(None) };
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(ca.as_bytes())?)?;
        let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![alpn.to_vec()];
        Ok(Some(TlsConnector::from(Arc::new(config))))
    }
}

/// A connection that is used again and again.
pub struct Connection {
    requests: SendRequest<Full<Bytes>>,
    host: String,
}

impl Connection {
    /// Connects.
    pub async fn open(address: SocketAddr, tls: Option<&TlsConnector>) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let requests = match tls {
            None => speak(stream).await?,
            Some(tls) => speak(tls.connect(ServerName::from(address.ip()), stream).await?).await?,
        };
        Ok(Self { requests, host: address.to_string() })
    }

    /// Connects from this address of the machine.
    pub async fn open_from(source: Ipv4Addr, address: SocketAddr, tls: &TlsConnector) -> Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((source, 0).into())?;
        let stream = socket.connect(address).await?;
        stream.set_nodelay(true)?;
        let requests = speak(tls.connect(ServerName::from(address.ip()), stream).await?).await?;
        Ok(Self { requests, host: address.to_string() })
    }

    /// Asks for a token; `form` is the ready-made body.
    pub async fn token(&mut self, form: &Bytes) -> Result<(StatusCode, Bytes)> {
        self.post(TOKEN, form).await
    }

    /// Posts a ready-made form.
    pub async fn post(&mut self, path: &str, form: &Bytes) -> Result<(StatusCode, Bytes)> {
        self.post_with(path, form, None).await
    }

    /// The same, with a DPoP proof.
    pub async fn post_with(&mut self, path: &str, form: &Bytes, proof: Option<&str>) -> Result<(StatusCode, Bytes)> {
        let mut request = Request::post(path)
            .header("host", self.host.as_str())
            .header("content-type", "application/x-www-form-urlencoded");
        if let Some(proof) = proof {
            request = request.header("dpop", proof);
        }
        self.send(request.body(Full::new(form.clone()))?).await
    }

    /// Reads a path.
    pub async fn get(&mut self, path: &str) -> Result<(StatusCode, Bytes)> {
        let request = Request::get(path).header("host", self.host.as_str()).body(Full::default())?;
        self.send(request).await
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes)> {
        self.requests.ready().await?;
        let answer = self.requests.send_request(request).await?;
        Ok((answer.status(), answer.into_body().collect().await?.to_bytes()))
    }
}

async fn speak<S>(stream: S) -> Result<SendRequest<Full<Bytes>>>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (requests, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(requests)
}
