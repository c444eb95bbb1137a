//! Replaces verifiers and MACs of earlier install keys by those of the current one.
//!
//! The MAC of a public key needs only the key in status. A new verifier needs the value: from the delivered Secret, or
//! from the Secret that it is imported from. Values whose Secret was removed keep their verifier until their next
//! rotation. All of this happens in reconciliations, so it survives the end of the process at any time.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;

use super::inspect::{delivered_key, says};
use super::inspected::SWEEP_PAUSE;
use crate::api::ClientSecret;
use crate::api::client_secret::{Verification, Version, VersionState, uid_bytes};
use crate::api::conditions::reasons;
use crate::cache::DeliveredSecret;
use crate::clock::Clock;
use crate::controller::gather::describe;
use crate::controller::runtime::work_queue::Queue;
use crate::controller::{Context, Error, YIELD_EVERY};
use crate::crypto::install_key::{HashCost, InstallKeys, key_id};
use crate::crypto::public_key::PublicKey;
use crate::crypto::public_key_mac::{self, IssuedKey};

/// Enqueues every ClientSecret that depends on an earlier key, or on one that was missing, after each change of the keys.
/// Never returns.
pub(crate) async fn follow<C: Clock>(context: &Context<C>, secrets: Queue) {
    let mut keys = context.install_keys.subscribe();
    loop {
        keys.mark_unchanged();
        for (number, key) in context.cache.secrets.keys().into_iter().enumerate() {
            if number % YIELD_EVERY == YIELD_EVERY - 1 {
                tokio::task::yield_now().await;
            }
            let Some(object) = context.cache.secrets.get(&key) else { continue };
            let delivered = context.cache.delivered.get(&delivered_key(&object));
            let is_outdated = delivered.is_some_and(|found| context.has_outdated_mac(&found));
            if is_outdated || context.needs_rekey(&object) || says(&object, &[reasons::INSTALL_KEY_MISSING]) {
                secrets.push(key);
                tokio::time::sleep(SWEEP_PAUSE).await;
            }
        }
        // The sender lives as long as the context.
        let _ = keys.changed().await;
    }
}

impl<C: Clock> Context<C> {
    /// The install keys of now.
    pub(crate) fn install_keys(&self) -> Arc<InstallKeys> {
        Arc::clone(&self.install_keys.borrow())
    }

    /// Whether the MAC of a delivered Secret is none of the current install key.
    pub(crate) fn has_outdated_mac(&self, found: &DeliveredSecret) -> bool {
        !self.is_current(found.install_key.as_deref())
    }

    /// Whether this is the id of the current install key.
    fn is_current(&self, key: Option<&str>) -> bool {
        key.is_some() && key == self.install_keys.borrow().current_id()
    }

    /// Whether status contains a verifier or a MAC that another key could replace: of a public key, or of the value that a
    /// Secret may still contain.
    pub(crate) fn needs_rekey(&self, secret: &ClientSecret) -> bool {
        let newest = secret.status.as_ref().and_then(|status| status.versions.first()).map(|newest| &newest.id);
        live_versions(secret).any(|version| {
            let replaceable = version.verification.public_key.is_some() || Some(&version.id) == newest;
            replaceable && !self.is_current(install_key(version))
        })
    }

    /// The install key of the newest version, if this install does not have it: whether a Secret contains the value cannot
    /// be decided.
    pub(crate) fn unknown_install_key(&self, secret: &ClientSecret) -> Option<String> {
        let newest = secret.status.as_ref()?.versions.first().filter(|newest| newest.state != VersionState::Retired)?;
        let keys = self.install_keys.borrow();
        proof(&newest.verification).and_then(|proof| keys.unknown_key(proof)).map(str::to_owned)
    }

    /// What verifies these versions under the current install key, by version: public keys, and the generated value in the
    /// Secret that was read. Only what an install key verifies is taken over.
    pub(crate) fn rekeyed(
        &self,
        owner: &ClientSecret,
        found: Option<&Secret>,
    ) -> Result<BTreeMap<String, Verification>, Error> {
        let keys = self.install_keys();
        let failed = |source| Error::Hash { object: describe(owner), source };
        let mut rekeyed = BTreeMap::new();
        for version in live_versions(owner).filter(|version| !self.is_current(install_key(version))) {
            if let Some(verification) = of_public_key(&keys, owner, version) {
                rekeyed.insert(version.id.clone(), verification);
            }
        }
        let generated = |version: &&Version| {
            let verifier = version.verification.verifier.as_deref();
            verifier.and_then(HashCost::of) == Some(HashCost::Generated) && !self.is_current(install_key(version))
        };
        let newest = owner.status.as_ref().and_then(|status| status.versions.first()).filter(generated);
        if let Some((newest, found)) = newest.zip(found)
            && let Some(value) = self.held(owner, found).filter(|value| value.id == newest.id)
        {
            let verifier = keys.hash(value.text.expose_secret(), uid_bytes(&owner.metadata), HashCost::Generated);
            rekeyed.insert(value.id, Verification::of_value(&verifier.map_err(failed)?));
        }
        Ok(rekeyed)
    }
}

/// The id of the install key that verifies a version; `None`: it has no form that Postern writes.
pub(crate) fn install_key(version: &Version) -> Option<&str> {
    key_id(proof(&version.verification)?)
}

