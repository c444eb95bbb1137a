//! The ClientSecrets that depend on replaced install keys: by a verifier or a MAC in status, or by the MAC of the delivered
//! Secret.

use std::collections::{BTreeMap, BTreeSet};

use kube::Api;
use kube::api::ListParams;

use crate::api::ClientSecret;
use crate::api::key_records::{KeyRecords, KeyState};
use crate::cache::ObjectRef;
use crate::clock::Clock;
use crate::controller::kinds::client_secret::inspect::delivered_key;
use crate::controller::kinds::client_secret::rekey::{install_key, live_versions};
use crate::controller::{Context, YIELD_EVERY};

/// ClientSecrets per page of the list.
const PAGE_SIZE: u32 = 500;

/// The dependents of each replaced key that has any.
#[derive(Debug, Default)]
pub(super) struct Dependents {
    keys: BTreeSet<String>,
    /// How many there are, and the first that was found.
    found: BTreeMap<String, (usize, ObjectRef)>,
}

impl Dependents {
    pub(super) fn keys(&self) -> &BTreeSet<String> {
        &self.keys
    }

    /// How many depend on the key, and one of them.
    pub(super) fn of(&self, key: &str) -> Option<&(usize, ObjectRef)> {
        self.found.get(key)
    }

    fn add(&mut self, key: &str, dependent: ObjectRef) {
        self.keys.insert(key.to_owned());
        self.found.entry(key.to_owned()).or_insert((0, dependent)).0 += 1;
    }
}

impl<C: Clock> Context<C> {
    /// Who depends on the replaced keys. If none is known, a consistent read decides: after the removal of its key a
    /// credential cannot be verified again.
    pub(super) async fn dependents(&self, records: &KeyRecords) -> kube::Result<Dependents> {
        let replaced: BTreeSet<&str> =
            records.keys.iter().filter(|key| key.state() == KeyState::Retiring).map(|key| key.id.as_str()).collect();
        let mut known = Dependents::default();
        for (number, key) in self.cache.secrets.keys().into_iter().enumerate() {
            if number % YIELD_EVERY == YIELD_EVERY - 1 {
                tokio::task::yield_now().await;
            }
            if let Some(secret) = self.cache.secrets.get(&key) {
                self.add_keys_of(&secret, &replaced, &mut known);
            }
        }
        if replaced.iter().all(|key| known.keys.contains(*key)) {
            return Ok(known);
        }
        let api: Api<ClientSecret> = Api::all(self.client.clone());
        let (mut params, mut listed) = (ListParams::default().limit(PAGE_SIZE), Dependents::default());
        loop {
            let page = api.list(&params).await?;
            page.items.iter().for_each(|secret| self.add_keys_of(secret, &replaced, &mut listed));
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => return Ok(listed),
            }
        }
    }

    fn add_keys_of(&self, secret: &ClientSecret, replaced: &BTreeSet<&str>, dependents: &mut Dependents) {
        let delivered = self.cache.delivered.get(&delivered_key(secret));
        let of_delivered = delivered.as_ref().and_then(|found| found.install_key.as_deref());
        let keys: BTreeSet<&str> = live_versions(secret).filter_map(install_key).chain(of_delivered).collect();
        for key in keys.intersection(replaced) {
            dependents.add(key, ObjectRef::of(secret));
        }
    }
}
