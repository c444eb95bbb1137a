//! Rotates the signing keys, the token keys and the install keys: the leader makes one step per write, and looks again.
//!
//! ```text
//! Secret ─▶ records ─┐
//! Leases, ReplicaStates ─▶ live replicas ─▶ plan ─▶ one write with the resourceVersion as precondition ─▶ event
//! ```
//!
//! The API server refuses a step that was decided on another version of the Secret. So two leaders make no step twice.

mod dependents;
mod events;
mod install_keys;
mod live_replicas;
mod signatures;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt as _};
use tokio::sync::watch;
use tokio::time::Instant;

use super::Context;
use super::runtime::event_recorder;
use super::runtime::propagation::replica_leases;
use super::runtime::work_queue::Queue;
use crate::api::conditions::reasons;
use crate::api::key_records::{DROP_ANNOTATION, KeyRecords};
use crate::api::names::ROTATE_ANNOTATION;
use crate::clock::Clock;
use crate::crypto::{install_key, opaque};
use crate::keystore::records::recorded;
use crate::keystore::{
    self, FIRST_KEYS, INSTALL_KEY, KeystoreError, SIGNING_KEYS, TOKEN_KEYS, install_key_records, signing_key_records,
    token_key_records,
};
use crate::plan::key_rotation::{Blocked, Clocks, Decision, Observed, Replicas, Settings, Step, plan};
use crate::util::error_chain::display_chain;

use dependents::Dependents;
use live_replicas::LiveReplicas;

/// Pause between two looks at what replicas report, and after a failure.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// The longest pause: a step that is due by the clock is late by at most this, also after a step of the clock.
const PAUSE_MAX: Duration = Duration::from_mins(1);
/// A replica that is waited for longer than this is reported. A dead replica is no longer waited for after this time.
const REPORT_AFTER: Duration = Duration::from_secs(20);

/// How long the ClientSecrets that were found to depend on a key are not searched for again.
const DEPENDENTS_FOR: Duration = Duration::from_secs(20);

/// The settings of the key sets.
#[derive(Clone, Copy, Debug)]
pub struct RotationSettings {
    /// Of the signing keys.
    pub signing: Settings,
    /// Of the token keys.
    pub tokens: Settings,
    /// Of the install keys.
    pub install: Settings,
}

/// A Secret whose keys rotate.
struct KeySet {
    name: &'static str,
    records: fn(&Secret) -> Result<KeyRecords, String>,
    /// The algorithms that always have keys.
    algorithms: Vec<&'static str>,
    settings: Settings,
}

/// Rotates the key sets while this process is the leader. Enqueues Applications whose algorithm begins or ceases to sign.
pub(super) async fn run<C: Clock>(context: &Context<C>, applications: Queue) {
    let RotationSettings { signing, tokens, install } = context.settings.rotation;
    let signing = KeySet {
        name: SIGNING_KEYS,
        records: signing_key_records,
        algorithms: FIRST_KEYS.iter().map(|(_, algorithm)| algorithm.name()).collect(),
        settings: signing,
    };
    let tokens =
        KeySet { name: TOKEN_KEYS, records: token_key_records, algorithms: vec![opaque::ALGORITHM], settings: tokens };
    let install = KeySet {
        name: INSTALL_KEY,
        records: install_key_records,
        algorithms: vec![install_key::ALGORITHM],
        settings: install,
    };
    let signing = Rotation::new(context, signing, Some(applications));
    let [tokens, install] = [tokens, install].map(|set| Rotation::new(context, set, None));
    tokio::join!(signing.run(), tokens.run(), install.run());
}

/// The rotation of one key set.
struct Rotation<'a, C> {
    context: &'a Context<C>,
    set: KeySet,
    /// The Applications, if they can request further algorithms.
    applications: Option<Queue>,
    live: LiveReplicas,
    /// What is waited for, since when, and whether that is reported.
    blocked: BTreeMap<Blocked, (Instant, bool)>,
    /// The ClientSecrets that keep replaced keys, and when they were searched for.
    dependents: Option<(Instant, Dependents)>,
    /// The last reported problem with the Secret.
    problem: String,
}

type Found = Option<Arc<Result<Secret, KeystoreError>>>;

impl<'a, C: Clock> Rotation<'a, C> {
    fn new(context: &'a Context<C>, set: KeySet, applications: Option<Queue>) -> Self {
        Self {
            context,
            set,
            applications,
            live: LiveReplicas::default(),
            blocked: BTreeMap::new(),
            dependents: None,
            problem: String::new(),
        }
    }

