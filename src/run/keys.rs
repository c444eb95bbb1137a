//! The keys of the token endpoint: read, followed, and reported to the leader. This process never creates a key.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;

use super::process::{KEYS, Process, ReadRetry};
use crate::clock::Clock as _;
use crate::crypto::signing::SigningAlgorithm;
use crate::keystore::{self, DroppedKeys, INSTALL_KEY, KeystoreError, SIGNING_KEYS, TOKEN_KEYS};
use crate::oauth::server_keys::{Confirmation, ServerKeys};
use crate::read_model::KeyReports;
use crate::telemetry::metrics::SigningKeyMetrics;
use crate::util::error_chain::display_chain;

/// How often the metric about the age of keys is updated.
const AGE_INTERVAL: Duration = Duration::from_secs(1);

/// Since when the key of each algorithm signs.
type SigningSince = Mutex<Vec<(SigningAlgorithm, Timestamp)>>;

/// Applies the keys once they exist, and each change of them, for ever.
pub(super) async fn follow(process: Process, keys: Arc<ServerKeys>, reports: KeyReports, metrics: SigningKeyMetrics) {
    let since = SigningSince::default();
    let (process, keys) = (&process, &*keys);
    let (mut dropped_signing, mut dropped_tokens) = (DroppedKeys::default(), DroppedKeys::default());
    let signing = |secret: &Secret| {
        let read = keystore::signing_keys(secret, &mut dropped_signing);
        let signing = read.inspect_err(|_| forget(&keys.signing, |known| known.without(&dropped_signing.ids())))?;
        keys.signing.store(Some(Arc::new(signing.keys)));
        *since.lock().unwrap_or_else(PoisonError::into_inner) = signing.signing_since;
        reports.record(SIGNING_KEYS, signing.in_use);
        report_complete(process, keys);
        Ok(())
    };
    let tokens = |secret: &Secret| {
        let read = keystore::token_keys(secret, &mut dropped_tokens);
        let (tokens, in_use) =
            read.inspect_err(|_| forget(&keys.tokens, |known| known.without(&dropped_tokens.ids())))?;
        keys.tokens.store(Some(Arc::new(tokens)));
        reports.record(TOKEN_KEYS, in_use);
        report_complete(process, keys);
        Ok(())
    };
    let install = |secret: &Secret| {
        let (install, in_use) = keystore::install_keys(secret)?;
        keys.install.store(Some(Arc::new(install)));
        reports.record(INSTALL_KEY, in_use);
        report_complete(process, keys);
        Ok(())
    };
    let signing = follow_one(process, SIGNING_KEYS, &keys.signing_confirmed, signing);
    let tokens = follow_one(process, TOKEN_KEYS, &keys.tokens_confirmed, tokens);
    let install = follow_one(process, INSTALL_KEY, &keys.install_confirmed, install);
    tokio::join!(install, signing, tokens, report_ages(process, &since, &metrics));
}

/// Removes keys that were dropped from those in use, although the rest of their Secret cannot be used.
fn forget<T>(keys: &ArcSwapOption<T>, without: impl FnOnce(&T) -> T) {
    if let Some(known) = keys.load_full() {
        keys.store(Some(Arc::new(without(&known))));
    }
}

/// Applies each version of a Secret. What cannot be used is reported, and the keys in use stay.
async fn follow_one(
    process: &Process,
    name: &'static str,
    confirmed: &Confirmation,
    mut apply: impl FnMut(&Secret) -> Result<(), String>,
) {
    let namespace = &process.args.namespace;
    let mut applied: Option<String> = None;
    let (mut retry, mut told) = (ReadRetry::default(), String::new());
    keystore::follow(&process.client, namespace, name, |found| {
        let done = found.and_then(|secret| {
            let revision = secret.resource_version();
            if applied.is_none() || applied != revision {
                let damaged = |problem| KeystoreError::Damaged { namespace: namespace.clone(), name, problem };
                apply(&secret).map_err(damaged)?;
                applied = revision;
            }
            Ok(())
        });
        match done {
            Ok(()) => {
                confirmed.set(process.clock.now());
                told.clear();
            }
            Err(error) if applied.is_none() => process.waits_for(KEYS, display_chain(&error), &mut retry),
            Err(error) => {
                let problem = display_chain(&error);
                if problem != told {
                    tracing::warn!(problem, "the keys could not be read again; those in use stay");
                    told = problem;
                }
            }
        }
    })
    .await;
}

fn report_complete(process: &Process, keys: &ServerKeys) {
    if keys.install.load().is_some() && keys.signing.load().is_some() && keys.tokens.load().is_some() {
        process.readiness.set(KEYS, true);
    }
}

async fn report_ages(process: &Process, since: &SigningSince, metrics: &SigningKeyMetrics) {
    loop {
        let now = process.clock.now();
        let ages = since.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let age = |since| Duration::try_from(now.duration_since(since)).unwrap_or_default();
        let signs = |algorithm: &&SigningAlgorithm| ages.iter().any(|(signing, _)| signing == *algorithm);
        SigningAlgorithm::ALL.iter().filter(|all| !signs(all)).for_each(|gone| metrics.remove(gone.name()));
        metrics.set(ages.into_iter().map(|(algorithm, since)| (algorithm.name(), age(since))));
        tokio::time::sleep(AGE_INTERVAL).await;
    }
}
