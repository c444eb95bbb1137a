//! Each key once, never twice concurrently, again when it is due; namespaces in turns, and keys that end access first.

use std::collections::{HashMap, VecDeque};
use std::task::Waker;

use proptest::prelude::*;
use tokio::time::advance;

use super::*;

fn key(name: usize) -> ObjectRef {
    ObjectRef::new("billing", &name.to_string())
}

/// Takes all available keys.
fn taken(state: &mut State) -> Vec<ObjectRef> {
    std::iter::from_fn(|| next(state, |_| false)).collect()
}

/// The key that is available now.
fn next(state: &mut State, is_urgent: impl Fn(&ObjectRef) -> bool) -> Option<ObjectRef> {
    match state.poll_next(&mut Context::from_waker(Waker::noop()), is_urgent) {
        Poll::Ready(key) => Some(key),
        Poll::Pending => None,
    }
}

#[test]
fn each_key_is_returned_once_in_insertion_order() {
    let mut state = State::for_workers(1_000);
    for name in [1, 2, 1, 3, 2] {
        state.push(key(name), false);
    }
    assert_eq!(taken(&mut state), [key(1), key(2), key(3)]);
}

#[test]
fn a_key_that_changes_while_it_is_processed_is_processed_once_more() {
    let (mut state, now) = (State::for_workers(1_000), Instant::now());
    state.push(key(1), false);
    assert_eq!(taken(&mut state), [key(1)]);
    state.push(key(1), false);
    state.push(key(1), false);
    assert_eq!(taken(&mut state), [], "it is being processed");
    state.done(&key(1), Requeue::AwaitChange, now);
    assert_eq!(taken(&mut state), [key(1)]);
    state.done(&key(1), Requeue::AwaitChange, now);
    assert_eq!(taken(&mut state), []);
}

#[tokio::test(start_paused = true)]
async fn a_timer_fires_when_it_is_due_and_is_cancelled_by_an_earlier_reconciliation() {
    let (mut state, now) = (State::for_workers(1_000), Instant::now());
    let [soon, later] = [1, 2].map(Duration::from_secs);
    for (name, wait) in [(1, later), (2, soon)] {
        state.push(key(name), false);
        assert_eq!(taken(&mut state), [key(name)]);
        state.done(&key(name), Requeue::After(wait), now);
    }
    assert_eq!(taken(&mut state), []);
    advance(soon).await;
    assert_eq!(taken(&mut state), [key(2)], "the first of them");
    state.done(&key(2), Requeue::AwaitChange, Instant::now());
    state.push(key(1), false);
    assert_eq!(taken(&mut state), [key(1)]);
    state.done(&key(1), Requeue::AwaitChange, Instant::now());
    advance(later).await;
    assert_eq!(taken(&mut state), [], "the reconciliation before it was due requests the next one");
}

#[tokio::test(start_paused = true)]
async fn a_deferred_key_is_processed_once_when_it_is_due_or_with_an_earlier_push() {
    let (mut state, now) = (State::for_workers(1_000), Instant::now());
    let (soon, later) = (now + Duration::from_secs(1), now + Duration::from_secs(2));
    for due in [soon, later, now] {
        state.push_unless_due(key(1), due);
    }
    assert_eq!(taken(&mut state), [], "the first word counts");
    advance(soon - now).await;
    assert_eq!(taken(&mut state), [key(1)]);
    state.push_unless_due(key(1), soon);
    state.done(&key(1), Requeue::After(later - now), now);
    assert_eq!(taken(&mut state), [key(1)], "what came while it was busy is not put off");
    state.done(&key(1), Requeue::After(later - soon), soon);
    state.push_unless_due(key(1), soon);
    assert_eq!(taken(&mut state), [], "the last reconciliation requests the next one");
    advance(later - soon).await;
    assert_eq!(taken(&mut state), [key(1)]);
    state.done(&key(1), Requeue::AwaitChange, later);
    state.push_unless_due(key(2), later + Duration::from_secs(1));
    state.push(key(2), false);
    assert_eq!(taken(&mut state), [key(2)]);
    state.done(&key(2), Requeue::AwaitChange, later);
    advance(Duration::from_secs(2)).await;
    assert_eq!(taken(&mut state), []);
}

