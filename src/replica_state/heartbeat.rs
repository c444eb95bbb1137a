//! Reports that this replica is live, in a Lease that it renews, and its applied revisions and its keys, in a ReplicaState
//! that it writes when they change. From both the controller computes when every live replica serves a change.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::api_store::ApiStore;
use super::applied_revisions::RevisionTracker;
use super::key_reports::KeyReports;
use crate::api::replica_state::{AppliedRevisions, KeysInUse};
use crate::clock::Clock;
use crate::util::error_chain::display_chain;

/// A replica that has not renewed its Lease for this long is gone, …
const LEASE_SECONDS: i32 = 15;
/// … and it tries three times in that.
const RENEW_INTERVAL: Duration = Duration::from_secs(5);
/// The timeout of a write. On a frozen connection the next attempt would otherwise wait for the first.
const WRITE_TIMEOUT: Duration = Duration::from_secs(3);
/// Minimum interval between two writes of the applied revisions and the keys. The first after a pause is written immediately.
const PUBLISH_INTERVAL: Duration = Duration::from_secs(1);

/// Publishes both until `closing`.
pub(crate) async fn run(
    store: &ApiStore,
    revisions: &RevisionTracker,
    keys: &KeyReports,
    clock: &impl Clock,
    closing: &CancellationToken,
) {
    let both = futures::future::join(publish_state(store, revisions, keys, clock), renew_lease(store, clock));
    let _: Option<((), ())> = closing.run_until_cancelled(both).await;
    // Without an API server the Lease expires.
    let _ = tokio::time::timeout(PUBLISH_INTERVAL, store.drop_lease()).await;
}

async fn publish_state(store: &ApiStore, revisions: &RevisionTracker, keys: &KeyReports, clock: &impl Clock) {
    let (mut steps, mut changes) = (revisions.subscribe(), keys.subscribe());
    let mut published: (Option<AppliedRevisions>, Option<KeysInUse>) = (None, None);
    loop {
        let serves = revisions.serves();
        // Revisions that were published stay true while there are no newer ones.
        let state = (serves.or(published.0), keys.in_use());
        if published != state && !publish(store, clock, state.clone()).await {
            // A retry does not wait for an advance and is as frequent as lease renewal.
            tokio::time::sleep(RENEW_INTERVAL).await;
            continue;
        }
        published = state;
        tokio::time::sleep(PUBLISH_INTERVAL).await;
        // Missing revisions follow soon, possibly without an advance.
        if serves.is_some() {
            // The senders live as long as `revisions` and `keys`.
            tokio::select! {
                _ = steps.changed() => {}
                _ = changes.changed() => {}
            }
        }
    }
}

async fn publish(
    store: &ApiStore,
    clock: &impl Clock,
    (serves, keys): (Option<AppliedRevisions>, Option<KeysInUse>),
) -> bool {
    let spec = store.served_spec(serves, keys, clock.now());
    match in_time(Box::pin(store.write("serves", &spec))).await {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(error, "failed to publish applied revisions and keys, retrying");
            false
        }
    }
}

async fn renew_lease(store: &ApiStore, clock: &impl Clock) {
    loop {
        let renewed = Box::pin(store.renew_lease(clock.now(), LEASE_SECONDS));
        if let Err(error) = in_time(renewed).await {
            tracing::warn!(error, "the lease of this replica could not be renewed");
        }
        tokio::time::sleep(RENEW_INTERVAL).await;
    }
}

/// The result of a write, or that it timed out.
async fn in_time(write: impl Future<Output = kube::Result<()>>) -> Result<(), String> {
    match tokio::time::timeout(WRITE_TIMEOUT, write).await {
        Ok(written) => written.map_err(|error| display_chain(&error)),
        Err(_) => Err(format!("the API server did not answer within {} s", WRITE_TIMEOUT.as_secs())),
    }
}
