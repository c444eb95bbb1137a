//! The first keys of an installation.
//!
//! Every document that the endpoint ever publishes contains the first signing keys, and every replica reads the first
//! token keys. So the next key of each algorithm is ready from the start.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;

use crate::api::key_records::{KeyRecord, KeyRecords};
use crate::controller::key_material::{Material, new_key};
use crate::crypto::{install_key, opaque};
use crate::keystore::records::{self, RECORDS};
use crate::keystore::{Data, FIRST_KEYS};

/// An active and a next signing key of each algorithm. The active keys have entries that an earlier version reads too.
pub(super) fn signing_keys(now: Timestamp, token_lifetime: SignedDuration) -> Result<Data, String> {
    let mut set = Set::new(now, token_lifetime);
    for (entry, algorithm) in FIRST_KEYS {
        let active = new_key(algorithm.name())?;
        set.add(Material { entry: entry.to_owned(), ..active }, algorithm.name(), true);
        set.add(new_key(algorithm.name())?, algorithm.name(), false);
    }
    Ok(set.data())
}

/// An active and a next token key.
pub(super) fn token_keys(now: Timestamp, token_lifetime: SignedDuration) -> Result<Data, String> {
    two_keys(opaque::ALGORITHM, now, token_lifetime)
}

/// An active and a next install key, which signs no tokens.
pub(super) fn install_keys(now: Timestamp) -> Result<Data, String> {
    two_keys(install_key::ALGORITHM, now, SignedDuration::ZERO)
}

fn two_keys(algorithm: &str, now: Timestamp, token_lifetime: SignedDuration) -> Result<Data, String> {
    let mut set = Set::new(now, token_lifetime);
    for is_active in [true, false] {
        set.add(new_key(algorithm)?, algorithm, is_active);
    }
    Ok(set.data())
}

struct Set {
    now: Timestamp,
    token_lifetime: SignedDuration,
    records: KeyRecords,
    data: Data,
}

impl Set {
    fn new(now: Timestamp, token_lifetime: SignedDuration) -> Self {
        Self { now, token_lifetime, records: KeyRecords::default(), data: Data::new() }
    }

    fn add(&mut self, Material { id, entry, bytes }: Material, algorithm: &str, is_active: bool) {
        let now = self.now;
        let token_lifetime_seconds = if is_active { self.token_lifetime.as_secs() } else { 0 };
        self.records.keys.push(KeyRecord {
            published_at: Some(now),
            ready_at: Some(now),
            activated_at: is_active.then_some(now),
            token_lifetime_seconds,
            ..KeyRecord::new(id, algorithm.to_owned(), entry.clone(), now)
        });
        self.data.insert(entry, ByteString(bytes.to_vec()));
    }

    fn data(mut self) -> Data {
        self.data.insert(RECORDS.to_owned(), records::content(&self.records));
        self.data
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Secret;

    use super::*;
    use crate::api::key_records::KeyState;
    use crate::crypto::install_key::HashCost;
    use crate::keystore::{self, DroppedKeys, SigningKeys};

    const LIFETIME: SignedDuration = SignedDuration::from_mins(15);

    fn secret(data: Data) -> Secret {
        Secret { data: Some(data), ..Secret::default() }
    }

    fn now() -> Timestamp {
        "2026-11-01T00:00:00Z".parse().unwrap()
    }

    #[test]
    fn stored_keys_are_read_back() {
        let install = secret(install_keys(now()).unwrap());
        let (keys, in_use) = keystore::install_keys(&install).unwrap();
        let verifier = keys.hash("value", [7; 16], HashCost::Generated).unwrap();
        assert!(keystore::install_keys(&install).unwrap().0.verify(&verifier, "value", [7; 16]));
        assert_eq!((in_use.accepted.len(), in_use.signing.len()), (2, 1));
        let signing = secret(signing_keys(now(), LIFETIME).unwrap());
        let read = || keystore::signing_keys(&signing, &mut DroppedKeys::default()).unwrap();
        assert_eq!(read().in_use, read().in_use);
        assert_eq!((read().in_use.accepted.len(), read().in_use.signing.len()), (4, 2));
        let records = keystore::signing_key_records(&signing).unwrap();
        for algorithm in ["ES256", "RS256"] {
            assert_eq!(records.in_state(algorithm, KeyState::Active).count(), 1);
            assert!(records.in_state(algorithm, KeyState::Next).all(|key| key.ready_at.is_some()));
        }
        let tokens = secret(token_keys(now(), LIFETIME).unwrap());
        let (keys, in_use) = keystore::token_keys(&tokens, &mut DroppedKeys::default()).unwrap();
        assert!(keys.can_seal());
        assert_eq!((in_use.accepted.len(), in_use.signing.len()), (2, 1));
    }

    #[test]
    fn a_secret_of_an_earlier_version_has_one_active_key_of_each_algorithm() {
        let mut data = signing_keys(now(), LIFETIME).unwrap();
        data.retain(|entry, _| FIRST_KEYS.iter().any(|(first, _)| first == entry));
        let read = keystore::signing_keys(&secret(data), &mut DroppedKeys::default()).unwrap();
        assert_eq!(read.in_use.accepted, read.in_use.signing);
        assert_eq!(read.in_use.signing.len(), 2);
    }

    #[test]
    fn damage_is_named_without_showing_the_key() {
        let problem = |change: fn(&mut Data)| {
            let mut data = signing_keys(now(), LIFETIME).unwrap();
            change(&mut data);
            keystore::signing_key_records(&secret(data)).unwrap_err()
        };
        assert!(
            problem(|data| drop(data.insert("es256.pk8".to_owned(), ByteString(vec![1, 2, 3])))).contains("es256.pk8")
        );
        assert!(problem(|data| drop(data.remove("rs256.pk8"))).contains("no entry `rs256.pk8`"));
        assert!(problem(|data| drop(data.insert(RECORDS.to_owned(), ByteString(b"{".to_vec())))).contains(RECORDS));
        let another = problem(|data| {
            let key = new_key("ES256").unwrap();
            data.insert("es256.pk8".to_owned(), ByteString(key.bytes.to_vec()));
        });
        assert!(another.contains("`es256.pk8` is not the key"), "{another}");
        let mut tokens = token_keys(now(), LIFETIME).unwrap();
        tokens.remove(RECORDS);
        assert!(keystore::token_key_records(&secret(tokens)).unwrap_err().contains(RECORDS));
    }

    #[test]
    fn k4_a_dropped_key_stays_dropped_when_the_annotation_is_overwritten() {
        let data = signing_keys(now(), LIFETIME).unwrap();
        let read = |annotation: &str, dropped: &mut DroppedKeys| {
            let mut secret = secret(data.clone());
            secret.metadata.annotations = Some([("postern.dev/drop".to_owned(), annotation.to_owned())].into());
            keystore::signing_keys(&secret, dropped).unwrap()
        };
        let mut dropped = DroppedKeys::default();
        let before = read("", &mut dropped).in_use;
        let active = &before.signing[0];
        for annotation in [active.as_str(), "another"] {
            let SigningKeys { keys, in_use, .. } = read(annotation, &mut dropped);
            assert!(!in_use.accepted.contains(active) && !in_use.signing.contains(active), "{annotation}");
            assert!(!String::from_utf8_lossy(keys.document()).contains(active.as_str()), "it is not published");
            assert_eq!(in_use.signing.len(), 2, "the next key signs");
        }
    }
}
