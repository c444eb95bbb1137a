//! The install keys: which makes verifiers and MACs, and which check them.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;

use super::records::{self, RECORDS};
use crate::api::key_records::{KeyRecord, KeyRecords};
use crate::api::replica_state::KeysInUse;
use crate::crypto::install_key::{ALGORITHM, InstallKey, InstallKeys};

/// The Secret with the install keys: 32 bytes each.
pub(crate) const INSTALL_KEY: &str = "postern-install-key";
/// The entry that names the current key in a Secret without records. The first rotation replaces it with records.
pub(crate) const CURRENT: &str = "current";

/// The install keys in a Secret with their ids, or the problem with them; never the content.
///
/// The annotation `postern.dev/drop` has no immediate effect on install keys: the controller checks first that the key is
/// not the active one.
pub fn install_keys(secret: &Secret) -> Result<(InstallKeys, KeysInUse), String> {
    let (records, keys) = all_keys(secret)?;
    let none = BTreeSet::new();
    let current = records.signer(ALGORITHM, &none).ok_or("it has no active key")?;
    let keys = InstallKeys::new(keys, &current.id).map_err(|error| error.to_string())?;
    let in_use = records::in_use(&records, &none);
    Ok((keys, in_use))
}

/// The records of the install keys in a Secret, which are those of all keys.
pub(crate) fn install_key_records(secret: &Secret) -> Result<KeyRecords, String> {
    all_keys(secret).map(|(records, _)| records)
}

fn all_keys(secret: &Secret) -> Result<(KeyRecords, Vec<InstallKey>), String> {
    let records = match records::recorded(secret)? {
        Some(records) => records,
        None => without_records(secret)?,
    };
    let keys = records.keys.iter().map(|record| parse(secret, record)).collect::<Result<_, _>>()?;
    Ok((records, keys))
}

fn parse(secret: &Secret, record: &KeyRecord) -> Result<InstallKey, String> {
    let entry = &record.entry;
    if record.algorithm != ALGORITHM {
        return Err(format!("its entry `{entry}` has an unknown algorithm"));
    }
    let key = <[u8; 32]>::try_from(records::key_bytes(secret, record)?)
        .map_err(|_| format!("its entry `{entry}` is not 32 bytes long"))?;
    InstallKey::new(&record.id, key).map_err(|error| format!("its entry `{entry}`: {error}"))
}

/// A Secret of an earlier version: its keys exist since it was created, and `current` names the active one.
fn without_records(secret: &Secret) -> Result<KeyRecords, String> {
    let data = secret.data.as_ref();
    let current = data.and_then(|data| data.get(CURRENT));
    let current = current.ok_or_else(|| format!("it has no entry `{RECORDS}`, and no entry `{CURRENT}`"))?;
    let since = secret.metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    let ids = data.into_iter().flat_map(|data| data.keys()).filter(|id| *id != CURRENT);
    let record = |id: &String| KeyRecord {
        published_at: Some(since),
        ready_at: Some(since),
        activated_at: Some(since),
        retired_at: (id.as_bytes() != current.0).then_some(since),
        ..KeyRecord::new(id.clone(), ALGORITHM.to_owned(), id.clone(), since)
    };
    let records = KeyRecords { keys: ids.map(record).collect(), ..KeyRecords::default() };
    records.check()?;
    Ok(records)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;

    use super::*;
    use crate::crypto::install_key::HashCost;

    fn of_earlier_version(entries: &[(&str, &[u8])]) -> Secret {
        let data = entries.iter().map(|(name, value)| ((*name).to_owned(), ByteString(value.to_vec()))).collect();
        Secret { data: Some(data), ..Secret::default() }
    }

    #[test]
    fn a_secret_without_records_has_one_active_key_and_the_others_only_verify() {
        let secret = of_earlier_version(&[("current", b"newnewne"), ("newnewne", &[2; 32]), ("oldoldol", &[1; 32])]);
        let (keys, in_use) = install_keys(&secret).unwrap();
        assert_eq!((in_use.accepted.len(), in_use.signing), (2, vec!["newnewne".to_owned()]));
        let old = InstallKeys::new(vec![InstallKey::new("oldoldol", [1; 32]).unwrap()], "oldoldol").unwrap();
        let verifier = old.hash("value", [7; 16], HashCost::Generated).unwrap();
        assert!(keys.verify(&verifier, "value", [7; 16]));
        assert_eq!(keys.current_id(), Some("newnewne"));
    }

    #[test]
    fn damage_is_named_without_showing_the_key() {
        let problem = |entries: &[(&str, &[u8])]| install_keys(&of_earlier_version(entries)).unwrap_err();
        assert!(problem(&[("current", b"AAAAAAAA"), ("AAAAAAAA", &[1; 31])]).contains("is not 32 bytes long"));
        assert!(problem(&[("AAAAAAAA", &[1; 32])]).contains("no entry `records.json`, and no entry `current`"));
        assert!(problem(&[("current", b"BBBBBBBB"), ("AAAAAAAA", &[1; 32])]).contains("no active key"));
        assert!(
            problem(&[("current", b"short"), ("short", &[1; 32])]).contains("is 8 characters"),
            "the form of an id"
        );
    }
}
