//! RSA key pairs, generated before the reconciliation that needs them.
//!
//! A key of 4096 bits takes some seconds of a core, so one is generated at a time, in a dedicated queue in which namespaces
//! take turns. No task waits for it: the ClientSecret is reconciled again when the key is there. Other key pairs take
//! microseconds.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::api::ClientSecret;
use crate::api::client_secret::{ClientSecretSpec, PrivateKeyAlgorithm};
use crate::cache::{ObjectRef, is_deleting};
use crate::clock::Clock;
use crate::controller::gather::describe;
use crate::controller::runtime::work_queue::{Queue, Requeue};
use crate::controller::{Context, Error};
use crate::crypto::key_pair::{self, KeyAlgorithm, KeyKind, RsaSize};
use crate::crypto::secret::SecretValue;

/// RSA key pairs that ClientSecrets wait for, and those that no version has yet: one at most for each ClientSecret.
#[derive(Default)]
pub(crate) struct PendingKeys(Mutex<HashMap<ObjectRef, Pending>>);

struct Pending {
    kind: KeyKind,
    /// `None`: it is still to be generated.
    private: Option<SecretValue>,
}

impl PendingKeys {
    /// Removes and returns the private key of this kind; `None`: it is requested now.
    fn take_or_request(&self, key: &ObjectRef, kind: KeyKind) -> Option<SecretValue> {
        let mut all = self.lock();
        let private = all.remove(key).filter(|pending| pending.kind == kind).and_then(|pending| pending.private);
        if private.is_none() {
            all.insert(key.clone(), Pending { kind, private: None });
        }
        private
    }

    /// The kind of the key pair that was requested and is still to be generated.
    fn requested(&self, key: &ObjectRef) -> Option<KeyKind> {
        self.lock().get(key).filter(|pending| pending.private.is_none()).map(|pending| pending.kind)
    }

    /// Keeps a private key that no client has received.
    fn keep(&self, key: &ObjectRef, kind: KeyKind, private: SecretValue) {
        self.lock().insert(key.clone(), Pending { kind, private: Some(private) });
    }

    /// Removes the key pair of a ClientSecret that needs none.
    pub(crate) fn forget(&self, key: &ObjectRef) {
        self.lock().remove(key);
    }

