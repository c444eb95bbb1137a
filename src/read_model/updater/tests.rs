//! Generated histories of a small cluster: the read model misses no change, and the order of events does not affect the
//! result.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::Resource;
use kube::core::PartialObjectMeta;
use proptest::prelude::*;

use super::*;
use crate::api::access_group::{AccessGroupSpec, Namespaces, Permission, Reach};
use crate::api::application::{ApplicationSpec, Auth, Reference, Restriction, SenderConstraint};
use crate::api::client_secret::{
    ClientSecretSpec, ClientSecretStatus, LifetimePolicy, Verification, Version, VersionState,
};
use crate::api::fingerprint::{application_fingerprint, next_epoch, user_fingerprint};
use crate::api::location::Location;
use crate::api::lockout::{LockoutDefaults, LockoutMode, LockoutScope};
use crate::api::names::LOCATION_ANNOTATION;
use crate::api::permissions::narrow;
use crate::api::service_user::ServiceUserSpec;
use crate::api::{AccessGroup, Application, ClientSecret, ServiceUser};
use crate::cache::ObjectRef;
use crate::cache::test_cache::TestCache;
use crate::oauth::claims::OwnClaims;
use crate::oauth::client_record::{ClientRecord, Epoch, Grant};
use crate::oauth::token_checks::check_authority;
use crate::read_model::ClientLimits;
use crate::util::intern::Interner;

const LIMITS: ClientLimits = ClientLimits {
    token_lifetime_max: SignedDuration::from_hours(24),
    lifetime: LifetimePolicy { max: None, forbid_never: false, rotation_interval_min: SignedDuration::ZERO },
    lockout: LockoutDefaults {
        mode: LockoutMode::Enabled,
        scope: LockoutScope::Source,
        attempts: 5,
        duration: SignedDuration::from_mins(60),
    },
    token_requests_per_minute: None,
};

static NO_KEY_SETS: LazyLock<KeySets> = LazyLock::new(KeySets::empty);

/// One object added or removed. Numbers are small, so that objects refer to each other.
#[derive(Clone, Debug)]
enum Step {
    Group { name: u8, admits: bool, scope: u8, present: bool },
    User { name: u8, groups: Vec<u8>, suspended: bool, present: bool },
    Application { name: u8, user: u8, client_id: Option<u8>, restricted: bool, present: bool },
    Secret { name: u8, application: u8, revoked: bool, present: bool },
    Namespace { bound: bool, terminating: bool, present: bool },
}

fn steps() -> impl Strategy<Value = Step> {
    let (n, flag) = (0..3u8, any::<bool>());
    let present = proptest::bool::weighted(0.8);
    prop_oneof![
        (n.clone(), flag, n.clone(), present).prop_map(|(name, admits, scope, present)| Step::Group {
            name,
            admits,
            scope,
            present
        }),
        (n.clone(), proptest::collection::vec(n.clone(), 0..3), flag, present)
            .prop_map(|(name, groups, suspended, present)| Step::User { name, groups, suspended, present }),
        (n.clone(), n.clone(), proptest::option::of(n.clone()), flag, present).prop_map(
            |(name, user, client_id, restricted, present)| Step::Application {
                name,
                user,
                client_id,
                restricted,
                present
            }
        ),
        (0..6u8, n, flag, present).prop_map(|(name, application, revoked, present)| Step::Secret {
            name,
            application,
            revoked,
            present
        }),
        (flag, proptest::bool::weighted(0.2), present).prop_map(|(bound, terminating, present)| Step::Namespace {
            bound,
            terminating,
            present
        }),
    ]
}

/// Metadata as an API server returns it: a UID and a creation time that depend on kind and name alone.
fn born<K: Resource<DynamicType = ()>>(mut object: K, kind: u8, name: u8) -> K {
    let metadata = object.meta_mut();
    metadata.namespace = (kind > 0).then(|| "billing".to_owned());
    metadata.uid = Some(format!("0000000{kind}-0000-0000-0000-00000000000{name}"));
    metadata.creation_timestamp = Some(Time(Timestamp::from_second(1_000 - i64::from(name)).unwrap()));
    object
}

