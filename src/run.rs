//! Puts the parts together: the only file that sees everything.
//!
//! ```text
//! watches ─▶ model ─▶ feed ─▶ index ◀── endpoint (every replica)
//!               └───▶ controller ─▶ API server (the holder of the lease)
//! ```

mod certificate;
mod error;
mod expiring;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::Client;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::api::client_secret::LifetimePolicy;
use crate::api::duration::ConfigDuration;
use crate::cli::RunArgs;
use crate::clock::{Clock, SystemClock};
use crate::connection;
use crate::controller;
use crate::crypto::keyset::KeySet;
use crate::crypto::random;
use crate::http::admin::{self, Readiness};
use crate::http::endpoint::{self, Endpoint, RequestLimits};
use crate::http::router;
use crate::http::server::{ServerLimits, serve};
use crate::index::{self, Index, Reporting};
use crate::model::{self, Model, Subscription};
use crate::oauth::hashing::HashLimits;
use crate::oauth::issuer::Issuer;
use crate::oauth::metadata::{JWKS_PATH, TOKEN_PATH, check_documentation};
use crate::oauth::scope::AudienceScope;
use crate::oauth::token::Keys;
use crate::plan::client_secret::Policy;
use crate::plan::content::Endpoints;
use crate::telemetry::logs;
use crate::telemetry::metrics::{self, ExpiryMetrics, TokenMetrics};

pub use error::RunError;

/// Conditions of `/readyz`.
const RUNNING: &str = "running";
const SYNCED: &str = "synced";
const KEYS: &str = "keys";
const CERTIFICATE: &str = "certificate";
/// Time between "not ready" and the end of accepting, in which load balancers notice.
const DRAIN: Duration = Duration::from_secs(2);
/// How long a connection to the API server may be silent. A watch is for a minute at most, and a request is answered or
/// given up by the API server in as long; whoever is silent for longer is not there any more. kube has no bound of its own.
const READ_TIMEOUT: Duration = Duration::from_secs(75);
/// How long it takes at most until the controller has heard of a use that was reported.
const USE_TRAVELS: SignedDuration = SignedDuration::from_secs(10);
/// How often the use of tokens is told: what a replica that is killed has not told yet.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// After how many of those, tokens that have ended are forgotten.
const FORGET_EVERY: u64 = 60;
/// How often what nobody pushes is looked at: the first sync, the age of the read model.
const LOOK_EVERY: Duration = Duration::from_millis(20);
const AGE_EVERY: Duration = Duration::from_secs(1);

/// Runs until SIGTERM or SIGINT.
pub fn run(args: RunArgs) -> Result<(), RunError> {
    let issuer = Issuer::parse(&args.issuer, args.insecure_http)
        .map_err(|source| RunError::Issuer { value: args.issuer.clone(), source })?;
    if let Some(text) = &args.service_documentation {
        check_documentation(text, args.insecure_http)
            .map_err(|source| RunError::Documentation { value: text.clone(), source })?;
    }
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
    let readiness = Readiness::new([RUNNING, SYNCED, KEYS, CERTIFICATE]);
    readiness.set(RUNNING, true);
    let mut registry = metrics::registry();
    let metrics = TokenMetrics::register(&mut registry);
    let expiry = ExpiryMetrics::register(&mut registry);
    let replica = Replica { args, issuer, client, clock: SystemClock, readiness, metrics, keys: Arc::default() };

    let done = CancellationToken::new();
    let admin_router = admin::router(Arc::clone(&replica.readiness), Arc::new(registry));
    let admin = tokio::spawn(serve(admin_listener, None, admin_router, ServerLimits::default(), done.clone()));
    let (mut parts, index, model, updates) = replica.start_read_model();
    parts.spawn(expiring::count(model.clone(), replica.clock, replica.args.expiry_warnings.clone(), expiry));
    let lease = replica.start_controller(&mut parts, model, updates, &stop);
    let closing = CancellationToken::new();
    let mut reporters = replica.start_reporters(&index, &closing);
    let mut endpoint = tokio::spawn(replica.clone().serve(endpoint_listener, index, closing.clone()));
    // A part that has ended has panicked. Without it the others would go on as if all were well.
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        served = &mut endpoint => return served.map_err(|_| RunError::Ended("the endpoint"))?,
        _ = parts.join_next() => return Err(RunError::Ended("a part that keeps the read model or the controller")),
        _ = reporters.join_next() => return Err(RunError::Ended("a part that tells other replicas")),
    }

    replica.readiness.set(RUNNING, false);
    // Still served meanwhile: who has not noticed yet loses nothing.
    tokio::time::sleep(DRAIN).await;
    closing.cancel();
    endpoint.await.map_err(|_| RunError::Ended("the endpoint"))??;
    let _ = tokio::time::timeout(DRAIN, async { while reporters.join_next().await.is_some() {} }).await;
    // Without an API server the lease cannot be given back; then it runs out.
    let _ = tokio::time::timeout(DRAIN, lease).await;
    done.cancel();
    let _ = tokio::time::timeout(DRAIN, admin).await;
    tracing::info!("stopped");
    Ok(())
}

