//! The proofs that this replica has accepted, so that each is accepted once (RFC 9449 §11.1).
//!
//! Only here: each request to an API has a proof, which is too much to publish to other replicas. A proof has one time of
//! issue, so it is always looked for in the same generation, and a generation is dropped as a whole.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

use crate::oauth::client_store::UseError;
use crate::util::fair_share::{FairShare, TRIPLE};

/// Maximum number of remembered proofs, which namespaces share. One namespace alone gets three quarters: over 5,000
/// requests in each second of the time for which a proof is accepted. They take at most 10 MiB.
const PROOFS_MAX: usize = 500_000;
/// Length of a generation in seconds.
const GENERATION_S: i64 = 10;

/// The proofs of all clients.
pub(super) struct UsedProofs {
    key: RandomState,
    proofs: Mutex<Proofs>,
}

struct Proofs {
    generations: BTreeMap<i64, Generation>,
    room: FairShare<Arc<str>>,
}

/// The proofs that end in the same period.
#[derive(Default)]
struct Generation {
    /// Keyed hashes, 64 bits each: callers cannot find two proofs with one hash, and chance does in some 10^13 proofs.
    proofs: HashSet<u64>,
    /// The number of them by namespace.
    of: HashMap<Arc<str>, usize>,
}

impl Default for UsedProofs {
    fn default() -> Self {
        Self::with(PROOFS_MAX)
    }
}

impl UsedProofs {
    fn with(capacity: usize) -> Self {
        let proofs = Proofs { generations: BTreeMap::new(), room: FairShare::new(TRIPLE, capacity) };
        Self { key: RandomState::new(), proofs: Mutex::new(proofs) }
    }

    /// Records the only use of the proof `id` of a key, by a client of this namespace. The proof is refused from `end`
    /// on, which is the same for each of its uses. Times are seconds since 1970.
    ///
    /// # Errors
    /// [`UseError`]
    pub(super) fn use_once(&self, id: (&str, &str), namespace: &Arc<str>, now: i64, end: i64) -> Result<(), UseError> {
        let proof = self.key.hash_one(id);
        let mut proofs = self.proofs.lock().unwrap_or_else(PoisonError::into_inner);
        proofs.drop_ended(now);
        let Proofs { generations, room } = &mut *proofs;
        let generation = generations.entry(end.div_euclid(GENERATION_S)).or_default();
        if generation.proofs.contains(&proof) {
            return Err(UseError::Used);
        }
        if !room.take(namespace) {
            return Err(UseError::NoRoom);
        }
        generation.proofs.insert(proof);
        *generation.of.entry(Arc::clone(namespace)).or_default() += 1;
        Ok(())
    }
}

impl Proofs {
    fn drop_ended(&mut self, now: i64) {
        while let Some(first) = self.generations.first_entry() {
            if first.key().saturating_add(1).saturating_mul(GENERATION_S) > now {
                return;
            }
            for (namespace, number) in first.remove().of {
                self.room.free_many(&namespace, number);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn x2_a_proof_is_used_once_until_it_ends_and_keys_do_not_share_ids() {
        let used = UsedProofs::default();
        let billing: Arc<str> = "billing".into();
        let try_one = |key: &str, id: &str, now| used.use_once((key, id), &billing, now, 160);
        assert_eq!(try_one("key", "1", 100), Ok(()));
        assert_eq!(try_one("key", "1", 159), Err(UseError::Used));
        assert_eq!(try_one("other", "1", 100), Ok(()));
        assert_eq!(try_one("key", "2", 100), Ok(()));
        assert_eq!(used.use_once(("key", "3"), &billing, 170, 230), Ok(()));
        assert_eq!(used.proofs.lock().unwrap().room.used(), 1, "ended proofs are dropped");
    }

    #[test]
    fn x2_a_namespace_that_floods_leaves_room_for_others_and_gets_its_own_back() {
        let used = UsedProofs::with(1_000);
        let (flood, other): (Arc<str>, Arc<str>) = ("flood".into(), "other".into());
        let use_as =
            |namespace, number: usize, now, end| used.use_once(("key", &number.to_string()), namespace, now, end);
        let accepted = (0..2_000).filter(|number| use_as(&flood, *number, 100, 160).is_ok()).count();
        assert_eq!(accepted, 750);
        assert_eq!(use_as(&flood, 5_000, 101, 161), Err(UseError::NoRoom));
        assert!((6_000..6_100).all(|number| use_as(&other, number, 101, 161).is_ok()));
        assert_eq!(use_as(&flood, 7_000, 170, 230), Ok(()));
    }
}
