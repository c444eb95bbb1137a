//! Connects the key sets with the cache: the URLs and issuers of Applications in, the affected clients out.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::mpsc::{UnboundedReceiver, WeakUnboundedSender};
use tokio::sync::watch;

use super::ca_file;
use crate::cache::{Cache, Invalidation, Kind, ObjectRef, Subscription, Update, is_deleting};
use crate::cli::OutboundArgs;
use crate::key_sets::{Change, KeySets};
use crate::outbound::{Client, SystemResolver};
use crate::read_model::sources_of;

/// The key sets, which have no source before [`Feed::run`], and what updates them.
pub(super) fn key_sets(args: &OutboundArgs) -> (Arc<KeySets>, Feed) {
    let (roots, followed) = watch::channel(None);
    let client = Client::new(args.policy(), Arc::new(SystemResolver), followed);
    let (key_sets, changes) = KeySets::new(client);
    let key_sets = Arc::new(key_sets);
    (Arc::clone(&key_sets), Feed { key_sets, changes, ca_file: args.outbound_ca_file.clone(), roots })
}

/// Updates the key sets, and reports their changes.
pub(super) struct Feed {
    key_sets: Arc<KeySets>,
    changes: UnboundedReceiver<Change>,
    ca_file: Option<PathBuf>,
    roots: watch::Sender<Option<Arc<str>>>,
}

impl Feed {
    /// Runs until the watches end. `followers` receive which Applications have other keys, like any other change.
    pub(super) async fn run(
        mut self,
        cache: Cache,
        mut updates: Subscription,
        followers: Vec<WeakUnboundedSender<Update>>,
    ) {
        let mut ca = match self.ca_file.take() {
            // Without the CA, the first requests would fail.
            Some(file) => ca_file::follow("--outbound-ca-file", file).await,
            None => watch::channel(None).1,
        };
        self.roots.send_replace(ca.borrow_and_update().clone());
        loop {
            tokio::select! {
                update = updates.recv() => match update {
                    Some(Update::Affected(affected)) => self.follow(&cache, &affected),
                    Some(Update::Listed(_)) => {}
                    None => return,
                },
                Some(change) = self.changes.recv() => publish(&cache, &change, &followers),
                Ok(()) = ca.changed() => drop(self.roots.send_replace(ca.borrow_and_update().clone())),
            }
        }
    }

    /// Only a change of an Application changes its sources.
    fn follow(&self, cache: &Cache, affected: &Invalidation) {
        for key in affected.applications.iter().filter(|_| affected.kind == Kind::Application) {
            let application = cache.application(key).filter(|application| !is_deleting(application.as_ref()));
            let sources = application.as_deref().map(sources_of).unwrap_or_default();
            let created = application.as_ref().and_then(|application| application.metadata.creation_timestamp.as_ref());
            let created = created.map_or(Timestamp::MAX, |created| created.0);
            self.key_sets.set_application(&key.namespace, &key.name, sources, created);
        }
    }
}

fn publish(cache: &Cache, change: &Change, followers: &[WeakUnboundedSender<Update>]) {
    let key = |name: &Arc<str>| ObjectRef { namespace: Arc::clone(&change.namespace), name: Arc::clone(name) };
    let applications = change.applications.iter().map(key).collect();
    let affected = Arc::new(Invalidation::of_keys(&cache.relations(), applications));
    for follower in followers.iter().filter_map(WeakUnboundedSender::upgrade) {
        // A closed follower needs no updates.
        let _ = follower.send(Update::Affected(Arc::clone(&affected)));
    }
}
