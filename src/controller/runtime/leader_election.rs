//! Leader election: only the replica that holds the Lease writes.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client};
use kube_lease_manager::{LeaseManager, LeaseManagerBuilder};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::util::error_chain::display_chain;
use crate::util::watch_channel::send_if_new;

/// Name of the Lease.
const LEASE: &str = "postern";
/// Another replica takes over a failed leader's lease after this time.
const DURATION_SECONDS: u64 = 15;
/// The leader renews this long before the expiry, so the lease survives one failed attempt.
const GRACE_SECONDS: u64 = 5;
/// Pause after a failed attempt to read or create the lease.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Acquires and renews the lease until `stop`, and reports in `leading` whether this replica has it.
///
/// Releases the lease at the end, so that another replica need not wait for its expiry.
pub async fn run_election(
    client: Client,
    namespace: String,
    replica: String,
    leading: watch::Sender<bool>,
    stop: CancellationToken,
) {
    let leases: Api<Lease> = Api::namespaced(client.clone(), &namespace);
    while let Some(manager) = stop.run_until_cancelled(manager(&client, &namespace, &replica)).await {
        let (mut held, task) = manager.watch().await;
        let tell = async {
            loop {
                let now = *held.borrow_and_update();
                send_if_new(&leading, now);
                if held.changed().await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            () = tell => {}
            () = deleted(&leases) => tracing::warn!("the lease was deleted, making another one"),
            () = stop.cancelled() => {}
        }
        leading.send_replace(false);
        // The manager releases the lease when its last receiver is dropped.
        drop(held);
        let _ = task.await;
    }
}

/// Returns when the lease does not exist. The manager creates it only once, and always treats a deleted lease as a
/// temporary read error.
async fn deleted(leases: &Api<Lease>) {
    loop {
        tokio::time::sleep(Duration::from_secs(DURATION_SECONDS)).await;
        if matches!(leases.get_opt(LEASE).await, Ok(None)) {
            return;
        }
    }
}

async fn manager(client: &Client, namespace: &str, replica: &str) -> LeaseManager {
    loop {
        let builder = LeaseManagerBuilder::new(client.clone(), LEASE)
            .with_namespace(namespace)
            .with_identity(replica)
            .with_duration(DURATION_SECONDS)
            .with_grace(GRACE_SECONDS);
        match builder.build().await {
            Ok(manager) => return manager,
            Err(error) => tracing::warn!(error = display_chain(&error), "the lease cannot be used, trying again"),
        }
        tokio::time::sleep(RETRY_INTERVAL).await;
    }
}
