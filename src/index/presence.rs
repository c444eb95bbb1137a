//! Reports that this replica is live, in a Lease that it renews, and its applied revisions, in an EndpointState that it
//! writes when they advance. From both the controller computes when every live replica serves a change.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Index;
use crate::api::endpoint_state::{EndpointStateSpec, Serves};
use crate::chain::chain;
use crate::clock::Clock;

/// A replica that has not renewed its Lease for this long is gone, …
const LEASE_SECONDS: i32 = 15;
/// … and it tries three times in that.
const RENEW_EVERY: Duration = Duration::from_secs(5);
/// The timeout of a write. On a frozen connection the next attempt would otherwise wait for the first.
const PATIENCE: Duration = Duration::from_secs(3);
/// Minimum interval between two writes of the applied revisions. The first after a pause is written immediately.
const TELL_EVERY: Duration = Duration::from_secs(1);

impl Index {
    /// Reports both, from the first sync until `closing`.
    pub async fn be_present(&self, clock: impl Clock, closing: CancellationToken) {
        let mut steps = self.progress.steps();
        while !self.is_synced() {
            if closing.run_until_cancelled(tokio::time::sleep(Duration::from_millis(20))).await.is_none() {
                return;
            }
        }
        let told = async {
            let mut told = None;
            loop {
                let Some(serves) = self.progress.serves() else {
                    // The missing revisions follow soon, possibly without an advance.
                    tokio::time::sleep(TELL_EVERY).await;
                    continue;
                };
                if told != Some(serves) && !self.tell(&clock, serves).await {
                    // A retry does not wait for an advance and is as frequent as lease renewal.
                    tokio::time::sleep(RENEW_EVERY).await;
                    continue;
                }
                told = Some(serves);
                tokio::time::sleep(TELL_EVERY).await;
                // The sender lives as long as the index does.
                let _ = steps.changed().await;
            }
        };
        let renewed = async {
            loop {
                let renewed = Box::pin(self.states.renew_lease(clock.now(), LEASE_SECONDS));
                if let Err(error) = in_time(renewed).await {
                    tracing::warn!(error, "the lease of this replica could not be renewed");
                }
                tokio::time::sleep(RENEW_EVERY).await;
            }
        };
        let _: Option<((), ())> = closing.run_until_cancelled(futures::future::join(told, renewed)).await;
        // Without an API server the Lease expires.
        let _ = tokio::time::timeout(TELL_EVERY, self.states.drop_lease()).await;
    }

    async fn tell(&self, clock: &impl Clock, serves: Serves) -> bool {
        let spec = EndpointStateSpec { serves: Some(serves), ..self.states.blank(clock.now()) };
        match in_time(Box::pin(self.states.write("serves", &spec))).await {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(error, "could not report the state of this replica, trying again");
                false
            }
        }
    }
}

/// The result of a write, or that it timed out.
async fn in_time(write: impl Future<Output = kube::Result<()>>) -> Result<(), String> {
    match tokio::time::timeout(PATIENCE, write).await {
        Ok(written) => written.map_err(|error| chain(&error)),
        Err(_) => Err(format!("the API server did not answer within {} s", PATIENCE.as_secs())),
    }
}
