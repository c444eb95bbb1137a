//! Who writes: the replica that holds the Lease.

use std::time::Duration;

use kube::Client;
use kube_lease_manager::{LeaseManager, LeaseManagerBuilder};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Name of the Lease.
const LEASE: &str = "postern";
/// A replica that died is succeeded after this long.
const DURATION_SECONDS: u64 = 15;
/// The holder renews this long before the end, so the lease survives one failed attempt.
const GRACE_SECONDS: u64 = 5;
/// Pause before a lease that cannot be read or created is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Tries to get and keep the lease until `stop`, and says in `leading` whether this replica has it.
///
/// At the end the lease is given back, so that another replica need not wait for it to run out.
pub async fn hold(
    client: Client,
    namespace: String,
    replica: String,
    leading: watch::Sender<bool>,
    stop: CancellationToken,
) {
    let Some(manager) = stop.run_until_cancelled(manager(&client, &namespace, &replica)).await else { return };
    let (mut held, task) = manager.watch().await;
    loop {
        let now = *held.borrow_and_update();
        leading.send_if_modified(|leading| std::mem::replace(leading, now) != now);
        tokio::select! {
            changed = held.changed() => if changed.is_err() { break },
            () = stop.cancelled() => break,
        }
    }
    leading.send_replace(false);
    // The manager releases the lease when nobody listens any more.
    drop(held);
    let _ = task.await;
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
            Err(error) => tracing::warn!(%error, "the lease cannot be used, trying again"),
        }
        tokio::time::sleep(RETRY).await;
    }
}
