//! Publishes which secrets and which methods were used, in batches: one write for all of them, and none without news.

use jiff::{SignedDuration, Timestamp};

use super::{Entry, ReadModel};
use crate::api::replica_state::{ENTRIES_MAX, LastUse, MethodUse, ReplicaStateSpec};
use crate::oauth::client_record::ClientRecord;
use crate::util::error_chain::display_chain;

/// How long a use is published, so that the controller has time to record it.
const TOLD_FOR: SignedDuration = SignedDuration::from_mins(2);

/// Recent uses.
#[derive(Default)]
struct Uses {
    versions: Vec<LastUse>,
    methods: Vec<MethodUse>,
}

impl ReadModel {
    /// Publishes the uses since `told_until`, if there are any, together with those of the preceding minutes. Returns
    /// the time up to which all uses are published.
    pub async fn report_uses(&self, now: Timestamp, told_until: Timestamp) -> Timestamp {
        let window = now.checked_sub(TOLD_FOR).unwrap_or(now);
        let uses = self.uses_since(window.min(told_until));
        // Uses are recorded in whole seconds: more uses may follow in the last second.
        if !uses.times().any(|at| at.as_second() >= told_until.as_second()) {
            return told_until;
        }
        match self.write_uses(&uses, now).await {
            Ok(()) => now,
            Err(error) => {
                tracing::warn!(
                    error = display_chain(&error),
                    "the last use of secrets and methods could not be reported, trying again"
                );
                told_until
            }
        }
    }

    async fn write_uses(&self, uses: &Uses, now: Timestamp) -> kube::Result<()> {
        for (number, (versions, methods)) in uses.parts(ENTRIES_MAX).enumerate() {
            let spec = ReplicaStateSpec { uses: versions, methods, ..self.states.empty_spec(now) };
            self.states.write(&number.to_string(), &spec).await?;
        }
        Ok(())
    }

    /// Every version and every method that was used at or after `since`.
    fn uses_since(&self, since: Timestamp) -> Uses {
        let entries = self.entries.pin();
        let mut uses = Uses::default();
        for entry in entries.values() {
            if let Entry::Live(record, _) = entry {
                uses.add(record, since);
            }
        }
        uses
    }
}

impl Uses {
    fn add(&mut self, record: &ClientRecord, since: Timestamp) {
        for secret in &record.secrets {
            for version in &secret.versions {
                let at = version.memory.last_used().filter(|at| *at >= since);
                self.versions.extend(at.map(|at| LastUse {
                    namespace: secret.object.namespace.to_string(),
                    name: secret.object.name.to_string(),
                    version: version.id.clone(),
                    at,
                }));
            }
        }
        let recent = record.method_uses.last_uses().filter(|(_, at)| *at >= since);
        self.methods.extend(recent.map(|(method, at)| MethodUse {
            namespace: record.application.namespace.to_string(),
            name: record.application.name.to_string(),
            uid: record.method_uses.application().to_owned(),
            method: method.name().to_owned(),
            at,
        }));
    }

    fn times(&self) -> impl Iterator<Item = Timestamp> {
        let versions = self.versions.iter().map(|used| used.at);
        versions.chain(self.methods.iter().map(|used| used.at))
    }

    /// The content of each object, of which none has more than `limit` entries.
    fn parts(&self, limit: usize) -> impl Iterator<Item = (Vec<LastUse>, Vec<MethodUse>)> {
        (0..self.versions.len() + self.methods.len()).step_by(limit).map(move |start| {
            let versions: Vec<_> = self.versions.iter().skip(start).take(limit).cloned().collect();
            let methods = self.methods.iter().skip(start.saturating_sub(self.versions.len()));
            let methods = methods.take(limit - versions.len()).cloned().collect();
            (versions, methods)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_object_has_more_entries_than_the_limit_and_none_is_lost() {
        let text = || "a".to_owned();
        let at = Timestamp::UNIX_EPOCH;
        let version = |number: usize| LastUse { namespace: text(), name: text(), version: number.to_string(), at };
        let method =
            |number: usize| MethodUse { namespace: text(), name: text(), uid: text(), method: number.to_string(), at };
        for (versions, methods) in [(0, 0), (0, 1), (1, 0), (3, 0), (0, 3), (2, 1), (1, 2), (3, 3), (2, 5), (7, 4)] {
            let uses =
                Uses { versions: (0..versions).map(version).collect(), methods: (0..methods).map(method).collect() };
            let parts: Vec<_> = uses.parts(3).collect();
            assert_eq!(parts.len(), (versions + methods).div_ceil(3), "{versions} {methods}");
            assert!(parts.iter().all(|(versions, methods)| (1..=3).contains(&(versions.len() + methods.len()))));
            assert_eq!(parts.iter().flat_map(|part| part.0.clone()).collect::<Vec<_>>(), uses.versions);
            assert_eq!(parts.iter().flat_map(|part| part.1.clone()).collect::<Vec<_>>(), uses.methods);
        }
    }
}
