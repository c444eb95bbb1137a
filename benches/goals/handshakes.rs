//! The first connection of a client with a certificate, against one of a client without.
//!
//! Each has a full handshake, and one request: with TLS 1.3 the client has finished its handshake before the server has read
//! the certificate.

use std::sync::Arc;

use hyper::StatusCode;
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use crate::endpoint::Subject;
use crate::http::{Connection, Target};
use crate::operator::{Replica, free_address};
use crate::report::{Goal, compare, note};
use crate::{Result, median};

/// Connections of each kind, in turn.
const CONNECTIONS: usize = 500;
/// A response without a signature or a database.
const PATH: &str = "/oauth2/jwks";

/// Measures both at one replica.
pub async fn measure(subject: &Subject) -> Result<()> {
    let replica = Replica::new("handshakes", &subject.issuer, false)?;
    let mutual = free_address()?;
    let listener = ["--mtls-listen", &mutual.to_string(), "--mtls-url", "https://mtls.example.com"];
    let _running = replica.start_with(None, &listener)?;
    replica.ready().await?;
    let target = Target { address: replica.listen, ca: Some(subject.ca.clone()) };
    let plain = connector(&target, false)?;
    let certified = connector(&Target { address: mutual, ..target }, true)?;
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..CONNECTIONS {
        without.push(first_request(replica.listen, &plain).await?);
        with.push(first_request(mutual, &certified).await?);
    }
    let (without, with) = (median(without), median(with));
    compare("(f) First connection with a client certificate / without", with / without, "", Goal::AtMost(1.3))?;
    note("(f) first connection without a client certificate", without, "ms")
}

/// A connector that resumes no session; with a new certificate if `certified`.
fn connector(target: &Target, certified: bool) -> Result<TlsConnector> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(target.ca.as_deref().unwrap_or_default().as_bytes())?)?;
    let config = ClientConfig::builder().with_root_certificates(roots);
    let mut config = if certified {
        let signed = rcgen::generate_simple_self_signed(["bench.example.com".to_owned()])?;
        let key = PrivateKeyDer::try_from(signed.signing_key.serialize_der())?;
        config.with_client_auth_cert(vec![signed.cert.der().clone()], key)?
    } else {
        config.with_no_client_auth()
    };
    config.resumption = rustls::client::Resumption::disabled();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Milliseconds until the first response of a new connection.
async fn first_request(address: std::net::SocketAddr, tls: &TlsConnector) -> Result<f64> {
    let started = Instant::now();
    let (status, _) = Connection::open(address, Some(tls)).await?.get(PATH).await?;
    if status == StatusCode::OK {
        Ok(started.elapsed().as_secs_f64() * 1000.0)
    } else {
        Err(format!("{PATH}: {status}").into())
    }
}