fn apply(world: &mut TestCache, step: &Step) -> Invalidation {
    match step {
        Step::Group { name, admits, scope, present } => world.group(group(*name, *admits, *scope), *present),
        Step::User { name, groups, suspended, present } => {
            let mut object = user(*name, groups, *suspended);
            object.status = world.cache.users.get(&ObjectRef::of(&object)).and_then(|known| known.status.clone());
            world.user(object, *present)
        }
        Step::Application { name, user, client_id, restricted, present } => {
            let mut object = application(*name, *user, *client_id, *restricted);
            object.status =
                world.cache.applications.get(&ObjectRef::of(&object)).and_then(|known| known.status.clone());
            world.application(object, *present)
        }
        Step::Secret { name, application, revoked, present } => {
            world.secret(secret(*name, *application, *revoked), *present)
        }
        Step::Namespace { bound, terminating, present } => {
            let mut namespace = namespace(*bound);
            namespace.metadata.deletion_timestamp = terminating.then(|| Time(Timestamp::UNIX_EPOCH));
            world.namespace(namespace, *present)
        }
    }
}

/// A model with the namespace of all objects.
fn inhabited() -> TestCache {
    let mut world = TestCache::default();
    world.namespace(namespace(false), true);
    world
}

/// The namespace: with any location, or with one where no service user of these tests is.
fn namespace(bound: bool) -> PartialObjectMeta<Namespace> {
    let annotations = bound.then(|| BTreeMap::from([(LOCATION_ANNOTATION.to_owned(), "/elsewhere".to_owned())]));
    let metadata = ObjectMeta { name: Some("billing".to_owned()), annotations, ..ObjectMeta::default() };
    PartialObjectMeta { metadata, ..PartialObjectMeta::default() }
}

fn group(name: u8, admits: bool, scope: u8) -> AccessGroup {
    let spec = AccessGroupSpec {
        display_name: None,
        description: None,
        role: format!("role{name}"),
        plane: None,
        location: Location::try_from("/".to_owned()).unwrap(),
        reach: Some(Reach::Subtree),
        permissions: vec![Permission { audience: "api".to_owned(), scopes: vec![format!("scope{scope}")] }],
        namespaces: admits.then(|| Namespaces { names: Some(vec!["billing".to_owned()]), selector: None }),
    };
    born(AccessGroup::new(&format!("g{name}"), spec), 0, name)
}

fn user(name: u8, groups: &[u8], suspended: bool) -> ServiceUser {
    let spec = ServiceUserSpec {
        display_name: None,
        description: None,
        email: None,
        location: None,
        groups: Some(groups.iter().map(|group| format!("g{group}")).collect()),
        suspend: Some(suspended),
    };
    born(ServiceUser::new(&format!("u{name}"), spec), 1, name)
}

fn application(name: u8, user: u8, client_id: Option<u8>, restricted: bool) -> Application {
    let spec = ApplicationSpec {
        display_name: None,
        url: None,
        description: None,
        service_user_ref: Reference { name: format!("u{user}") },
        // Either a subject of kind 1, which no client may claim, or free.
        client_id: client_id.map(|id| match id {
            1 => "Free.client~1".to_owned(),
            _ => format!("00000001-0000-0000-0000-00000000000{id}"),
        }),
        restrict_to: restricted
            .then(|| Restriction { scopes: Some(vec!["scope1".to_owned()]), ..Restriction::default() }),
        auth: None,
        token: None,
        lockout: None,
        suspend: None,
    };
    born(Application::new(&format!("a{name}"), spec), 2, name)
}

fn secret(name: u8, application: u8, revoked: bool) -> ClientSecret {
    let spec = ClientSecretSpec {
        application_ref: Reference { name: format!("a{application}") },
        description: None,
        restrict_to: (name % 2 == 1)
            .then(|| Box::new(Restriction { scopes: Some(vec!["scope2".to_owned()]), ..Restriction::default() })),
        type_: None,
        private_key: None,
        usages: None,
        networks: None,
        expires_in: None,
        expires_at: None,
        rotation: None,
        delivery: None,
        source: None,
        revoke: Some(revoked),
    };
    let version = Version {
        id: format!("v{name}"),
        state: VersionState::Active,
        created_at: Timestamp::UNIX_EPOCH,
        retires_at: None,
        last_used_at: None,
        verification: Verification::of_value(""),
    };
    let mut secret = born(ClientSecret::new(&format!("s{name}"), spec), 3, name);
    secret.status = Some(ClientSecretStatus { versions: vec![version], ..ClientSecretStatus::default() });
    secret
}

