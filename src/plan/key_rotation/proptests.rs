//! Generated histories: time, clocks, leaders and replicas change in any order, and writes are lost.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use proptest::prelude::*;

use super::*;
use crate::api::key_records::KeyRecords;
use crate::api::replica_state::KeysInUse;

const SETTINGS: Settings = Settings {
    rotate_every: Some(SignedDuration::from_secs(3_000)),
    publish_for: SignedDuration::from_secs(600),
    token_lifetime_max: SignedDuration::from_secs(900),
    staleness_max: SignedDuration::from_secs(1_200),
    retiring_max: 3,
    restored_at: None,
    drops_active: true,
};
const ALGORITHMS: [&str; 2] = ["ES256", "RS256"];
const REPLICAS: usize = 3;

#[derive(Clone, Copy, Debug)]
enum Event {
    /// Time passes, in seconds.
    Time(i64),
    /// The clock of the leader is set to this many seconds from the true time.
    LeaderClock(i64),
    /// The same for the last replica.
    ReplicaClock(i64),
    /// The leader looks, and makes the step that is due.
    Lead,
    /// The same, but the leader is killed before the write.
    LeadAndDie,
    /// A leader that has an older version of the Secret decides and writes.
    LeadBehind,
    /// This replica reads the Secret.
    Read(usize),
    /// This replica is cut off, or reachable again. The first replica always reports.
    CutOff(usize, bool),
    /// Somebody sets the annotation `postern.dev/rotate`.
    Rotate(u8),
    /// Somebody drops the key that signs.
    DropActive(usize),
}

fn events() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (1..900i64).prop_map(Event::Time),
        2 => (-100_000..100_000i64).prop_map(Event::LeaderClock),
        1 => (-100_000..100_000i64).prop_map(Event::ReplicaClock),
        12 => Just(Event::Lead),
        2 => Just(Event::LeadAndDie),
        2 => Just(Event::LeadBehind),
        10 => (0..REPLICAS).prop_map(Event::Read),
        2 => (1..REPLICAS, any::<bool>()).prop_map(|(replica, cut)| Event::CutOff(replica, cut)),
        1 => (0..4u8).prop_map(Event::Rotate),
        1 => (0..ALGORITHMS.len()).prop_map(Event::DropActive),
    ]
}

/// The Secret.
#[derive(Clone, Default)]
struct Stored {
    records: KeyRecords,
    rotate: Option<String>,
    drop: Option<String>,
    revision: u64,
}

struct Replica {
    read: Stored,
    clock: i64,
    /// Since when it is cut off.
    cut_off: Option<i64>,
}

struct World {
    now: i64,
    leader_clock: i64,
    stored: Stored,
    before: Stored,
    replicas: Vec<Replica>,
    created: u32,
    /// When every live replica began to accept a key, without interruption since.
    accepted_since: BTreeMap<String, i64>,
    signed_last: BTreeMap<String, i64>,
    steps: HashSet<String>,
}

fn instant(seconds: i64) -> Timestamp {
    Timestamp::from_second(2_000_000_000 + seconds).unwrap()
}

impl World {
    /// New keys as the bootstrap creates them.
    fn new() -> Self {
        let keys = ALGORITHMS.iter().flat_map(|algorithm| {
            let key = |state: &str| KeyRecord {
                published_at: Some(instant(0)),
                ready_at: Some(instant(0)),
                ..KeyRecord::new(
                    format!("{algorithm}-{state}"),
                    (*algorithm).to_owned(),
                    format!("{algorithm}-{state}.pk8"),
                    instant(0),
                )
            };
            [KeyRecord { activated_at: Some(instant(0)), ..key("active") }, key("next")]
        });
        let records = KeyRecords { keys: keys.collect(), ..KeyRecords::default() };
        let stored = Stored { records, ..Stored::default() };
        let replicas = (0..REPLICAS).map(|_| Replica { read: stored.clone(), clock: 0, cut_off: None });
        // Every document that was ever published contains the first keys.
        let accepted_since = stored.records.keys.iter().map(|key| (key.id.clone(), -100_000)).collect();
        Self {
            now: 0,
            leader_clock: 0,
            before: stored.clone(),
            replicas: replicas.collect(),
            stored,
            created: 0,
            accepted_since,
            signed_last: BTreeMap::new(),
            steps: HashSet::new(),
        }
    }