    /// Removes the key pairs of deleted ClientSecrets.
    pub(crate) fn forget_unless(&self, is_there: impl Fn(&ObjectRef) -> bool) {
        self.lock().retain(|key, _| is_there(key));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ObjectRef, Pending>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Generates the key pair that a ClientSecret waits for, then enqueues the ClientSecret for reconciliation.
pub(crate) async fn generate<C: Clock>(
    secret: Arc<ClientSecret>,
    context: Arc<Context<C>>,
    secrets: Queue,
) -> Result<Requeue, Error> {
    let key = ObjectRef::of(secret.as_ref());
    let Some(kind) = context.pending_keys.requested(&key).filter(|_| !is_deleting(secret.as_ref())) else {
        return Ok(Requeue::AwaitChange);
    };
    match tokio::task::spawn_blocking(move || key_pair::generate(kind)).await {
        Ok(generated) => {
            let private = generated.map_err(|source| Error::KeyPair { object: describe(secret.as_ref()), source })?;
            context.pending_keys.keep(&key, kind, private);
        }
        // The process is stopping.
        Err(_) => return Err(Error::Conflict { object: describe(secret.as_ref()) }),
    }
    secrets.push(key);
    Ok(Requeue::AwaitChange)
}

impl<C: Clock> Context<C> {
    /// A new private key for `owner`; `None`: it has to be generated first, in its queue.
    pub(super) fn new_private_key(&self, owner: &ClientSecret) -> Result<Option<SecretValue>, Error> {
        let kind = kind(&owner.spec);
        if is_slow(kind) {
            return Ok(self.pending_keys.take_or_request(&ObjectRef::of(owner), kind));
        }
        let generated = key_pair::generate(kind);
        generated.map(Some).map_err(|source| Error::KeyPair { object: describe(owner), source })
    }

    /// Keeps a private key that could not be delivered, because another one would take long.
    pub(super) fn keep_unused(&self, owner: &ClientSecret, private: SecretValue) {
        let kind = kind(&owner.spec);
        if owner.spec.is_key_pair() && is_slow(kind) {
            self.pending_keys.keep(&ObjectRef::of(owner), kind, private);
        }
    }
}

fn is_slow(kind: KeyKind) -> bool {
    matches!(kind, KeyKind::Rsa(_))
}

fn kind(spec: &ClientSecretSpec) -> KeyKind {
    let bits = spec.private_key.as_ref().and_then(|key| key.bits);
    match algorithm(spec) {
        KeyAlgorithm::Es256 => KeyKind::P256,
        KeyAlgorithm::EdDsa => KeyKind::Ed25519,
        KeyAlgorithm::Rs256 | KeyAlgorithm::Ps256 => KeyKind::Rsa(match bits {
            Some(4096) => RsaSize::Bits4096,
            Some(3072) => RsaSize::Bits3072,
            _ => RsaSize::Bits2048,
        }),
    }
}

/// The algorithm of the next version.
pub(super) fn algorithm(spec: &ClientSecretSpec) -> KeyAlgorithm {
    match spec.private_key.as_ref().and_then(|key| key.algorithm).unwrap_or_default() {
        PrivateKeyAlgorithm::Es256 => KeyAlgorithm::Es256,
        PrivateKeyAlgorithm::Rs256 => KeyAlgorithm::Rs256,
        PrivateKeyAlgorithm::Ps256 => KeyAlgorithm::Ps256,
        PrivateKeyAlgorithm::EdDsa => KeyAlgorithm::EdDsa,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kind_of(private_key: &serde_json::Value) -> KeyKind {
        let spec = json!({"applicationRef": {"name": "sync"}, "type": "PrivateKey", "privateKey": private_key});
        kind(&serde_json::from_value(spec).unwrap())
    }

    #[test]
    fn the_spec_decides_the_kind_of_the_next_key() {
        for (private_key, expected) in [
            (json!(null), KeyKind::P256),
            (json!({"algorithm": "EdDSA"}), KeyKind::Ed25519),
            (json!({"algorithm": "RS256"}), KeyKind::Rsa(RsaSize::Bits2048)),
            (json!({"algorithm": "PS256", "bits": 3072}), KeyKind::Rsa(RsaSize::Bits3072)),
            (json!({"algorithm": "RS256", "bits": 4096}), KeyKind::Rsa(RsaSize::Bits4096)),
        ] {
            assert_eq!(kind_of(&private_key), expected, "{private_key}");
        }
    }

    #[test]
    fn a_key_pair_is_generated_and_used_once_for_each_request_and_only_for_its_kind() {
        let (keys, blue) = (PendingKeys::default(), ObjectRef::new("billing", "blue"));
        let (small, large) = (KeyKind::Rsa(RsaSize::Bits2048), KeyKind::Rsa(RsaSize::Bits4096));
        let keep = |kind| keys.keep(&blue, kind, SecretValue::new("a private key".to_owned()));
        assert_eq!(keys.requested(&blue), None);
        assert!(keys.take_or_request(&blue, small).is_none());
        assert_eq!(keys.requested(&blue), Some(small));
        keep(small);
        assert_eq!(keys.requested(&blue), None, "it is there");
        assert!(keys.take_or_request(&blue, large).is_none(), "the spec has changed");
        assert_eq!(keys.requested(&blue), Some(large));
        keep(large);
        assert!(keys.take_or_request(&blue, large).is_some() && keys.requested(&blue).is_none());
        assert!(keys.take_or_request(&blue, large).is_none(), "another version has another key pair");
        keys.forget_unless(|_| false);
        assert_eq!(keys.requested(&blue), None);
    }
}
