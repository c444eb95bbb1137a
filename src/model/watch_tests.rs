//! What was served is never taken back.

use super::*;
use crate::api::AccessGroup;

fn group(revision: u64) -> AccessGroup {
    let mut group = AccessGroup::new("billing", serde_json::from_str(SPEC).unwrap());
    group.metadata.resource_version = Some(revision.to_string());
    group
}

const SPEC: &str =
    r#"{"role": "billing.reader", "location": "/", "permissions": [{"audience": "a", "scopes": ["s"]}]}"#;

/// What is served after these events, and whether the API server is behind that.
fn after(events: impl IntoIterator<Item = Event<AccessGroup>>) -> (Vec<u64>, bool) {
    let mut follower = Follower::new(Kind::AccessGroup, Store::default(), |group, _: &Key| Ok(Arc::new(group)));
    for event in events {
        drop(follower.take(event));
    }
    (follower.store.all().iter().map(|group| revision(group.as_ref())).collect(), follower.behind)
}

fn listed(revisions: &[u64]) -> Vec<Event<AccessGroup>> {
    let objects = revisions.iter().map(|revision| Event::InitApply(group(*revision)));
    [Event::Init].into_iter().chain(objects).chain([Event::InitDone]).collect()
}

#[test]
fn newer_objects_are_taken_and_deletions_as_well() {
    assert_eq!(after(listed(&[5])), (vec![5], false));
    assert_eq!(after([listed(&[5]), vec![Event::Apply(group(7))]].concat()), (vec![7], false));
    assert_eq!(after([listed(&[5]), listed(&[5]), listed(&[8])].concat()), (vec![8], false));
    assert_eq!(after([listed(&[5]), vec![Event::Delete(group(6))]].concat()), (vec![], false));
    assert_eq!(after([listed(&[5]), listed(&[])].concat()), (vec![], false));
}

#[test]
fn an_older_object_is_not_taken_and_nothing_is_answered_until_a_list_has_none() {
    assert_eq!(after([listed(&[5]), vec![Event::Apply(group(4))]].concat()), (vec![5], true));
    assert_eq!(after([listed(&[5]), listed(&[3])].concat()), (vec![5], true));
    assert_eq!(after([listed(&[5]), listed(&[3]), listed(&[5])].concat()), (vec![5], false));
    assert_eq!(after([listed(&[5]), listed(&[3]), vec![Event::Apply(group(9))]].concat()), (vec![9], true));
}

#[test]
fn a_change_is_as_old_as_its_youngest_field() {
    let metadata: ObjectMeta = serde_json::from_str(
        r#"{"creationTimestamp": "2026-11-22T02:00:00Z", "managedFields": [
            {"manager": "kubectl", "time": "2026-11-22T02:00:05Z"}, {"manager": "postern", "time": "2026-11-22T02:00:03Z"}]}"#,
    )
    .unwrap();
    assert_eq!(made_at(&metadata), Some("2026-11-22T02:00:05Z".parse().unwrap()));
    assert_eq!(made_at(&ObjectMeta::default()), None);
}

#[test]
fn a_failed_watch_is_good_again_when_it_is_quiet_unless_the_api_server_has_lost_what_was_seen() {
    let (freshness, at) = (Freshness::default(), |second| Timestamp::from_second(second).unwrap());
    freshness.newest.store(7, Ordering::Relaxed);
    freshness.failed(at(100));
    freshness.api_server_is_at(7, Kind::AccessGroup, at(105));
    assert!(freshness.is_failing() && freshness.age_seconds(at(105)) == 5, "it may not have tried again yet");
    freshness.api_server_is_at(7, Kind::AccessGroup, at(111));
    assert!(!freshness.is_failing() && !freshness.is_behind());
    freshness.failed(at(200));
    freshness.api_server_is_at(6, Kind::AccessGroup, at(201));
    assert!(freshness.is_behind(), "the data were restored from a backup");
    freshness.api_server_is_at(9, Kind::AccessGroup, at(300));
    assert!(freshness.is_behind(), "that it has as many changes again does not make them the same ones");
}
