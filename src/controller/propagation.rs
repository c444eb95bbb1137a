//! When every live replica serves an Application as it is. A replica is live while it renews its Lease, and says in its
//! EndpointState how far it has come.
//!
//! Nothing is asked while no Application waits for the answer.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::Api;
use kube::api::ListParams;
use tokio::sync::Notify;

use super::Context;
use super::queue::Queue;
use crate::api::endpoint_state::Serves;
use crate::api::names::{COMPONENT_LABEL, REPLICA};
use crate::api::{Application, ServiceUser};
use crate::chain::chain;
use crate::clock::Clock;
use crate::model::{Key, Model, revision};

/// Least time between two looks, so that the news of several replicas are one.
const SETTLE: Duration = Duration::from_millis(100);
/// A look without news: a replica may have gone.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What waits, and how far every live replica has come.
#[derive(Default)]
pub(super) struct Propagation {
    /// Applications, and how far every replica has to come.
    waiting: Mutex<BTreeMap<Key, Serves>>,
    served: Mutex<Serves>,
    news: Notify,
}

impl Propagation {
    /// Whether every live replica serves what is needed.
    pub(super) fn is_served(&self, needed: Serves) -> bool {
        self.served.lock().unwrap_or_else(PoisonError::into_inner).covers(needed)
    }

    /// Has the application looked at when this is served everywhere; `None`: it waits for nothing any more.
    pub(super) fn watch_for(&self, application: &Key, needed: Option<Serves>) {
        match needed {
            None => drop(self.waiting().remove(application)),
            Some(needed) => {
                if self.waiting().insert(application.clone(), needed).is_none() {
                    self.news.notify_one();
                }
            }
        }
    }

    /// A replica said something.
    pub(super) fn heard(&self) {
        self.news.notify_one();
    }

    /// Every live replica has come so far: the applications that waited for that.
    fn reached(&self, served: Serves) -> Vec<Key> {
        *self.served.lock().unwrap_or_else(PoisonError::into_inner) = served;
        self.waiting().extract_if(.., |_, needed| served.covers(*needed)).map(|(key, _)| key).collect()
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<Key, Serves>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How far a replica has to come to serve this version of the application and of what it depends on.
pub(super) fn needed(application: &Application, user: Option<&ServiceUser>, model: &Model) -> Serves {
    let number = |revision: u64| i64::try_from(revision).unwrap_or(i64::MAX);
    let groups = user.iter().flat_map(|user| user.spec.groups.iter().flatten());
    let groups = groups.filter_map(|name| model.group(name)).map(|group| revision(group.as_ref())).max();
    Serves {
        access_groups: groups.map_or(0, number),
        service_users: user.map_or(0, |user| number(revision(user))),
        applications: number(revision(application)),
        ..Serves::default()
    }
}

/// Has every application looked at that has come to be served everywhere, for ever.
pub(super) async fn keep<C: Clock>(context: &Context<C>, applications: Queue) {
    let propagation = &context.propagation;
    loop {
        let _ = tokio::time::timeout(LOOK_EVERY, propagation.news.notified()).await;
        if propagation.waiting().is_empty() {
            continue;
        }
        tokio::time::sleep(SETTLE).await;
        let served = match context.served_by_all().await {
            Ok(served) => served,
            Err(error) => {
                tracing::warn!(error = chain(&error), "the leases of the replicas could not be listed, trying again");
                continue;
            }
        };
        propagation.reached(served).into_iter().for_each(|key| applications.push(key));
    }
}

impl<C: Clock> Context<C> {
    /// What every live replica serves: nothing, when one has not told, or when there is none.
    async fn served_by_all(&self) -> kube::Result<Serves> {
        let api: Api<Lease> = Api::namespaced(self.client.clone(), &self.settings.namespace);
        let now = self.clock.now();
        let live = replica_leases(&api).await?.into_iter().filter_map(|lease| live(lease.spec?, now));
        let told: BTreeMap<String, Serves> = self
            .model
            .endpoints
            .all()
            .iter()
            .filter_map(|state| Some((state.spec.replica.clone(), state.spec.serves?)))
            .collect();
        let served = live.map(|replica| told.get(&replica).copied().unwrap_or_default());
        Ok(served.reduce(Serves::min).unwrap_or_default())
    }
}

/// The leases by which replicas say that they are there.
pub(super) async fn replica_leases(api: &Api<Lease>) -> kube::Result<Vec<Lease>> {
    Ok(api.list(&ListParams::default().labels(&format!("{COMPONENT_LABEL}={REPLICA}"))).await?.items)
}

/// The replica that holds this lease, if it has renewed it in time.
fn live(lease: LeaseSpec, now: Timestamp) -> Option<String> {
    let lasts = SignedDuration::from_secs(lease.lease_duration_seconds?.into());
    let renewed = lease.renew_time?.0;
    (now.duration_since(renewed) < lasts).then_some(lease.holder_identity).flatten()
}
