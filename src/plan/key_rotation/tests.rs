use super::*;
use crate::api::key_records::KeyRecords;
use crate::api::replica_state::KeysInUse;

const SETTINGS: Settings = Settings {
    rotate_every: Some(SignedDuration::from_hours(24)),
    publish_for: SignedDuration::from_mins(10),
    token_lifetime_max: SignedDuration::from_mins(15),
    staleness_max: SignedDuration::from_mins(30),
    retiring_max: 3,
    restored_at: None,
    drops_active: true,
};

fn at(minutes: i64) -> Timestamp {
    "2026-11-01T00:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_mins(minutes)
}

fn replica(name: &str, accepted: &[&str], signing: &[&str]) -> (String, Option<KeysInUse>) {
    let owned = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
    (name.to_owned(), Some(KeysInUse { accepted: owned(accepted), signing: owned(signing) }))
}

/// A key set, and what is known around it.
struct Scene {
    records: KeyRecords,
    replicas: Option<Replicas>,
    rotate: Option<&'static str>,
    drop: Option<&'static str>,
    in_use: BTreeSet<String>,
    settings: Settings,
    minute: i64,
}

impl Scene {
    /// An active and a ready key of one algorithm, from minute 0.
    fn new() -> Self {
        let key = |id: &str| KeyRecord {
            published_at: Some(at(0)),
            ready_at: Some(at(0)),
            token_lifetime_seconds: 900,
            ..KeyRecord::new(id.to_owned(), "ES256".to_owned(), format!("{id}.pk8"), at(0))
        };
        let active = KeyRecord { activated_at: Some(at(0)), ..key("a") };
        let records = KeyRecords { keys: vec![active, key("b")], ..KeyRecords::default() };
        let in_use = BTreeSet::new();
        Self {
            records,
            replicas: Some(Replicas::new()),
            rotate: None,
            drop: None,
            in_use,
            settings: SETTINGS,
            minute: 0,
        }
    }

    fn decide(&self) -> Decision {
        let observed = Observed {
            records: &self.records,
            rotate: self.rotate,
            drop: self.drop,
            algorithms: &["ES256"],
            replicas: self.replicas.as_ref(),
            in_use: &self.in_use,
            now: Clocks::one(at(self.minute)),
        };
        plan(&observed, &self.settings)
    }

    /// Makes the step that is due, which must be this one.
    fn expect(&mut self, expected: &Step) {
        assert_eq!(self.decide(), Decision::Do(expected.clone()), "minute {}", self.minute);
        let created = KeyRecord::new(
            format!("k{}", self.minute),
            "ES256".to_owned(),
            format!("k{}.pk8", self.minute),
            at(self.minute),
        );
        let now = Clocks::one(at(self.minute));
        self.records = after(&self.records, expected, Some(created), now, &self.settings);
    }

    fn expect_wait(&self) -> Wait {
        match self.decide() {
            Decision::Wait(wait) => wait,
            Decision::Do(step) => panic!("minute {}: {step:?}", self.minute),
        }
    }
}

fn id(id: &str) -> String {
    id.to_owned()
}

#[test]
fn k3_a_rotation_goes_through_every_state_and_waits_in_each() {
    let mut scene = Scene::new();
    assert_eq!(scene.expect_wait().until, Some(at(24 * 60)));
    scene.minute = 24 * 60;
    scene.expect(&Step::Activate { id: id("b") });
    scene.expect(&Step::Create { algorithm: id("ES256") });
    let next = format!("k{}", scene.minute);

    scene.replicas = Some([replica("r-0", &["a", "b", &next], &["b"]), replica("r-1", &["a", "b"], &["a"])].into());
    let blocked = |key: &str, signs| Blocked::Replica { replica: id("r-1"), key: id(key), signs };
    assert_eq!(scene.expect_wait().blocked, [blocked(&next, false), blocked("b", true)].into());
    scene.replicas =
        Some([replica("r-0", &["a", "b", &next], &["b"]), replica("r-1", &["a", "b", &next], &["b"])].into());
    scene.expect(&Step::RecordPublished { id: next.clone() });
    scene.expect(&Step::RecordUnused { id: id("a") });
    assert_eq!(scene.expect_wait().until, Some(at(24 * 60 + 10)));
    scene.minute += 10;
    scene.expect(&Step::RecordReady { id: next });
    assert_eq!(scene.expect_wait().until, Some(at(24 * 60 + 15 + 30 + 1)));
    scene.minute = 24 * 60 + 46;
    scene.expect(&Step::Remove { id: id("a") });
    assert_eq!(scene.expect_wait().until, Some(at(48 * 60)));
}

