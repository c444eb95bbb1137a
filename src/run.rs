//! Connects the parts: the only module that uses all others.
//!
//! ```text
//! watches ─▶ cache ─▶ updater ─▶ read model ◀── endpoint  `postern serve`
//!               └───▶ controller ─▶ API server            `postern control` (the holder of the lease writes)
//! ```
//!
//! `postern run` is both in one process, on one cache. Each part works whether or not the other is in the same process:
//! they communicate through API objects.

mod bounds;
mod ca_file;
mod certificate;
mod client_ca;
mod control;
mod error;
mod expiry_metrics;
mod key_sets;
mod keys;
mod metrics_access;
mod process;
mod serve;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::cache;
use crate::cache::Kind;
use crate::cli::{CommonArgs, ControlArgs, ControlCommand, RunCommand, ServeArgs, ServeCommand};
use crate::crypto::random;
use crate::http::{health, metrics, small_server};
use crate::oauth::issuer::Issuer;
use crate::oauth::metadata::check_documentation;
use crate::telemetry::{self, logs};

use control::Control;
use process::{DRAIN, Process, RUNNING, listen, stop_signal};
use serve::{Serving, Sockets};

pub use error::RunError;

/// Which parts a process runs, and how.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The settings of every process.
    pub common: CommonArgs,
    /// The token endpoint.
    pub serve: Option<ServeArgs>,
    /// The controller.
    pub control: Option<ControlArgs>,
}

impl From<RunCommand> for Parts {
    fn from(RunCommand { common, serve, control }: RunCommand) -> Self {
        Self { common, serve: Some(serve), control: Some(control) }
    }
}

impl From<ServeCommand> for Parts {
    fn from(ServeCommand { common, serve }: ServeCommand) -> Self {
        Self { common, serve: Some(serve), control: None }
    }
}

impl From<ControlCommand> for Parts {
    fn from(ControlCommand { common, control }: ControlCommand) -> Self {
        Self { common, serve: None, control: Some(control) }
    }
}

/// Runs until SIGTERM or SIGINT.
pub fn run(parts: Parts) -> Result<(), RunError> {
    let common = &parts.common;
    let issuer = Issuer::parse(&common.issuer, common.insecure_http)
        .map_err(|source| RunError::Issuer { value: common.issuer.clone(), source })?;
    if let Some(text) = parts.serve.as_ref().and_then(|serve| serve.service_documentation.as_ref()) {
        check_documentation(text, common.insecure_http)
            .map_err(|source| RunError::Documentation { value: text.clone(), source })?;
    }
    // Dropped last, after the runtime, which writes the remaining lines.
    let _log = logs::init(&common.log_level)?;
    // One provider in the whole dependency graph; a second call finds it installed.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let done = runtime.block_on(operate(parts, issuer));
    runtime.shutdown_timeout(Duration::from_secs(1));
    done
}

async fn operate(parts: Parts, issuer: Issuer) -> Result<(), RunError> {
    // The first random bytes take 30 ms in each process: they are generated during the first requests to the API
    // server.
    tokio::task::spawn_blocking(random::warm_up);
    let stop = stop_signal()?;
    let bounds = parts.serve.as_ref().map(bounds::derive).transpose()?;
    let sockets = parts.serve.as_ref().map(Sockets::listen).transpose()?;
    let health_listener = listen("--health-listen", parts.common.health_listen)?;
    let metrics_listener = listen("--metrics-listen", parts.common.metrics_listen)?;
    let (key_sets, key_set_feed) = key_sets::key_sets(&parts.common.outbound);
    let process = Process::new(&parts, issuer, key_sets).await?;
    let mut registry = telemetry::metrics::registry();
    let mut subscribers = Vec::new();
    let mut subscribe = || {
        let (to, updates) = mpsc::unbounded_channel();
        subscribers.push(to);
        updates
    };
    let serving = parts.serve.zip(bounds);
    let serving = serving.map(|(args, bounds)| Serving::new(process.clone(), args, bounds, subscribe(), &mut registry));
    let control = parts.control.map(|args| Control::new(process.clone(), args, subscribe()));
    let applications = subscribe();
    let followers = subscribers.iter().take(subscribers.len() - 1).map(mpsc::UnboundedSender::downgrade).collect();

    let done = CancellationToken::new();
    let health = health::router(Arc::clone(&process.readiness));
    let health = tokio::spawn(small_server::serve(health_listener, health, done.clone()));
    let metrics = metrics::router(Arc::new(registry), process.metrics_authorizer());
    tokio::spawn(small_server::serve(metrics_listener, metrics, done.clone()));
    let kinds = if control.is_some() { Kind::ALL.to_vec() } else { Kind::served().collect() };
    let policy = &process.args.policy;
    let limits = cache::Limits {
        secrets_per_application: policy.secrets_per_application(),
        objects_per_namespace: policy.objects_per_namespace(),
    };
    let (namespace, location) = (&process.args.namespace, policy.namespace_location());
    let mut watches = cache::start(&process.client, namespace, process.clock, limits, location, &kinds, subscribers);
    let tasks = &mut watches.tasks;
    tasks.spawn(key_set_feed.run(watches.cache.clone(), applications, followers));
    let lease = control.map(|control| control.start(tasks, watches.cache.clone(), &stop));
    let mut endpoint = match (serving, sockets) {
        (Some(serving), Some(sockets)) => Some(serving.start(tasks, watches.cache, watches.freshness, sockets)),
        _ => None,
    };
    // A task that has exited has panicked. Without this check the other tasks would continue.
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        error = serve::failed(endpoint.as_mut()) => return Err(error),
        _ = tasks.join_next() => return Err(RunError::Exited("the read model or controller task")),
    }

    process.readiness.set(RUNNING, false);
    if let Some(endpoint) = endpoint {
        endpoint.finish().await?;
    }
    if let Some(lease) = lease {
        // Without an API server the lease cannot be released; then it expires.
        let _ = tokio::time::timeout(DRAIN, lease).await;
    }
    done.cancel();
    let _ = health.await;
    tracing::info!("stopped");
    Ok(())
}