/// Every client id of the model and its compiled entry.
fn everything(world: &TestCache) -> BTreeMap<Arc<str>, String> {
    let ids: Vec<Arc<str>> = world.cache.relations().claimants_of_client_id.keys().cloned().collect();
    let grants = Interner::default();
    let compiler = Compiler { limits: &LIMITS, grants: &grants, previous: None, now: Timestamp::MIN };
    let told = |id: &str| compiled(&world.cache, &NO_KEY_SETS, id, &compiler).map(|entry| without_revisions(&entry));
    ids.iter().filter_map(|id| Some((id.clone(), told(id)?))).collect()
}

/// The content of an entry, without the revisions of the objects, which differ after every write.
fn without_revisions(entry: &Entry) -> String {
    match entry {
        Entry::Disabled(refusal, _) => format!("{} {}", refusal.rule, refusal.object.name),
        Entry::Live(record, _) => {
            let secret = |s: &crate::oauth::client_record::SecretRecord| {
                let disabled = s.disabled.as_ref().map(|c| c.rule);
                format!("{} {} {disabled:?} {:?} {:?}", s.object.name, s.authority, s.grant, s.versions)
            };
            let secrets: Vec<_> = record.secrets.iter().map(secret).collect();
            format!("{} {} {:?} {secrets:?}", record.subject, record.application.name, record.grant)
        }
    }
}

/// What a replica serves for a cache.
#[derive(Default)]
struct Served {
    grants: Interner<Grant>,
    entries: BTreeMap<Arc<str>, Entry>,
}

impl Served {
    /// As [`everything`].
    fn told(&self) -> BTreeMap<Arc<str>, String> {
        self.entries.iter().map(|(id, entry)| (Arc::clone(id), without_revisions(entry))).collect()
    }

    fn follow(&mut self, world: &TestCache, affected: Invalidation) {
        self.follow_at(world, affected, Timestamp::MIN);
    }

    fn follow_at(&mut self, world: &TestCache, affected: Invalidation, now: Timestamp) {
        for id in affected.clients {
            let previous = self.entries.remove(&id);
            let previous = previous.as_ref();
            let entry = compiled(
                &world.cache,
                &NO_KEY_SETS,
                &id,
                &Compiler { limits: &LIMITS, grants: &self.grants, previous, now },
            );
            self.entries.extend(entry.map(|entry| (id, entry)));
        }
    }

    /// A token of each client for each secret, as claims.
    fn issue(&self, iat: i64) -> Vec<String> {
        let live = self.entries.values().filter_map(|entry| match entry {
            Entry::Live(record, _) => Some(record),
            Entry::Disabled(..) => None,
        });
        let tokens = live.flat_map(|record| {
            let open = record.secrets.iter().filter(|secret| secret.disabled.is_none());
            open.map(|secret| {
                serde_json::json!({
                    "iss": "", "sub": record.subject, "aud": "api", "client_id": record.client_id, "iat": iat, "exp": iat,
                    "jti": "", "scope": "", "roles": [], "planes": [], "location": "",
                    "postern_epoch": [record.epoch.service_user, record.epoch.application],
                    "postern_authority": secret.authority,
                })
                .to_string()
            })
        });
        tokens.collect()
    }

    /// The result for a token; `None`: its client is gone, and its past fingerprints too.
    fn is_good(&self, token: &str, now: Timestamp) -> Option<bool> {
        let claims: OwnClaims<'_> = serde_json::from_str(token).unwrap();
        match self.entries.get(&*claims.client_id)? {
            Entry::Live(record, _) => Some(check_authority(record, now, &claims).is_ok()),
            Entry::Disabled(..) => Some(false),
        }
    }

    fn epochs(&self) -> BTreeMap<Arc<str>, Epoch> {
        let epoch = |entry: &Entry| match entry {
            Entry::Live(record, _) => Some(record.epoch),
            Entry::Disabled(..) => None,
        };
        self.entries.iter().filter_map(|(id, entry)| Some((id.clone(), epoch(entry)?))).collect()
    }
}