#[test]
fn a_trigger_is_handled_once() {
    let mut scene = Scene::new();
    scene.rotate = Some("monday");
    scene.expect(&Step::RequestRotation { value: id("monday") });
    scene.expect(&Step::Activate { id: id("b") });
    scene.expect(&Step::Create { algorithm: id("ES256") });
    scene.minute = 12 * 60;
    scene.replicas = Some([replica("r-0", &["a", "b", "k0"], &["b"])].into());
    scene.expect(&Step::RecordPublished { id: id("k0") });
    scene.expect(&Step::RecordUnused { id: id("a") });
    scene.minute += 10;
    scene.expect(&Step::RecordReady { id: id("k0") });
    assert!(scene.expect_wait().blocked.is_empty(), "the value was handled");
}

#[test]
fn k4_a_dropped_active_key_is_replaced_by_the_ready_key_in_the_same_step() {
    let mut scene = Scene::new();
    (scene.drop, scene.replicas) = (Some("a, x"), None);
    scene.expect(&Step::Drop { ids: vec![id("a")], unknown: vec![id("x")], value: id("a, x") });
    let states: Vec<_> = scene.records.keys.iter().map(|key| (key.id.as_str(), key.state())).collect();
    assert_eq!(states, [("b", KeyState::Active)]);
    scene.expect(&Step::Create { algorithm: id("ES256") });
    assert!(scene.expect_wait().needs_replicas, "the value was handled");
}

#[test]
fn without_a_ready_key_a_dropped_key_has_no_successor_until_verifiers_know_one() {
    let mut scene = Scene::new();
    scene.drop = Some("a,b");
    scene.expect(&Step::Drop { ids: vec![id("a"), id("b")], unknown: Vec::new(), value: id("a,b") });
    scene.expect(&Step::Create { algorithm: id("ES256") });
    scene.replicas = Some([replica("r-0", &["k0"], &[])].into());
    scene.expect(&Step::RecordPublished { id: id("k0") });
    scene.minute = 9;
    assert_eq!(scene.expect_wait().until, Some(at(10)));
    scene.minute = 10;
    scene.expect(&Step::RecordReady { id: id("k0") });
    scene.expect(&Step::Activate { id: id("k0") });
}

#[test]
fn an_unknown_key_is_reported_once() {
    let mut scene = Scene::new();
    scene.drop = Some("x");
    scene.expect(&Step::ReportUnknown { ids: vec![id("x")], value: id("x") });
    assert_eq!(scene.expect_wait().until, Some(at(24 * 60)));
}

#[test]
fn without_a_live_replica_no_key_is_taken_for_published_or_unused() {
    let mut scene = Scene::new();
    scene.minute = 24 * 60;
    scene.expect(&Step::Activate { id: id("b") });
    scene.expect(&Step::Create { algorithm: id("ES256") });
    for replicas in [None, Some(Replicas::new()), Some([(id("older"), None)].into())] {
        scene.replicas = replicas;
        assert!(scene.expect_wait().needs_replicas);
    }
}

