//! The signing keys: which sign, and which are published.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;

use super::records::{self, DroppedKeys};
use crate::api::key_records::{KeyRecord, KeyRecords};
use crate::api::replica_state::KeysInUse;
use crate::crypto::keyset::JwkSet;
use crate::crypto::signing::{SigningAlgorithm, SigningKey};

/// The Secret with the signing keys: PKCS#8, one entry per key.
pub(crate) const SIGNING_KEYS: &str = "postern-signing-keys";
/// The algorithms that every installation has keys of, with the entry of the first key. RS256 is included because RFC 9068
/// §2.1 requires it.
pub(crate) const FIRST_KEYS: [(&str, SigningAlgorithm); 2] =
    [("es256.pk8", SigningAlgorithm::Es256), ("rs256.pk8", SigningAlgorithm::Rs256)];

/// The signing keys of an installation.
#[derive(Debug)]
pub struct SigningKeys {
    /// The keys.
    pub keys: JwkSet,
    /// Their ids.
    pub in_use: KeysInUse,
    /// Since when the key of each algorithm signs.
    pub signing_since: Vec<(SigningAlgorithm, Timestamp)>,
}

/// The signing keys in a Secret, or the problem with them; never the content.
pub fn signing_keys(secret: &Secret, dropped: &mut DroppedKeys) -> Result<SigningKeys, String> {
    // First, so that nothing else in the Secret keeps a key from being dropped.
    let dropped = dropped.observe(secret);
    let (records, keys) = all_keys(secret, &dropped)?;
    let in_use = records::in_use(&records, &dropped);
    let signs = |key: &Arc<SigningKey>| in_use.signing.iter().any(|id| id == key.kid());
    let (mut signing, others): (Vec<_>, Vec<_>) = keys.into_iter().partition(signs);
    signing.sort_by_key(|key| key.algorithm());
    let signing_since = signing.iter().filter_map(|key| {
        let record = records.keys.iter().find(|record| record.id == key.kid())?;
        Some((key.algorithm(), record.activated_at.unwrap_or(record.changed_at())))
    });
    let signing_since = signing_since.collect();
    Ok(SigningKeys { keys: JwkSet::with_others(signing, others), in_use, signing_since })
}

/// The records of the signing keys in a Secret, which are those of all keys.
pub(crate) fn signing_key_records(secret: &Secret) -> Result<KeyRecords, String> {
    all_keys(secret, &BTreeSet::new()).map(|(records, _)| records)
}

/// All records, and all keys that are not dropped.
fn all_keys(secret: &Secret, dropped: &BTreeSet<&str>) -> Result<(KeyRecords, Vec<Arc<SigningKey>>), String> {
    let (records, mut keys) = match records::recorded(secret)? {
        Some(records) => {
            let keys =
                records::without(&records, dropped).map(|record| parse(secret, record)).collect::<Result<_, _>>()?;
            (records, keys)
        }
        None => without_records(secret)?,
    };
    keys.retain(|key| !dropped.contains(key.kid()));
    Ok((records, keys))
}

fn parse(secret: &Secret, record: &KeyRecord) -> Result<Arc<SigningKey>, String> {
    let entry = &record.entry;
    let algorithm = SigningAlgorithm::from_name(&record.algorithm)
        .ok_or_else(|| format!("its entry `{entry}` has an unknown algorithm"))?;
    let key = SigningKey::from_pkcs8(algorithm, records::key_bytes(secret, record)?)
        .map_err(|error| format!("its entry `{entry}`: {error}"))?;
    if key.kid() == record.id {
        Ok(Arc::new(key))
    } else {
        Err(format!("its entry `{entry}` is not the key {}", record.id))
    }
}

/// A Secret of an earlier version, or one that a person made: its keys sign since it was created.
fn without_records(secret: &Secret) -> Result<(KeyRecords, Vec<Arc<SigningKey>>), String> {
    let since = secret.metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    let mut records = KeyRecords::default();
    let mut keys = Vec::new();
    for (entry, algorithm) in FIRST_KEYS {
        let unnamed = KeyRecord::new(String::new(), algorithm.name().to_owned(), entry.to_owned(), since);
        let key = SigningKey::from_pkcs8(algorithm, records::key_bytes(secret, &unnamed)?)
            .map_err(|error| format!("its entry `{entry}`: {error}"))?;
        records.keys.push(KeyRecord {
            id: key.kid().to_owned(),
            published_at: Some(since),
            ready_at: Some(since),
            activated_at: Some(since),
            ..unnamed
        });
        keys.push(Arc::new(key));
    }
    Ok((records, keys))
}