    fn reports(&self) -> Replicas {
        let live = self.replicas.iter().enumerate().filter(|(_, replica)| replica.cut_off.is_none());
        live.map(|(number, replica)| (number.to_string(), Some(replica.keys()))).collect()
    }

    fn clocks(&self) -> Clocks {
        let live = self.replicas.iter().filter(|replica| replica.cut_off.is_none()).map(|replica| replica.clock);
        let offsets: Vec<i64> = live.chain([self.leader_clock]).collect();
        let at = |offset: Option<&i64>| instant(self.now + offset.unwrap());
        Clocks { earliest: at(offsets.iter().min()), latest: at(offsets.iter().max()) }
    }

    fn lead(&mut self, known: &Stored, is_written: bool) {
        let (replicas, now) = (self.reports(), self.clocks());
        let observed = Observed {
            records: &known.records,
            rotate: known.rotate.as_deref(),
            drop: known.drop.as_deref(),
            algorithms: &ALGORITHMS,
            replicas: Some(&replicas),
            in_use: &BTreeSet::new(),
            now,
        };
        let Decision::Do(step) = plan(&observed, &SETTINGS) else { return };
        if !is_written || known.revision != self.stored.revision {
            return;
        }
        let created = self.created_for(&step, now.latest);
        let records = after(&known.records, &step, created, now, &SETTINGS);
        assert_ne!(records, self.stored.records, "{step:?} changes nothing");
        self.check_step(&step);
        self.before = self.stored.clone();
        self.stored = Stored { records, revision: known.revision + 1, ..known.clone() };
    }

    fn created_for(&mut self, step: &Step, at: Timestamp) -> Option<KeyRecord> {
        let Step::Create { algorithm } = step else { return None };
        self.created += 1;
        let id = format!("{algorithm}-{}", self.created);
        Some(KeyRecord::new(id.clone(), algorithm.clone(), format!("{id}.pk8"), at))
    }

    /// No step is repeated, and no key is removed while a token of it can be live.
    fn check_step(&mut self, step: &Step) {
        let of_a_key = !matches!(step, Step::Create { .. } | Step::RecordLifetime | Step::RequestRotation { .. });
        assert!(!of_a_key || self.steps.insert(format!("{step:?}")), "{step:?} is repeated");
        if let Step::Remove { id } = step {
            let signed = self.signed_last.get(id).copied().unwrap_or(i64::MIN / 2);
            assert!(self.now > signed + SETTINGS.token_lifetime_max.as_secs(), "a token of {id} is live");
        }
    }

    fn make(&mut self, event: Event) {
        match event {
            Event::Time(seconds) => self.now += seconds,
            Event::LeaderClock(offset) => self.leader_clock = offset,
            Event::ReplicaClock(offset) => self.replicas[REPLICAS - 1].clock = offset,
            Event::Lead => self.lead(&self.stored.clone(), true),
            Event::LeadAndDie => self.lead(&self.stored.clone(), false),
            Event::LeadBehind => self.lead(&self.before.clone(), true),
            Event::Read(number) => {
                let replica = &mut self.replicas[number];
                if replica.cut_off.is_none() {
                    replica.read = self.stored.clone();
                }
            }
            Event::CutOff(number, true) => {
                let since = self.now;
                self.replicas[number].cut_off.get_or_insert(since);
            }
            Event::CutOff(number, false) => {
                // A replica that is reachable again reads before it reports.
                self.replicas[number].cut_off = None;
                self.replicas[number].read = self.stored.clone();
            }
            Event::Rotate(value) => {
                self.before = self.stored.clone();
                self.stored.rotate = Some(value.to_string());
                self.stored.revision += 1;
            }
            Event::DropActive(algorithm) => {
                let active = self.stored.records.in_state(ALGORITHMS[algorithm], KeyState::Active).next();
                if let Some(id) = active.map(|key| key.id.clone()) {
                    self.before = self.stored.clone();
                    // Who overwrites a value that was not handled yet withdraws it.
                    let waits = self.stored.drop != self.stored.records.observed_drop;
                    let others = self.stored.drop.take().filter(|_| waits);
                    self.stored.drop = Some(others.map_or(id.clone(), |others| format!("{others},{id}")));
                    self.stored.revision += 1;
                }
            }
        }
    }

