//! Creates the install keys, the signing keys and the token keys, once, in three Secrets of the operator's namespace.
//!
//! One `create` succeeds, whatever the number of replicas; the others read its result. A key that is missing while
//! credentials exist is never silently recreated: a new install key would refuse every credential, a new signing key
//! every token. Postern then serves no requests until the Secret is restored (docs/operations.md). Token keys are the
//! exception: their tokens are short-lived, and clients request new ones.

mod first_keys;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Api, Client};

use crate::api::ClientSecret;
use crate::api::names::{MANAGED_BY, MANAGED_BY_LABEL};
use crate::clock::Clock;
use crate::controller::runtime::list_pages::list_until;
use crate::controller::runtime::{event_recorder, write_params};
use crate::crypto::install_key::InstallKeys;
use crate::keystore::{
    Data, INSTALL_KEY, KeystoreError, SIGNING_KEYS, TOKEN_KEYS, find, install_keys, signing_key_records,
    token_key_records,
};
use crate::util::error_chain::display_chain;

/// Pause before another attempt to read missing keys.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Waits until all keys exist, and returns the install keys. New keys record the longest lifetime of a token. A problem
/// with the keys is logged, and reported once as an event about the Secret when it differs from the previous problem.
pub async fn await_keys(
    client: &Client,
    namespace: &str,
    replica: &str,
    token_lifetime_max: SignedDuration,
    clock: &impl Clock,
) -> InstallKeys {
    let mut told = String::new();
    loop {
        let error = match load_or_create(client, namespace, token_lifetime_max, clock).await {
            Ok(keys) => return keys,
            Err(error) => error,
        };
        let problem = display_chain(&error);
        if problem != told {
            tracing::error!(error = problem, "keys unavailable; this replica stays unready");
            if let KeystoreError::Missing { name, .. }
            | KeystoreError::Terminating { name, .. }
            | KeystoreError::Damaged { name, .. } = &error
            {
                event_recorder::about_own_secret(client, namespace, name, problem.clone(), clock, replica).await;
            }
            told = problem;
        }
        tokio::time::sleep(RETRY_INTERVAL).await;
    }
}

/// Reads the keys, and creates those that may be created.
async fn load_or_create(
    client: &Client,
    namespace: &str,
    token_lifetime: SignedDuration,
    clock: &impl Clock,
) -> Result<InstallKeys, KeystoreError> {
    let store = KeySecrets { client, namespace };
    let now = clock.now();
    let install = store.load_or_create(INSTALL_KEY, move || first_keys::install_keys(now)).await?;
    let damaged = |name| move |problem| store.damaged(name, problem);
    let (install, _) = install_keys(&install).map_err(damaged(INSTALL_KEY))?;
    let signing = store.load_or_create(SIGNING_KEYS, move || first_keys::signing_keys(now, token_lifetime)).await?;
    signing_key_records(&signing).map_err(damaged(SIGNING_KEYS))?;
    let tokens = store.load_or_create(TOKEN_KEYS, move || first_keys::token_keys(now, token_lifetime)).await?;
    token_key_records(&tokens).map_err(damaged(TOKEN_KEYS))?;
    Ok(install)
}

#[derive(Clone, Copy)]
struct KeySecrets<'a> {
    client: &'a Client,
    namespace: &'a str,
}

impl KeySecrets<'_> {
    async fn load_or_create(
        &self,
        name: &'static str,
        make: impl FnOnce() -> Result<Data, String> + Send + 'static,
    ) -> Result<Secret, KeystoreError> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), self.namespace);
        if let Some(found) = find(&api, self.namespace, name).await? {
            return Ok(found);
        }
        if name != TOKEN_KEYS && self.credentials_exist(name).await? {
            return Err(KeystoreError::Missing { namespace: self.namespace.to_owned(), name });
        }
        // RSA keys take a noticeable time.
        let content = tokio::task::spawn_blocking(make).await.unwrap_or_else(|error| Err(error.to_string()));
        let data = content.map_err(|problem| self.damaged(name, problem))?;
        let secret = Secret {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                labels: Some(BTreeMap::from([(MANAGED_BY_LABEL.to_owned(), MANAGED_BY.to_owned())])),
                ..ObjectMeta::default()
            },
            immutable: Some(false),
            data: Some(data),
            ..Secret::default()
        };
        let with = write_params::create();
        match api.create(&with, &secret).await {
            Ok(created) => Ok(created),
            // Another replica created the keys, or this replica's first attempt did: use those keys.
            Err(kube::Error::Api(status)) if status.is_already_exists() => {
                Ok(find(&api, self.namespace, name).await?.unwrap_or_default())
            }
            Err(source) => Err(self.failed("create", name, source)),
        }
    }

    /// Whether any ClientSecret has a verifier, by a consistent read.
    async fn credentials_exist(&self, name: &'static str) -> Result<bool, KeystoreError> {
        let api: Api<ClientSecret> = Api::all(self.client.clone());
        let has_version =
            |secret: &ClientSecret| secret.status.as_ref().is_some_and(|status| !status.versions.is_empty());
        list_until(&api, |page| page.iter().any(has_version))
            .await
            .map_err(|source| self.failed("look for credentials that need", name, source))
    }

    fn failed(&self, step: &'static str, name: &'static str, source: kube::Error) -> KeystoreError {
        KeystoreError::Api { step, namespace: self.namespace.to_owned(), name, source: Box::new(source) }
    }

    fn damaged(&self, name: &'static str, problem: String) -> KeystoreError {
        KeystoreError::Damaged { namespace: self.namespace.to_owned(), name, problem }
    }
}