/// Numbers what has changed, as the controller does.
fn number(world: &mut TestCache, served: &mut Served, now: Timestamp) {
    for key in world.cache.users.keys() {
        let mut user = ServiceUser::clone(&world.cache.user(&key).unwrap());
        let fingerprint = user_fingerprint(&user.spec, &world.cache.membership(&user));
        let told = user.status.get_or_insert_default();
        told.epoch = Some(next_epoch(told.epoch, told.fingerprint.as_deref(), &fingerprint));
        told.fingerprint = Some(fingerprint);
        let affected = world.user(user, true);
        served.follow_at(world, affected, now);
    }
    for key in world.cache.applications.keys() {
        let mut application = Application::clone(&world.cache.application(&key).unwrap());
        let user = world.cache.user(&key.sibling(&application.spec.service_user_ref.name));
        let held = user.as_ref().map(|user| world.cache.membership(user).authority).unwrap_or_default();
        let held = narrow(&held, application.spec.restrict_to.as_ref());
        let subject = user.as_ref().and_then(|user| user.metadata.uid.as_deref()).unwrap_or_default();
        let is_open = user.as_ref().is_some_and(|user| !user.spec.is_suspended());
        let client_id = application.spec.claimed_client_id(&application.metadata);
        let is_taken =
            world.relations().claims_on_client_id(client_id).is_some_and(|it| it.is_subject || *it.oldest != key);
        let is_disabled = !is_open || is_taken;
        let uid = application.metadata.uid.as_deref().unwrap_or_default();
        let fingerprint =
            application_fingerprint(&held, uid, subject, SenderConstraint::None, is_disabled.then_some("disabled"));
        let told = application.status.get_or_insert_default();
        told.epoch = Some(next_epoch(told.epoch, told.fingerprint.as_deref(), &fingerprint));
        told.fingerprint = Some(fingerprint);
        let affected = world.application(application, true);
        served.follow_at(world, affected, now);
    }
}

#[test]
fn a_client_is_disabled_until_the_namespace_of_its_service_user_is_known() {
    let mut world = TestCache::default();
    world.group(group(0, true, 0), true);
    world.user(user(0, &[0], false), true);
    world.application(application(0, 0, None, false), true);
    let told = |world: &TestCache| everything(world).into_values().collect::<Vec<_>>();
    assert_eq!(told(&world), ["NamespaceUnknown a0"]);
    world.namespace(namespace(false), true);
    assert!(told(&world)[0].contains("scope0"), "{:?}", told(&world));
    // An object that is being deleted is treated as deleted, whichever finalizer keeps it.
    let mut ending = namespace(false);
    ending.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
    let affected = world.namespace(ending, true);
    assert_eq!((told(&world)[0].as_str(), affected.clients.len()), ("NamespaceUnknown a0", 1));
}

#[test]
fn a_change_of_networks_is_served_and_ends_no_token() {
    let (mut world, mut served) = (inhabited(), Served::default());
    world.group(group(0, true, 0), true);
    world.user(user(0, &[0], false), true);
    world.secret(secret(0, 0, false), true);
    let mut records: Vec<Arc<ClientRecord>> = Vec::new();
    for networks in [&["10.0.0.0/8"][..], &["10.0.0.0/8", "192.0.2.0/24"]] {
        let mut application = application(0, 0, Some(1), false);
        let known = world.cache.applications.get(&ObjectRef::of(&application));
        application.status = known.and_then(|known| known.status.clone());
        let networks = Some(networks.iter().map(|network| network.parse().unwrap()).collect());
        application.spec.auth = Some(Auth { networks, ..Auth::default() });
        let affected = world.application(application, true);
        served.follow(&world, affected);
        number(&mut world, &mut served, Timestamp::MIN);
        let Some(Entry::Live(record, _)) = served.entries.values().next() else { panic!("the client is disabled") };
        records.push(Arc::clone(record));
    }
    let networks = records.iter().map(|record| record.networks.as_deref().map(<[_]>::len));
    assert_eq!(networks.collect::<Vec<_>>(), [Some(1), Some(2)]);
    let represented = |record: &ClientRecord| {
        (record.live_authorities().map(str::to_owned).collect::<Vec<_>>(), record.epoch, record.authority_changed_at)
    };
    assert_eq!(represented(&records[0]), represented(&records[1]));
    assert!(!represented(&records[0]).0.is_empty());
}

