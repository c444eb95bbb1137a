//! Work that becomes due with time, without an event.
//!
//! No timer lasts much longer than a minute: a scan once a minute reads the next due time of every ClientSecret. Ten
//! thousand credentials that expire in a year need no timers, and a clock that is set by an hour has an effect for at
//! most a minute.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{DeleteParams, Preconditions};
use kube::{Api, Resource, ResourceExt};

use super::propagation::replica_leases;
use super::work_queue::{Queue, Requeue};
use crate::api::ReplicaState;
use crate::api::replica_state::ReplicaStateSpec;
use crate::cache::ObjectRef;
use crate::clock::Clock;
use crate::controller::{Context, YIELD_EVERY};
use crate::plan::client_secret::next_due;
use crate::util::error_chain::display_chain;

/// Pause between two scans.
const SCAN_INTERVAL: Duration = Duration::from_mins(1);
/// Work due within this time gets a timer. The horizon is longer than the pause, so that no due time falls between two
/// scans.
const HORIZON: SignedDuration = SignedDuration::from_secs(70);

/// Sets a timer for work that is due soon. The scan finds later work.
pub(crate) fn next(due: Option<Timestamp>, now: Timestamp) -> Requeue {
    match due.map(|due| due.duration_since(now)) {
        Some(wait) if wait <= HORIZON => Requeue::After(Duration::try_from(wait).unwrap_or_default()),
        _ => Requeue::AwaitChange,
    }
}

/// A replica persists reports about secrets elsewhere within this time.
const STALE_AFTER: SignedDuration = SignedDuration::from_mins(10);

impl<C: Clock> Context<C> {
    /// Removes reports of replicas that are no longer needed. This requires the list of live replicas.
    async fn collect_garbage(&self, now: Timestamp) -> kube::Result<()> {
        let present = self.forget_gone(now).await?;
        let api: Api<ReplicaState> = Api::namespaced(self.client.clone(), &self.settings.namespace);
        for state in self.cache.replica_states.all() {
            if is_garbage(&state.spec, &present, now)
                && let Err(error) = api.delete(&state.name_any(), &unchanged(state.as_ref())).await
            {
                tracing::debug!(error = display_chain(&error), "could not delete an old report of an endpoint replica");
            }
        }
        Ok(())
    }

    /// Removes the expired Leases of replicas that did not release them, and returns the live replicas.
    async fn forget_gone(&self, now: Timestamp) -> kube::Result<HashSet<String>> {
        let api: Api<Lease> = Api::namespaced(self.client.clone(), &self.settings.namespace);
        let mut present = HashSet::new();
        for lease in replica_leases(&api).await? {
            let renewed = lease.spec.as_ref().and_then(|spec| spec.renew_time.as_ref());
            if renewed.is_none_or(|renewed| now.duration_since(renewed.0) > STALE_AFTER) {
                api.delete(&lease.name_any(), &unchanged(&lease)).await?;
            } else {
                present.extend(lease.spec.and_then(|spec| spec.holder_identity));
            }
        }
        Ok(present)
    }

    /// Whether time alone has changed the ClientSecret since `since`, or will soon.
    fn is_due(&self, key: &ObjectRef, since: Timestamp, now: Timestamp) -> bool {
        let Some(secret) = self.cache.secrets.get(key) else { return false };
        let due =
            secret.status.as_ref().and_then(|status| next_due(&secret.spec, status, &self.settings.policy, since));
        due.is_some_and(|due| due.duration_since(now) <= HORIZON)
    }
}

/// Whether the report is obsolete. Applied revisions matter while the replica is live, because the replica reports them
/// again only after progress.
fn is_garbage(told: &ReplicaStateSpec, present: &HashSet<String>, now: Timestamp) -> bool {
    let ends_tokens = told.matters_until().is_some_and(|until| until > now);
    let is_awaited = told.serves.is_some() && present.contains(&told.replica);
    !ends_tokens && !is_awaited && now.duration_since(told.reported_at) > STALE_AFTER
}

/// Deletes the object only if it is unchanged.
fn unchanged<K: Resource>(object: &K) -> DeleteParams {
    let preconditions = Preconditions { resource_version: object.resource_version(), uid: object.uid() };
    DeleteParams::default().preconditions(preconditions)
}

/// Scans until shutdown, and enqueues everything that is due soon.
pub(crate) async fn run<C: Clock>(context: &Context<C>, secrets: Queue) {
    let mut looked = context.clock.now();
    loop {
        if let Err(error) = context.collect_garbage(context.clock.now()).await {
            tracing::debug!(
                error = display_chain(&error),
                "what is left of replicas that are gone could not be removed"
            );
        }
        // No due time falls between two scans, even if the scan was slow or the clock was set.
        let now = context.clock.now();
        let since = looked.min(now);
        looked = now;
        context.count_throttle.forget_old(Instant::now());
        context.use_throttle.forget_old(Instant::now());
        context.read_throttle.forget_old(Instant::now());
        context.refusals.forget_old(Instant::now());
        context.repairs.forget_old(Instant::now());
        context.inspected.forget_unless(|key| context.cache.delivered.contains(key));
        context.pending_values.forget_unless(|key| context.cache.secrets.contains(key));
        context.import_checks.forget_unless(|key| context.cache.secrets.contains(key));
        for (number, key) in context.cache.secrets.keys().into_iter().enumerate() {
            if context.is_due(&key, since, now) {
                secrets.push(key);
            }
            if number % YIELD_EVERY == YIELD_EVERY - 1 {
                tokio::task::yield_now().await;
            }
        }
        tokio::time::sleep(SCAN_INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::replica_state::{AppliedRevisions, Revoked};

    fn told(what: ReplicaStateSpec) -> ReplicaStateSpec {
        let reported_at = "2026-11-22T02:00:00Z".parse().unwrap();
        ReplicaStateSpec { replica: "postern-0".to_owned(), reported_at, ..what }
    }

    fn is_over_after(told: &ReplicaStateSpec, minutes: i64, present: &[&str]) -> bool {
        let present = present.iter().map(|name| (*name).to_owned()).collect();
        is_garbage(told, &present, told.reported_at + SignedDuration::from_mins(minutes))
    }

    #[test]
    fn what_a_replica_serves_is_kept_for_as_long_as_the_replica_is_there() {
        let serves =
            told(ReplicaStateSpec { serves: Some(AppliedRevisions::default()), ..ReplicaStateSpec::default() });
        assert!(!is_over_after(&serves, 600, &["postern-0", "postern-1"]), "it is silent because nothing changes");
        assert!(is_over_after(&serves, 11, &["postern-1"]));
        assert!(!is_over_after(&serves, 9, &[]), "it may be about to renew its Lease");
        assert!(
            is_over_after(&told(ReplicaStateSpec::default()), 11, &["postern-0"]),
            "uses are written down elsewhere"
        );
    }

    #[test]
    fn a_revocation_outlives_its_replica_until_the_token_would_have_ended() {
        let until = "2026-11-22T03:00:00Z".parse().unwrap();
        let revoked = vec![Revoked { id: "token".to_owned(), until }];
        let revoked = told(ReplicaStateSpec { revoked, ..ReplicaStateSpec::default() });
        assert!(!is_over_after(&revoked, 59, &[]));
        assert!(is_over_after(&revoked, 60, &[]));
    }
}
