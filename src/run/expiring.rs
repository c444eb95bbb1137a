//! Counts the credentials that end soon, for the metric.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::api::ClientSecret;
use crate::api::conditions::types;
use crate::api::duration::ConfigDuration;
use crate::clock::Clock;
use crate::model::Model;
use crate::telemetry::metrics::ExpiryMetrics;

/// Pause between two counts. Days are what is counted, but somebody may have just changed an end.
const EVERY: Duration = Duration::from_secs(15);

/// Counts for ever, on every replica: each of them knows all ClientSecrets.
pub(super) async fn count(model: Model, clock: impl Clock, warnings: Vec<ConfigDuration>, metrics: ExpiryMetrics) {
    loop {
        let (secrets, now) = (model.secrets.state(), clock.now());
        for warning in &warnings {
            let number = secrets.iter().filter(|secret| ends_within(secret, warning.length(), now)).count();
            metrics.set(&warning.to_string(), number);
        }
        tokio::time::sleep(EVERY).await;
    }
}

fn ends_within(secret: &ClientSecret, warning: SignedDuration, now: Timestamp) -> bool {
    let Some(status) = &secret.status else { return false };
    let soon = status.expires_at.is_some_and(|end| end > now && end.duration_since(now) <= warning);
    let mut conditions = status.conditions.iter();
    soon && !secret.spec.is_revoked() && conditions.any(|c| c.type_ == types::EXPIRING && c.status == "True")
}
