//! Puts the parts together: the only file that sees everything.
//!
//! ```text
//! watches ─▶ model ─▶ feed ─▶ index ◀── endpoint (every replica)
//!               └───▶ controller ─▶ API server (the holder of the lease)
//! ```

mod certificate;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::api::duration::ConfigDuration;
use crate::cli::RunArgs;
use crate::clock::{Clock, SystemClock};
use crate::controller;
use crate::crypto::keyset::KeySet;
use crate::crypto::random;
use crate::http::admin::{self, Readiness};
use crate::http::endpoint::{self, Endpoint, RequestLimits};
use crate::http::router;
use crate::http::server::{ServerLimits, serve};
use crate::http::tls::TlsError;
use crate::index::{self, Index};
use crate::model;
use crate::oauth::hashing::HashLimits;
use crate::oauth::issuer::{Issuer, IssuerError};
use crate::oauth::metadata::{JWKS_PATH, TOKEN_PATH};
use crate::oauth::token::Keys;
use crate::plan::content::Endpoints;
use crate::telemetry::logs::{self, LogError};
use crate::telemetry::metrics::{self, TokenMetrics};

/// Conditions of `/readyz`.
const RUNNING: &str = "running";
const SYNCED: &str = "synced";
const KEYS: &str = "keys";
const CERTIFICATE: &str = "certificate";
/// Time between "not ready" and the end of accepting, in which load balancers notice.
const DRAIN: Duration = Duration::from_secs(2);
/// How long to wait for a connection to the API server. kube's default of 30 s would keep a watch silent for as long.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often what nobody pushes is looked at: the first sync, the age of the read model.
const LOOK_EVERY: Duration = Duration::from_millis(20);
const AGE_EVERY: Duration = Duration::from_secs(1);

