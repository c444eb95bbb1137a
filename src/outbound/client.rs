//! One request: resolve, check, dial, read.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::TryFutureExt as _;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{
    ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, ETAG, HOST, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH, USER_AGENT,
};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::{IpAddr, ServerName};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::task::AbortOnDropHandle;
use url::{Host, Position};

use super::error::RequestError;
use super::policy::{Policy, Target};
use super::resolve::Resolve;
use super::tls;

/// Maximum time of a request, from the resolution of the name to the last byte.
pub(super) const TIME_MAX: Duration = Duration::from_secs(5);
/// Maximum size of a response. A set of twenty RSA keys of 4096 bits with certificates has less than half of it.
pub(super) const BODY_BYTES_MAX: usize = 256 * 1024;
/// Maximum number of addresses that are tried, and the time for each: an address that does not answer must not use up the
/// time of the next one.
const ADDRESSES_MAX: usize = 3;
const CONNECT_TIME_MAX: Duration = Duration::from_millis(1_500);
/// Maximum number of headers of a response. hyper limits their size with its buffer.
const HEADERS_MAX: usize = 64;

/// The certificates of the operator (PEM), which may change.
type Roots = watch::Receiver<Option<Arc<str>>>;

/// An https client for URLs of tenants.
pub struct Client {
    policy: Policy,
    resolver: Arc<dyn Resolve>,
    /// With the configuration for the roots that were seen last.
    tls: Mutex<(Roots, Arc<ClientConfig>)>,
}

/// A response.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Response {
    /// The body; `None`: it has not changed (status 304).
    pub body: Option<Bytes>,
    /// `ETag` (RFC 9110 §8.8.3), for the next request.
    pub etag: Option<HeaderValue>,
    /// `max-age` of `Cache-Control` (RFC 9111 §5.2.2.1); zero if the response must not be stored or reused.
    pub max_age: Option<Duration>,
}

impl Client {
    /// A client that trusts the public CAs, and `roots`.
    #[must_use]
    pub fn new(policy: Policy, resolver: Arc<dyn Resolve>, roots: Roots) -> Self {
        let config = tls::client(roots.borrow().as_deref());
        Self { policy, resolver, tls: Mutex::new((roots, config)) }
    }

    /// Reads a URL of a tenant. `etag` is that of the known response.
    ///
    /// # Errors
    /// [`RequestError`]
    pub async fn get(&self, url: &str, etag: Option<&HeaderValue>) -> Result<Response, RequestError> {
        let deadline = Instant::now() + TIME_MAX;
        let target = self.policy.target(url)?;
        let stream = match timeout_at(deadline, self.connect(&target)).await {
            Ok(connected) => connected?,
            // The same error as for a closed port.
            Err(elapsed) => return Err(RequestError::Unreachable(elapsed.into())),
        };
        let exchange = exchange(stream, &target, etag);
        timeout_at(deadline, exchange).await.unwrap_or(Err(RequestError::TimedOut))
    }

    async fn connect(&self, target: &Target) -> Result<TlsStream<TcpStream>, RequestError> {
        let addresses = self.addresses(target).await?;
        let name = match &target.host {
            Host::Domain(domain) => {
                ServerName::try_from(domain.clone()).map_err(|error| RequestError::NoAddress(Some(error.into())))?
            }
            Host::Ipv4(address) => ServerName::IpAddress(IpAddr::V4((*address).into())),
            Host::Ipv6(address) => ServerName::IpAddress(IpAddr::V6((*address).into())),
        };
        let unreachable = |error: io::Error| RequestError::Unreachable(error.into());
        let stream = dial(&addresses).await.map_err(unreachable)?;
        TlsConnector::from(self.tls()).connect(name, stream).await.map_err(unreachable)
    }

