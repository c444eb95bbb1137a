//! Tells which secrets were used, in batches: one write for all of them, and none when there is nothing new.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, Resource};
use serde_json::json;

use super::{Entry, Index};
use crate::api::EndpointState;
use crate::api::endpoint_state::{EndpointStateSpec, USES_MAX, Use};
use crate::api::names::ENDPOINT_FIELD_MANAGER;
use crate::chain::chain;

/// A use is told for this long, so that whoever listens has time to note it down.
const TOLD_FOR: SignedDuration = SignedDuration::from_mins(2);

/// Where and how often a replica reports.
#[derive(Clone, Debug)]
pub struct Reporting {
    /// The operator's namespace.
    pub namespace: String,
    /// This replica.
    pub replica: String,
    /// Pause between two reports.
    pub every: Duration,
}

async fn write(client: &Client, reporting: &Reporting, uses: &[Use], now: Timestamp) -> kube::Result<()> {
    for (number, part) in uses.chunks(USES_MAX).enumerate() {
        let spec = EndpointStateSpec {
            replica: reporting.replica.clone(),
            reported_at: now,
            uses: part.to_vec(),
            rotations: Vec::new(),
        };
        let name = object_name(&reporting.replica, &number.to_string());
        apply(client, &reporting.namespace, &name, &spec).await?;
    }
    Ok(())
}

/// Writes an EndpointState of this replica.
pub(super) async fn apply(client: &Client, namespace: &str, name: &str, spec: &EndpointStateSpec) -> kube::Result<()> {
    let api: Api<EndpointState> = Api::namespaced(client.clone(), namespace);
    let state = json!({
        "apiVersion": EndpointState::api_version(&()),
        "kind": EndpointState::kind(&()),
        "metadata": {"name": name},
        "spec": spec,
    });
    let with = PatchParams::apply(ENDPOINT_FIELD_MANAGER).force();
    api.patch(name, &with, &Patch::Apply(&state)).await.map(drop)
}

/// A name for an object of a replica, whose own name may be anything.
pub(super) fn object_name(replica: &str, part: &str) -> String {
    let plain = |c: char| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' };
    let name: String = replica.to_ascii_lowercase().chars().map(plain).take(200).collect();
    format!("endpoint-{name}-{part}")
}

impl Index {
    /// Writes down the uses since `told_until`, if there are any, with those of the minutes before. Until when all uses
    /// are written down then.
    pub async fn report_uses(
        &self,
        client: &Client,
        now: Timestamp,
        told_until: Timestamp,
        reporting: &Reporting,
    ) -> Timestamp {
        let window = now.checked_sub(TOLD_FOR).unwrap_or(now);
        let uses = self.uses_since(window.min(told_until));
        // Uses are noted in whole seconds: those of the last one may have gone on.
        if !uses.iter().any(|used| used.at.as_second() >= told_until.as_second()) {
            return told_until;
        }
        match write(client, reporting, &uses, now).await {
            Ok(()) => now,
            Err(error) => {
                tracing::warn!(error = chain(&error), "the last use of secrets could not be reported, trying again");
                told_until
            }
        }
    }

    /// Every version that was used at or after `since`.
    fn uses_since(&self, since: Timestamp) -> Vec<Use> {
        let entries = self.entries.pin();
        let live = entries.values().filter_map(|entry| match entry {
            Entry::Live(record) => Some(record),
            Entry::Closed(_) => None,
        });
        let mut uses = Vec::new();
        for secret in live.flat_map(|record| &record.secrets) {
            for version in &secret.versions {
                let at = version.memory.last_used().filter(|at| *at >= since);
                uses.extend(at.map(|at| Use {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_replica_has_a_name_that_an_object_may_have() {
        assert_eq!(object_name("postern-7d9f-x2x4z", "0"), "endpoint-postern-7d9f-x2x4z-0");
        assert_eq!(object_name("My_Host.local-77", "1"), "endpoint-my-host-local-77-1");
    }
}
