//! Publishes which secrets were used, in batches: one write for all of them, and none without news.

use jiff::{SignedDuration, Timestamp};

use super::{Entry, ReadModel};
use crate::api::replica_state::{ENTRIES_MAX, LastUse, ReplicaStateSpec};
use crate::util::error_chain::display_chain;

/// How long a use is published, so that the controller has time to record it.
const TOLD_FOR: SignedDuration = SignedDuration::from_mins(2);

impl ReadModel {
    /// Publishes the uses since `told_until`, if there are any, together with those of the preceding minutes. Returns
    /// the time up to which all uses are published.
    pub async fn report_uses(&self, now: Timestamp, told_until: Timestamp) -> Timestamp {
        let window = now.checked_sub(TOLD_FOR).unwrap_or(now);
        let uses = self.uses_since(window.min(told_until));
        // Uses are recorded in whole seconds: more uses may follow in the last second.
        if !uses.iter().any(|used| used.at.as_second() >= told_until.as_second()) {
            return told_until;
        }
        match self.write_uses(&uses, now).await {
            Ok(()) => now,
            Err(error) => {
                tracing::warn!(
                    error = display_chain(&error),
                    "the last use of secrets could not be reported, trying again"
                );
                told_until
            }
        }
    }

    async fn write_uses(&self, uses: &[LastUse], now: Timestamp) -> kube::Result<()> {
        for (number, part) in uses.chunks(ENTRIES_MAX).enumerate() {
            let spec = ReplicaStateSpec { uses: part.to_vec(), ..self.states.empty_spec(now) };
            self.states.write(&number.to_string(), &spec).await?;
        }
        Ok(())
    }

    /// Every version that was used at or after `since`.
    fn uses_since(&self, since: Timestamp) -> Vec<LastUse> {
        let entries = self.entries.pin();
        let live = entries.values().filter_map(|entry| match entry {
            Entry::Live(record, _) => Some(record),
            Entry::Disabled(..) => None,
        });
        let mut uses = Vec::new();
        for secret in live.flat_map(|record| &record.secrets) {
            for version in &secret.versions {
                let at = version.memory.last_used().filter(|at| *at >= since);
                uses.extend(at.map(|at| LastUse {
                    namespace: secret.object.namespace.to_string(),
                    name: secret.object.name.to_string(),
                    version: version.id.clone(),
                    at,
                }));
            }
        }
        uses
    }
}
