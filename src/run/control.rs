//! The part that writes Secrets and status: the controller, its leader election, and the certificate that it creates
//! for the endpoint.

use std::sync::Arc;

use jiff::SignedDuration;
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::ca_file;
use super::process::{CONTROLLER, Process};
use crate::api::duration::{ConfigDuration, DurationOrNever};
use crate::cache::{Cache, Subscription};
use crate::cli::ControlArgs;
use crate::controller;
use crate::oauth::metadata::{JWKS_PATH, TOKEN_PATH};
use crate::plan::client_secret::Policy;
use crate::plan::key_rotation;
use crate::plan::secret_content::Endpoints;

/// Maximum delay until the controller receives a reported use.
const USE_TRAVELS: SignedDuration = SignedDuration::from_secs(10);

/// Time that a new key gets for requests in flight, in addition to the time that verifiers cache the key set.
const KEY_TRAVELS: SignedDuration = SignedDuration::from_secs(10);
/// Replaced signing keys of an algorithm. Each makes the key set longer, for every API.
const RETIRING_SIGNING_KEYS: usize = 8;
/// Replaced token keys. With tokens that live a day and rotations every six hours there are nine.
const RETIRING_TOKEN_KEYS: usize = 64;

/// Replaced install keys. Each is kept for the values that are in no Secret.
const RETIRING_INSTALL_KEYS: usize = 8;

/// The controller, before it starts.
pub(super) struct Control {
    process: Process,
    args: ControlArgs,
    updates: Subscription,
}

impl Control {
    pub(super) fn new(process: Process, args: ControlArgs, updates: Subscription) -> Self {
        Self { process, args, updates }
    }

    /// Starts the controller once there are keys, and then leader election: a process that could not write does not
    /// block another one. The lease ends with `stop`.
    pub(super) fn start(self, tasks: &mut JoinSet<()>, cache: Cache, stop: &CancellationToken) -> JoinHandle<()> {
        let (leading, lead) = watch::channel(false);
        let (fit, is_fit) = oneshot::channel();
        let lease = self.lease(leading, is_fit, stop.clone());
        let (own, mut own_ca) = watch::channel(None);
        let makes_certificate = !self.process.certificate_kept.is_cancelled();
        if makes_certificate {
            let Process { client, args, clock, certificate_kept, .. } = self.process.clone();
            let (namespace, names) = (args.namespace.clone(), self.certificate_names());
            tasks.spawn(controller::keep_certificate(client, namespace, names, clock, certificate_kept, own));
        }
        tasks.spawn(async move {
            let Process { args, client, clock, .. } = self.process.clone();
            let lifetime = args.policy.token_lifetime_max.length();
            let install = controller::await_keys(&client, &args.namespace, &args.replica_name, lifetime, &clock).await;
            let install = Arc::new(install);
            // Without the CA, delivered Secrets would lose their CA. Without a CA, the sender is dropped.
            let ca = if let Some(file) = self.args.ca_file.clone() {
                ca_file::follow("--ca-file", file).await
            } else {
                let _ = own_ca.wait_for(Option::is_some).await;
                own_ca
            };
            let settings = self.settings(ca);
            let lead = controller::Leadership { ready: fit, is_leader: lead };
            controller::run(client, cache, clock, settings, install, self.updates, lead).await;
        });
        tokio::spawn(lease)
    }

    fn lease(
        &self,
        leading: watch::Sender<bool>,
        is_fit: oneshot::Receiver<()>,
        stop: CancellationToken,
    ) -> impl Future<Output = ()> + use<> {
        let Process { args, client, readiness, .. } = self.process.clone();
        async move {
            if let Some(Ok(())) = stop.run_until_cancelled(is_fit).await {
                readiness.set(CONTROLLER, true);
                let (namespace, name) = (args.namespace.clone(), args.replica_name.clone());
                controller::hold_lease(client, namespace, name, leading, stop).await;
            }
        }
    }

    fn settings(&self, ca: watch::Receiver<Option<Arc<str>>>) -> controller::Settings {
        let Process { args, issuer, .. } = &self.process;
        controller::Settings {
            endpoints: Endpoints {
                issuer: issuer.to_string(),
                token: issuer.url_of(TOKEN_PATH),
                jwks: issuer.url_of(JWKS_PATH),
                ca: None,
            },
            ca,
            policy: Policy {
                lifetime: args.policy.lifetime(),
                warnings: args.expiry_warnings.iter().map(ConfigDuration::length).collect(),
                limit: args.policy.secrets_per_application(),
                usage_lag: args.last_use_interval.length() + USE_TRAVELS,
                restored_at: args.policy.restored_at,
                rollout_disabled: self.args.no_rollout,
            },
            namespace: args.namespace.clone(),
            objects_per_namespace: args.policy.objects_per_namespace(),
            token_lifetime_max: args.policy.token_lifetime_max.length(),
            rotation: self.rotation(),
            replica: args.replica_name.clone(),
            key_sets: Arc::clone(&self.process.key_sets),
            adopt_unverified: self.args.adopt_unverified_secrets,
        }
    }

    /// How the operator's own keys rotate.
    fn rotation(&self) -> controller::RotationSettings {
        let common = &self.process.args;
        let every = |interval: &DurationOrNever| match interval {
            DurationOrNever::Never => None,
            DurationOrNever::After(length) => Some(length.length()),
        };
        let settings = |interval, publish_for, retiring_max| key_rotation::Settings {
            rotate_every: every(interval),
            publish_for,
            token_lifetime_max: common.policy.token_lifetime_max.length(),
            staleness_max: common.staleness_max.length(),
            retiring_max,
            drops_active: true,
            restored_at: common.policy.restored_at,
        };
        let published = common.jwks_max_age.length() * 2 + KEY_TRAVELS;
        controller::RotationSettings {
            signing: settings(&self.args.signing_key_rotation, published, RETIRING_SIGNING_KEYS),
            // Only replicas decrypt tokens.
            tokens: settings(&self.args.token_key_rotation, KEY_TRAVELS, RETIRING_TOKEN_KEYS),
            install: key_rotation::Settings {
                token_lifetime_max: SignedDuration::ZERO,
                // A replica that is cut off verifies what it knows, with the keys that it knows.
                staleness_max: SignedDuration::ZERO,
                drops_active: false,
                ..settings(&self.args.install_key_rotation, KEY_TRAVELS, RETIRING_INSTALL_KEYS)
            },
        }
    }

    /// The issuer's host, the names of the flag, and the names of this machine.
    fn certificate_names(&self) -> Vec<String> {
        let url = url::Url::parse(self.process.issuer.as_str()).ok();
        let host = url.as_ref().and_then(url::Url::host_str).map(|host| host.trim_matches(['[', ']']).to_owned());
        let own = ["localhost", "127.0.0.1"].map(str::to_owned);
        let mut names: Vec<String> = host.into_iter().chain(self.args.tls_san.iter().cloned()).chain(own).collect();
        names.sort();
        names.dedup();
        names
    }
}
