//! Puts the parts together: the only file that sees everything.
//!
//! ```text
//! watches ─▶ model ─▶ feed ─▶ index ◀── endpoint (every replica)
//!               └───▶ controller ─▶ API server (the holder of the lease)
//! ```

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use kube_lease_manager::LeaseManagerBuilder;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::cli::RunArgs;
use crate::clock::{Clock, SystemClock};
use crate::controller::{self, StoredKeys};
use crate::crypto::keyset::KeySet;
use crate::crypto::random;
use crate::index::{self, Index};
use crate::model;
use crate::oauth::issuer::Issuer;
use crate::plan::content::Endpoints;

/// Name of the Lease that decides who writes.
const LEASE: &str = "postern";
/// A replica that died is succeeded after this long. Renewed 5 s before its end.
const LEASE_SECONDS: u64 = 15;
const LEASE_GRACE_SECONDS: u64 = 5;
/// Pause before something that the API server did not grant is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// Time between "not ready" and the end of accepting, in which load balancers notice.
const DRAIN: Duration = Duration::from_secs(2);
/// How long to wait for a connection to the API server. kube's default of 30 s would keep a watch silent for as long.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often the gauges that nobody pushes are brought up to date.
const GAUGES_EVERY: Duration = Duration::from_secs(1);

/// Why the operator cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// `--issuer` is not an issuer identifier.
    #[error("--issuer {value}")]
    Issuer {
        /// As given.
        value: String,
        /// What is wrong with it.
        source: crate::oauth::issuer::IssuerError,
    },
    /// No way to reach an API server is configured.
    #[error("no Kubernetes API server is configured: run in a pod with a ServiceAccount, or set KUBECONFIG")]
    Config(#[source] Box<kube::config::InferConfigError>),
    /// The configured way cannot be used.
    #[error("the Kubernetes client cannot be set up")]
    Client(#[source] Box<kube::Error>),
    /// An address cannot be listened on.
    #[error("{flag} {address} cannot be listened on")]
    Listen {
        /// The flag.
        flag: &'static str,
        /// As given.
        address: std::net::SocketAddr,
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
    tracing_subscriber::fmt().with_env_filter(&args.log_level).init();
    // One provider in the whole graph; a second call finds it there.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let issuer = Issuer::parse(&args.issuer, args.insecure_http)
        .map_err(|source| RunError::Issuer { value: args.issuer.clone(), source })?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(operate(args, issuer))
}

/// The error with its causes, on one line.
#[must_use]
pub fn explain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    std::iter::once(error).chain(causes).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

async fn operate(args: RunArgs, issuer: Issuer) -> Result<(), RunError> {
    let mut config = kube::Config::infer().await.map_err(|error| RunError::Config(Box::new(error)))?;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    let client = Client::try_from(config).map_err(|error| RunError::Client(Box::new(error)))?;
    let stop = stop_signal()?;
    let clock = SystemClock;
    let (feed_updates, feed_subscription) = mpsc::unbounded_channel();
    let (controller_updates, controller_subscription) = mpsc::unbounded_channel();
    let limit = usize::from(args.secrets_per_application);
    let started = model::start(&client, clock, limit, vec![feed_updates, controller_updates]);
    let index_settings = index::Settings {
        secrets_per_application: limit,
        token_lifetime_max: args.token_lifetime_max.length(),
        staleness_max: args.staleness_max.length(),
    };
    let index = Arc::new(Index::new(client.clone(), index_settings, started.freshness));
    tokio::spawn(index::feed(Arc::clone(&index), started.model.clone(), feed_subscription));
    let keys = keys(&client, &args.namespace).await;
    let settings = controller::Settings {
        endpoints: Endpoints {
            issuer: issuer.to_string(),
            token: issuer.url_of("/oauth2/token"),
            jwks: issuer.url_of("/oauth2/jwks"),
        },
        secrets_per_application: limit,
        token_lifetime_max: args.token_lifetime_max.length(),
        replica: args.replica_name.clone(),
    };
    let (leading, lead) = watch::channel(false);
    tokio::spawn(hold_lease(client.clone(), args.clone(), leading, stop.clone()));
    let install = Arc::new(keys.install);
    tokio::spawn(controller::run(client, started.model, clock, settings, install, controller_subscription, lead));
    stop.cancelled().await;
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
        tracing::info!("stopping");
        stopped.cancel();
    });
    Ok(stop)
}

/// The keys, as soon as the API server gives them. Until then the replica is not ready.
async fn keys(client: &Client, namespace: &str) -> StoredKeys {
    loop {
        match controller::load_or_create(client, namespace).await {
            Ok(keys) => return keys,
            Err(error) => tracing::error!(error = explain(&error), "there are no keys to work with, trying again"),
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Tries to get and keep the lease, and says in `leading` whether this replica has it. Gives it back at the end.
async fn hold_lease(client: Client, args: RunArgs, leading: watch::Sender<bool>, stop: CancellationToken) {
    let manager = loop {
        let builder = LeaseManagerBuilder::new(client.clone(), LEASE)
            .with_namespace(&args.namespace)
            .with_identity(&args.replica_name)
            .with_duration(LEASE_SECONDS)
            .with_grace(LEASE_GRACE_SECONDS);
        match builder.build().await {
            Ok(manager) => break manager,
            Err(error) => tracing::warn!(error = explain(&error), "the lease cannot be used, trying again"),
        }
        tokio::time::sleep(RETRY).await;
    };
    let (mut held, task) = manager.watch().await;
    loop {
        let now = *held.borrow_and_update();
        leading.send_if_modified(|leading| std::mem::replace(leading, now) != now);
        tokio::select! {
            changed = held.changed() => if changed.is_err() { break },
            () = stop.cancelled() => break,
        }
    }
    leading.send_replace(false);
    // The manager releases the lease when nobody listens any more, so that another replica need not wait for its end.
    drop(held);
    let _ = task.await;
}