    /// The addresses of the host that may be dialled. A literal address is checked like a resolved one.
    async fn addresses(&self, target: &Target) -> Result<Vec<SocketAddr>, RequestError> {
        let found = match &target.host {
            Host::Ipv4(address) => vec![SocketAddr::from((*address, target.port))],
            Host::Ipv6(address) => vec![SocketAddr::from((*address, target.port))],
            Host::Domain(domain) => {
                let resolved = self.resolver.resolve(domain.clone(), target.port);
                resolved.await.map_err(|error| RequestError::NoAddress(Some(error.into())))?
            }
        };
        let mut allowed = self.policy.allowed(found);
        allowed.truncate(ADDRESSES_MAX);
        if allowed.is_empty() { Err(RequestError::NoAddress(None)) } else { Ok(allowed) }
    }

    fn tls(&self) -> Arc<ClientConfig> {
        let mut guard = self.tls.lock().unwrap_or_else(PoisonError::into_inner);
        let (roots, config) = &mut *guard;
        if roots.has_changed().unwrap_or_default() {
            *config = tls::client(roots.borrow_and_update().as_deref());
        }
        Arc::clone(config)
    }
}

/// Connects to the first address that answers.
async fn dial(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match timeout(CONNECT_TIME_MAX, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = error,
            Err(elapsed) => last = elapsed.into(),
        }
    }
    Err(last)
}

async fn exchange(
    stream: TlsStream<TcpStream>,
    target: &Target,
    etag: Option<&HeaderValue>,
) -> Result<Response, RequestError> {
    let (mut sender, connection) =
        http1::Builder::new().max_headers(HEADERS_MAX).handshake(TokioIo::new(stream)).map_err(malformed).await?;
    let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
    let response = sender.send_request(request(target, etag)?).map_err(malformed).await?;
    let (head, body) = response.into_parts();
    let body = match head.status {
        StatusCode::OK => Some(read(body).await?),
        StatusCode::NOT_MODIFIED if etag.is_some() => None,
        status => return Err(RequestError::Status(status.as_u16())),
    };
    Ok(Response { body, etag: head.headers.get(ETAG).cloned(), max_age: max_age(&head.headers) })
}

fn request(target: &Target, etag: Option<&HeaderValue>) -> Result<Request<Empty<Bytes>>, RequestError> {
    let text = |text: &'static str| Ok(HeaderValue::from_static(text));
    // With the port, if it is not that of https.
    let host = HeaderValue::from_str(&target.url[Position::BeforeHost..Position::AfterPort]);
    let headers: [(HeaderName, Result<HeaderValue, _>); 4] = [
        (HOST, host),
        (USER_AGENT, text("postern")),
        (ACCEPT, text("application/json, application/jwk-set+json")),
        (ACCEPT_ENCODING, text("identity")),
    ];
    let mut request = Request::get(&target.url[Position::BeforePath..]);
    for (name, value) in headers {
        request = request.header(name, value.map_err(malformed)?);
    }
    if let Some(etag) = etag {
        request = request.header(IF_NONE_MATCH, etag);
    }
    request.body(Empty::new()).map_err(malformed)
}

/// Reads no more than the limit, whatever the response announces.
async fn read(body: Incoming) -> Result<Bytes, RequestError> {
    if body.size_hint().lower() > BODY_BYTES_MAX as u64 {
        return Err(RequestError::TooLarge);
    }
    match Limited::new(body, BODY_BYTES_MAX).collect().await {
        Ok(read) => Ok(read.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(RequestError::TooLarge),
        Err(error) => Err(RequestError::Malformed(error)),
    }
}

fn malformed(error: impl Error + Send + Sync + 'static) -> RequestError {
    RequestError::Malformed(error.into())
}

fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all(CACHE_CONTROL).into_iter().filter_map(|value| value.to_str().ok());
    let mut directives =
        values.flat_map(|value| value.split(',')).map(|directive| directive.trim().to_ascii_lowercase());
    directives.find_map(|directive| match directive.as_str() {
        "no-store" | "no-cache" => Some(Duration::ZERO),
        other => {
            let seconds = other.strip_prefix("max-age=")?.trim_matches('"');
            Some(Duration::from_secs(seconds.parse().ok()?))
        }
    })
}
