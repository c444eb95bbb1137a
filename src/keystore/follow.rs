//! Follows a Secret of the operator: a consistent read every few seconds, and a watch between two reads.
//!
//! The watch delivers a change at once. The read replaces what the watch may have lost: a frozen connection, a restored
//! etcd. It also proves that this process is current.

use std::time::Duration;

use futures::{Stream, StreamExt as _};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{WatchEvent, WatchParams};
use kube::{Api, Client, ResourceExt as _};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use super::keys::{KeystoreError, find};
use crate::api::terminating::{finalizers, is_terminating};

/// Interval between two reads, as for the certificate of the endpoint.
const READ_INTERVAL: Duration = Duration::from_secs(10);
/// The same as the timeout that the API server gets, in its unit.
const WATCH_SECONDS: u32 = 10;
/// The timeout of a read; a tenth of it is usual for a busy API server.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// The first and the longest pause after a failure. Short at first: the Secret may be created at this moment.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// Reports the Secret, each change and each failure, for ever. An unchanged Secret is reported again by each read.
pub async fn follow(
    client: &Client,
    namespace: &str,
    name: &'static str,
    mut report: impl FnMut(Result<Secret, KeystoreError>),
) {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let mut pause = PAUSES.0;
    loop {
        match read(&api, namespace, name).await {
            Ok(secret) => {
                pause = PAUSES.0;
                let (revision, next) = (secret.resource_version().unwrap_or_default(), Instant::now() + READ_INTERVAL);
                report(Ok(secret));
                let watching = watch(&api, namespace, name, &revision, &mut report);
                // A watch that fails or ends early is started again with the next read, after a pause.
                let ended = timeout_at(next, watching).await.is_ok();
                sleep_until(if ended { next.min(Instant::now() + PAUSES.1) } else { next }).await;
            }
            Err(error) => {
                report(Err(error));
                sleep(pause).await;
                pause = PAUSES.1.min(pause * 2);
            }
        }
    }
}

/// A consistent read.
async fn read(api: &Api<Secret>, namespace: &str, name: &'static str) -> Result<Secret, KeystoreError> {
    let Ok(found) = timeout(READ_TIMEOUT, find(api, namespace, name)).await else {
        let source = kube::Error::Service(format!("no answer within {} s", READ_TIMEOUT.as_secs()).into());
        return Err(KeystoreError::Api { step: "read", namespace: namespace.to_owned(), name, source: source.into() });
    };
    found?.ok_or_else(|| KeystoreError::Absent { namespace: namespace.to_owned(), name })
}

/// Reports the changes after `revision` until the watch ends.
async fn watch(
    api: &Api<Secret>,
    namespace: &str,
    name: &'static str,
    revision: &str,
    report: &mut impl FnMut(Result<Secret, KeystoreError>),
) {
    let with = WatchParams::default().fields(&format!("metadata.name={name}")).timeout(WATCH_SECONDS);
    match api.watch(&with, revision).await {
        Ok(events) => drop(deliver(events, namespace, name, report).await),
        Err(error) => tracing::debug!(secret = name, %error, "the watch of a Secret failed, reading it instead"),
    }
}

async fn deliver(
    events: impl Stream<Item = kube::Result<WatchEvent<Secret>>>,
    namespace: &str,
    name: &'static str,
    report: &mut impl FnMut(Result<Secret, KeystoreError>),
) -> Option<()> {
    let mut events = std::pin::pin!(events);
    loop {
        match events.next().await?.ok()? {
            WatchEvent::Added(secret) | WatchEvent::Modified(secret) if is_terminating(&secret.metadata) => {
                let finalizers = finalizers(&secret.metadata);
                report(Err(KeystoreError::Terminating { namespace: namespace.to_owned(), name, finalizers }));
            }
            WatchEvent::Added(secret) | WatchEvent::Modified(secret) => report(Ok(secret)),
            WatchEvent::Deleted(_) => {
                report(Err(KeystoreError::Absent { namespace: namespace.to_owned(), name }));
            }
            WatchEvent::Bookmark(_) => {}
            WatchEvent::Error(_) => return None,
        }
    }
}