#[test]
fn a_recreated_application_has_nothing_of_the_previous_one() {
    let (mut world, mut served) = (inhabited(), Served::default());
    let named = || application(0, 0, Some(1), false);
    world.group(group(0, true, 0), true);
    world.user(user(0, &[0], false), true);
    world.secret(secret(0, 0, false), true);
    let affected = world.application(named(), true);
    served.follow(&world, affected);
    // Deletion and creation may reach the read model as one change.
    let mut again = named();
    again.metadata.uid = Some("another".to_owned());
    let affected = world.application(again, true);
    served.follow(&world, affected);
    assert_eq!(served.told(), everything(&world));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_client_that_a_change_alters_is_compiled_again(history in proptest::collection::vec(steps(), 1..30)) {
        let mut world = inhabited();
        for step in &history {
            let before = everything(&world);
            let affected = apply(&mut world, step);
            let after = everything(&world);
            let ids: BTreeSet<&Arc<str>> = before.keys().chain(after.keys()).collect();
            for id in ids.into_iter().filter(|id| before.get(*id) != after.get(*id)) {
                prop_assert!(affected.clients.contains(id), "{id} is not compiled after {step:?}");
            }
        }
    }

    #[test]
    fn incremental_updates_of_clients_equal_a_full_compilation(history in proptest::collection::vec(steps(), 1..30)) {
        let (mut world, mut served) = (inhabited(), Served::default());
        for step in &history {
            let affected = apply(&mut world, step);
            served.follow(&world, affected);
        }
        prop_assert_eq!(served.told(), everything(&world));
    }

    #[test]
    fn a_client_has_the_epoch_of_a_change_before_it_is_written(
        history in proptest::collection::vec((steps(), any::<bool>()), 1..30),
    ) {
        let (mut world, mut served) = (inhabited(), Served::default());
        for (step, is_numbered) in &history {
            let affected = apply(&mut world, step);
            served.follow(&world, affected);
            if *is_numbered {
                let before = served.epochs();
                number(&mut world, &mut served, Timestamp::MIN);
                prop_assert_eq!(before, served.epochs(), "after {:?}", step);
            }
        }
    }

    #[test]
    fn an_invalidated_token_stays_invalid_whatever_permissions_return(
        history in proptest::collection::vec((steps(), any::<bool>()), 1..30),
    ) {
        let (mut world, mut served) = (inhabited(), Served::default());
        let mut tokens: Vec<(String, bool)> = Vec::new();
        for ((step, is_numbered), second) in history.iter().zip((0..).step_by(2)) {
            let now = Timestamp::from_second(second).unwrap();
            let affected = apply(&mut world, step);
            served.follow_at(&world, affected, now);
            tokens.retain_mut(|(token, was_good)| {
                let is_good = served.is_good(token, now);
                assert!(*was_good || is_good != Some(true), "{token} is good again after {step:?}");
                *was_good = is_good == Some(true);
                is_good.is_some()
            });
            if *is_numbered {
                number(&mut world, &mut served, now);
            }
            tokens.extend(served.issue(second + 1).into_iter().map(|token| (token, true)));
        }
    }

    #[test]
    fn the_result_does_not_depend_on_the_order_of_events(history in proptest::collection::vec(steps(), 1..30)) {
        let mut world = inhabited();
        let mut last: BTreeMap<(u8, u8), Step> = BTreeMap::new();
        for step in history {
            apply(&mut world, &step);
            let key = match step {
                Step::Group { name, .. } => (3, name),
                Step::User { name, .. } => (2, name),
                Step::Application { name, .. } => (1, name),
                Step::Secret { name, .. } => (0, name),
                Step::Namespace { .. } => (4, 0),
            };
            last.insert(key, step);
        }
        // The same objects, each written once, secrets first and groups last.
        let mut again = inhabited();
        for step in last.values() {
            apply(&mut again, step);
        }
        prop_assert_eq!(everything(&world), everything(&again));
    }
}
