//! What comes due by the clock alone, without an event.
//!
//! No timer lasts much longer than a minute: once a minute every ClientSecret is asked what it is due for next. Ten
//! thousand credentials that end in a year need no memory for that, and a clock that is set by an hour does no harm for
//! longer than a minute.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{DeleteParams, Preconditions};
use kube::runtime::controller::Action as Next;
use kube::{Api, Resource, ResourceExt};

use super::propagation::replica_leases;
use super::{Context, Queue};
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
        Some(wait) if wait <= HORIZON => Next::requeue(Duration::try_from(wait).unwrap_or_default()),
        _ => Next::await_change(),
    }
}

/// What an endpoint told of secrets this long ago is written down elsewhere.
const SILENT: SignedDuration = SignedDuration::from_mins(10);

impl<C: Clock> Context<C> {
    async fn forget_departed(&self, now: Timestamp) {
        let api: Api<EndpointState> = Api::namespaced(self.client.clone(), &self.settings.namespace);
        for state in self.model.endpoints.state() {
            let matters = state.spec.matters_until().is_some_and(|until| until > now);
            if !matters
                && now.duration_since(state.spec.reported_at) > SILENT
                && let Err(error) = api.delete(&state.name_any(), &unchanged(state.as_ref())).await
            {
                tracing::debug!(%error, "what an endpoint told long ago could not be removed");
            }
        }
    }
}

impl<C: Clock> Context<C> {
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
        for secret in context.model.secrets.state() {
            let due =
                secret.status.as_ref().and_then(|status| next_due(&secret.spec, status, &context.settings.policy, now));
            if due.is_some_and(|due| due.duration_since(now) <= HORIZON) {
                secrets.push(Key::of(secret.as_ref()));
            }
        }
        tokio::time::sleep(EVERY).await;
    }
}
