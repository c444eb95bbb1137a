//! The start after the loss of an install key: unverified values are adopted once.
//!
//! The flag enables recovery, within three bounds. It covers only ClientSecrets that are older than the new key and
//! have no version, each until its first reconciliation. After the last of them the Secret of the key is annotated, so
//! that the flag has no effect at any later start.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::Patch;
use kube::core::PartialObjectMeta;
use serde_json::json;

use crate::api::ClientSecret;
use crate::api::names::RECOVERED_ANNOTATION;
use crate::api::terminating::is_terminating;
use crate::cache::ObjectRef;
use crate::clock::Clock;
use crate::controller::runtime::write_params;
use crate::controller::{Context, RETRY_INTERVAL};
use crate::keystore::INSTALL_KEY;
use crate::util::error_chain::display_chain;

/// Interval of the check whether all of them were reconciled.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// ClientSecrets whose value is adopted without proof, until they are reconciled.
#[derive(Debug, Default)]
pub(crate) struct Recovery(Mutex<HashSet<ObjectRef>>);

impl Recovery {
    pub(crate) fn allows(&self, client_secret: &ObjectRef) -> bool {
        self.lock().contains(client_secret)
    }

    /// The ClientSecret was reconciled, with any result.
    pub(crate) fn done(&self, client_secret: &ObjectRef) {
        self.lock().remove(client_secret);
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<ObjectRef>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: Clock> Context<C> {
    /// Determines which values may be adopted, before any reconciliation. Returns whether there is a recovery.
    pub(crate) async fn begin_recovery(&self) -> bool {
        if !self.settings.adopt_unverified {
            return false;
        }
        let key = loop {
            match self.install_key_secret().get(INSTALL_KEY).await {
                Ok(key) => break key.metadata,
                Err(error) => {
                    tracing::warn!(error = display_chain(&error), "the Secret of the install key cannot be read");
                }
            }
            tokio::time::sleep(RETRY_INTERVAL).await;
        };
        if let Some(at) = key.annotations.as_ref().and_then(|annotations| annotations.get(RECOVERED_ANNOTATION)) {
            tracing::warn!(at, "--adopt-unverified-secrets has no effect: it was used already for this key; remove it");
            return false;
        }
        let made = key.creation_timestamp.map_or(Timestamp::MIN, |time| time.0);
        let all = self.cache.secrets.keys();
        let concerned: HashSet<ObjectRef> = all.into_iter().filter(|key| self.is_orphaned(key, made)).collect();
        tracing::warn!(client_secrets = concerned.len(), "values in delivered Secrets are adopted without proof, once");
        *self.recovery.lock() = concerned;
        true
    }

    /// Waits until all were reconciled, and annotates the Secret of the key. Never returns.
    pub(crate) async fn finish_recovery(&self, is_under_way: bool) {
        if is_under_way {
            while !self.is_recovered() {
                tokio::time::sleep(CHECK_INTERVAL).await;
            }
            let patch = json!({"metadata": {"annotations": {RECOVERED_ANNOTATION: self.clock.now().to_string()}}});
            while let Err(error) =
                self.install_key_secret().patch(INSTALL_KEY, &write_params::patch(), &Patch::Merge(&patch)).await
            {
                tracing::warn!(
                    error = display_chain(&error),
                    "the end of the recovery cannot be recorded, trying again"
                );
                tokio::time::sleep(RETRY_INTERVAL).await;
            }
            tracing::info!("no value is adopted without proof any more: remove --adopt-unverified-secrets");
        }
        std::future::pending::<()>().await;
    }

    fn is_recovered(&self) -> bool {
        let mut open = self.recovery.lock();
        open.retain(|key| self.is_orphaned(key, Timestamp::MAX));
        open.is_empty()
    }

    /// Whether the ClientSecret has no version, and is older than `than`.
    fn is_orphaned(&self, key: &ObjectRef, than: Timestamp) -> bool {
        let created = |secret: &ClientSecret| secret.metadata.creation_timestamp.as_ref().map(|time| time.0);
        self.cache.secrets.get(key).is_some_and(|secret| {
            let has_version = secret.status.as_ref().is_some_and(|status| !status.versions.is_empty());
            !has_version && !is_terminating(&secret.metadata) && created(&secret).is_some_and(|at| at < than)
        })
    }

    fn install_key_secret(&self) -> Api<PartialObjectMeta<Secret>> {
        Api::namespaced(self.client.clone(), &self.settings.namespace)
    }
}
