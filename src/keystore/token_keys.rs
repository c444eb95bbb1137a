//! The token keys: which encrypts opaque tokens, and which decrypt them.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Secret;

use super::records::{self, DroppedKeys, RECORDS};
use crate::api::key_records::{KeyRecord, KeyRecords};
use crate::api::replica_state::KeysInUse;
use crate::crypto::opaque::{ALGORITHM, TokenKey, TokenKeys};

/// The Secret with the token keys: 32 bytes each.
pub(crate) const TOKEN_KEYS: &str = "postern-token-keys";

/// The token keys in a Secret with their ids, or the problem with them; never the content.
pub fn token_keys(secret: &Secret, dropped: &mut DroppedKeys) -> Result<(TokenKeys, KeysInUse), String> {
    // First, so that nothing else in the Secret keeps a key from being dropped.
    let dropped = dropped.observe(secret);
    let (records, accepted) = all_keys(secret, &dropped)?;
    let in_use = records::in_use(&records, &dropped);
    let sealing = records.signer(ALGORITHM, &dropped).map(|record| record.id.as_str());
    Ok((TokenKeys::new(accepted, sealing), in_use))
}

/// The records of the token keys in a Secret, which are those of all keys.
pub(crate) fn token_key_records(secret: &Secret) -> Result<KeyRecords, String> {
    all_keys(secret, &BTreeSet::new()).map(|(records, _)| records)
}

/// All records, and all keys that are not dropped.
fn all_keys(secret: &Secret, dropped: &BTreeSet<&str>) -> Result<(KeyRecords, Vec<TokenKey>), String> {
    let records = records::recorded(secret)?.ok_or_else(|| format!("it has no entry `{RECORDS}`"))?;
    let keys = records::without(&records, dropped).map(|record| parse(secret, record)).collect::<Result<_, _>>()?;
    Ok((records, keys))
}

fn parse(secret: &Secret, record: &KeyRecord) -> Result<TokenKey, String> {
    let entry = &record.entry;
    if record.algorithm != ALGORITHM {
        return Err(format!("its entry `{entry}` has an unknown algorithm"));
    }
    TokenKey::new(&record.id, records::key_bytes(secret, record)?)
        .map_err(|error| format!("its entry `{entry}`: {error}"))
}
