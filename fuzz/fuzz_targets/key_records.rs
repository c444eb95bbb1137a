//! The records of rotating keys, and the annotation `postern.dev/drop`. A restored Secret can contain any.

#![no_main]

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use libfuzzer_sys::fuzz_target;
use postern::api::key_records::{DROP_ANNOTATION, KeyRecords, KeyState, dropped};
use postern::crypto::opaque::{open, seal};
use postern::keystore::{DroppedKeys, token_keys};
use postern::plan::key_rotation::{Clocks, Decision, Observed, Settings, Step, after, plan};

const SETTINGS: Settings = Settings {
    rotate_every: Some(SignedDuration::from_hours(6)),
    publish_for: SignedDuration::from_mins(10),
    token_lifetime_max: SignedDuration::from_hours(1),
    staleness_max: SignedDuration::from_mins(5),
    retiring_max: 5,
    drops_active: true,
    restored_at: None,
};

// The first line is the annotation, the rest are the records.
fuzz_target!(|text: &str| {
    let (annotation, json) = text.split_once('\n').unwrap_or(("", text));
    let named = dropped(Some(annotation));
    assert!(named.iter().all(|id| !id.is_empty() && !id.contains(',') && id.trim() == *id));
    let data = BTreeMap::from([
        ("records.json".to_owned(), ByteString(json.as_bytes().to_vec())),
        ("key".to_owned(), ByteString(vec![7; 32])),
    ]);
    let annotations = BTreeMap::from([(DROP_ANNOTATION.to_owned(), annotation.to_owned())]);
    let metadata = ObjectMeta { annotations: Some(annotations), ..ObjectMeta::default() };
    let secret = Secret { metadata, data: Some(data), ..Secret::default() };
    if let Ok((keys, in_use)) = token_keys(&secret, &mut DroppedKeys::default()) {
        assert!(in_use.accepted.iter().chain(&in_use.signing).all(|id| !named.contains(id.as_str())));
        assert!(in_use.signing.iter().all(|id| in_use.accepted.contains(id)));
        assert_eq!(keys.can_seal(), !in_use.signing.is_empty());
        if let Some(sealed) = seal(&keys, b"claims") {
            assert_eq!(open(&keys, sealed.as_bytes()).as_deref(), Some(&b"claims"[..]));
        }
    }
    let Ok(records) = serde_json::from_str::<KeyRecords>(json) else { return };
    if records.check().is_ok() {
        rotate(&records, annotation);
    }
});

/// No step of a rotation makes records that no replica can read, or removes a key that signs, unless it is to be dropped.
fn rotate(records: &KeyRecords, drop: &str) {
    let now = Clocks::one(Timestamp::from_second(1_800_000_000).unwrap());
    let drop = Some(drop).filter(|drop| !drop.is_empty());
    let none = BTreeSet::new();
    let observed = Observed { records, rotate: Some("1"), drop, algorithms: &[], replicas: None, in_use: &none, now };
    let Decision::Do(step) = plan(&observed, &SETTINGS) else { return };
    let next = after(records, &step, None, now, &SETTINGS);
    assert_eq!(next.check(), Ok(()));
    let active = |records: &KeyRecords| -> Vec<String> {
        records.keys.iter().filter(|key| key.state() == KeyState::Active).map(|key| key.id.clone()).collect()
    };
    match step {
        Step::Drop { ids, .. } => assert!(next.keys.iter().all(|key| !ids.contains(&key.id))),
        Step::Activate { id } => assert!(active(&next).contains(&id)),
        _ => assert_eq!(active(&next), active(records)),
    }
}