/// What the parts of this process share.
#[derive(Clone)]
struct Replica {
    args: RunArgs,
    issuer: Issuer,
    client: Client,
    clock: SystemClock,
    readiness: Arc<Readiness>,
    metrics: TokenMetrics,
    keys: Arc<Keys>,
}

impl Replica {
    /// The watches and the index that they feed, as parts that never end by themselves. The last is what the controller
    /// hears of the watches.
    fn start_read_model(&self) -> (JoinSet<()>, Arc<Index>, Model, Subscription) {
        let (to_feed, feed_updates) = mpsc::unbounded_channel();
        let (to_controller, controller_updates) = mpsc::unbounded_channel();
        let limit = usize::from(self.args.secrets_per_application);
        let subscribers = vec![to_feed, to_controller];
        let mut started = model::start(&self.client, &self.args.namespace, self.clock, limit, subscribers);
        let index =
            Arc::new(Index::new(self.client.clone(), self.index_settings(), self.reporting(), started.freshness));
        let metrics = self.metrics.clone();
        let served = move |after: SignedDuration| metrics.served(Duration::try_from(after).unwrap_or_default());
        let parts = &mut started.watches;
        parts.spawn(index::feed(Arc::clone(&index), started.model.clone(), self.clock, feed_updates, served));
        parts.spawn(watch_index(Arc::clone(&index), self.clock, Arc::clone(&self.readiness), self.metrics.clone()));
        (started.watches, index, started.model, controller_updates)
    }

    /// What tells other replicas of this one, until `closing`.
    fn start_reporters(&self, index: &Arc<Index>, closing: &CancellationToken) -> JoinSet<()> {
        let mut reporters = JoinSet::new();
        reporters.spawn(self.clone().report_usage(Arc::clone(index), closing.clone()));
        reporters.spawn(self.clone().report_tokens(Arc::clone(index), closing.clone()));
        let (index, clock, closing) = (Arc::clone(index), self.clock, closing.clone());
        reporters.spawn(async move { index.be_present(clock, closing).await });
        reporters
    }

    /// The controller, as soon as there are keys, and then the lease that lets it write: a replica that could not write
    /// keeps it from no other. The lease ends with `stop`.
    fn start_controller(
        &self,
        parts: &mut JoinSet<()>,
        model: Model,
        updates: Subscription,
        stop: &CancellationToken,
    ) -> JoinHandle<()> {
        let (leading, lead) = watch::channel(false);
        let (fit, is_fit) = oneshot::channel();
        let (namespace, name) = (self.args.namespace.clone(), self.args.replica_name.clone());
        let (client, stop) = (self.client.clone(), stop.clone());
        let lease = async move {
            if let Some(Ok(())) = stop.run_until_cancelled(is_fit).await {
                controller::hold_lease(client, namespace, name, leading, stop).await;
            }
        };
        let replica = self.clone();
        parts.spawn(async move {
            let Replica { args, client, clock, .. } = &replica;
            let stored = controller::await_keys(client, &args.namespace, &args.replica_name, clock).await;
            let install = Arc::new(stored.install);
            replica.keys.install.store(Some(Arc::clone(&install)));
            replica.keys.signing.store(Some(Arc::new(KeySet::new(stored.signing))));
            replica.readiness.set(KEYS, true);
            let lead = controller::Lead { fit, leading: lead };
            controller::run(client.clone(), model, *clock, replica.controller_settings(), install, updates, lead).await;
        });
        tokio::spawn(lease)
    }

