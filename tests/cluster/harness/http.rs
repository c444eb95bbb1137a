//! HTTP as a client of the token endpoint speaks it.

use std::net::IpAddr;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::{CertificateDer, pem::PemObject};
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::mpsc;

/// How long a connection is kept for the next request. A server closes it after thirty seconds, and a request that is sent
/// in that instant gets no answer.
const KEPT_FOR: Duration = Duration::from_secs(10);

/// Connections to whatever a CA vouches for, and plain ones.
pub type Connections = Client<HttpsConnector<HttpConnector>, Body>;

/// Connections that trust the certificates in `ca` (PEM).
pub fn trusting(ca: &[u8]) -> Connections {
    trusting_via(ca, HttpConnector::new())
}

/// The same, from this address of the machine.
pub fn trusting_from(ca: &[u8], address: IpAddr) -> Connections {
    let mut connector = HttpConnector::new();
    connector.set_local_address(Some(address));
    trusting_via(ca, connector)
}

fn trusting_via(ca: &[u8], mut connector: HttpConnector) -> Connections {
    connector.enforce_http(false);
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(ca).map(|certificate| certificate.expect("PEM")));
    let tls = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let tls =
        HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(connector);
    Client::builder(TokioExecutor::new()).pool_idle_timeout(KEPT_FOR).build(tls)
}

/// Plain connections that come from this address of the machine.
pub fn plain_from(address: IpAddr) -> Client<HttpConnector, Body> {
    let mut connector = HttpConnector::new();
    connector.set_local_address(Some(address));
    Client::builder(TokioExecutor::new()).pool_idle_timeout(KEPT_FOR).build(connector)
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// Sends a request and reads the whole answer; `Err` when no answer came.
pub async fn send<C>(connections: &Client<C, Body>, request: Request<Body>) -> Result<Answer, String>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let answer = connections.request(request).await.map_err(|error| format!("{error:?}"))?;
    let (head, body) = answer.into_parts();
    let body = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
    Ok(Answer { status: head.status, headers: head.headers, body })
}

/// Gets a URL.
pub async fn get(connections: &Connections, url: &str) -> Result<Answer, String> {
    send(connections, Request::get(url).body(Body::empty()).expect("a request")).await
}

/// A body that arrives as it is sent to, and ends when the sender is dropped.
pub fn slow_body() -> (mpsc::UnboundedSender<&'static str>, Body) {
    let (sender, parts) = mpsc::unbounded_channel();
    let parts = futures::stream::unfold(parts, |mut parts| async {
        let part = parts.recv().await?;
        Some((Ok::<_, std::convert::Infallible>(part), parts))
    });
    (sender, Body::from_stream(parts))
}
