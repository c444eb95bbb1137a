//! The common parts of every process.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::metrics_access::MetricsAccess;
use super::{Parts, RunError};
use crate::api::duration::ConfigDuration;
use crate::cli::CommonArgs;
use crate::clock::SystemClock;
use crate::http::health::Readiness;
use crate::http::metrics::Authorizer;
use crate::http::server;
use crate::key_sets::KeySets;
use crate::kube_client;
use crate::oauth::issuer::Issuer;
use crate::util::timing::backoff::Growth;

/// Conditions of `/readyz`: the one of every process, …
pub(super) const RUNNING: &str = "running";
/// … those of the token endpoint, …
pub(super) const SYNCED: &str = "synced";
pub(super) const KEYS: &str = "keys";
pub(super) const CERTIFICATE: &str = "certificate";
/// … and that of the controller: it has keys, has listed every kind, and may acquire the lease.
pub(super) const CONTROLLER: &str = "controller";

/// Time between "not ready" and the end of accepting, in which load balancers react.
pub(super) const DRAIN: Duration = Duration::from_secs(2);
/// Read timeout of a connection to the API server. A watch lasts at most a minute, and the API server answers or aborts
/// a request within that time; a peer that is silent for longer is unreachable. kube has no default timeout.
const READ_TIMEOUT: Duration = Duration::from_secs(75);

/// The waits between attempts to read a missing object. Short at first: the object may be created at this moment.
const READ_RETRY: Growth = Growth {
    initial: Duration::from_millis(50),
    min: Duration::from_millis(50),
    max: Duration::from_secs(1),
    // The attempts are one series.
    quiet: |_| Duration::MAX,
};

/// The state that the parts of a process share.
#[derive(Clone)]
pub(super) struct Process {
    pub(super) args: Arc<CommonArgs>,
    pub(super) issuer: Issuer,
    pub(super) client: Client,
    pub(super) clock: SystemClock,
    pub(super) readiness: Arc<Readiness>,
    /// The keys that clients publish at URLs.
    pub(super) key_sets: Arc<KeySets>,
    /// Cancelled once the controller of this process has created the endpoint's certificate, or renewed it for other
    /// names; from the start, if the controller does not create one.
    pub(super) certificate_kept: CancellationToken,
}

impl Process {
    pub(super) async fn new(parts: &Parts, issuer: Issuer, key_sets: Arc<KeySets>) -> Result<Self, RunError> {
        let of_serving = [SYNCED, KEYS, CERTIFICATE].into_iter().filter(|_| parts.serve.is_some());
        let of_control = [CONTROLLER].into_iter().filter(|_| parts.control.is_some());
        let readiness = Readiness::new([RUNNING].into_iter().chain(of_serving).chain(of_control));
        readiness.set(RUNNING, true);
        let (args, client) = (Arc::new(parts.common.clone()), client().await?);
        let certificate_kept = CancellationToken::new();
        if !makes_certificate(parts) {
            certificate_kept.cancel();
        }
        Ok(Self { args, issuer, client, clock: SystemClock, readiness, key_sets, certificate_kept })
    }

    /// Reports in `/readyz` why this process is not ready, and in the log when the reason changes.
    pub(super) fn waits_for(&self, condition: &'static str, problem: String, retry: &mut ReadRetry) {
        if retry.problem != problem {
            tracing::warn!(problem, "not ready: waiting for the {condition} of the installation");
            self.readiness.explain(condition, &problem);
            retry.problem = problem;
        }
    }

    /// Decides who may read metrics; `None` if no authentication is required.
    pub(super) fn metrics_authorizer(&self) -> Option<Arc<dyn Authorizer>> {
        let access = || -> Arc<dyn Authorizer> { Arc::new(MetricsAccess::new(self.client.clone())) };
        self.args.metrics_auth.then(access)
    }
}

/// Whether a controller in this process creates the certificate of the endpoint.
fn makes_certificate(Parts { common, serve, control }: &Parts) -> bool {
    let is_given = serve.as_ref().is_some_and(|serve| serve.tls_cert_file.is_some());
    !common.insecure_http && !is_given && control.as_ref().is_some_and(|control| !control.no_certificate)
}

/// Repeated reads of an object that does not exist yet.
#[derive(Default)]
pub(super) struct ReadRetry {
    /// Why the last read failed.
    problem: String,
    /// The last wait.
    waited: Option<Duration>,
}

impl ReadRetry {
    /// Waits until the next read.
    pub(super) async fn wait(&mut self) {
        let wait = READ_RETRY.after(self.waited);
        tokio::time::sleep(wait).await;
        self.waited = Some(wait);
    }
}

async fn client() -> Result<Client, RunError> {
    let mut config = kube_client::infer().await.map_err(|error| RunError::Config(Box::new(error)))?;
    config.read_timeout = Some(READ_TIMEOUT);
    kube_client::client(config).map_err(|error| RunError::Client(Box::new(error)))
}

/// Cancelled by SIGTERM or SIGINT.
pub(super) fn stop_signal() -> Result<CancellationToken, RunError> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping: not ready from now on, requests in flight are finished");
        stopped.cancel();
    });
    Ok(stop)
}

pub(super) fn listen(flag: &'static str, address: SocketAddr) -> Result<TcpListener, RunError> {
    server::listen(address).map_err(|source| RunError::Listen { flag, address, source })
}

/// A duration of a flag: positive and at most several thousand years.
pub(super) fn positive(duration: &ConfigDuration) -> Duration {
    Duration::try_from(duration.length()).unwrap_or(Duration::MAX)
}
