use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const ATTEMPTS: u16 = 5;
const DURATION: i64 = 3_600;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn client(number: usize) -> Lockout {
    Lockout {
        client: LockedClient {
            namespace: format!("namespace-{}", number % 10).into(),
            name: format!("client-{number}").into(),
            uid: format!("uid-{number}").into(),
        },
        policy: LockoutPolicy {
            is_enabled: true,
            scope: LockoutScope::Source,
            attempts: ATTEMPTS,
            duration: SignedDuration::from_secs(DURATION),
            unlock: "".into(),
        },
    }
}

fn with(change: impl FnOnce(&mut LockoutPolicy)) -> Lockout {
    let mut client = client(0);
    change(&mut client.policy);
    client
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// So many distinct values, from one address, at this second.
fn guess(lockouts: &Lockouts, client: &Lockout, from: &str, values: std::ops::Range<u64>, second: i64) {
    for value in values {
        lockouts.record(client, Some(address(from)), value, at(second));
    }
}

/// What the replicas publish reaches all of them.
fn exchange(replicas: &[&Lockouts], second: i64) {
    for (number, from) in replicas.iter().enumerate() {
        for to in replicas {
            to.receive(&number.to_string(), Some(from.to_publish(at(second))));
        }
    }
}

#[test]
fn q1_the_fifth_distinct_value_locks_the_network_of_the_attempts_for_an_hour() {
    let (lockouts, client) = (Lockouts::default(), client(0));
    guess(&lockouts, &client, "192.0.2.1", 0..4, 0);
    assert!(!lockouts.is_locked(&client, Some(address("192.0.2.1")), at(0)));
    guess(&lockouts, &client, "192.0.2.200", 4..5, 10);
    for (from, second, locked) in [
        ("192.0.2.7", 10, true),
        ("::ffff:192.0.2.7", 10, true),
        ("192.0.3.1", 10, false),
        ("2001:db8::1", 10, false),
        ("192.0.2.7", 10 + DURATION - 1, true),
        ("192.0.2.7", 10 + DURATION, false),
    ] {
        assert_eq!(lockouts.is_locked(&client, Some(address(from)), at(second)), locked, "{from} {second}");
    }
    assert!(!lockouts.is_locked(&self::client(1), Some(address("192.0.2.7")), at(10)), "another client");
}

#[test]
fn a_network_is_a_24_or_a_64_and_an_unknown_address_is_one_of_its_own() {
    let of = |text: &str| source_network(Some(address(text))).to_string();
    assert_eq!(of("192.0.2.77"), "192.0.2.0/24");
    assert_eq!(of("::ffff:192.0.2.77"), "192.0.2.0/24");
    assert_eq!(of("2001:db8:1:2:3::4"), "2001:db8:1:2::/64");
    assert_eq!(source_network(None).to_string(), "0.0.0.0/32");
    assert_ne!(source_network(Some(address("0.0.0.0"))), source_network(None));
}

#[test]
fn q1_a_repeated_value_counts_once_for_as_long_as_it_is_repeated() {
    let (lockouts, client) = (Lockouts::default(), client(0));
    for second in (0..10 * DURATION).step_by(30) {
        guess(&lockouts, &client, "192.0.2.1", 7..8, second);
        assert!(!lockouts.is_locked(&client, Some(address("192.0.2.1")), at(second)));
    }
}

#[test]
fn attempts_count_for_as_long_as_a_lock_lasts() {
    let (lockouts, client) = (Lockouts::default(), client(0));
    guess(&lockouts, &client, "192.0.2.1", 0..4, 0);
    guess(&lockouts, &client, "192.0.2.1", 4..5, DURATION);
    assert!(!lockouts.is_locked(&client, Some(address("192.0.2.1")), at(DURATION)));
    guess(&lockouts, &client, "192.0.2.1", 5..9, DURATION + 1);
    assert!(lockouts.is_locked(&client, Some(address("192.0.2.1")), at(DURATION + 1)));
}

#[test]
fn the_scope_client_locks_all_callers_after_attempts_from_anywhere() {
    let (lockouts, client) = (Lockouts::default(), with(|policy| policy.scope = LockoutScope::Client));
    for (value, from) in ["192.0.2.1", "198.51.100.1", "2001:db8::1", "203.0.113.1", "192.0.2.1"].iter().enumerate() {
        assert!(!lockouts.is_locked(&client, Some(address("10.0.0.1")), at(0)));
        guess(&lockouts, &client, from, value as u64..value as u64 + 1, 0);
    }
    assert!(lockouts.is_locked(&client, Some(address("10.0.0.1")), at(0)) && lockouts.is_locked(&client, None, at(0)));
}

#[test]
fn disabled_drops_the_count_and_does_not_unlock() {
    let (lockouts, client, disabled) = (Lockouts::default(), client(0), with(|policy| policy.is_enabled = false));
    guess(&lockouts, &client, "192.0.2.1", 0..4, 0);
    lockouts.reset(&disabled.client.uid);
    guess(&lockouts, &disabled, "192.0.2.1", 0..100, 0);
    guess(&lockouts, &client, "192.0.2.1", 4..5, 0);
    assert!(!lockouts.is_locked(&client, Some(address("192.0.2.1")), at(0)), "one attempt since");
    guess(&lockouts, &client, "192.0.2.1", 5..9, 0);
    lockouts.reset(&disabled.client.uid);
    assert!(lockouts.is_locked(&disabled, Some(address("192.0.2.1")), at(0)), "it is locked until the end");
    assert!(!lockouts.is_locked(&disabled, Some(address("192.0.2.1")), at(DURATION)));
}

#[test]
fn a_new_value_of_the_annotation_unlocks_at_replicas_that_know_it() {
    let (one, other) = (Lockouts::default(), Lockouts::default());
    let (client, unlocked) = (client(0), with(|policy| policy.unlock = "another".into()));
    guess(&one, &client, "192.0.2.1", 0..9, 0);
    exchange(&[&one, &other], 0);
    for replica in [&one, &other] {
        assert!(replica.is_locked(&client, Some(address("192.0.2.1")), at(1)));
        assert!(!replica.is_locked(&unlocked, Some(address("192.0.2.1")), at(1)));
    }
    // It counts anew, and what a replica counts that does not know the annotation yet is not added.
    guess(&one, &unlocked, "192.0.2.1", 20..24, 2);
    guess(&other, &client, "192.0.2.1", 30..34, 2);
    exchange(&[&one, &other], 2);
    assert!(!one.is_locked(&unlocked, Some(address("192.0.2.1")), at(2)));
    guess(&other, &unlocked, "192.0.2.1", 40..41, 3);
    exchange(&[&one, &other], 3);
    assert!(one.is_locked(&unlocked, Some(address("192.0.2.1")), at(3)));
}

#[test]
fn attempts_at_several_replicas_add_up_and_the_same_value_counts_once() {
    let replicas = [Lockouts::default(), Lockouts::default()];
    let ([one, other], client) = (&replicas, client(0));
    guess(one, &client, "192.0.2.1", 0..3, 0);
    guess(other, &client, "192.0.2.1", 1..4, 0);
    exchange(&[one, other], 0);
    assert!(!one.is_locked(&client, Some(address("192.0.2.1")), at(0)), "four values");
    guess(other, &client, "192.0.2.1", 4..5, 5);
    exchange(&[one, other], 5);
    // Neither of them has counted five.
    for replica in [one, other] {
        assert!(replica.is_locked(&client, Some(address("192.0.2.1")), at(5)));
        assert!(!replica.is_locked(&client, Some(address("192.0.2.1")), at(5 + DURATION)));
    }
}

#[test]
fn a_lock_outlives_the_process_that_published_it_and_ends_with_its_object() {
    let (before, after, client) = (Lockouts::default(), Lockouts::default(), client(0));
    guess(&before, &client, "192.0.2.1", 0..5, 0);
    after.receive("object", Some(before.to_publish(at(1))));
    assert!(after.is_locked(&client, Some(address("192.0.2.1")), at(2)));
    after.receive("object", None);
    assert!(!after.is_locked(&client, Some(address("192.0.2.1")), at(2)));
}

#[test]
fn a_lock_does_not_count_what_led_to_it_again() {
    let (one, other, client) = (Lockouts::default(), Lockouts::default(), client(0));
    guess(&one, &client, "192.0.2.1", 0..3, 0);
    guess(&other, &client, "192.0.2.1", 3..6, 1);
    exchange(&[&one, &other], 1);
    assert!(one.is_locked(&client, Some(address("192.0.2.1")), at(1)));
    let (attempts, locks) = (one.to_publish(at(1)).attempts, one.to_publish(at(1)).locks);
    assert_eq!((attempts.len(), locks.len()), (0, 1));
    assert_eq!(locks[0].1.until, at(1 + DURATION));
}

#[test]
fn what_is_published_is_what_has_not_ended() {
    let (lockouts, client) = (Lockouts::default(), client(0));
    guess(&lockouts, &client, "192.0.2.1", 0..5, 0);
    guess(&lockouts, &client, "198.51.100.1", 0..2, 10);
    let told = |second| (lockouts.to_publish(at(second)).attempts.len(), lockouts.to_publish(at(second)).locks.len());
    assert_eq!(told(10), (2, 1));
    assert_eq!(told(DURATION), (2, 0));
    assert_eq!(told(DURATION + 10), (0, 0));
}

#[test]
fn a_caller_with_many_networks_fills_only_the_room_of_its_client_and_ends_no_lock() {
    let (lockouts, client) = (Lockouts::default(), client(0));
    guess(&lockouts, &client, "192.0.2.1", 0..5, 0);
    for network in 0..1_000 {
        guess(&lockouts, &client, &format!("10.{}.{}.1", network / 250, network % 250), 0..3, 1);
    }
    let published = lockouts.to_publish(at(1));
    assert_eq!((published.attempts.len(), published.locks.len()), (3 * (SOURCES_MAX - 1), 1));
    assert!(lockouts.is_locked(&client, Some(address("192.0.2.1")), at(1)));
    // Locks take the place of the oldest locks.
    for network in 0..1_000 {
        guess(&lockouts, &client, &format!("10.{}.{}.1", network / 250, network % 250), 0..5, 2);
    }
    let published = lockouts.to_publish(at(2));
    assert_eq!((published.attempts.len(), published.locks.len()), (0, SOURCES_MAX));
}

#[test]
fn the_number_of_attempts_and_of_locks_is_bounded_and_the_namespace_with_the_most_loses_first() {
    let lockouts = Lockouts::default();
    let quiet = client(1);
    guess(&lockouts, &quiet, "192.0.2.1", 0..4, 0);
    let locked = client(2);
    guess(&lockouts, &locked, "192.0.2.1", 0..5, 0);
    for number in 0..1_000 {
        // All are in the first namespace.
        guess(&lockouts, &client(number * 10), "198.51.100.1", 0..4, 1);
        assert!(lockouts.to_publish(at(1)).attempts.len() <= RECORDED_MAX);
    }
    for number in 1_000..4_000 {
        guess(&lockouts, &client(number * 10), "198.51.100.1", 0..5, 2);
        assert!(lockouts.to_publish(at(2)).locks.len() <= RECORDED_MAX);
    }
    guess(&lockouts, &quiet, "192.0.2.1", 4..5, 3);
    assert!(lockouts.is_locked(&quiet, Some(address("192.0.2.1")), at(3)), "its attempts were kept");
    assert!(lockouts.is_locked(&locked, Some(address("192.0.2.1")), at(3)), "its lock was kept");
}

#[derive(Clone, Debug)]
enum Step {
    Guess {
        replica: usize,
        network: u8,
        value: u64,
    },
    Unlock,
    /// The process ends, after it published.
    Restart {
        replica: usize,
    },
    /// The clock of all moves.
    Clock(i64),
}

fn steps(clock: std::ops::Range<i64>) -> impl Strategy<Value = Vec<Step>> {
    let guess = (0..2_usize, 0..2_u8, 0..8_u64);
    let step = prop_oneof![
        8 => guess.prop_map(|(replica, network, value)| Step::Guess { replica, network, value }),
        1 => Just(Step::Unlock),
        1 => (0..2_usize).prop_map(|replica| Step::Restart { replica }),
        3 => clock.prop_map(Step::Clock),
    ];
    proptest::collection::vec(step, 0..120)
}

/// Two replicas that exchange what they know after each step, and their clock.
struct Installation {
    replicas: [Lockouts; 2],
    now: i64,
    unlocks: u32,
    ended: u32,
}

impl Installation {
    fn new() -> Self {
        Self { replicas: Default::default(), now: 0, unlocks: 0, ended: 0 }
    }

    fn client(&self) -> Lockout {
        with(|policy| policy.unlock = self.unlocks.to_string().into())
    }

    fn is_locked(&self, replica: usize, network: u8) -> bool {
        self.replicas[replica].is_locked(&self.client(), Some(address(&format!("10.0.{network}.1"))), at(self.now))
    }

    fn take(&mut self, step: &Step) {
        match *step {
            // The endpoint counts nothing while the client is locked.
            Step::Guess { replica, network, .. } if self.is_locked(replica, network) => {}
            Step::Guess { replica, network, value } => {
                let from = Some(address(&format!("10.0.{network}.1")));
                self.replicas[replica].record(&self.client(), from, value, at(self.now));
            }
            Step::Unlock => self.unlocks += 1,
            Step::Restart { replica } => {
                self.ended += 1;
                let (object, other) = (format!("ended-{}", self.ended), &self.replicas[1 - replica]);
                let left = self.replicas[replica].to_publish(at(self.now));
                other.receive(&object, Some(left));
                let started = Lockouts::default();
                started.inherit(other);
                self.replicas[replica] = started;
            }
            Step::Clock(by) => self.now += by,
        }
        let [one, other] = &self.replicas;
        exchange(&[one, other], self.now);
    }
}

/// The rules in their simplest form: one list of attempts, and one lock of each network.
#[derive(Default)]
struct Model {
    /// Network and value → when it was first presented.
    attempts: BTreeMap<(u8, u64), i64>,
    /// Network → the end of its lock.
    locks: BTreeMap<u8, i64>,
}

impl Model {
    fn is_locked(&self, network: u8, now: i64) -> bool {
        self.locks.get(&network).is_some_and(|until| now < *until)
    }

    fn take(&mut self, step: &Step, now: i64) {
        match *step {
            Step::Guess { network, value, .. } if !self.is_locked(network, now) => {
                self.attempts.retain(|_, at| now < *at + DURATION);
                self.attempts.entry((network, value)).or_insert(now);
                if self.attempts.keys().filter(|(known, _)| *known == network).count() >= usize::from(ATTEMPTS) {
                    self.locks.insert(network, now + DURATION);
                    self.attempts.retain(|(known, _), _| *known != network);
                }
            }
            Step::Unlock => *self = Self::default(),
            _ => {}
        }
    }
}

proptest! {
    #[test]
    fn q1_replicas_decide_as_one_list_of_attempts_would(steps in steps(0..DURATION)) {
        let (mut replicas, mut model) = (Installation::new(), Model::default());
        for step in steps {
            model.take(&step, replicas.now);
            replicas.take(&step);
            for (replica, network) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                prop_assert_eq!(replicas.is_locked(replica, network), model.is_locked(network, replicas.now));
            }
        }
    }

    /// A clock that is set back neither ends a lock nor locks after fewer values.
    #[test]
    fn q1_a_clock_step_ends_no_lock_before_its_end_and_adds_no_attempt(steps in steps(-DURATION..DURATION)) {
        let mut replicas = Installation::new();
        let mut ends = [None; 2];
        let mut values = [BTreeSet::new(), BTreeSet::new()];
        for step in steps {
            match step {
                Step::Guess { network, value, .. } => {
                    values[usize::from(network)].insert(value);
                }
                Step::Unlock => {
                    ends = [None; 2];
                    values = Default::default();
                }
                _ => {}
            }
            let before = [0, 1].map(|network| replicas.is_locked(0, network));
            replicas.take(&step);
            for network in 0..2_u8 {
                let place = usize::from(network);
                let [locked, other] = [0, 1].map(|replica| replicas.is_locked(replica, network));
                prop_assert_eq!(locked, other);
                prop_assert!(!locked || values[place].len() >= usize::from(ATTEMPTS));
                // What has ended may be forgotten before the clock is set back.
                ends[place] = ends[place].filter(|end| replicas.now < *end);
                prop_assert!(locked || ends[place].is_none(), "unlocked before {:?}", ends[place]);
                if matches!(step, Step::Guess { .. }) && locked && !before[place] {
                    ends[place] = Some(replicas.now + DURATION);
                }
            }
        }
    }
}
