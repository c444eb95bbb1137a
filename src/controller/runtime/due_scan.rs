//! Work that becomes due with time, without an event.
//!
//! No timer lasts much longer than a minute: a scan once a minute reads the next due time of every ClientSecret, and the end
//! of the locks of every Application. Ten thousand credentials that expire in a year need no timers, and a clock that is set by an hour has an effect for at
//! most a minute.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use super::replica_gc;
use super::work_queue::{Queue, Requeue};
use crate::cache::ObjectRef;
use crate::clock::Clock;
use crate::controller::{Context, YIELD_EVERY};
use crate::plan::client_secret::next_due;

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

impl<C: Clock> Context<C> {
    /// Whether time alone has changed the ClientSecret since `since`, or will soon.
    fn is_due(&self, key: &ObjectRef, since: Timestamp, now: Timestamp) -> bool {
        let Some(secret) = self.cache.secrets.get(key) else { return false };
        let due =
            secret.status.as_ref().and_then(|status| next_due(&secret.spec, status, &self.settings.policy, since));
        due.is_some_and(|due| due.duration_since(now) <= HORIZON)
    }

    /// Whether the locks of the Application have ended, or will soon.
    fn is_unlocked_soon(&self, key: &ObjectRef, now: Timestamp) -> bool {
        let status = self.cache.application(key).and_then(|application| application.status.clone());
        status.and_then(|status| status.locked_until).is_some_and(|until| until.duration_since(now) <= HORIZON)
    }
}

/// Scans until shutdown, and enqueues everything that is due soon.
pub(crate) async fn run<C: Clock>(context: &Context<C>, secrets: Queue, applications: Queue) {
    let mut looked = context.clock.now();
    loop {
        replica_gc::collect(context, context.clock.now()).await;
        // No due time falls between two scans, even if the scan was slow or the clock was set.
        let now = context.clock.now();
        let since = looked.min(now);
        looked = now;
        context.count_throttle.forget_old(Instant::now());
        context.use_throttle.forget_old(Instant::now());
        context.method_use_throttle.forget_old(Instant::now());
        context.read_throttle.forget_old(Instant::now());
        context.refusals.forget_old(Instant::now());
        context.repairs.forget_old(Instant::now());
        context.inspected.forget_unless(|key| context.cache.delivered.contains(key));
        context.pending_values.forget_unless(|key| context.cache.secrets.contains(key));
        context.pending_keys.forget_unless(|key| context.cache.secrets.contains(key));
        context.import_checks.forget_unless(|key| context.cache.secrets.contains(key));
        for (number, key) in context.cache.secrets.keys().into_iter().enumerate() {
            if context.is_due(&key, since, now) {
                secrets.push(key);
            }
            if number % YIELD_EVERY == YIELD_EVERY - 1 {
                tokio::task::yield_now().await;
            }
        }
        for (number, key) in context.cache.applications.keys().into_iter().enumerate() {
            if context.is_unlocked_soon(&key, now) {
                applications.push(key);
            }
            if number % YIELD_EVERY == YIELD_EVERY - 1 {
                tokio::task::yield_now().await;
            }
        }
        tokio::time::sleep(SCAN_INTERVAL).await;
    }
}
