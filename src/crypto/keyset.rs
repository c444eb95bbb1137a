//! The keys of an install: which key signs, and which keys are published.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use crate::crypto::process_mac;
use crate::crypto::process_mac::Mac;
use crate::crypto::signing::{PublicJwk, SigningAlgorithm, SigningKey};

/// Number of tokens whose signature is remembered as correct: enough for a busy process, in 160 KiB.
const REMEMBERED: usize = 4096;

/// Signing keys with their JWKS document, built once and replaced atomically.
#[derive(Debug)]
pub struct JwkSet {
    /// Those that sign, then those that are only published.
    keys: Vec<Arc<SigningKey>>,
    /// The number of those that sign.
    signing: usize,
    algorithms: Vec<SigningAlgorithm>,
    document: Vec<u8>,
    /// MACs of tokens whose signature was correct: checking a signature costs as much as making several. Many tokens
    /// share one slot, and the last one keeps it. The slots are dropped with the set, so that no key outlives it here.
    verified: Box<[Mutex<Mac>]>,
}

impl JwkSet {
    /// The keys in order of preference: the first of each algorithm signs, all of them are published. Duplicates are
    /// ignored.
    #[must_use]
    pub fn new(keys: impl IntoIterator<Item = Arc<SigningKey>>) -> Self {
        Self::with_others(keys, [])
    }

    /// The same with keys that are published, and never sign: their tokens are accepted.
    #[must_use]
    pub fn with_others(
        signing: impl IntoIterator<Item = Arc<SigningKey>>,
        others: impl IntoIterator<Item = Arc<SigningKey>>,
    ) -> Self {
        let mut distinct: Vec<Arc<SigningKey>> = Vec::new();
        let add = |distinct: &mut Vec<Arc<SigningKey>>, key: Arc<SigningKey>| {
            if distinct.iter().all(|known| known.kid() != key.kid()) {
                distinct.push(key);
            }
        };
        signing.into_iter().for_each(|key| add(&mut distinct, key));
        let signing = distinct.len();
        others.into_iter().for_each(|key| add(&mut distinct, key));
        let mut algorithms: Vec<SigningAlgorithm> = distinct.iter().take(signing).map(|key| key.algorithm()).collect();
        algorithms.sort_unstable();
        algorithms.dedup();
        let jwks = Jwks { keys: distinct.iter().map(|key| key.public()).collect() };
        // Strings and enums only: serialisation cannot fail, and an empty set would publish no wrong key.
        let document = serde_json::to_vec(&jwks).unwrap_or_else(|_| br#"{"keys":[]}"#.to_vec());
        let verified = (0..REMEMBERED).map(|_| Mutex::default()).collect();
        Self { keys: distinct, signing, algorithms, document, verified }
    }

    /// The set without the keys with these ids.
    #[must_use]
    pub fn without(&self, ids: &BTreeSet<&str>) -> Self {
        let (signing, others) = self.keys.split_at(self.signing.min(self.keys.len()));
        let kept = |keys: &[Arc<SigningKey>]| {
            let kept = keys.iter().filter(|key| !ids.contains(key.kid()));
            kept.cloned().collect::<Vec<_>>()
        };
        Self::with_others(kept(signing), kept(others))
    }

    /// Whether the signature of `token` is correct: as remembered, or by `verify`.
    pub(super) fn is_verified(&self, token: &[u8], verify: impl FnOnce() -> bool) -> bool {
        let mac = process_mac::of(&[token]);
        let [low, high, ..] = mac;
        let Some(place) = self.verified.get(usize::from(u16::from_le_bytes([low, high])) % REMEMBERED) else {
            return verify();
        };
        if process_mac::equal(&place.lock().unwrap_or_else(PoisonError::into_inner), &mac) {
            return true;
        }
        let right = verify();
        if right {
            *place.lock().unwrap_or_else(PoisonError::into_inner) = mac;
        }
        right
    }

    /// The key that signs with this algorithm.
    #[must_use]
    pub fn signing_key(&self, algorithm: SigningAlgorithm) -> Option<&Arc<SigningKey>> {
        self.keys.iter().take(self.signing).find(|key| key.algorithm() == algorithm)
    }

    /// All keys.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &SigningKey> {
        self.keys.iter().map(AsRef::as_ref)
    }

    /// The algorithms of the keys that sign, each once.
    #[must_use]
    pub fn algorithms(&self) -> &[SigningAlgorithm] {
        &self.algorithms
    }

    /// The JWK Set document (RFC 7517 §5).
    #[must_use]
    pub fn document(&self) -> &[u8] {
        &self.document
    }
}

#[derive(Serialize)]
struct Jwks<'a> {
    keys: Vec<&'a PublicJwk>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::signing;

    fn key(algorithm: SigningAlgorithm) -> Arc<SigningKey> {
        Arc::new(SigningKey::from_pkcs8(algorithm, &signing::generate(algorithm).unwrap()).unwrap())
    }

    #[test]
    fn the_first_key_of_an_algorithm_signs_and_all_are_published() {
        let (rsa, new, old) =
            (key(SigningAlgorithm::Rs256), key(SigningAlgorithm::Es256), key(SigningAlgorithm::Es256));
        let set = JwkSet::new([rsa.clone(), new.clone(), old.clone(), new.clone()]);
        assert_eq!(set.signing_key(SigningAlgorithm::Es256).unwrap().kid(), new.kid());
        assert_eq!(set.algorithms(), [SigningAlgorithm::Es256, SigningAlgorithm::Rs256]);
        let document: serde_json::Value = serde_json::from_slice(set.document()).unwrap();
        let kids: Vec<&str> =
            document["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap()).collect();
        assert_eq!(kids, [rsa.kid(), new.kid(), old.kid()]);
    }

    #[test]
    fn a_key_that_is_only_published_signs_nothing_and_its_algorithm_is_not_offered() {
        let (signing, next, rsa) =
            (key(SigningAlgorithm::Es256), key(SigningAlgorithm::Es256), key(SigningAlgorithm::Rs256));
        let set = JwkSet::with_others([signing.clone()], [next.clone(), rsa.clone()]);
        assert_eq!(set.signing_key(SigningAlgorithm::Es256).unwrap().kid(), signing.kid());
        assert!(set.signing_key(SigningAlgorithm::Rs256).is_none());
        assert_eq!(set.algorithms(), [SigningAlgorithm::Es256]);
        assert_eq!(set.keys().map(SigningKey::kid).collect::<Vec<_>>(), [signing.kid(), next.kid(), rsa.kid()]);
    }
}
