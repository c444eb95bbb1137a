//! Counts the credentials that expire soon, for the metric.

use std::time::Duration;

use jiff::Timestamp;

use crate::api::duration::ConfigDuration;
use crate::cache::Cache;
use crate::clock::Clock;
use crate::telemetry::metrics::ExpiryMetrics;

/// Pause between two counts. The thresholds are days, but a user may have just changed an expiry.
const UPDATE_INTERVAL: Duration = Duration::from_secs(15);

/// Counts until shutdown, on every replica: each replica knows all ClientSecrets.
pub(super) async fn count(cache: Cache, clock: impl Clock, warnings: Vec<ConfigDuration>, metrics: ExpiryMetrics) {
    loop {
        let now = clock.now();
        let ends: Vec<Timestamp> = cache.relations().ends_soon.values().copied().collect();
        for warning in &warnings {
            let within = |end: &&Timestamp| **end > now && end.duration_since(now) <= warning.length();
            metrics.set(&warning.to_string(), ends.iter().filter(within).count());
        }
        tokio::time::sleep(UPDATE_INTERVAL).await;
    }
}
