//! What comes due by the clock alone, without an event.
//!
//! No timer lasts much longer than a minute: once a minute every ClientSecret is asked what it is due for next. Ten
//! thousand credentials that end in a year need no memory for that, and a clock that is set by an hour does no harm for
//! longer than a minute.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{DeleteParams, Preconditions};
use kube::{Api, Resource, ResourceExt};

use super::propagation::replica_leases;
use super::queue::{Next, Queue};
use super::{Context, PIECE};
use crate::api::EndpointState;
use crate::clock::Clock;
use crate::model::Key;
use crate::plan::client_secret::next_due;

/// Pause between two looks at everything.
const EVERY: Duration = Duration::from_mins(1);
/// What is due within this time gets a timer of its own. Longer than the pause, so that nothing falls between two looks.
const HORIZON: SignedDuration = SignedDuration::from_secs(70);

/// A timer for what is due soon; what is due later comes up by itself.
pub(super) fn next(due: Option<Timestamp>, now: Timestamp) -> Next {
    match due.map(|due| due.duration_since(now)) {
        Some(wait) if wait <= HORIZON => Next::After(Duration::try_from(wait).unwrap_or_default()),
        _ => Next::Change,
    }
}

/// What an endpoint told of secrets this long ago is written down elsewhere.
const SILENT: SignedDuration = SignedDuration::from_mins(10);

impl<C: Clock> Context<C> {
    async fn forget_departed(&self, now: Timestamp) {
        let api: Api<EndpointState> = Api::namespaced(self.client.clone(), &self.settings.namespace);
        for state in self.model.endpoints.all() {
            let matters = state.spec.matters_until().is_some_and(|until| until > now);
            if !matters
                && now.duration_since(state.spec.reported_at) > SILENT
                && let Err(error) = api.delete(&state.name_any(), &unchanged(state.as_ref())).await
            {
                tracing::debug!(%error, "what an endpoint told long ago could not be removed");
            }
        }
    }

    /// Removes the Leases of replicas that went without giving theirs back.
    async fn forget_gone(&self, now: Timestamp) -> kube::Result<()> {
        let api: Api<Lease> = Api::namespaced(self.client.clone(), &self.settings.namespace);
        for lease in replica_leases(&api).await? {
            let renewed = lease.spec.as_ref().and_then(|spec| spec.renew_time.as_ref());
            if renewed.is_none_or(|renewed| now.duration_since(renewed.0) > SILENT) {
                api.delete(&lease.name_any(), &unchanged(&lease)).await?;
            }
        }
        Ok(())
    }

    /// Whether the clock alone will change the ClientSecret soon.
    fn is_due(&self, key: &Key, now: Timestamp) -> bool {
        let Some(secret) = self.model.secrets.get(key) else { return false };
        let due = secret.status.as_ref().and_then(|status| next_due(&secret.spec, status, &self.settings.policy, now));
        due.is_some_and(|due| due.duration_since(now) <= HORIZON)
    }
}

/// Not if it has been told something since.
fn unchanged<K: Resource>(object: &K) -> DeleteParams {
    let preconditions = Preconditions { resource_version: object.resource_version(), uid: object.uid() };
    DeleteParams::default().preconditions(preconditions)
}

/// Has everything reconciled that is due soon, for ever.
pub(super) async fn keep<C: Clock>(context: &Context<C>, secrets: Queue) {
    loop {
        let now = context.clock.now();
        context.forget_departed(now).await;
        if let Err(error) = context.forget_gone(now).await {
            tracing::debug!(%error, "leases of replicas that are gone could not be removed");
        }
        for (number, key) in context.model.secrets.keys().into_iter().enumerate() {
            if context.is_due(&key, now) {
                secrets.push(key);
            }
            if number % PIECE == PIECE - 1 {
                tokio::task::yield_now().await;
            }
        }
        tokio::time::sleep(EVERY).await;
    }
}