    async fn run(mut self) {
        let (latest, mut found): (watch::Sender<Found>, _) = watch::channel(None);
        let (client, name) = (self.context.client.clone(), self.set.name);
        let namespace = self.context.settings.namespace.clone();
        let follow = keystore::follow(&client, &namespace, name, |found| {
            latest.send_replace(Some(Arc::new(found)));
        });
        let mut requested = self.context.signing_algorithms.requested();
        let lead = async {
            loop {
                let known = found.borrow_and_update().clone();
                self.add_algorithms(&requested.borrow_and_update());
                let pause = self.look(known.as_deref()).await;
                // The senders live as long as this future.
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    _ = found.changed() => {}
                    _ = requested.changed() => {}
                }
            }
        };
        tokio::join!(follow, lead);
    }

    /// Adds the algorithms that Applications request.
    fn add_algorithms(&mut self, requested: &BTreeSet<&'static str>) {
        if self.applications.is_some() {
            let known: BTreeSet<&str> = self.set.algorithms.iter().copied().collect();
            self.set.algorithms.extend(requested.iter().filter(|algorithm| !known.contains(*algorithm)));
        }
    }

    /// Makes the step that is due, if any, and returns when to look again.
    async fn look(&mut self, found: Option<&Result<Secret, KeystoreError>>) -> Duration {
        let secret = match found {
            None => return CHECK_INTERVAL,
            Some(Err(error)) => {
                self.report_problem(&display_chain(error), !matches!(error, KeystoreError::Api { .. }));
                return CHECK_INTERVAL;
            }
            Some(Ok(secret)) => secret,
        };
        let records = match (self.set.records)(secret) {
            Ok(records) => records,
            Err(problem) => return self.drop_only(secret, problem).await,
        };
        self.problem.clear();
        self.dependents.take_if(|(since, _)| since.elapsed() >= DEPENDENTS_FOR);
        let clocks = Clocks::one(self.context.clock.now());
        match self.decide(secret, &records, None, clocks) {
            Decision::Do(step) if is_requested(&step) => return self.make(secret, &records, &step, clocks).await,
            Decision::Wait(wait) if !wait.needs_replicas && !self.awaits_signatures(&records) => {
                self.report_blocked(wait.blocked);
                return pause_until(wait.until, clocks);
            }
            _ => {}
        }
        let (replicas, clocks) = match self.observe_replicas().await {
            Ok(observed) => observed,
            Err(error) => {
                tracing::warn!(
                    error = display_chain(&error),
                    "the leases of the replicas could not be listed, trying again"
                );
                return CHECK_INTERVAL;
            }
        };
        self.note_signatures(&records, &replicas);
        if self.set.name == INSTALL_KEY
            && let Decision::Do(Step::Remove { .. }) = self.decide(secret, &records, Some(&replicas), clocks)
        {
            match self.context.dependents(&records).await {
                Ok(dependents) => self.dependents = Some((Instant::now(), dependents)),
                Err(error) => {
                    tracing::warn!(
                        error = display_chain(&error),
                        "the ClientSecrets could not be listed, trying again"
                    );
                    return DEPENDENTS_FOR;
                }
            }
        }
        match self.decide(secret, &records, Some(&replicas), clocks) {
            Decision::Do(step) => self.make(secret, &records, &step, clocks).await,
            Decision::Wait(wait) => {
                self.report_blocked(wait.blocked);
                if wait.needs_replicas || self.awaits_signatures(&records) {
                    CHECK_INTERVAL
                } else {
                    pause_until(wait.until, clocks)
                }
            }
        }
    }

    /// The Secret cannot be used. That does not delay the drop of a key that its records name.
    async fn drop_only(&mut self, secret: &Secret, problem: String) -> Duration {
        let clocks = Clocks::one(self.context.clock.now());
        if let Ok(Some(records)) = recorded(secret)
            && let Decision::Do(step @ Step::Drop { .. }) = self.decide(secret, &records, None, clocks)
        {
            return self.make(secret, &records, &step, clocks).await;
        }
        let namespace = self.context.settings.namespace.clone();
        let error = KeystoreError::Damaged { namespace, name: self.set.name, problem };
        self.report_problem(&error.to_string(), true);
        PAUSE_MAX
    }

    fn decide(&self, secret: &Secret, records: &KeyRecords, replicas: Option<&Replicas>, now: Clocks) -> Decision {
        let in_use = self.dependents.iter().flat_map(|(_, dependents)| dependents.keys().cloned()).collect();
        let annotation = |name: &str| secret.annotations().get(name).map(String::as_str);
        let observed = Observed {
            records,
            rotate: annotation(ROTATE_ANNOTATION),
            drop: annotation(DROP_ANNOTATION),
            algorithms: &self.set.algorithms,
            replicas,
            in_use: &in_use,
            now,
        };
        plan(&observed, &self.set.settings)
    }

    /// The live replicas with the keys that they report, and what all clocks show.
    async fn observe_replicas(&mut self) -> kube::Result<(Replicas, Clocks)> {
        let api: Api<Lease> = Api::namespaced(self.context.client.clone(), &self.context.settings.namespace);
        let leases = replica_leases(&api).await?;
        let now = Instant::now();
        self.live.update(leases, now);
        let reported: BTreeMap<String, _> = self
            .context
            .cache
            .replica_states
            .all()
            .iter()
            .filter_map(|state| Some((state.spec.replica.clone(), state.spec.keys.clone()?)))
            .collect();
        let live: Vec<(String, Timestamp)> = self.live.at(now).collect();
        let own = self.context.clock.now();
        let shown = || live.iter().map(|(_, clock)| *clock).chain([own]);
        let clocks = Clocks { earliest: shown().min().unwrap_or(own), latest: shown().max().unwrap_or(own) };
        let replicas = live.iter().map(|(replica, _)| (replica.clone(), reported.get(replica).cloned())).collect();
        Ok((replicas, clocks))
    }

    async fn make(&mut self, secret: &Secret, records: &KeyRecords, step: &Step, clocks: Clocks) -> Duration {
        let written = write::make(self.context, self.set.name, secret, records, step, clocks, &self.set.settings).await;
        match written {
            Ok(records) => {
                let event = events::of_step(step, &records, &self.set.settings);
                tracing::info!(secret = self.set.name, reason = event.reason, "{}", event.text);
                self.send(event.is_warning, event.reason, event.text);
            }
            Err(write::Error::Conflict) => {
                tracing::debug!(secret = self.set.name, "the Secret has changed, looking again");
            }
            Err(error) => {
                let error = display_chain(&error);
                tracing::warn!(secret = self.set.name, error, "a step of the rotation failed, trying again");
            }
        }
        // The watch delivers the new version earlier.
        CHECK_INTERVAL
    }

    /// Reports what is waited for, once, when the wait has lasted.
    fn report_blocked(&mut self, blocked: BTreeSet<Blocked>) {
        let now = Instant::now();
        self.blocked.retain(|known, _| blocked.contains(known));
        for waits in blocked {
            let entry = self.blocked.entry(waits.clone()).or_insert((now, false));
            if !entry.1 && now.duration_since(entry.0) >= REPORT_AFTER {
                entry.1 = true;
                let text = events::of_wait(&waits, self.dependents.as_ref().map(|(_, dependents)| dependents));
                tracing::warn!(secret = self.set.name, "{text}");
                self.send(true, reasons::ROTATION_WAITING, text);
            }
        }
    }

    fn report_problem(&mut self, problem: &str, with_event: bool) {
        if self.problem != problem {
            problem.clone_into(&mut self.problem);
            tracing::error!(secret = self.set.name, problem, "the keys cannot be rotated; those in use stay");
            if with_event {
                self.send(true, reasons::KEY_UNUSABLE, problem.to_owned());
            }
        }
    }

    fn send(&self, is_warning: bool, reason: &'static str, text: String) {
        let namespace = &self.context.settings.namespace;
        let about = event_recorder::own_secret(namespace, self.set.name);
        self.context.events.about(about, is_warning, reason, "Rotate", text);
    }
}

/// Whether the step depends on no replica and on no time.
fn is_requested(step: &Step) -> bool {
    matches!(step, Step::Drop { .. } | Step::ReportUnknown { .. } | Step::RequestRotation { .. })
}

fn pause_until(until: Option<Timestamp>, clocks: Clocks) -> Duration {
    let left = until.and_then(|until| Duration::try_from(until.duration_since(clocks.earliest)).ok());
    left.unwrap_or(PAUSE_MAX).clamp(Duration::from_millis(100), PAUSE_MAX)
}
