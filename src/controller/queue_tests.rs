//! Each key once, in its order, never twice at once, and again when it is due.

use std::collections::HashMap;

use super::*;

fn key(name: usize) -> Key {
    Key::new("billing", &name.to_string())
}

/// Takes all that can be taken.
fn taken(state: &mut State, now: Instant) -> Vec<Key> {
    std::iter::from_fn(|| state.take(now).ok()).collect()
}

#[test]
fn each_key_comes_once_in_the_order_in_which_they_came() {
    let mut state = State::default();
    for name in [1, 2, 1, 3, 2] {
        state.push(key(name));
    }
    assert_eq!(taken(&mut state, Instant::now()), [key(1), key(2), key(3)]);
}

#[test]
fn what_changes_while_it_is_looked_at_is_looked_at_once_more() {
    let (mut state, now) = (State::default(), Instant::now());
    state.push(key(1));
    assert_eq!(taken(&mut state, now), [key(1)]);
    state.push(key(1));
    state.push(key(1));
    assert_eq!(taken(&mut state, now), [], "it is being looked at");
    state.done(key(1), Next::Change, now);
    assert_eq!(taken(&mut state, now), [key(1)]);
    state.done(key(1), Next::Change, now);
    assert_eq!(taken(&mut state, now), []);
}

#[test]
fn a_timer_ends_when_it_is_due_or_with_a_look_before() {
    let (mut state, now) = (State::default(), Instant::now());
    let (soon, later) = (Duration::from_secs(1), Duration::from_secs(2));
    for (name, wait) in [(1, later), (2, soon)] {
        state.push(key(name));
        assert_eq!(taken(&mut state, now), [key(name)]);
        state.done(key(name), Next::After(wait), now);
    }
    assert_eq!(state.take(now), Err(Some(now + soon)), "the first of them");
    assert_eq!(taken(&mut state, now + soon), [key(2)]);
    state.done(key(2), Next::Change, now + soon);
    state.push(key(1));
    assert_eq!(taken(&mut state, now + soon), [key(1)]);
    state.done(key(1), Next::Change, now + soon);
    assert_eq!(state.take(now + later), Err(None), "the look before it was due says when to look again");
}

#[test]
fn what_is_in_no_hurry_comes_once_at_its_time_or_with_what_is() {
    let (mut state, now) = (State::default(), Instant::now());
    let (soon, later) = (now + Duration::from_secs(1), now + Duration::from_secs(2));
    for due in [soon, later, now] {
        state.push_unless_due(key(1), due);
    }
    assert_eq!(state.take(now), Err(Some(soon)), "the first word counts");
    assert_eq!(taken(&mut state, soon), [key(1)]);
    state.push_unless_due(key(1), soon);
    state.done(key(1), Next::After(later - now), now);
    assert_eq!(taken(&mut state, soon), [key(1)], "what came while it was busy is not put off");
    state.done(key(1), Next::After(later - soon), soon);
    state.push_unless_due(key(1), soon);
    assert_eq!(state.take(soon), Err(Some(later)), "whoever looked at it last knows when to look again");
    assert_eq!(taken(&mut state, later), [key(1)]);
    state.done(key(1), Next::Change, later);
    state.push_unless_due(key(2), soon);
    state.push(key(2));
    assert_eq!(taken(&mut state, now), [key(2)]);
    state.done(key(2), Next::Change, now);
    assert_eq!(state.take(later), Err(None));
}

#[test]
fn what_changed_meanwhile_is_looked_at_now_and_not_by_the_timer() {
    let (mut state, now) = (State::default(), Instant::now());
    state.push(key(1));
    assert_eq!(taken(&mut state, now), [key(1)]);
    state.push(key(1));
    state.done(key(1), Next::After(Duration::from_secs(1)), now);
    assert_eq!(taken(&mut state, now), [key(1)]);
    state.done(key(1), Next::Change, now);
    assert_eq!(state.take(now), Err(None));
}

#[test]
fn room_is_given_back() {
    let mut state = State::default();
    (0..10_000).for_each(|name| state.push(key(name)));
    assert_eq!(taken(&mut state, Instant::now()).len(), 10_000);
    assert!(state.order.capacity() < 4 * ROOM && state.waiting.capacity() < 4 * ROOM);
}

#[tokio::test(start_paused = true)]
async fn workers_keep_to_the_limit_and_no_key_is_worked_on_twice_at_once() {
    let queue = Queue::default();
    let (running, most, done) = (Mutex::<HashMap<Key, usize>>::default(), Mutex::new(0), Mutex::new(0));
    (0..100).for_each(|name| queue.push(key(name % 10)));
    let reconcile = async |key: Key| {
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
        Next::Change
    };
    let _ = tokio::time::timeout(Duration::from_secs(10) + Duration::from_millis(500), queue.work(4, reconcile)).await;
    assert_eq!((*most.lock().unwrap(), *done.lock().unwrap()), (4, 40));
}

#[tokio::test(start_paused = true)]
async fn an_idle_queue_wakes_up_when_something_is_due() {
    let (queue, seen) = (Queue::default(), Mutex::new(Vec::new()));
    queue.push(key(1));
    let start = Instant::now();
    let reconcile = async |_| {
        seen.lock().unwrap().push(start.elapsed().as_secs());
        Next::After(Duration::from_secs(3))
    };
    let _ = tokio::time::timeout(Duration::from_secs(10), queue.work(4, reconcile)).await;
    assert_eq!(*seen.lock().unwrap(), [0, 3, 6, 9]);
}

#[test]
fn what_may_wait_puts_off_nothing_that_is_due_sooner() {
    let [sooner, later] = [1, 30].map(Duration::from_secs);
    assert_eq!(Next::After(sooner).or_after(later), Next::After(sooner));
    assert_eq!(Next::After(later).or_after(sooner), Next::After(sooner));
    assert_eq!(Next::Change.or_after(later), Next::After(later));
}
