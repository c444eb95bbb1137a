//! Admission of requests: each occupies a slot until its response is sent. All sources share the slots.
//!
//! ```text
//! head is here ──▶ waiting for its body ──▶ at work ──▶ answer sent, or given up: the place is free
//!      ├───────────(no body)──────────────────▲
//!      └──▶ a public document ────────────────────────▶ answer sent
//! ```
//!
//! Each kind has its own slots, so neither incomplete bodies nor public documents use up the slots of token requests.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::Request;
use hyper::body::Body;
use ipnet::IpNet;

use crate::http::client_certificate::CertificateHeader;
use crate::http::client_ip;
use crate::http::slots::{Places, Slot};
use crate::oauth::client_auth::PresentedCertificate;
use crate::oauth::error::Unavailable;
use crate::util::source_network::Network;

/// How callers are identified.
#[derive(Clone, Debug, Default)]
pub struct Sharing {
    /// Proxies whose `X-Forwarded-For` is trusted. Requests through them count for the address in that header, and
    /// their connections for no network.
    pub trusted_proxies: Arc<[IpNet]>,
    /// How these proxies name the certificate of a client; `None`: not at all.
    pub certificate_header: Option<CertificateHeader>,
    /// Paths of public documents.
    pub public_paths: Arc<HashSet<String>>,
}

impl Sharing {
    /// Whether a connection comes from a proxy that is trusted.
    pub(super) fn is_trusted(&self, address: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|network| network.contains(&address.to_canonical()))
    }
}

/// The slots of one server.
#[derive(Debug)]
pub(super) struct Admission {
    sharing: Sharing,
    waiting: Arc<Places<Network>>,
    working: Arc<Places<Network>>,
    public: Arc<Places<Network>>,
}

impl Admission {
    /// This many slots of each kind.
    pub(super) fn new(requests: usize, sharing: Sharing) -> Arc<Self> {
        let [waiting, working, public] = std::array::from_fn(|_| Places::new(requests));
        Arc::new(Self { sharing, waiting, working, public })
    }

    /// A slot for a request on a connection from `peer`, which presented `certificate`. `None`: its source has used its
    /// share.
    pub(super) fn admit<B: Body>(
        self: &Arc<Self>,
        peer: SocketAddr,
        request: &Request<B>,
        certificate: Option<&Arc<PresentedCertificate>>,
    ) -> Option<Arrived> {
        let source = client_ip::of(peer.ip(), request.headers(), &self.sharing.trusted_proxies);
        let network = Network::of(source.unwrap_or(peer.ip()));
        let kind = if self.sharing.public_paths.contains(request.uri().path()) {
            &self.public
        } else if request.body().is_end_stream() {
            &self.working
        } else {
            &self.waiting
        };
        let place = Mutex::new(kind.take(&network)?);
        let ticket = Ticket(Arc::new(AdmissionSlot { admission: Arc::clone(self), network, place }));
        let header = self.sharing.certificate_header.filter(|_| self.sharing.is_trusted(peer.ip()));
        let certificate = match header {
            // The certificate of the connection is that of the proxy.
            Some(header) => header.read(request.headers()).map(Arc::new),
            None => certificate.cloned(),
        };
        Some(Arrived { source, certificate, is_from_header: header.is_some(), ticket })
    }
}

/// The source of a request, its certificate, and its slot. Stored in the request's extensions.
#[derive(Clone, Debug)]
pub(crate) struct Arrived {
    /// `None` when a trusted proxy sends an address that cannot be parsed.
    pub(crate) source: Option<IpAddr>,
    /// The certificate of the client.
    pub(crate) certificate: Option<Arc<PresentedCertificate>>,
    /// Whether a header of a trusted proxy decides about `certificate`, and not the connection.
    is_from_header: bool,
    pub(crate) ticket: Ticket,
}

impl Arrived {
    /// The certificate of the client of a proxy, if this request is the proxy's own question about that client. The
    /// certificate of such a connection is that of the proxy: it would make the tokens that are bound to it valid for
    /// every client.
    pub(crate) fn certificate_of_original(&self) -> Option<&PresentedCertificate> {
        self.certificate.as_deref().filter(|_| self.is_from_header)
    }
}

/// The slot of a request, released when the last clone is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Ticket(Arc<AdmissionSlot>);

#[derive(Debug)]
struct AdmissionSlot {
    admission: Arc<Admission>,
    network: Network,
    place: Mutex<Slot<Network>>,
}

impl Ticket {
    /// The body has arrived: moves the request from the waiting slots to the working slots.
    ///
    /// # Errors
    /// [`Unavailable::Overloaded`]
    pub(crate) fn work(&self) -> Result<(), Unavailable> {
        let AdmissionSlot { admission, network, place } = &*self.0;
        let working = admission.working.take(network).ok_or(Unavailable::Overloaded)?;
        *place.lock().unwrap_or_else(PoisonError::into_inner) = working;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{Empty, Full};

    use super::*;

    const PEER: &str = "192.0.2.1:4711";

    fn admission(requests: usize) -> Arc<Admission> {
        let trusted_proxies = Arc::new(["10.0.0.0/8".parse().unwrap()]);
        let public_paths = Arc::new(HashSet::from(["/oauth2/jwks".to_owned()]));
        Admission::new(requests, Sharing { trusted_proxies, certificate_header: None, public_paths })
    }

    fn get(path: &str) -> Request<Empty<&'static [u8]>> {
        Request::get(path).body(Empty::new()).unwrap()
    }

    fn post() -> Request<Full<&'static [u8]>> {
        Request::post("/oauth2/token").body(Full::new(&b"grant_type=client_credentials"[..])).unwrap()
    }

    fn fill(admission: &Arc<Admission>, peer: &str, request: &Request<impl Body>) -> Vec<Arrived> {
        std::iter::from_fn(|| admission.admit(peer.parse().unwrap(), request, None)).collect()
    }

    #[test]
    fn each_kind_of_request_has_its_own_slots() {
        let admission = admission(4);
        let waiting = fill(&admission, PEER, &post());
        let working = fill(&admission, PEER, &get("/auth"));
        let public = fill(&admission, PEER, &get("/oauth2/jwks"));
        assert_eq!([waiting.len(), working.len(), public.len()], [3, 3, 3]);
    }

    #[test]
    fn a_request_whose_body_has_arrived_releases_its_waiting_slot() {
        let admission = admission(4);
        let waiting = fill(&admission, PEER, &post());
        waiting[0].ticket.work().unwrap();
        assert_eq!(fill(&admission, PEER, &post()).len(), 1);
        let _working = fill(&admission, PEER, &get("/auth"));
        assert_eq!(waiting[1].ticket.work(), Err(Unavailable::Overloaded));
    }

    #[test]
    fn behind_a_trusted_proxy_requests_count_for_the_address_that_it_names() {
        let admission = admission(8);
        let from = |source: &str| {
            let mut request = get("/auth");
            request.headers_mut().insert("x-forwarded-for", source.parse().unwrap());
            request
        };
        let flood = fill(&admission, "10.0.0.1:1", &from("192.0.2.1"));
        let arrived = admission.admit("10.0.0.1:1".parse().unwrap(), &from("192.0.2.2"), None);
        assert_eq!((flood.len(), arrived.unwrap().source), (6, Some([192, 0, 2, 2].into())));
        let lies = fill(&admission, PEER, &from("192.0.2.77"));
        assert!(lies.iter().all(|arrived| arrived.source == Some([192, 0, 2, 1].into())));
    }
}
