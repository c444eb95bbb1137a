//! Ten thousand ClientSecrets of one Application, or with one delivery name: each change affects at most as many as the
//! limit.

use serde_json::{Value, json};

use super::compressed::OPENED;
use super::test_cache::{SECRETS_LIMIT, TestCache};
use super::{Invalidation, ObjectRef};
use crate::api::{Application, ClientSecret};

const CROWD: usize = 10_000;
/// The changed objects, those at the limit, and the one that has the name, before and after.
const FEW: usize = 2 * (SECRETS_LIMIT + 4);

fn secret(number: usize, spec: &Value) -> ClientSecret {
    let created = jiff::Timestamp::from_second(1_700_000_000 + i64::try_from(number).unwrap()).unwrap();
    let metadata = json!({
        "namespace": "billing", "name": format!("s{number}"), "creationTimestamp": created,
        "uid": format!("00000000-0000-0000-0000-{number:012}"),
    });
    let mut spec = spec.clone();
    spec["applicationRef"] = json!({"name": "sync"});
    let object =
        json!({"apiVersion": "postern.dev/v1alpha1", "kind": "ClientSecret", "metadata": metadata, "spec": spec});
    serde_json::from_value(object).unwrap()
}

fn crowd(spec: &Value) -> TestCache {
    let mut world = TestCache::default();
    let metadata = json!({"namespace": "billing", "name": "sync", "uid": "00000000-0000-0000-0001-000000000000"});
    let spec_of_application = json!({"serviceUserRef": {"name": "sync"}});
    let application = json!({
        "apiVersion": "postern.dev/v1alpha1", "kind": "Application", "metadata": metadata, "spec": spec_of_application,
    });
    world.application(serde_json::from_value::<Application>(application).unwrap(), true);
    for number in 1..=CROWD {
        world.secret(secret(number, spec), true);
    }
    world
}

/// What a change affects; fails if computing it or compiling its client opens more than a few objects.
fn few(world: &mut TestCache, change: impl FnOnce(&mut TestCache) -> Invalidation) -> Invalidation {
    let before = OPENED.get();
    let affected = change(world);
    let compiled = world.cache.secrets_of(&ObjectRef::new("billing", "sync"));
    for kept in &compiled {
        drop(kept.live());
    }
    let opened = OPENED.get() - before;
    assert!(opened <= FEW, "{opened} objects were opened");
    assert!(affected.secrets.len() <= FEW, "{} are looked at", affected.secrets.len());
    affected
}

fn names(affected: &Invalidation) -> Vec<&str> {
    affected.secrets.iter().map(|key| &*key.name).collect()
}

#[test]
fn a_client_secret_beyond_the_limit_invalidates_only_itself_and_the_count() {
    let mut world = crowd(&json!({}));
    let affected = few(&mut world, |world| world.secret(secret(5_000, &json!({"description": "other"})), true));
    assert!(affected.clients.is_empty(), "no record is compiled: {:?}", affected.clients);
    assert!(names(&affected).contains(&"s5000"));
    assert_eq!(affected.recount.len(), 1);
}

#[test]
fn a_created_or_deleted_client_secret_invalidates_the_one_that_moves_across_the_limit() {
    let mut world = crowd(&json!({}));
    let gone = few(&mut world, |world| world.secret(secret(1, &json!({})), false));
    assert!(names(&gone).contains(&"s3"), "it counts now: {gone:?}");
    assert_eq!(gone.clients.len(), 1);
    let come = few(&mut world, |world| world.secret(secret(1, &json!({})), true));
    assert!(names(&come).contains(&"s3"), "it does not count any more: {come:?}");
    assert_eq!(come.clients.len(), 1);
}

#[test]
fn an_application_change_invalidates_only_the_client_secrets_within_the_limit() {
    let mut world = crowd(&json!({}));
    let key = ObjectRef::new("billing", "sync");
    let application = Application::clone(&world.cache.application(&key).unwrap());
    let affected = few(&mut world, |world| world.application(application, true));
    assert_eq!(names(&affected), ["s1", "s2"]);
}

#[test]
fn a_contested_secret_name_invalidates_the_client_secret_that_owns_it() {
    let mut world = crowd(&json!({"delivery": {"secretName": "wanted"}}));
    let affected =
        few(&mut world, |world| world.secret(secret(9_000, &json!({"delivery": {"secretName": "wanted"}})), true));
    assert!(names(&affected).contains(&"s1"));
}
