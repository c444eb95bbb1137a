//! Garbage collection of what endpoint replicas leave behind: ReplicaStates that nobody needs, and expired Leases.

use std::collections::HashSet;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{DeleteParams, Preconditions};
use kube::{Api, Resource, ResourceExt};

use super::propagation::replica_leases;
use crate::api::ReplicaState;
use crate::api::replica_state::ReplicaStateSpec;
use crate::clock::Clock;
use crate::controller::Context;
use crate::util::error_chain::display_chain;

/// A replica persists reports about secrets elsewhere within this time.
const STALE_AFTER: SignedDuration = SignedDuration::from_mins(10);

/// Removes what is left of replicas that are gone. A failure is logged: the next scan tries again.
pub(super) async fn collect<C: Clock>(context: &Context<C>, now: Timestamp) {
    if let Err(error) = context.collect_garbage(now).await {
        tracing::debug!(error = display_chain(&error), "what is left of replicas that are gone could not be removed");
    }
}

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
}

/// Whether the report is obsolete. Applied revisions and keys matter while the replica is live, because the replica reports
/// them again only after a change.
fn is_garbage(told: &ReplicaStateSpec, present: &HashSet<String>, now: Timestamp) -> bool {
    let ends_tokens = told.matters_until().is_some_and(|until| until > now);
    let is_awaited = (told.serves.is_some() || told.keys.is_some()) && present.contains(&told.replica);
    !ends_tokens && !is_awaited && now.duration_since(told.reported_at) > STALE_AFTER
}

/// Deletes the object only if it is unchanged.
fn unchanged<K: Resource>(object: &K) -> DeleteParams {
    let preconditions = Preconditions { resource_version: object.resource_version(), uid: object.uid() };
    DeleteParams::default().preconditions(preconditions)
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
    fn applied_revisions_are_kept_while_their_replica_is_live() {
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
    fn a_revocation_outlives_its_replica_until_the_token_would_have_expired() {
        let until = "2026-11-22T03:00:00Z".parse().unwrap();
        let revoked = vec![Revoked { id: "token".to_owned(), until }];
        let revoked = told(ReplicaStateSpec { revoked, ..ReplicaStateSpec::default() });
        assert!(!is_over_after(&revoked, 59, &[]));
        assert!(is_over_after(&revoked, 60, &[]));
    }
}
