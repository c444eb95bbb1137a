//! The report about `--restored-at`: what is replaced because a backup was restored, and what only its owner can replace.

use jiff::Timestamp;

use crate::api::ClientSecret;
use crate::api::client_secret::VersionState;
use crate::api::conditions::reasons;
use crate::api::terminating::is_terminating;
use crate::cache::ObjectRef;
use crate::clock::Clock;
use crate::controller::runtime::event_recorder::own_secret;
use crate::controller::{Context, YIELD_EVERY};
use crate::keystore::INSTALL_KEY;

/// ClientSecrets whose newest credential is older than the restore.
#[derive(Debug, Default)]
struct Older {
    generated: usize,
    imported: Vec<ObjectRef>,
}

/// Imported values that the report names.
const NAMED_MAX: usize = 10;

impl<C: Clock> Context<C> {
    /// Reports what the restore concerns, when this process becomes the leader. Nothing is left after the last replacement.
    pub(crate) async fn report_restore(&self) {
        let Some(restored) = self.settings.policy.restored_at else { return };
        let mut older = Older::default();
        for (number, key) in self.cache.secrets.keys().into_iter().enumerate() {
            if number % YIELD_EVERY == YIELD_EVERY - 1 {
                tokio::task::yield_now().await;
            }
            let Some(secret) = self.cache.secrets.get(&key).filter(|secret| is_older(secret, restored)) else {
                continue;
            };
            match secret.spec.existing() {
                Some(_) => older.imported.push(key),
                None => older.generated += 1,
            }
        }
        let text = text(restored, &older);
        tracing::warn!(generated = older.generated, imported = older.imported.len(), "{text}");
        self.events.about(own_secret(&self.settings.namespace, INSTALL_KEY), true, reasons::RESTORED, "Restore", text);
    }
}

/// Whether the newest credential is accepted and was issued before the restore.
fn is_older(secret: &ClientSecret, restored: Timestamp) -> bool {
    let newest = secret.status.as_ref().and_then(|status| status.versions.first());
    !is_terminating(&secret.metadata)
        && newest.is_some_and(|newest| newest.created_at < restored && newest.state != VersionState::Retired)
}

fn text(restored: Timestamp, Older { generated, imported }: &Older) -> String {
    let text = format!(
        "A backup was restored at {restored}. Tokens from before are refused, {generated} generated credentials from before \
         are being replaced, and so are the keys of the installation."
    );
    if imported.is_empty() {
        return text;
    }
    let named: Vec<String> =
        imported.iter().take(NAMED_MAX).map(|key| format!("{}/{}", key.namespace, key.name)).collect();
    let others = match imported.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        rest => format!(" and {rest} others"),
    };
    let named = named.join(", ");
    format!("{text} Have the owners put another value into the sources of the imported ones: {named}{others}.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imported_values_are_named_and_counted() {
        let at = "2026-12-01T03:00:00Z".parse().unwrap();
        let none = text(at, &Older { generated: 3, imported: Vec::new() });
        assert!(none.contains("restored at 2026-12-01T03:00:00Z") && none.contains("3 generated"), "{none}");
        assert!(!none.contains("imported"), "{none}");
        let imported = (0..12).map(|number| ObjectRef::new("billing", &format!("legacy-{number}"))).collect();
        let some = text(at, &Older { generated: 0, imported });
        assert!(some.contains("billing/legacy-9 and 2 others.") && !some.contains("legacy-10"), "{some}");
    }
}
