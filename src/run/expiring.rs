//! Counts the credentials that end soon, for the metric.

use std::time::Duration;

use jiff::Timestamp;

use crate::api::duration::ConfigDuration;
use crate::clock::Clock;
use crate::model::Model;
use crate::telemetry::metrics::ExpiryMetrics;

/// Pause between two counts. Days are what is counted, but somebody may have just changed an end.
const EVERY: Duration = Duration::from_secs(15);

/// Counts for ever, on every replica: each of them knows all ClientSecrets.
pub(super) async fn count(model: Model, clock: impl Clock, warnings: Vec<ConfigDuration>, metrics: ExpiryMetrics) {
    loop {
        let now = clock.now();
        let ends: Vec<Timestamp> = model.relations().ends_soon.values().copied().collect();
        for warning in &warnings {
            let within = |end: &&Timestamp| **end > now && end.duration_since(now) <= warning.length();
            metrics.set(&warning.to_string(), ends.iter().filter(within).count());
        }
        tokio::time::sleep(EVERY).await;
    }
}
