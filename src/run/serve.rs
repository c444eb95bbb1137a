//! The token endpoint, its read model, and the reports to other processes. It creates no key and no certificate, and is
//! not ready until they exist.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::process::{DRAIN, Process, SYNCED, listen, positive};
use super::{RunError, certificate, client_ca, expiry_metrics, keys};
use crate::cache::{Cache, Kind, Subscription, WatchHealth};
use crate::cli::{ClientCertHeader, ServeArgs};
use crate::clock::{Clock, SystemClock};
use crate::http::budget::{self, Bounds};
use crate::http::router;
use crate::http::server::{CertificateHeader, Listener, ServerLimits, Sharing, Timeouts, serve};
use crate::http::state;
use crate::http::state::{Endpoint, RequestLimits};
use crate::http::tls::{TlsCertificate, TlsError};
use crate::oauth::client_auth::{AssertionPolicy, TrustedCas};
use crate::oauth::hash_pool::HashLimits;
use crate::oauth::metadata::{PublishedSettings, TOKEN_PATH};
use crate::oauth::scope::AudienceScope;
use crate::oauth::server_keys::ServerKeys;
use crate::oauth::token::TokenSettings;
use crate::read_model;
use crate::read_model::{KeyReports, ReadModel, Reporting};
use crate::telemetry::metrics::{ExpiryMetrics, SigningKeyMetrics, TokenMetrics};

/// Interval of reports about used tokens: a replica that is killed loses the reports of this interval.
const PUBLISH_INTERVAL: Duration = Duration::from_secs(1);
/// The number of such intervals after which expired tokens are removed.
const FORGET_EVERY: u64 = 60;
/// Poll interval for states without notification: the first sync, the age of the read model.
const SYNC_POLL_INTERVAL: Duration = Duration::from_millis(20);
const AGE_EVERY: Duration = Duration::from_secs(1);

/// The token endpoint, before it starts.
pub(super) struct Serving {
    process: Process,
    args: ServeArgs,
    bounds: Bounds,
    updates: Subscription,
    metrics: TokenMetrics,
    expiry: ExpiryMetrics,
    key_ages: SigningKeyMetrics,
}

impl Serving {
    pub(super) fn new(
        process: Process,
        args: ServeArgs,
        bounds: Bounds,
        updates: Subscription,
        registry: &mut Registry,
    ) -> Self {
        let (metrics, expiry) = (TokenMetrics::register(registry), ExpiryMetrics::register(registry));
        let key_ages = SigningKeyMetrics::register(registry);
        Self { process, args, bounds, updates, metrics, expiry, key_ages }
    }

    /// Starts the read model with its watches, the endpoint, and the reports of both.
    pub(super) fn start(
        self,
        tasks: &mut JoinSet<()>,
        cache: Cache,
        freshness: Vec<(Kind, Arc<WatchHealth>)>,
        sockets: Sockets,
    ) -> Running {
        let Self { process, args, bounds, updates, metrics, expiry, key_ages } = self;
        let clock = process.clock;
        let reporting = Reporting {
            namespace: process.args.namespace.clone(),
            replica: process.args.replica_name.clone(),
            auth_methods: published_settings(&process, &args).methods().map(str::to_owned).collect(),
        };
        let settings = index_settings(&process);
        let read_model = Arc::new(ReadModel::new(
            process.client.clone(),
            settings,
            reporting,
            freshness,
            Arc::clone(&process.key_sets),
        ));
        let served = {
            let metrics = metrics.clone();
            move |after: SignedDuration| metrics.served(Duration::try_from(after).unwrap_or_default())
        };
        tasks.spawn(read_model::feed(Arc::clone(&read_model), cache.clone(), clock, updates, served));
        tasks.spawn(watch_index(Arc::clone(&read_model), process.clone(), metrics.clone()));
        tasks.spawn(expiry_metrics::count(cache, clock, process.args.expiry_warnings.clone(), expiry));
        let cluster = Arc::clone(&read_model);
        tasks.spawn(async move { cluster.follow_cluster_issuer().await });
        let (keys, key_reports) = (Arc::<ServerKeys>::default(), KeyReports::default());
        tasks.spawn(keys::follow(process.clone(), Arc::clone(&keys), key_reports.clone(), key_ages));

        let closing = CancellationToken::new();
        let mut reporters = JoinSet::new();
        let every = positive(&process.args.last_use_interval);
        let served_all = CancellationToken::new();
        reporters.spawn(report_usage(Arc::clone(&read_model), clock, every, served_all.clone()));
        reporters.spawn(report_tokens(Arc::clone(&read_model), clock, served_all.clone()));
        let (locking, ends) = (Arc::clone(&read_model), served_all.clone());
        reporters.spawn(async move { locking.publish_lockouts(clock, ends).await });
        let (present, ends) = (Arc::clone(&read_model), closing.clone());
        reporters.spawn(async move { present.send_heartbeats(key_reports, clock, ends).await });
        let client_cas = TrustedCas::default();
        let settings = endpoint_settings(&process, &args, &bounds, &client_cas);
        let endpoint = Endpoint::new(read_model, clock, keys, settings, metrics);
        let closing_endpoint = closing.clone();
        let endpoint = tokio::spawn(async move {
            if let Some(file) = args.mtls_client_ca_file.clone() {
                client_ca::load(file, &client_cas, &closing_endpoint).await?;
            }
            serve_endpoint(process, args, bounds, sockets, endpoint, closing_endpoint).await
        });
        Running { endpoint, reporters, closing, served_all }
    }
}