#[test]
fn a_rotation_waits_while_too_many_replaced_keys_have_live_tokens() {
    let mut scene = Scene::new();
    let retiring = |number: i64| KeyRecord {
        activated_at: Some(at(0)),
        retired_at: Some(at(0)),
        unused_at: Some(at(24 * 60)),
        token_lifetime_seconds: 900,
        ..KeyRecord::new(format!("r{number}"), id("ES256"), format!("r{number}.pk8"), at(0))
    };
    scene.records.keys.extend((0..3).map(retiring));
    scene.minute = 24 * 60;
    let wait = scene.expect_wait();
    assert_eq!(wait.until, Some(at(24 * 60 + 46)));
    assert_eq!(wait.blocked, [Blocked::Full { algorithm: id("ES256") }].into());
    scene.minute += 46;
    scene.expect(&Step::Remove { id: id("r0") });
    scene.expect(&Step::Activate { id: id("b") });
}

#[test]
fn a_longer_token_lifetime_is_recorded_for_the_keys_that_sign() {
    let mut scene = Scene::new();
    scene.records.keys[0].token_lifetime_seconds = 60;
    scene.expect(&Step::RecordLifetime);
    assert_eq!(scene.records.keys[0].token_lifetime_seconds, 900);
    assert!(scene.expect_wait().until.is_some());
}

#[test]
fn never_rotating_keys_wait_for_a_trigger_alone() {
    let settings = Settings { rotate_every: None, ..SETTINGS };
    let scene = Scene { replicas: None, settings, minute: 1_000_000, ..Scene::new() };
    assert_eq!(scene.expect_wait(), Wait::default());
}

#[test]
fn a_key_that_something_depends_on_is_kept_and_reported() {
    let mut scene = Scene::new();
    let until = at(24 * 60 + 46);
    let replaced = KeyRecord { retired_at: Some(at(0)), unused_at: Some(at(24 * 60)), ..scene.records.keys[0].clone() };
    scene.records.keys[0] = KeyRecord { activated_at: Some(at(0)), ..scene.records.keys[1].clone() };
    scene.records.keys[1] = KeyRecord { id: id("c"), activated_at: None, ..scene.records.keys[0].clone() };
    scene.records.keys.push(replaced);
    scene.settings.rotate_every = None;
    scene.in_use = [id("a")].into();
    (scene.minute, scene.replicas) = (24 * 60 + 45, None);
    assert_eq!(scene.expect_wait(), Wait { until: Some(until), ..Wait::default() });
    scene.minute += 1;
    assert_eq!(scene.expect_wait().blocked, [Blocked::InUse { key: id("a") }].into());
    scene.in_use.clear();
    scene.expect(&Step::Remove { id: id("a") });
}

#[test]
fn an_active_key_that_cannot_be_dropped_is_reported_and_a_replaced_one_is_dropped() {
    let mut scene = Scene::new();
    scene.settings.drops_active = false;
    scene.drop = Some("a");
    scene.expect(&Step::ReportUnknown { ids: vec![id("a")], value: id("a") });
    scene.rotate = Some("leak");
    scene.expect(&Step::RequestRotation { value: id("leak") });
    scene.expect(&Step::Activate { id: id("b") });
    scene.expect(&Step::Create { algorithm: id("ES256") });
    assert!(scene.expect_wait().needs_replicas, "what was refused does not happen later");
    scene.drop = Some("a,");
    scene.expect(&Step::Drop { ids: vec![id("a")], unknown: Vec::new(), value: id("a,") });
    let states: Vec<_> = scene.records.keys.iter().map(|key| (key.id.as_str(), key.state())).collect();
    assert_eq!(states, [("b", KeyState::Active), ("k0", KeyState::Next)]);
}

#[test]
fn a_key_whose_tokens_never_expire_is_never_removed() {
    let mut scene = Scene::new();
    let retired = KeyRecord { retired_at: Some(at(0)), unused_at: Some(at(0)), ..scene.records.keys[0].clone() };
    scene.records.keys.push(KeyRecord { id: id("old"), token_lifetime_seconds: i64::MAX, ..retired });
    scene.minute = 12 * 60;
    assert_eq!(scene.expect_wait().until, Some(at(24 * 60)));
}
