//! Which Applications of a namespace use which sources.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::Published;
use crate::key_sets::Source;

/// The Applications, indexed so that a change costs as much in a large namespace as in a small one.
#[derive(Debug, Default)]
pub(super) struct Applications {
    by_name: BTreeMap<Arc<str>, Published>,
    /// The users of each source, the oldest first.
    users: BTreeMap<Source, Users>,
    /// Each source with the age of its oldest user.
    by_age: BTreeSet<(Timestamp, Source)>,
}

/// Applications, with the time of their creation.
type Users = BTreeSet<(Timestamp, Arc<str>)>;

impl Applications {
    /// Records where the keys of an Application are published; `None`: nowhere. Returns whether that is a change.
    pub(super) fn set(&mut self, name: &Arc<str>, published: Option<Published>) -> bool {
        if self.by_name.get(name) == published.as_ref() {
            return false;
        }
        if let Some(Published { created, sources }) = self.by_name.remove(name) {
            let user = (created, Arc::clone(name));
            for source in &sources {
                self.change_users(source, |users| users.remove(&user));
            }
        }
        if let Some(published) = published {
            let user = (published.created, Arc::clone(name));
            for source in &published.sources {
                self.change_users(source, |users| users.insert(user.clone()));
            }
            self.by_name.insert(Arc::clone(name), published);
        }
        true
    }

    fn change_users(&mut self, source: &Source, change: impl FnOnce(&mut Users) -> bool) {
        let users = self.users.entry(source.clone()).or_default();
        let oldest = |users: &Users| users.first().map(|(created, _)| (*created, source.clone()));
        let before = oldest(users);
        change(users);
        let after = oldest(users);
        if after.is_none() {
            self.users.remove(source);
        }
        if let Some(before) = before {
            self.by_age.remove(&before);
        }
        self.by_age.extend(after);
    }

    /// At most this many sources: those of the oldest Applications.
    pub(super) fn oldest_sources(&self, count: usize) -> BTreeSet<Source> {
        self.by_age.iter().take(count).map(|(_, source)| source.clone()).collect()
    }

    /// The Applications that use a source.
    pub(super) fn users(&self, source: &Source) -> impl Iterator<Item = &Arc<str>> {
        self.users.get(source).into_iter().flatten().map(|(_, name)| name)
    }

    pub(super) fn sources(&self, name: &str) -> impl Iterator<Item = &Source> {
        self.by_name.get(name).into_iter().flat_map(|published| &published.sources)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What one Application publishes: when it was created, and its sources.
    fn published() -> impl Strategy<Value = Option<Published>> {
        let sources = proptest::collection::btree_set(0..6_u8, 1..4);
        let some = (0..4_i64, sources).prop_map(|(second, sources)| Published {
            created: Timestamp::from_second(second).unwrap(),
            sources: sources.iter().map(|number| Source::KeySet(number.to_string().into())).collect(),
        });
        proptest::option::of(some)
    }

    proptest! {
        #[test]
        fn the_indexes_are_those_of_the_last_changes(changes in proptest::collection::vec((0..5_u8, published()), 0..30)) {
            let mut applications = Applications::default();
            for (name, published) in changes {
                applications.set(&name.to_string().into(), published);
                let uses = || applications.by_name.iter().flat_map(|(name, published)| {
                    published.sources.iter().map(move |source| (source, published.created, name))
                });
                let mut oldest = BTreeMap::<&Source, Timestamp>::new();
                for (source, created, _) in uses() {
                    oldest.entry(source).and_modify(|known| *known = created.min(*known)).or_insert(created);
                }
                let by_age: BTreeSet<_> = oldest.into_iter().map(|(source, created)| (created, source.clone())).collect();
                prop_assert_eq!(&applications.by_age, &by_age);
                let users: BTreeSet<_> = applications.users.keys()
                    .flat_map(|source| applications.users(source).map(move |name| (source, name)))
                    .collect();
                prop_assert_eq!(users, uses().map(|(source, _, name)| (source, name)).collect());
                prop_assert_eq!(applications.users.len(), by_age.len());
            }
        }
    }
}