    fn check(&mut self) {
        self.stored.records.check().unwrap();
        let live: Vec<BTreeSet<String>> =
            self.reports().into_values().flatten().map(|keys| keys.accepted.into_iter().collect()).collect();
        for key in &self.stored.records.keys {
            if live.iter().all(|accepted| accepted.contains(&key.id)) {
                self.accepted_since.entry(key.id.clone()).or_insert(self.now);
            } else if !self.signed_last.contains_key(&key.id) {
                self.accepted_since.remove(&key.id);
            }
        }
        for replica in &self.replicas {
            // A replica that is cut off serves until the staleness limit.
            let ends = replica.cut_off.map_or(self.now, |since| since + SETTINGS.staleness_max.as_secs());
            let signs_until = ends.min(self.now);
            for id in replica.keys().signing {
                let since = self.accepted_since.get(&id).copied();
                let since = since.unwrap_or_else(|| panic!("{id} signs and is not published everywhere"));
                let published = signs_until - since;
                assert!(published >= SETTINGS.publish_for.as_secs(), "{id} signs {published} s after its publication");
                let last = self.signed_last.entry(id).or_insert(signs_until);
                *last = signs_until.max(*last);
            }
        }
    }
}

impl Replica {
    fn keys(&self) -> KeysInUse {
        let dropped = dropped(self.read.drop.as_deref());
        let records = &self.read.records;
        let ids = records.keys.iter().map(|key| key.id.clone());
        let signing = ALGORITHMS.iter().filter_map(|algorithm| records.signer(algorithm, &dropped));
        KeysInUse {
            accepted: ids.filter(|id| !dropped.contains(id.as_str())).collect(),
            signing: signing.map(|key| key.id.clone()).collect(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn k3_no_history_signs_with_an_unpublished_key_or_removes_one_with_live_tokens(
        history in proptest::collection::vec(events(), 1..250),
    ) {
        let mut world = World::new();
        for event in history {
            world.make(event);
            world.check();
        }
    }

    #[test]
    fn after_any_history_a_rotation_ends_when_replicas_follow_and_clocks_are_right(
        history in proptest::collection::vec(events(), 1..100),
    ) {
        let mut world = World::new();
        for event in history {
            world.make(event);
        }
        world.leader_clock = 0;
        world.replicas.iter_mut().for_each(|replica| replica.clock = 0);
        // What a wrong clock has recorded is waited for.
        world.now += 200_000;
        world.make(Event::Rotate(100));
        let before: Vec<String> = world.replicas[0].keys().signing;
        for _ in 0..200 {
            for number in 0..REPLICAS {
                world.make(Event::CutOff(number, false));
            }
            world.make(Event::Lead);
            world.make(Event::Time(120));
        }
        let now = world.replicas[0].keys().signing;
        prop_assert_eq!(now.len(), ALGORITHMS.len());
        prop_assert!(now.iter().all(|id| !before.contains(id)), "{:?} {:?}", before, now);
        for algorithm in ALGORITHMS {
            prop_assert!(world.stored.records.in_state(algorithm, KeyState::Next).count() == 1);
        }
    }
}
