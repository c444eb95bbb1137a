//! State and helpers that the handlers share.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::http::HeaderValue;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::response::Response;
use jiff::Timestamp;

use crate::clock::Clock;
use crate::http::admission::Arrived;
use crate::http::audit::Audit;
pub use crate::http::body::RequestLimits;
use crate::http::body::{self, Bodies, Received};
use crate::http::discovery::Published;
use crate::http::rejection::{self, Rejection};
use crate::http::{dpop, router};
use crate::oauth::client_auth::{PresentedCertificate, RequestContext};
use crate::oauth::client_store::{ClientStore, Lookup};
use crate::oauth::dpop::{PresentedProof, Target};
use crate::oauth::error::{RequestError, TokenError};
use crate::oauth::hash_pool::{HashLimits, HashMetrics};
use crate::oauth::metadata::PublishedSettings;
use crate::oauth::server_keys::ServerKeys;
use crate::oauth::token::{AuthorizationServer, TokenSettings};
use crate::telemetry::metrics::TokenMetrics;

/// The identity of the endpoint, and its limits.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Settings that all tokens have in common.
    pub token: TokenSettings,
    /// What the metadata contains of the settings.
    pub published: PublishedSettings,
    /// Bounds of one request.
    pub request: RequestLimits,
    /// Bounds of hashing.
    pub hash: HashLimits,
    /// Failed authentications of each source network; `None`: no limit.
    pub failures_per_minute: Option<NonZeroU32>,
}

/// The token endpoint and its documents, served with [`crate::http::router::router`].
pub struct Endpoint<C, K> {
    pub(crate) service: AuthorizationServer<C, K>,
    pub(crate) metrics: TokenMetrics,
    pub(crate) audit: Arc<Audit>,
    bodies: Bodies,
    pub(crate) published: Published,
}

impl<C: ClientStore, K: Clock> Endpoint<C, K> {
    /// An endpoint over a read model. It answers 503 until `keys` contains what a request needs.
    #[must_use]
    pub fn new(clients: Arc<C>, clock: K, keys: Arc<ServerKeys>, settings: Settings, metrics: TokenMetrics) -> Self {
        let meter: Arc<dyn HashMetrics> = Arc::new(metrics.clone());
        let Settings { token, published, request, hash, failures_per_minute } = settings;
        let known = Arc::clone(&clients);
        let is_client = move |id: &str| !matches!(known.lookup(id), Lookup::Unknown);
        let audit = Arc::new(Audit::new(metrics.clone(), is_client));
        let service = AuthorizationServer::new(clients, clock, keys, token, hash, failures_per_minute, meter);
        let published = Published::new(published);
        Self { service, metrics, audit, bodies: Bodies::new(request), published }
    }

    /// A form, if the endpoint can answer now and the request is a form.
    pub(crate) async fn form(&self, request: Request, source: Option<IpAddr>) -> Result<FormRequest, TokenError> {
        let now = self.service.available()?;
        let (mut head, body) = request.into_parts();
        let authorization = head.headers.get_all(AUTHORIZATION).iter().map(HeaderValue::as_bytes);
        self.service.may_arrive(RequestContext { now, source, certificate: None }, authorization)?;
        if head.uri.query().is_some_and(|query| !query.is_empty()) {
            return Err(RequestError::Query.into());
        }
        if !body::is_form(&head.headers) {
            return Err(RequestError::NotAForm.into());
        }
        // More than one is refused, so two are enough. While the body is awaited, the rest of the head is not kept.
        let authorization = head.headers.get_all(AUTHORIZATION).iter().take(2);
        let authorization = authorization.map(|value| value.as_bytes().into()).collect();
        let proof = self.proof(&head);
        let announced = body::announced_length(&head.headers);
        let arrived = head.extensions.remove::<Arrived>();
        drop(head);
        let body = self.bodies.read(announced, source, body).await?;
        if let Some(arrived) = &arrived {
            arrived.ticket.work()?;
        }
        let certificate = arrived.and_then(|arrived| arrived.certificate);
        // The state may have changed while the body was awaited.
        let now = self.service.available()?;
        Ok(FormRequest { now, source, certificate, authorization, proof, body })
    }

    /// The DPoP proof of a request to this endpoint.
    pub(crate) fn proof(&self, head: &Parts) -> Option<PresentedProof> {
        let (issuer, mtls_url) = (&self.service.issuer, self.published.mtls_url());
        let urls = || router::external_urls(issuer, mtls_url, router::host(head), head.uri.path());
        dpop::presented(&head.headers, || Target::any_of(head.method.as_str(), urls()))
    }

    /// The response to a request, with a nonce if it has a proof and proofs need one.
    pub(crate) fn with_nonce(&self, has_proof: bool, response: Response) -> Response {
        let nonce = self.service.available().ok().filter(|_| has_proof).and_then(|now| self.service.dpop_nonce(now));
        dpop::with_nonce(response, nonce.as_deref())
    }

    /// Answers a request that no handler matches.
    pub(crate) fn reject(&self, request: &Request, rejection: Rejection) -> Response {
        rejection::reject(&self.audit, Self::source(request), rejection)
    }

    /// The address that a request came from.
    pub(crate) fn source(request: &Request) -> Option<IpAddr> {
        request.extensions().get::<Arrived>()?.source
    }
}

/// A form from a client.
pub(crate) struct FormRequest {
    now: Timestamp,
    source: Option<IpAddr>,
    certificate: Option<Arc<PresentedCertificate>>,
    authorization: Vec<Box<[u8]>>,
    pub(crate) proof: Option<PresentedProof>,
    pub(crate) body: Received,
}

impl FormRequest {
    /// Its time, source and certificate.
    pub(crate) fn arrival(&self) -> RequestContext<'_> {
        RequestContext { now: self.now, source: self.source, certificate: self.certificate.as_deref() }
    }

    /// The Authorization headers.
    pub(crate) fn authorization(&self) -> impl Iterator<Item = &[u8]> {
        self.authorization.iter().map(AsRef::as_ref)
    }
}

impl HashMetrics for TokenMetrics {
    fn hash_started(&self) {
        TokenMetrics::hash_started(self);
    }

    fn hash_ended(&self, took: Duration) {
        TokenMetrics::hash_ended(self, took);
    }

    fn signed(&self, took: Duration) {
        TokenMetrics::signed(self, took);
    }
}