/// The sockets of the endpoint.
pub(super) struct Sockets {
    main: TcpListener,
    /// Its clients are asked for their certificates.
    mutual: Option<TcpListener>,
}

impl Sockets {
    /// Listens at the addresses.
    pub(super) fn listen(args: &ServeArgs) -> Result<Self, RunError> {
        let main = listen("--listen", args.listen)?;
        let mutual = args.mtls_listen.map(|address| listen("--mtls-listen", address)).transpose()?;
        Ok(Self { main, mutual })
    }

    /// The listeners with this certificate; `None`: plain HTTP, and then there is no second one.
    fn secured(self, certificate: Option<&Arc<TlsCertificate>>) -> Result<Vec<Listener>, TlsError> {
        let main = Listener { socket: self.main, tls: certificate.map(TlsCertificate::server_config).transpose()? };
        let mutual = self.mutual.zip(certificate).map(|(socket, certificate)| {
            Ok::<_, TlsError>(Listener { socket, tls: Some(certificate.mutual_server_config()?) })
        });
        Ok([main].into_iter().chain(mutual.transpose()?).collect())
    }
}

/// The token endpoint, while it serves.
pub(super) struct Running {
    endpoint: JoinHandle<Result<(), RunError>>,
    reporters: JoinSet<()>,
    closing: CancellationToken,
    /// The endpoint has answered its last request.
    served_all: CancellationToken,
}

impl Running {
    /// Finishes the requests in flight and sends the last reports.
    pub(super) async fn finish(mut self) -> Result<(), RunError> {
        // The endpoint still serves during this time: load balancers that have not reacted yet lose no request.
        tokio::time::sleep(DRAIN).await;
        self.closing.cancel();
        let served = self.endpoint.await;
        // The last report contains what was used until now.
        self.served_all.cancel();
        let _ = tokio::time::timeout(DRAIN, async { while self.reporters.join_next().await.is_some() {} }).await;
        served.map_err(|_| RunError::Exited("the endpoint"))?
    }
}

/// Returns when the endpoint has failed; never, if this process has no endpoint.
pub(super) async fn failed(running: Option<&mut Running>) -> RunError {
    let Some(Running { endpoint, reporters, .. }) = running else { return std::future::pending().await };
    tokio::select! {
        served = endpoint => match served {
            Ok(Err(error)) => error,
            _ => RunError::Exited("the endpoint"),
        },
        _ = reporters.join_next() => RunError::Exited("the replica state publisher"),
    }
}

/// Serves the endpoint once there is a certificate, until `closing`.
async fn serve_endpoint(
    process: Process,
    args: ServeArgs,
    bounds: Bounds,
    sockets: Sockets,
    endpoint: Endpoint<ReadModel, SystemClock>,
    closing: CancellationToken,
) -> Result<(), RunError> {
    let certificate = certificate::source(&process, &args, &closing);
    let Some(certificate) = closing.run_until_cancelled(certificate).await else { return Ok(()) };
    let listeners = sockets.secured(certificate?.as_ref())?;
    let sharing = Sharing {
        trusted_proxies: args.trusted_proxies.into(),
        certificate_header: args.client_cert_header.map(|header| match header {
            ClientCertHeader::ClientCert => CertificateHeader::ClientCert,
            ClientCertHeader::SslClientCert => CertificateHeader::SslClientCert,
        }),
        public_paths: Arc::new(router::public_paths(&process.issuer)),
    };
    let limits = ServerLimits {
        sharing,
        timeouts: Timeouts {
            tls_handshake: positive(&args.read_timeout),
            idle: positive(&args.idle_timeout),
            ..Timeouts::default()
        },
        shutdown: positive(&args.shutdown_grace),
        ..ServerLimits::within(&bounds)
    };
    serve(listeners, router::router(Arc::new(endpoint)), limits, closing).await;
    Ok(())
}

