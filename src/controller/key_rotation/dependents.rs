//! The ClientSecrets that depend on replaced install keys: by a verifier or a MAC in status, or by the MAC of the delivered
//! Secret.

use std::collections::{BTreeMap, BTreeSet};

use kube::api::{ApiResource, DynamicObject};
use kube::{Api, ResourceExt as _};

use crate::api::ClientSecret;
use crate::api::client_secret::VersionState;
use crate::api::key_records::{KeyRecords, KeyState};
use crate::cache::{DeliveredSecret, ObjectRef};
use crate::clock::Clock;
use crate::controller::kinds::client_secret::inspect::delivered_key;
use crate::controller::kinds::client_secret::rekey::{install_key, live_versions};
use crate::controller::runtime::list_pages::list_until;
use crate::controller::{Context, YIELD_EVERY};
use crate::crypto::install_key::HashCost;
use crate::plan::ownership::Ownership;

/// The dependents of each replaced key that has any: how many there are, and the first that was found.
#[derive(Debug, Default)]
pub(super) struct Dependents(BTreeMap<String, (usize, ObjectRef)>);

impl Dependents {
    pub(super) fn keys(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }

    /// How many depend on the key, and one of them.
    pub(super) fn of(&self, key: &str) -> Option<&(usize, ObjectRef)> {
        self.0.get(key)
    }

    fn add(&mut self, key: &str, dependent: ObjectRef) {
        self.0.entry(key.to_owned()).or_insert((0, dependent)).0 += 1;
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
        if replaced.iter().all(|key| known.0.contains_key(*key)) {
            return Ok(known);
        }
        // Each is decoded by itself: one that cannot be decoded may depend on any key.
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &ApiResource::erase::<ClientSecret>(&()));
        let mut listed = Dependents::default();
        list_until(&api, |page| {
            for object in page {
                let key = ObjectRef::new(object.namespace().as_deref().unwrap_or_default(), &object.name_any());
                match object.try_parse::<ClientSecret>() {
                    Ok(secret) => self.add_keys_of(&secret, &replaced, &mut listed),
                    Err(_) => replaced.iter().for_each(|id| listed.add(id, key.clone())),
                }
            }
            false
        })
        .await?;
        Ok(listed)
    }

    /// Whether the MAC of the delivered Secret proves what status does not: a value that is not recorded yet, or that an
    /// imported value is in the Secret.
    fn proves_value(&self, secret: &ClientSecret, found: &DeliveredSecret) -> bool {
        let newest = secret.status.as_ref().and_then(|status| status.versions.first());
        let proves = newest.is_none_or(|newest| {
            let verifier = newest.verification.verifier.as_deref();
            newest.state != VersionState::Retired && verifier.and_then(HashCost::of) == Some(HashCost::Imported)
        });
        let is_immutable = self.inspected.of(found.key()).is_some_and(|found| found.immutable);
        proves && !is_immutable && self.ownership(secret, found) != Ownership::Foreign
    }

    fn add_keys_of(&self, secret: &ClientSecret, replaced: &BTreeSet<&str>, dependents: &mut Dependents) {
        let delivered = self.cache.delivered.get(&delivered_key(secret));
        let delivered = delivered.as_ref().filter(|found| self.proves_value(secret, found));
        let of_delivered = delivered.and_then(|found| found.install_key.as_deref());
        let keys: BTreeSet<&str> = live_versions(secret).filter_map(install_key).chain(of_delivered).collect();
        for key in keys.intersection(replaced) {
            dependents.add(key, ObjectRef::of(secret));
        }
    }
}
