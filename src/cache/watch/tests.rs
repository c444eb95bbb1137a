//! A watch never replaces a served object by an older one.

use super::*;
use crate::api::AccessGroup;

fn group(revision: u64) -> AccessGroup {
    let mut group = AccessGroup::new("billing", serde_json::from_str(SPEC).unwrap());
    group.metadata.resource_version = Some(revision.to_string());
    group
}

const SPEC: &str =
    r#"{"role": "billing.reader", "location": "/", "permissions": [{"audience": "a", "scopes": ["s"]}]}"#;

/// What is served after these events, and whether the API server is stale compared to it.
fn after(events: impl IntoIterator<Item = Event<AccessGroup>>) -> (Vec<u64>, bool) {
    let mut follower =
        StoreWriter::new(Kind::AccessGroup, ObjectStore::default(), |group, _: &ObjectRef| Ok(Arc::new(group)), None);
    for event in events {
        drop(follower.apply_event(event));
    }
    (follower.store.all().iter().map(|group| revision(group.as_ref())).collect(), follower.behind)
}

fn listed(revisions: &[u64]) -> Vec<Event<AccessGroup>> {
    let objects = revisions.iter().map(|revision| Event::InitApply(group(*revision)));
    [Event::Init].into_iter().chain(objects).chain([Event::InitDone]).collect()
}

#[test]
fn newer_objects_and_deletions_are_applied() {
    assert_eq!(after(listed(&[5])), (vec![5], false));
    assert_eq!(after([listed(&[5]), vec![Event::Apply(group(7))]].concat()), (vec![7], false));
    assert_eq!(after([listed(&[5]), listed(&[5]), listed(&[8])].concat()), (vec![8], false));
    assert_eq!(after([listed(&[5]), vec![Event::Delete(group(6))]].concat()), (vec![], false));
    assert_eq!(after([listed(&[5]), listed(&[])].concat()), (vec![], false));
}

#[test]
fn an_older_object_is_ignored_and_the_cache_is_stale_until_a_list_has_none() {
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
fn a_failed_watch_recovers_after_a_quiet_time_unless_the_api_server_lost_a_seen_revision() {
    let (freshness, at) = (WatchHealth::default(), |second| Timestamp::from_second(second).unwrap());
    freshness.newest.store(7, Ordering::Relaxed);
    freshness.failed(at(100));
    freshness.observe_revision(7, Kind::AccessGroup, at(105));
    assert!(freshness.is_failing() && freshness.age_seconds(at(105)) == 5, "it may not have tried again yet");
    freshness.observe_revision(7, Kind::AccessGroup, at(111));
    assert!(!freshness.is_failing() && !freshness.is_stale());
    freshness.failed(at(200));
    freshness.observe_revision(6, Kind::AccessGroup, at(201));
    assert!(freshness.is_stale(), "the data were restored from a backup");
    freshness.observe_revision(9, Kind::AccessGroup, at(300));
    assert!(freshness.is_stale(), "that it has as many changes again does not make them the same ones");
}

fn user(namespace: &str, name: &str, age: i64, revision: u64) -> crate::api::ServiceUser {
    let created = Timestamp::from_second(1_700_000_000 - age).unwrap();
    serde_json::from_value(serde_json::json!({
        "apiVersion": "postern.dev/v1alpha1", "kind": "ServiceUser", "spec": {"location": "/"},
        "metadata": {
            "namespace": namespace, "name": name, "creationTimestamp": created, "resourceVersion": revision.to_string(),
            "uid": format!("00000000-0000-0000-0000-{age:012}"),
        },
    }))
    .unwrap()
}

/// The objects within and beyond the limit of two, what these events reported, and what is to be fetched.
fn limited(events: impl IntoIterator<Item = Event<crate::api::ServiceUser>>) -> [Vec<String>; 4] {
    let convert = |user, _: &ObjectRef| Ok(Arc::new(user));
    let mut follower = StoreWriter::new(Kind::ServiceUser, ObjectStore::default(), convert, Some(2));
    let reports: Vec<_> = events.into_iter().flat_map(|event| follower.apply_event(event)).collect();
    let reports = reports.iter().map(|report| match report {
        Report::Change { before, after: None, .. } => format!("-{}", before.as_ref().unwrap().key.name),
        Report::Change { after: Some(after), .. } => format!("+{}", after.key.name),
        Report::Undecodable(revision) => format!("seen {revision}"),
        Report::Absent(key, revision) => format!("beyond {} {revision}", key.name),
        Report::ListDone => "listed".to_owned(),
    });
    let name = |key: &ObjectRef| key.name.to_string();
    let mut here: Vec<_> = follower.store.keys().iter().map(name).collect();
    here.sort();
    [
        here,
        follower.store.beyond().iter().map(name).collect(),
        reports.collect(),
        follower.wanted.iter().map(name).collect(),
    ]
}

fn listed_users(users: &[(&str, i64)]) -> Vec<Event<crate::api::ServiceUser>> {
    let objects = users.iter().map(|(name, age)| Event::InitApply(user("a", name, *age, 7)));
    [Event::Init].into_iter().chain(objects).chain([Event::InitDone]).collect()
}

#[test]
fn the_oldest_objects_of_a_namespace_are_kept_whatever_the_order_of_the_list() {
    let young_first = [("c", 1), ("b", 2), ("d", 0), ("a", 3)];
    let [here, beyond, _, wanted] = limited(listed_users(&young_first));
    assert_eq!((here, beyond), (vec!["a".to_owned(), "b".to_owned()], vec!["c".to_owned(), "d".to_owned()]));
    assert!(wanted.is_empty());
    let other = Event::Apply(user("b", "other", 0, 8));
    let [here, ..] = limited(listed_users(&young_first).into_iter().chain([other]));
    assert!(here.contains(&"other".to_owned()), "each namespace for itself");
}

#[test]
fn an_object_beyond_the_limit_is_reported_and_observed_but_never_kept() {
    let start = listed_users(&[("a", 3), ("b", 2)]);
    let came =
        [Event::Apply(user("a", "c", 1, 8)), Event::Apply(user("a", "c", 1, 9)), Event::Delete(user("a", "c", 1, 10))];
    let [here, beyond, reports, _] = limited(start.into_iter().chain(came));
    assert_eq!(here, ["a", "b"]);
    assert!(beyond.is_empty());
    assert_eq!(reports[3..], ["beyond c 8", "beyond c 9", "seen 10"]);
}

#[test]
fn an_older_object_displaces_the_youngest_one_until_it_is_deleted() {
    let start = listed_users(&[("b", 2), ("c", 1)]);
    let came = Event::Apply(user("a", "a", 3, 8));
    let [here, beyond, reports, _] = limited(start.clone().into_iter().chain([came.clone()]));
    assert_eq!((here, beyond), (vec!["a".to_owned(), "b".to_owned()], vec!["c".to_owned()]));
    assert_eq!(reports[3..], ["-c", "beyond c 7", "+a"]);
    let gone = Event::Delete(user("a", "a", 3, 9));
    let [here, beyond, _, wanted] = limited(start.clone().into_iter().chain([came.clone(), gone.clone()]));
    assert_eq!((here, beyond, wanted), (vec!["b".to_owned()], vec!["c".to_owned()], vec!["c".to_owned()]));
    let fetched = Event::Apply(user("a", "c", 1, 7));
    let [here, beyond, reports, wanted] = limited(start.into_iter().chain([came, gone, fetched]));
    assert_eq!(here, ["b", "c"]);
    assert!(beyond.is_empty() && wanted.is_empty());
    assert_eq!(reports.last().unwrap(), "+c");
}