/// Reports periodically which secrets were used, and once more at the end.
async fn report_usage(read_model: Arc<ReadModel>, clock: impl Clock, every: Duration, served_all: CancellationToken) {
    let mut told_until = Timestamp::MIN;
    loop {
        let closed = served_all.run_until_cancelled(tokio::time::sleep(every)).await.is_none();
        told_until = read_model.report_uses(clock.now(), told_until).await;
        if closed {
            return;
        }
    }
}

/// Reports every second which tokens were used, and once more at the end.
async fn report_tokens(read_model: Arc<ReadModel>, clock: impl Clock, served_all: CancellationToken) {
    for second in 1_u64.. {
        let closed = served_all.run_until_cancelled(tokio::time::sleep(PUBLISH_INTERVAL)).await.is_none();
        if closed {
            return read_model.publish_final_use(clock.now()).await;
        }
        read_model.publish_last_use(clock.now()).await;
        if second % FORGET_EVERY == 0 {
            read_model.purge_expired(clock.now());
        }
    }
}

/// Reports when the read model is synced, and from then on its age.
async fn watch_index(read_model: Arc<ReadModel>, process: Process, metrics: TokenMetrics) {
    while !(read_model.is_synced() && read_model.is_listed()) {
        tokio::time::sleep(SYNC_POLL_INTERVAL).await;
    }
    process.readiness.set(SYNCED, true);
    loop {
        let age = Duration::try_from(read_model.age(process.clock.now())).unwrap_or_default();
        metrics.set_read_model_age(age);
        metrics.locked(read_model.take_lockouts());
        tokio::time::sleep(AGE_EVERY).await;
    }
}

fn index_settings(process: &Process) -> read_model::Settings {
    let policy = &process.args.policy;
    read_model::Settings {
        clients: read_model::ClientLimits {
            token_lifetime_max: policy.token_lifetime_max.length(),
            lifetime: policy.lifetime(),
            lockout: policy.lockout(),
            token_requests_per_minute: policy.token_requests_per_minute,
        },
        staleness_max: process.args.staleness_max.length(),
    }
}

/// What client assertions must look like.
fn assertion_policy(process: &Process, args: &ServeArgs) -> AssertionPolicy {
    let issuer = process.issuer.as_str().to_owned();
    let token_endpoint = args.token_endpoint_audience.then(|| process.issuer.url_of(TOKEN_PATH));
    AssertionPolicy {
        audiences: [issuer].into_iter().chain(token_endpoint).collect(),
        lifetime_max: args.assertion_lifetime_max.length(),
    }
}

fn published_settings(process: &Process, args: &ServeArgs) -> PublishedSettings {
    PublishedSettings {
        max_age: process.args.jwks_max_age.length(),
        service_documentation: args.service_documentation.clone(),
        certificates: args.mtls_listen.is_some() || args.client_cert_header.is_some(),
        client_cas: args.mtls_client_ca_file.is_some(),
        other_issuers: !process.args.outbound.outbound_hosts.is_empty(),
        mtls_url: args.mtls_url.clone(),
    }
}

fn endpoint_settings(process: &Process, args: &ServeArgs, bounds: &Bounds, client_cas: &TrustedCas) -> state::Settings {
    let request = RequestLimits {
        body_bytes: args.body_bytes_max as usize,
        large_bodies: bounds.large_bodies,
        body_read: positive(&args.read_timeout),
    };
    let hash = HashLimits::default();
    state::Settings {
        token: TokenSettings {
            issuer: process.issuer.clone(),
            audience_scopes: vec![AudienceScope::native(), args.audience_scope.clone()],
            created_by_claim: args.created_by_claim,
            assertions: assertion_policy(process, args),
            dpop_nonce_required: args.dpop_nonce_required,
            client_cas: Arc::clone(client_cas),
            token_bytes: budget::token_bytes(request.body_bytes),
            restored_at: process.args.policy.restored_at,
        },
        published: published_settings(process, args),
        request,
        hash: HashLimits {
            imported: bounds.imported_hashes,
            per_second: args.hashes_per_second(hash.concurrent),
            ..hash
        },
        failures_per_minute: args.failures_per_minute(),
    }
}
