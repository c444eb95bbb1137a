//! Creates the install key and the signing keys, once, in two Secrets of the operator's namespace.
//!
//! One `create` succeeds, whatever the number of replicas; the others read its result. A key that is missing while
//! credentials exist is never silently recreated: a new install key would refuse every credential, a new signing key
//! every token. Postern then serves no requests until the Secret is restored (docs/operations.md).

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::ListParams;
use kube::{Api, Client};

use crate::api::ClientSecret;
use crate::api::names::{MANAGED_BY, MANAGED_BY_LABEL};
use crate::clock::Clock;
use crate::controller::runtime::{event_recorder, write_params};
use crate::crypto::install_key::InstallKey;
use crate::crypto::signing::{self, SigningAlgorithm, SigningKeyError};
use crate::keystore::{
    ALGORITHMS, CURRENT, Data, INSTALL_KEY, KeystoreError, SIGNING_KEYS, StoredKeys, find, install_keys, signing_keys,
};
use crate::util::error_chain::display_chain;

/// ClientSecrets per page of the check for credentials when a key is missing.
const PAGE_SIZE: u32 = 500;

/// Pause before another attempt to read missing keys.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Waits for the keys and returns them. A problem with the keys is logged, and reported once as an event about the
/// Secret when it differs from the previous problem.
pub async fn await_keys(client: &Client, namespace: &str, replica: &str, clock: &impl Clock) -> StoredKeys {
    let mut told = String::new();
    loop {
        let error = match load_or_create(client, namespace).await {
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

/// Reads the keys, and creates them if this install is new.
async fn load_or_create(client: &Client, namespace: &str) -> Result<StoredKeys, KeystoreError> {
    let store = KeySecrets { api: Api::namespaced(client.clone(), namespace), client, namespace };
    let install = store.load_or_create(INSTALL_KEY, new_install_key).await?;
    let install = install_keys(&install).map_err(|problem| store.damaged(INSTALL_KEY, problem))?;
    let signing = store.load_or_create(SIGNING_KEYS, new_signing_keys).await?;
    let signing = signing_keys(&signing).map_err(|problem| store.damaged(SIGNING_KEYS, problem))?;
    Ok(StoredKeys { install, signing })
}

struct KeySecrets<'a> {
    api: Api<Secret>,
    client: &'a Client,
    namespace: &'a str,
}

impl KeySecrets<'_> {
    async fn load_or_create(
        &self,
        name: &'static str,
        make: fn() -> Result<Data, String>,
    ) -> Result<Data, KeystoreError> {
        if let Some(found) = find(&self.api, self.namespace, name).await? {
            return Ok(found);
        }
        if self.credentials_exist(name).await? {
            return Err(KeystoreError::Missing { namespace: self.namespace.to_owned(), name });
        }
        let data = make().map_err(|problem| self.damaged(name, problem))?;
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
        match self.api.create(&with, &secret).await {
            Ok(created) => Ok(created.data.unwrap_or_default()),
            // Another replica created the keys, or this replica's first attempt did: use those keys.
            Err(kube::Error::Api(status)) if status.is_already_exists() => {
                Ok(find(&self.api, self.namespace, name).await?.unwrap_or_default())
            }
            Err(source) => Err(self.failed("create", name, source)),
        }
    }

    /// Whether any ClientSecret has a verifier, by a consistent read.
    async fn credentials_exist(&self, name: &'static str) -> Result<bool, KeystoreError> {
        let api: Api<ClientSecret> = Api::all(self.client.clone());
        let mut params = ListParams::default().limit(PAGE_SIZE);
        loop {
            let page = api
                .list(&params)
                .await
                .map_err(|source| self.failed("look for credentials that need", name, source))?;
            if page.items.iter().filter_map(|secret| secret.status.as_ref()).any(|status| !status.versions.is_empty()) {
                return Ok(true);
            }
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => return Ok(false),
            }
        }
    }

    fn failed(&self, step: &'static str, name: &'static str, source: kube::Error) -> KeystoreError {
        KeystoreError::Api { step, namespace: self.namespace.to_owned(), name, source: Box::new(source) }
    }

    fn damaged(&self, name: &'static str, problem: String) -> KeystoreError {
        KeystoreError::Damaged { namespace: self.namespace.to_owned(), name, problem }
    }
}

fn new_install_key() -> Result<Data, String> {
    let key = InstallKey::generate().map_err(|error| error.to_string())?;
    Ok(Data::from([
        (CURRENT.to_owned(), ByteString(key.id().as_bytes().to_vec())),
        (key.id().to_owned(), ByteString(key.expose_key().to_vec())),
    ]))
}

fn new_signing_keys() -> Result<Data, String> {
    let make = |(entry, algorithm): (&str, SigningAlgorithm)| {
        let key = signing::generate(algorithm).map_err(|error: SigningKeyError| error.to_string())?;
        Ok((entry.to_owned(), ByteString(key.to_vec())))
    };
    ALGORITHMS.into_iter().map(make).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::crypto::install_key::HashCost;
    use crate::crypto::signing::SigningKey;

    #[test]
    fn stored_keys_are_read_back() {
        let install = new_install_key().unwrap();
        let keys = install_keys(&install).unwrap();
        let verifier = keys.hash("value", [7; 16], HashCost::Generated).unwrap();
        assert!(install_keys(&install).unwrap().verify(&verifier, "value", [7; 16]));
        let signing = new_signing_keys().unwrap();
        let kids = |keys: Vec<Arc<SigningKey>>| keys.iter().map(|key| key.kid().to_owned()).collect::<Vec<_>>();
        assert_eq!(kids(signing_keys(&signing).unwrap()), kids(signing_keys(&signing).unwrap()));
    }

    #[test]
    fn damage_is_named_without_showing_the_key() {
        let mut data = new_install_key().unwrap();
        for (id, key) in &mut data {
            if id != CURRENT {
                key.0.truncate(31);
            }
        }
        assert!(install_keys(&data).unwrap_err().contains("is not 32 bytes long"));
        data.remove(CURRENT);
        assert!(install_keys(&data).unwrap_err().contains("no entry `current`"));
        let mut data = new_signing_keys().unwrap();
        data.insert("es256.pk8".to_owned(), ByteString(vec![1, 2, 3]));
        assert!(signing_keys(&data).unwrap_err().contains("es256.pk8"));
    }
}
