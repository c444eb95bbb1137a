//! A plain-HTTP way to the API server that counts writes, can kill the operator at any of them, can lose some of them, and
//! can freeze watches.

use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Method, Request, Response, StatusCode, Uri, header};
use futures::StreamExt;
use http_body_util::BodyExt;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::cluster::Cluster;
use super::controlplane::OPERATOR_NAMESPACE;
use super::http::{Connections, trusting};
use super::process::Process;

/// When the operator dies, as seen from the API server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CrashPoint {
    /// The write never arrives.
    Before,
    /// The write is done, but the operator never hears of it.
    After,
}

/// The proxy; it lives as long as the runtime of its test.
pub struct Proxy {
    /// Its own address.
    pub address: String,
    shared: Arc<Shared>,
}

struct Shared {
    upstream: Connections,
    server: Uri,
    state: Mutex<Traffic>,
    frozen: watch::Sender<bool>,
}

#[derive(Default)]
struct Traffic {
    /// Counted are those with this in their path.
    within: String,
    writes: usize,
    trap: Option<Trap>,
    /// Writes to paths with this in them do not arrive.
    lost: Option<&'static str>,
    /// No request to a path with this in it arrives.
    denied: Option<&'static str>,
}

struct Trap {
    write: usize,
    moment: CrashPoint,
    victim: Arc<Process>,
}

impl Proxy {
    /// A proxy before the API server of `cluster`.
    pub async fn before(cluster: &Cluster) -> Self {
        let ca = std::fs::read(cluster.controlplane.ca()).expect("read the CA");
        let server = cluster.controlplane.address().parse().expect("an address");
        let shared = Arc::new(Shared {
            upstream: trusting(&ca),
            server,
            state: Mutex::default(),
            frozen: watch::Sender::new(false),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let service = Router::new().fallback(forward).with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, service).await });
        Self { address, shared }
    }

    /// Forgets the writes so far and kills `victim` at the `write`th from now on (1 is the first).
    pub fn arm(&self, write: usize, moment: CrashPoint, victim: Arc<Process>) {
        *self.state() = Traffic { trap: Some(Trap { write, moment, victim }), ..Traffic::default() };
    }

    /// The same for a victim that `start` starts only now, so that it can die at its very first write, and for writes in
    /// the operator's namespace.
    pub fn arm_start(&self, write: usize, moment: CrashPoint, start: impl FnOnce() -> Arc<Process>) -> Arc<Process> {
        let mut state = self.state();
        let victim = start();
        let trap = Some(Trap { write, moment, victim: victim.clone() });
        *state = Traffic { within: format!("/namespaces/{OPERATOR_NAMESPACE}/"), trap, ..Traffic::default() };
        victim
    }

    /// Whether the victim was spared; the trap is gone afterwards.
    pub fn disarm(&self) -> bool {
        self.state().trap.take().is_some()
    }

    /// From now on no write arrives whose path has this in it; with `None` all do.
    pub fn lose(&self, part: Option<&'static str>) {
        self.state().lost = part;
    }

    /// From now on no request arrives whose path has this in it, and no such watch shows anything; with `None` all do.
    pub fn deny(&self, part: Option<&'static str>) {
        self.state().denied = part;
        self.freeze(part.is_some());
    }

    /// From now on no watch shows anything, or all of them continue where they stopped. Other requests pass.
    pub fn freeze(&self, frozen: bool) {
        self.shared.frozen.send_replace(frozen);
    }

    fn state(&self) -> std::sync::MutexGuard<'_, Traffic> {
        self.shared.state()
    }
}

impl Shared {
    fn state(&self) -> std::sync::MutexGuard<'_, Traffic> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a write (not leases, events, reports between replicas and markers); the trap, if it waits for this write.
    fn note(&self, request: &Request<Body>) -> Option<Trap> {
        let path = request.uri().path();
        let others = ["/leases", "/events", "/replicastates", "/marker-"];
        if request.method() == Method::GET || others.iter().any(|part| path.contains(part)) {
            return None;
        }
        let mut state = self.state();
        if !path.contains(&state.within) {
            return None;
        }
        state.writes += 1;
        let count = state.writes;
        state.trap.take_if(|trap| trap.write == count)
    }

    fn loses(&self, request: &Request<Body>) -> bool {
        let is_denied = self.state().denied.is_some_and(|part| request.uri().path().contains(part));
        let lost = self.state().lost.is_some_and(|part| request.uri().path().contains(part));
        is_denied || lost && request.method() != Method::GET
    }

    async fn pass(&self, request: Request<Body>) -> Response<Body> {
        let watches = request.uri().query().is_some_and(|query| query.contains("watch=true"));
        let (mut head, body) = request.into_parts();
        let mut uri = self.server.clone().into_parts();
        uri.path_and_query = head.uri.into_parts().path_and_query;
        head.uri = Uri::from_parts(uri).expect("a URL");
        head.headers.remove(header::HOST);
        match self.upstream.request(Request::from_parts(head, body)).await {
            Ok(response) if watches => response.map(|body| self.freezing(body)),
            Ok(response) => response.map(Body::new),
            Err(_) => gone(),
        }
    }
}

impl Shared {
    /// A body that waits while watches are frozen.
    fn freezing(&self, body: hyper::body::Incoming) -> Body {
        let frozen = self.frozen.subscribe();
        Body::from_stream(Body::new(body).into_data_stream().then(move |part| {
            let mut frozen = frozen.clone();
            async move {
                let _ = frozen.wait_for(|frozen| !frozen).await;
                part
            }
        }))
    }
}

async fn forward(State(shared): State<Arc<Shared>>, request: Request<Body>) -> Response<Body> {
    if shared.loses(&request) {
        return gone();
    }
    let Some(trap) = shared.note(&request) else { return shared.pass(request).await };
    if matches!(trap.moment, CrashPoint::After) {
        let _ = shared.pass(request).await.into_body().collect().await;
    }
    trap.victim.kill();
    gone()
}

fn gone() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    response
}