    /// Serves the endpoint as soon as there is a certificate, until `closing`.
    async fn serve(self, listener: TcpListener, index: Arc<Index>, closing: CancellationToken) -> Result<(), RunError> {
        let certificate = certificate::source(&self.args, self.client.clone(), &self.issuer, &closing);
        let Some(tls) = closing.run_until_cancelled(certificate).await else { return Ok(()) };
        let tls = tls?;
        self.readiness.set(CERTIFICATE, true);
        let limits = ServerLimits {
            connections: self.args.connections_max as usize,
            tls_handshake: positive(&self.args.read_timeout),
            shutdown: positive(&self.args.shutdown_grace),
            ..ServerLimits::default()
        };
        let settings = self.endpoint_settings();
        let endpoint = Endpoint::new(index, self.clock, self.keys, settings, self.metrics);
        serve(listener, tls, router::router(Arc::new(endpoint)), limits, closing).await;
        Ok(())
    }

    /// Tells now and then which secrets were used, and once more at the end.
    async fn report_usage(self, index: Arc<Index>, closing: CancellationToken) {
        let every = positive(&self.args.last_use_interval);
        let mut told_until = Timestamp::MIN;
        loop {
            let closed = closing.run_until_cancelled(tokio::time::sleep(every)).await.is_none();
            told_until = index.report_uses(self.clock.now(), told_until).await;
            if closed {
                return;
            }
        }
    }

    /// Tells every second which tokens were used, and once more at the end.
    async fn report_tokens(self, index: Arc<Index>, closing: CancellationToken) {
        for second in 1_u64.. {
            let closed = closing.run_until_cancelled(tokio::time::sleep(TELL_EVERY)).await.is_none();
            index.tell_uses(self.clock.now()).await;
            if second % FORGET_EVERY == 0 {
                index.forget_ended_tokens(self.clock.now());
            }
            if closed {
                return;
            }
        }
    }

    fn reporting(&self) -> Reporting {
        Reporting { namespace: self.args.namespace.clone(), replica: self.args.replica_name.clone() }
    }

    fn index_settings(&self) -> index::Settings {
        index::Settings {
            secrets_per_application: usize::from(self.args.secrets_per_application),
            token_lifetime_max: self.args.token_lifetime_max.length(),
            lifetime: self.lifetime(),
            staleness_max: self.args.staleness_max.length(),
        }
    }

    fn lifetime(&self) -> LifetimePolicy {
        LifetimePolicy {
            max: self.args.secret_lifetime_max.as_ref().map(ConfigDuration::length),
            forbid_never: self.args.forbid_never,
        }
    }

    fn controller_settings(&self) -> controller::Settings {
        controller::Settings {
            endpoints: Endpoints {
                issuer: self.issuer.to_string(),
                token: self.issuer.url_of(TOKEN_PATH),
                jwks: self.issuer.url_of(JWKS_PATH),
            },
            policy: Policy {
                lifetime: self.lifetime(),
                warnings: self.args.expiry_warnings.iter().map(ConfigDuration::length).collect(),
                limit: usize::from(self.args.secrets_per_application),
                usage_lag: self.args.last_use_interval.length() + USE_TRAVELS,
            },
            namespace: self.args.namespace.clone(),
            token_lifetime_max: self.args.token_lifetime_max.length(),
            replica: self.args.replica_name.clone(),
        }
    }

    fn endpoint_settings(&self) -> endpoint::Settings {
        let request = RequestLimits {
            body_bytes: self.args.body_bytes_max as usize,
            body_read: positive(&self.args.read_timeout),
        };
        let issuer = self.issuer.clone();
        let trusted_proxies = self.args.trusted_proxies.clone();
        let hash = HashLimits::default();
        let service_documentation = self.args.service_documentation.clone();
        let audience_scopes = vec![AudienceScope::native(), self.args.audience_scope.clone()];
        endpoint::Settings { issuer, service_documentation, audience_scopes, request, hash, trusted_proxies }
    }
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
    let mut config = connection::infer().await.map_err(|error| RunError::Config(Box::new(error)))?;
    config.read_timeout = Some(READ_TIMEOUT);
    Client::try_from(config).map_err(|error| RunError::Client(Box::new(error)))
}

/// Says when the index is synced, and from then on how old it is.
async fn watch_index(index: Arc<Index>, clock: impl Clock, readiness: Arc<Readiness>, metrics: TokenMetrics) {
    while !(index.is_synced() && index.is_listed()) {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    readiness.set(SYNCED, true);
    loop {
        let age = Duration::try_from(index.age(clock.now())).unwrap_or_default();
        metrics.set_read_model_age(age);
        tokio::time::sleep(AGE_EVERY).await;
    }
}

/// A duration of a flag: positive and at most some thousand years.
fn positive(duration: &ConfigDuration) -> Duration {
    Duration::try_from(duration.length()).unwrap_or(Duration::MAX)
}
