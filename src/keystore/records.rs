//! The records of a Secret with rotating keys, and the keys that they name.

use std::collections::BTreeSet;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;

use crate::api::key_records::{DROP_ANNOTATION, KeyRecord, KeyRecords, dropped};
use crate::api::replica_state::KeysInUse;

/// The entry with the records, as JSON.
pub(crate) const RECORDS: &str = "records.json";

/// Reads the records of a Secret; `None`: it has none.
pub(crate) fn recorded(secret: &Secret) -> Result<Option<KeyRecords>, String> {
    let Some(entry) = secret.data.as_ref().and_then(|data| data.get(RECORDS)) else { return Ok(None) };
    let records: KeyRecords =
        serde_json::from_slice(&entry.0).map_err(|error| format!("its entry `{RECORDS}` cannot be read: {error}"))?;
    records.check()?;
    Ok(Some(records))
}

/// The content of the entry with the records.
pub(crate) fn content(records: &KeyRecords) -> ByteString {
    // Strings, numbers and instants only: serialisation cannot fail, and an empty entry would be refused as damaged.
    ByteString(serde_json::to_vec(records).unwrap_or_default())
}

/// The bytes of a recorded key.
pub(crate) fn key_bytes<'a>(secret: &'a Secret, record: &KeyRecord) -> Result<&'a [u8], String> {
    let entry = secret.data.as_ref().and_then(|data| data.get(&record.entry));
    entry.map(|bytes| bytes.0.as_slice()).ok_or_else(|| format!("it has no entry `{}`", record.entry))
}

/// The records without those of dropped keys.
pub(crate) fn without<'r>(
    records: &'r KeyRecords,
    dropped: &'r BTreeSet<&'r str>,
) -> impl Iterator<Item = &'r KeyRecord> {
    records.keys.iter().filter(|key| !dropped.contains(key.id.as_str()))
}

/// Ids that this process does not accept: those that the annotation names, and those that it named before. An annotation
/// that is overwritten before the leader has removed the key does not make the key valid again.
#[derive(Debug, Default)]
pub struct DroppedKeys(BTreeSet<String>);

impl DroppedKeys {
    /// Adds what the annotation of the Secret names.
    pub(crate) fn observe(&mut self, secret: &Secret) -> BTreeSet<&str> {
        let named = secret.annotations().get(DROP_ANNOTATION).map(String::as_str);
        self.0.extend(dropped(named).into_iter().map(str::to_owned));
        self.ids()
    }

    /// The ids.
    #[must_use]
    pub fn ids(&self) -> BTreeSet<&str> {
        self.0.iter().map(String::as_str).collect()
    }
}

/// The keys that a process uses with these records.
pub(crate) fn in_use(records: &KeyRecords, dropped: &BTreeSet<&str>) -> KeysInUse {
    let accepted = records.keys.iter().map(|key| &key.id).filter(|id| !dropped.contains(id.as_str()));
    let signing = records.algorithms().into_iter().filter_map(|algorithm| records.signer(algorithm, dropped));
    KeysInUse { accepted: accepted.cloned().collect(), signing: signing.map(|key| key.id.clone()).collect() }
}
