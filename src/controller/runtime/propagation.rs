//! Detects when every live replica serves the current version of an Application. A replica is live while it renews its
//! Lease, and reports its applied revisions in its ReplicaState.
//!
//! No request is made while no Application waits for the answer.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::Api;
use kube::api::ListParams;
use tokio::sync::Notify;

use super::work_queue::Queue;
use crate::api::names::{COMPONENT_LABEL, REPLICA};
use crate::api::replica_state::AppliedRevisions;
use crate::api::{Application, ServiceUser};
use crate::cache::{Cache, ObjectRef, revision};
use crate::clock::Clock;
use crate::controller::Context;
use crate::util::error_chain::display_chain;

/// Minimum time between two checks, so that one check covers the reports of several replicas.
const SETTLE: Duration = Duration::from_millis(100);
/// Interval of checks without a report: a replica may have stopped.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The waiting Applications, and the applied revisions of every live replica.
#[derive(Default)]
pub(crate) struct Propagation {
    /// Applications, and the revisions that every replica has to apply.
    waiting: Mutex<BTreeMap<ObjectRef, AppliedRevisions>>,
    served: Mutex<AppliedRevisions>,
    news: Notify,
}

impl Propagation {
    /// Whether every live replica serves `needed`.
    pub(crate) fn is_served(&self, needed: AppliedRevisions) -> bool {
        self.served.lock().unwrap_or_else(PoisonError::into_inner).covers(needed)
    }

    /// Enqueues the application when every replica serves `needed`; `None`: the application no longer waits.
    pub(crate) fn watch_for(&self, application: &ObjectRef, needed: Option<AppliedRevisions>) {
        match needed {
            None => drop(self.waiting().remove(application)),
            Some(needed) => {
                if self.waiting().insert(application.clone(), needed).is_none() {
                    self.news.notify_one();
                }
            }
        }
    }

    /// A replica has reported.
    pub(crate) fn notify(&self) {
        self.news.notify_one();
    }

    /// Every live replica has applied `served`: returns the applications that waited for that.
    fn reached(&self, served: AppliedRevisions) -> Vec<ObjectRef> {
        *self.served.lock().unwrap_or_else(PoisonError::into_inner) = served;
        self.waiting().extract_if(.., |_, needed| served.covers(*needed)).map(|(key, _)| key).collect()
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<ObjectRef, AppliedRevisions>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The revisions that a replica has to apply to serve this version of the application and its dependencies.
pub(crate) fn required_revisions(
    application: &Application,
    user: Option<&ServiceUser>,
    cache: &Cache,
) -> AppliedRevisions {
    let number = |revision: u64| i64::try_from(revision).unwrap_or(i64::MAX);
    let groups = user.iter().flat_map(|user| user.spec.groups.iter().flatten());
    let groups = groups.filter_map(|name| cache.group(name)).map(|group| revision(group.as_ref())).max();
    AppliedRevisions {
        access_groups: groups.map_or(0, number),
        service_users: user.map_or(0, |user| number(revision(user))),
        applications: number(revision(application)),
        ..AppliedRevisions::default()
    }
}

/// Enqueues every application that all replicas now serve, until shutdown.
pub(crate) async fn run<C: Clock>(context: &Context<C>, applications: Queue) {
    let propagation = &context.propagation;
    loop {
        let _ = tokio::time::timeout(CHECK_INTERVAL, propagation.news.notified()).await;
        if propagation.waiting().is_empty() {
            continue;
        }
        tokio::time::sleep(SETTLE).await;
        let served = match context.served_by_all().await {
            Ok(served) => served,
            Err(error) => {
                tracing::warn!(
                    error = display_chain(&error),
                    "the leases of the replicas could not be listed, trying again"
                );
                continue;
            }
        };
        propagation.reached(served).into_iter().for_each(|key| applications.push(key));
    }
}

impl<C: Clock> Context<C> {
    /// The revisions that every live replica serves: none, if a replica has not reported or no replica is live.
    async fn served_by_all(&self) -> kube::Result<AppliedRevisions> {
        let api: Api<Lease> = Api::namespaced(self.client.clone(), &self.settings.namespace);
        let now = self.clock.now();
        let live = replica_leases(&api).await?.into_iter().filter_map(|lease| live(lease.spec?, now));
        let told: BTreeMap<String, AppliedRevisions> = self
            .cache
            .replica_states
            .all()
            .iter()
            .filter_map(|state| Some((state.spec.replica.clone(), state.spec.serves?)))
            .collect();
        let served = live.map(|replica| told.get(&replica).copied().unwrap_or_default());
        Ok(served.reduce(AppliedRevisions::min).unwrap_or_default())
    }
}

/// The Leases of the replicas.
pub(crate) async fn replica_leases(api: &Api<Lease>) -> kube::Result<Vec<Lease>> {
    Ok(api.list(&ListParams::default().labels(&format!("{COMPONENT_LABEL}={REPLICA}"))).await?.items)
}

/// The replica that holds this lease, if the lease has not expired.
fn live(lease: LeaseSpec, now: Timestamp) -> Option<String> {
    let lasts = SignedDuration::from_secs(lease.lease_duration_seconds?.into());
    let renewed = lease.renew_time?.0;
    (now.duration_since(renewed) < lasts).then_some(lease.holder_identity).flatten()
}
