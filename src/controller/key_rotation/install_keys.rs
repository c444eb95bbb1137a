//! The install keys that the controller uses: those of the last usable version of their Secret. A process that does not
//! lead follows them too, because the Secret may be gone when it begins to lead.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use kube::Api;

use crate::clock::Clock;
use crate::controller::{Context, RETRY_INTERVAL};
use crate::keystore::{INSTALL_KEY, KeystoreError, find, follow, install_keys};
use crate::util::error_chain::display_chain;

impl<C: Clock> Context<C> {
    /// Reads the install keys, before this process writes anything. If the Secret is gone or damaged, the keys in use stay.
    pub(crate) async fn read_install_keys(&self) {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &self.settings.namespace);
        loop {
            match find(&api, &self.settings.namespace, INSTALL_KEY).await {
                Ok(found) => return found.iter().for_each(|secret| self.use_install_keys(secret)),
                Err(error @ KeystoreError::Api { .. }) => {
                    tracing::warn!(error = display_chain(&error), "the install keys could not be read, trying again");
                }
                Err(_) => return,
            }
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
    }

    /// Follows the Secret. Never returns.
    pub(crate) async fn follow_install_keys(&self) {
        let namespace = &self.settings.namespace;
        follow(&self.client, namespace, INSTALL_KEY, |found| {
            if let Ok(secret) = found {
                self.use_install_keys(&secret);
            }
        })
        .await;
    }

    /// Uses the keys of this version of the Secret. The rotation reports a Secret that cannot be used.
    fn use_install_keys(&self, secret: &Secret) {
        let Ok((keys, _)) = install_keys(secret) else { return };
        self.install_keys.send_if_modified(|known| {
            let is_other = known.current_id() != keys.current_id() || known.ids() != keys.ids();
            *known = Arc::new(keys);
            is_other
        });
    }
}
