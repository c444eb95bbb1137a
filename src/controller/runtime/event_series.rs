//! Counts repeated events in the first event (`series` of events.k8s.io/v1), like client-go.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::{Duration, Instant};

use k8s_openapi::api::events::v1::Event;

/// A repetition after this time is a new event.
const ENDS_AFTER: Duration = Duration::from_mins(6);
/// Limit of remembered events; the oldest is removed.
const REMEMBERED: usize = 1_000;

/// Recent events, by their content.
#[derive(Debug, Default)]
pub(crate) struct Recent(HashMap<u64, Written>);

#[derive(Debug)]
struct Written {
    name: String,
    count: i32,
    last: Instant,
}

impl Recent {
    /// The event with the same content as `event`, and the number of occurrences including this one; `None`: `event` is
    /// the first.
    pub(crate) fn repeated(&mut self, event: &Event, now: Instant) -> Option<(String, i32)> {
        let written = self.0.get_mut(&key(event)).filter(|written| now < written.last + ENDS_AFTER)?;
        written.count = written.count.saturating_add(1);
        written.last = now;
        Some((written.name.clone(), written.count))
    }

    /// `event` was written under this name.
    pub(crate) fn written(&mut self, event: &Event, name: String, now: Instant) {
        if self.0.len() >= REMEMBERED {
            self.0.retain(|_, written| now < written.last + ENDS_AFTER);
            let oldest = self.0.iter().min_by_key(|(_, written)| written.last).map(|(key, _)| *key);
            oldest.filter(|_| self.0.len() >= REMEMBERED).map(|key| self.0.remove(&key));
        }
        self.0.insert(key(event), Written { name, count: 1, last: now });
    }
}

fn key(event: &Event) -> u64 {
    let mut hasher = DefaultHasher::new();
    let about = event.regarding.as_ref();
    about.map(|about| (&about.kind, &about.namespace, &about.name, &about.uid)).hash(&mut hasher);
    (&event.type_, &event.reason, &event.action, &event.note).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(note: &str) -> Event {
        Event { note: Some(note.to_owned()), ..Event::default() }
    }

    #[test]
    fn a_repeated_event_is_counted_until_it_has_not_occurred_for_a_while() {
        let (mut recent, mut now) = (Recent::default(), Instant::now());
        assert_eq!(recent.repeated(&event("a"), now), None);
        recent.written(&event("a"), "blue-1".to_owned(), now);
        for count in 2..5 {
            now += ENDS_AFTER / 2;
            assert_eq!(recent.repeated(&event("a"), now), Some(("blue-1".to_owned(), count)));
        }
        assert_eq!(recent.repeated(&event("b"), now), None, "it says something else");
        assert_eq!(recent.repeated(&event("a"), now + ENDS_AFTER), None);
        recent.written(&event("a"), "blue-2".to_owned(), now);
        assert_eq!(recent.repeated(&event("a"), now), Some(("blue-2".to_owned(), 2)));
    }

    #[test]
    fn the_oldest_of_too_many_events_is_removed() {
        let (mut recent, start) = (Recent::default(), Instant::now());
        for number in 0..=REMEMBERED {
            let now = start + Duration::from_millis(number as u64);
            recent.written(&event(&number.to_string()), number.to_string(), now);
        }
        assert_eq!(recent.0.len(), REMEMBERED);
        assert_eq!(recent.repeated(&event("0"), start), None);
        assert!(recent.repeated(&event("1"), start).is_some());
    }
}