#[tokio::test(start_paused = true)]
async fn a_sooner_timer_replaces_a_later_one_and_not_the_other_way_round() {
    let (mut state, now) = (State::for_workers(1_000), Instant::now());
    for seconds in [3, 1, 2] {
        state.push_at(key(1), now + Duration::from_secs(seconds));
    }
    advance(Duration::from_secs(1)).await;
    assert_eq!(taken(&mut state), [key(1)]);
    state.done(&key(1), Requeue::AwaitChange, Instant::now());
    advance(Duration::from_secs(3)).await;
    assert_eq!(taken(&mut state), []);
}

#[tokio::test(start_paused = true)]
async fn a_change_during_processing_is_processed_immediately_and_replaces_the_timer() {
    let (mut state, now) = (State::for_workers(1_000), Instant::now());
    state.push(key(1), false);
    assert_eq!(taken(&mut state), [key(1)]);
    state.push(key(1), false);
    state.done(&key(1), Requeue::After(Duration::from_secs(1)), now);
    assert_eq!(taken(&mut state), [key(1)]);
    state.done(&key(1), Requeue::AwaitChange, now);
    advance(Duration::from_secs(2)).await;
    assert_eq!(taken(&mut state), []);
}

#[tokio::test(start_paused = true)]
async fn a_drained_queue_releases_its_memory() {
    let mut state = State::for_workers(20_000);
    (0..10_000).for_each(|name| state.push_at(key(name), Instant::now()));
    assert_eq!(taken(&mut state).len(), 10_000);
    let capacities = [state.normal.capacity(), state.waiting.capacity(), state.timers.capacity()];
    assert!(capacities.iter().all(|capacity| *capacity < 4 * ROOM), "{capacities:?}");
}

#[tokio::test(start_paused = true)]
async fn workers_respect_the_limit_and_no_key_is_processed_twice_concurrently() {
    let queue = Queue::new(8, |_| false);
    let (running, most, done) = (Mutex::<HashMap<ObjectRef, usize>>::default(), Mutex::new(0), Mutex::new(0));
    (0..100).for_each(|name| queue.push(key(name % 10)));
    let reconcile = async |key: ObjectRef| {
        {
            let mut running = running.lock().unwrap();
            let times = running.entry(key.clone()).or_default();
            *times += 1;
            assert_eq!(*times, 1, "{key:?} is worked on twice at once");
            let mut most = most.lock().unwrap();
            *most = running.len().max(*most);
        }
        queue.push(key.clone());
        tokio::time::sleep(Duration::from_secs(1)).await;
        running.lock().unwrap().remove(&key);
        *done.lock().unwrap() += 1;
        Requeue::AwaitChange
    };
    let _ = tokio::time::timeout(Duration::from_secs(10) + Duration::from_millis(500), queue.work(reconcile)).await;
    assert_eq!((*most.lock().unwrap(), *done.lock().unwrap()), (4, 40));
}

#[tokio::test(start_paused = true)]
async fn an_idle_queue_wakes_up_when_something_is_due() {
    let (queue, seen) = (Queue::new(8, |_| false), Mutex::new(Vec::new()));
    queue.push(key(1));
    let start = Instant::now();
    let reconcile = async |_| {
        seen.lock().unwrap().push(start.elapsed().as_secs());
        Requeue::After(Duration::from_secs(3))
    };
    let _ = tokio::time::timeout(Duration::from_secs(10), queue.work(reconcile)).await;
    assert_eq!(*seen.lock().unwrap(), [0, 3, 6, 9]);
}

#[test]
fn the_earlier_of_two_requeue_times_is_used() {
    let [sooner, later] = [1, 30].map(Duration::from_secs);
    assert_eq!(Requeue::After(sooner).min(later), Requeue::After(sooner));
    assert_eq!(Requeue::After(later).min(sooner), Requeue::After(sooner));
    assert_eq!(Requeue::AwaitChange.min(later), Requeue::After(later));
}

fn of(namespace: &str, name: usize) -> ObjectRef {
    ObjectRef::new(namespace, &name.to_string())
}

/// Names in the order in which a single worker takes them, each finished immediately.
fn served(state: &mut State, is_urgent: impl Fn(&ObjectRef) -> bool + Copy) -> Vec<String> {
    let now = Instant::now();
    let take = || {
        let key = next(state, is_urgent)?;
        state.done(&key, Requeue::AwaitChange, now);
        Some(format!("{}{}", key.namespace, key.name))
    };
    std::iter::from_fn(take).collect()
}