/// Why the operator cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// `--issuer` is not an issuer identifier.
    #[error("--issuer {value:?} cannot be used")]
    Issuer {
        /// As given.
        value: String,
        /// What is wrong with it.
        source: IssuerError,
    },
    /// `--log-level` is not a filter.
    #[error("--log-level cannot be used")]
    Log(#[from] LogError),
    /// No way to reach an API server is configured.
    #[error("no Kubernetes API server is configured: run in a pod with a ServiceAccount, or set KUBECONFIG")]
    Config(#[source] Box<kube::config::InferConfigError>),
    /// The configured way cannot be used.
    #[error("the Kubernetes client cannot be set up")]
    Client(#[source] Box<kube::Error>),
    /// The certificate cannot be served.
    #[error("--tls-cert-file and --tls-key-file cannot be used")]
    Tls(#[from] TlsError),
    /// An address cannot be listened on.
    #[error("{flag} {address} cannot be listened on")]
    Listen {
        /// The flag.
        flag: &'static str,
        /// As given.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The runtime or a signal handler could not be set up.
    #[error("the process cannot be set up")]
    Process(#[from] std::io::Error),
    /// A task that must never end has ended.
    #[error("{0} ended unexpectedly")]
    Ended(&'static str),
}

/// Runs until SIGTERM or SIGINT.
pub fn run(args: RunArgs) -> Result<(), RunError> {
    let issuer = Issuer::parse(&args.issuer, args.insecure_http)
        .map_err(|source| RunError::Issuer { value: args.issuer.clone(), source })?;
    // Written out when it is dropped, after the runtime is gone.
    let _log = logs::init(&args.log_level)?;
    // One provider in the whole graph; a second call finds it there.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let done = runtime.block_on(operate(args, issuer));
    runtime.shutdown_timeout(Duration::from_secs(1));
    done
}

async fn operate(args: RunArgs, issuer: Issuer) -> Result<(), RunError> {
    // The first random bytes take 30 ms in each process: drawn while the API server is asked.
    tokio::task::spawn_blocking(random::warm_up);
    let stop = stop_signal()?;
    let endpoint_listener = listen("--listen", args.listen).await?;
    let admin_listener = listen("--metrics-listen", args.metrics_listen).await?;
    let client = client().await?;
    let clock = SystemClock;

    let readiness = Readiness::new([RUNNING, SYNCED, KEYS, CERTIFICATE]);
    readiness.set(RUNNING, true);
    let mut registry = metrics::registry();
    let token_metrics = TokenMetrics::register(&mut registry);
    let done = CancellationToken::new();
    let admin_router = admin::router(Arc::clone(&readiness), Arc::new(registry));
    let admin = tokio::spawn(serve(admin_listener, None, admin_router, ServerLimits::default(), done.clone()));

    let (feed_updates, feed_subscription) = mpsc::unbounded_channel();
    let (controller_updates, controller_subscription) = mpsc::unbounded_channel();
    let limit = usize::from(args.secrets_per_application);
    let mut started = model::start(&client, clock, limit, vec![feed_updates, controller_updates]);
    let index = Arc::new(Index::new(client.clone(), index_settings(&args), started.freshness));
    tokio::spawn(index::feed(Arc::clone(&index), started.model.clone(), feed_subscription));
    tokio::spawn(watch_index(Arc::clone(&index), clock, Arc::clone(&readiness), token_metrics.clone()));

    let (leading, lead) = watch::channel(false);
    let (namespace, replica) = (args.namespace.clone(), args.replica_name.clone());
    let lease = tokio::spawn(controller::hold_lease(client.clone(), namespace, replica, leading, stop.clone()));

    let keys = Arc::new(Keys::default());
    let settings = controller_settings(&args, &issuer);
    let (model, key_holder) = (started.model, Arc::clone(&keys));
    let ready = Arc::clone(&readiness);
    let (own_client, own_namespace) = (client.clone(), args.namespace.clone());
    tokio::spawn(async move {
        let stored = controller::await_keys(&own_client, &own_namespace, &settings.replica, &clock).await;
        let install = Arc::new(stored.install);
        key_holder.install.store(Some(Arc::clone(&install)));
        key_holder.signing.store(Some(Arc::new(KeySet::new(stored.signing))));
        ready.set(KEYS, true);
        controller::run(own_client, model, clock, settings, install, controller_subscription, lead).await;
    });

    let endpoint = Arc::new(Endpoint::new(index, clock, keys, endpoint_settings(&args, issuer.clone()), token_metrics));
    let closing = CancellationToken::new();
    let serving =
        serve_endpoint(args.clone(), client, endpoint_listener, endpoint, issuer, readiness.clone(), closing.clone());
    let mut serving = std::pin::pin!(serving);
    tokio::select! {
        () = stop.cancelled() => {}
        served = &mut serving => return served.and(Err(RunError::Ended("the endpoint"))),
        _ = started.watches.join_next() => return Err(RunError::Ended("a watch")),
    }
    readiness.set(RUNNING, false);
    // Still served meanwhile: who has not noticed yet loses nothing.
    let _ = tokio::time::timeout(DRAIN, &mut serving).await;
    closing.cancel();
    serving.await?;
    // Without an API server the lease cannot be given back; then it runs out.
    let _ = tokio::time::timeout(DRAIN, lease).await;
    done.cancel();
    let _ = tokio::time::timeout(DRAIN, admin).await;
    tracing::info!("stopped");
    Ok(())
}

type Served = Endpoint<Index, SystemClock>;

/// Serves the endpoint as soon as there is a certificate, until `closing`.
async fn serve_endpoint(
    args: RunArgs,
    client: Client,
    listener: TcpListener,
    endpoint: Arc<Served>,
    issuer: Issuer,
    readiness: Arc<Readiness>,
    closing: CancellationToken,
) -> Result<(), RunError> {
    let Some(tls) = closing.run_until_cancelled(certificate::source(&args, client, &issuer, &closing)).await else {
        return Ok(());
    };
    let tls = tls?;
    readiness.set(CERTIFICATE, true);
    let read = positive(&args.read_timeout);
    let limits = ServerLimits {
        connections: args.connections_max as usize,
        tls_handshake: read,
        shutdown: positive(&args.shutdown_grace),
        ..ServerLimits::default()
    };
    serve(listener, tls, router::router(endpoint), limits, closing).await;
    Ok(())
}

/// Cancelled by SIGTERM or SIGINT.
fn stop_signal() -> Result<CancellationToken, RunError> {
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

async fn listen(flag: &'static str, address: SocketAddr) -> Result<TcpListener, RunError> {
    TcpListener::bind(address).await.map_err(|source| RunError::Listen { flag, address, source })
}

async fn client() -> Result<Client, RunError> {
    let mut config = kube::Config::infer().await.map_err(|error| RunError::Config(Box::new(error)))?;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    Client::try_from(config).map_err(|error| RunError::Client(Box::new(error)))
}

/// Says when the index is synced, and from then on how old it is.
async fn watch_index(index: Arc<Index>, clock: impl Clock, readiness: Arc<Readiness>, metrics: TokenMetrics) {
    while !index.is_synced() {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    readiness.set(SYNCED, true);
    loop {
        let age = Duration::try_from(index.age(clock.now())).unwrap_or_default();
        metrics.set_read_model_age(age);
        tokio::time::sleep(AGE_EVERY).await;
    }
}

fn index_settings(args: &RunArgs) -> index::Settings {
    index::Settings {
        secrets_per_application: usize::from(args.secrets_per_application),
        token_lifetime_max: args.token_lifetime_max.length(),
        staleness_max: args.staleness_max.length(),
    }
}

fn controller_settings(args: &RunArgs, issuer: &Issuer) -> controller::Settings {
    controller::Settings {
        endpoints: Endpoints {
            issuer: issuer.to_string(),
            token: issuer.url_of(TOKEN_PATH),
            jwks: issuer.url_of(JWKS_PATH),
        },
        secrets_per_application: usize::from(args.secrets_per_application),
        token_lifetime_max: args.token_lifetime_max.length(),
        replica: args.replica_name.clone(),
    }
}

fn endpoint_settings(args: &RunArgs, issuer: Issuer) -> endpoint::Settings {
    let request = RequestLimits { body_bytes: args.body_bytes_max as usize, body_read: positive(&args.read_timeout) };
    endpoint::Settings { issuer, service_documentation: None, request, hash: HashLimits::default() }
}

/// A duration of a flag: positive and at most some thousand years.
fn positive(duration: &ConfigDuration) -> Duration {
    Duration::try_from(duration.length()).unwrap_or(Duration::MAX)
}