/// The versions that are accepted.
pub(crate) fn live_versions(secret: &ClientSecret) -> impl Iterator<Item = &Version> {
    let versions = secret.status.iter().flat_map(|status| &status.versions);
    versions.filter(|version| version.state != VersionState::Retired)
}

/// The text that an install key made.
fn proof(verification: &Verification) -> Option<&str> {
    verification.verifier.as_deref().or(verification.mac.as_deref())
}

/// The same public key with a MAC of the current install key, if the MAC in status is valid.
fn of_public_key(keys: &InstallKeys, owner: &ClientSecret, version: &Version) -> Option<Verification> {
    let recorded = &version.verification;
    let (jwk, mac) = recorded.public_key.as_ref().zip(recorded.mac.as_ref())?;
    let key = PublicKey::from_jwk(&jwk.to_json()).ok()?;
    let owner = uid_bytes(&owner.metadata);
    let (version, algorithm, thumbprint) = (version.id.as_str(), jwk.alg.as_deref()?, key.thumbprint());
    let issued = IssuedKey { owner, version, algorithm, thumbprint };
    if !public_key_mac::verify(keys, mac, &issued) {
        return None;
    }
    let mac = public_key_mac::sign(keys, &issued).ok()?;
    Some(Verification { mac: Some(mac.into()), ..recorded.clone() })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::crypto::install_key::InstallKey;
    use crate::crypto::key_pair::{self, KeyAlgorithm, KeyKind, KeyPair};

    fn keys(current: &str) -> InstallKeys {
        let key = |id: &str, byte| InstallKey::new(id, [byte; 32]).unwrap();
        InstallKeys::new(vec![key("oldoldol", 1), key("newnewne", 2)], current).unwrap()
    }

    fn owner(uid: &str) -> ClientSecret {
        let metadata = json!({"name": "blue", "namespace": "billing", "uid": uid});
        let spec = json!({"applicationRef": {"name": "sync"}, "type": "PrivateKey"});
        serde_json::from_value(json!({
            "apiVersion": "postern.dev/v1alpha1", "kind": "ClientSecret", "metadata": metadata, "spec": spec,
        }))
        .unwrap()
    }

    /// A version with a public key and a MAC of the old key.
    fn version(owner: &ClientSecret) -> Version {
        let pem = key_pair::generate(KeyKind::P256).unwrap();
        let jwk = KeyPair::parse(pem.expose_secret(), KeyAlgorithm::Es256).unwrap().public_jwk("k7Qd0m2x");
        let key = PublicKey::from_jwk(&jwk).unwrap();
        let issued = IssuedKey {
            owner: uid_bytes(&owner.metadata),
            version: "k7Qd0m2x",
            algorithm: "ES256",
            thumbprint: key.thumbprint(),
        };
        let mac = public_key_mac::sign(&keys("oldoldol"), &issued).unwrap();
        Version {
            id: "k7Qd0m2x".to_owned(),
            state: VersionState::Active,
            created_at: Timestamp::UNIX_EPOCH,
            retires_at: None,
            last_used_at: None,
            verification: Verification::of_key(serde_json::from_value(jwk).unwrap(), &mac),
        }
    }

    #[test]
    fn only_what_an_install_key_verifies_is_moved_to_another_one() {
        let (blue, green) =
            (owner("0d0c8f6e-4b7e-4f6c-9a53-6a0c1f2b7d11"), owner("0d0c8f6e-4b7e-4f6c-9a53-6a0c1f2b7d12"));
        let genuine = version(&blue);
        let moved = of_public_key(&keys("newnewne"), &blue, &genuine).unwrap();
        assert!(moved.mac.as_deref().is_some_and(|mac| mac.starts_with("newnewne.")), "{moved:?}");
        assert_eq!(moved.public_key, genuine.verification.public_key);
        let again = Version { verification: moved, ..genuine.clone() };
        assert_eq!(install_key(&again), Some("newnewne"));

        let mac = |mac: &str| Version {
            verification: Verification { mac: Some(mac.into()), ..genuine.verification.clone() },
            ..genuine.clone()
        };
        let forged = InstallKeys::new(vec![InstallKey::new("oldoldol", [3; 32]).unwrap()], "oldoldol").unwrap();
        let key = PublicKey::from_jwk(&genuine.verification.public_key.as_ref().unwrap().to_json()).unwrap();
        let issued = IssuedKey {
            owner: uid_bytes(&blue.metadata),
            version: "k7Qd0m2x",
            algorithm: "ES256",
            thumbprint: key.thumbprint(),
        };
        let other_key = Version { verification: version(&blue).verification, ..genuine.clone() };
        let other_key = Version {
            verification: Verification { mac: genuine.verification.mac.clone(), ..other_key.verification },
            ..genuine.clone()
        };
        for (what, owner, version) in [
            ("copied to another object", &green, genuine.clone()),
            ("another version", &blue, Version { id: "k7Qd0m2y".to_owned(), ..genuine.clone() }),
            ("another public key", &blue, other_key),
            ("a MAC of another installation", &blue, mac(&public_key_mac::sign(&forged, &issued).unwrap())),
            ("a MAC of a missing key", &blue, mac("lostlost.AAAA")),
            ("no MAC", &blue, mac("")),
        ] {
            assert_eq!(of_public_key(&keys("newnewne"), owner, &version), None, "{what}");
        }
    }
}