#[test]
fn namespaces_are_served_in_turn_whatever_the_insertion_order() {
    let mut state = State::for_workers(16);
    (0..4).for_each(|name| state.push(of("a", name), false));
    (0..2).for_each(|name| state.push(of("b", name), false));
    state.push(of("c", 0), false);
    assert_eq!(served(&mut state, |_| false), ["a0", "b0", "c0", "a1", "b1", "a2", "a3"]);
}

#[test]
fn a_namespace_has_half_of_the_workers_and_the_objects_of_the_cluster_have_all() {
    let mut state = State::for_workers(15);
    (0..100).for_each(|name| state.push(of("a", name), false));
    let now = Instant::now();
    assert_eq!(taken(&mut state).len(), 8, "half of them, rounded up");
    state.push(of("b", 0), false);
    assert_eq!(taken(&mut state), [of("b", 0)], "a worker is free for another tenant");
    state.done(&of("a", 3), Requeue::AwaitChange, now);
    assert_eq!(taken(&mut state), [of("a", 8)], "one is done, the next has its turn");
    (0..100).for_each(|name| state.push(of("", name), false));
    assert_eq!(taken(&mut state).len(), 100);
}

#[test]
fn urgent_keys_are_served_first_and_in_turn_among_namespaces() {
    let is_urgent = |key: &ObjectRef| key.name.parse::<usize>().unwrap() >= 10;
    let mut state = State::for_workers(16);
    for key in [of("a", 0), of("a", 1), of("a", 10), of("a", 11), of("b", 0), of("b", 10)] {
        let urgent = is_urgent(&key);
        state.push(key, urgent);
    }
    assert_eq!(served(&mut state, is_urgent), ["a10", "b10", "a11", "a0", "b0", "a1"]);
}

#[test]
fn a_waiting_key_that_becomes_urgent_is_served_first_and_only_once() {
    let mut state = State::for_workers(16);
    (0..3).for_each(|name| state.push(of("a", name), false));
    state.push(of("a", 2), true);
    state.push(of("a", 2), false);
    assert_eq!(served(&mut state, |_| false), ["a2", "a0", "a1"]);
    let now = Instant::now();
    state.push(of("a", 3), false);
    assert_eq!(taken(&mut state), [of("a", 3)]);
    state.push(of("a", 3), false);
    state.push(of("a", 4), false);
    state.push(of("a", 3), true);
    state.done(&of("a", 3), Requeue::AwaitChange, now);
    assert_eq!(taken(&mut state), [of("a", 3), of("a", 4)], "also while it was worked on");
}

#[tokio::test(start_paused = true)]
async fn a_due_timer_checks_again_whether_its_key_is_urgent() {
    let (mut state, now) = (State::for_workers(16), Instant::now());
    state.push_at(of("a", 1), now);
    state.push(of("a", 0), false);
    let is_urgent = |key: &ObjectRef| *key.name == *"1";
    assert_eq!(next(&mut state, is_urgent), Some(of("a", 1)));
}

#[test]
fn a_flood_of_urgent_keys_does_not_stop_the_others() {
    let mut state = State::for_workers(16);
    state.push(of("b", 0), false);
    (0..100).for_each(|name| state.push(of(&format!("a{name}"), name), true));
    let served = served(&mut state, |_| true);
    assert_eq!(served.iter().position(|key| key == "b0"), Some(URGENT_IN_A_ROW));
}

proptest! {
    /// A key of a namespace without other keys is taken after at most one key of each other namespace, whatever those
    /// namespaces have waiting or in progress.
    #[test]
    fn no_tenant_makes_another_wait_for_more_than_one_turn(
        flood in proptest::collection::vec((0_usize..6, 0_usize..200), 0..400),
        workers in 2_usize..20,
    ) {
        let (mut state, now) = (State::for_workers(workers), Instant::now());
        let namespaces: std::collections::BTreeSet<_> = flood.iter().map(|(namespace, _)| *namespace).collect();
        for (namespace, name) in &flood {
            state.push(of(&format!("flood{namespace}"), *name), false);
        }
        let mut working: VecDeque<ObjectRef> = std::iter::from_fn(|| state.take()).take(workers).collect();
        state.push(of("b", 0), false);
        let mut before = 0;
        loop {
            if working.len() == workers || state.waiting_in("b") == 0 {
                let Some(done) = working.pop_front() else { break };
                state.done(&done, Requeue::AwaitChange, now);
            }
            let Some(key) = state.take() else { continue };
            if *key.namespace == *"b" {
                break;
            }
            before += 1;
            working.push_back(key);
            prop_assert!(before <= namespaces.len(), "{before} keys of {} others went before", namespaces.len());
        }
    }
}
