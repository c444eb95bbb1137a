//! The public keys that clients publish at a URL (`jwks_uri`, RFC 7591 §2), and those of the issuers that clients trust:
//! fetched in the background, never by a request.
//!
//! ```text
//! set_application ─▶ Schedule of the namespace ─▶ worker of the namespace ─▶ outbound::Client ─▶ host of the tenant
//!                        │    ▲───────── finish ───────┘
//!                        └─▶ state (read without I/O), and a Change for whoever depends on the keys
//! ```
//!
//! Namespaces share nothing but the permits for requests: each has its own worker, which waits for one permit at a time. So the
//! slow hosts of a tenant delay only the keys of that tenant. A set is kept while its host cannot be reached, for a day.

mod document;
mod problem;
mod schedule;
mod source;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::crypto::random;
use crate::outbound::Client;
use crate::util::error_chain::display_chain;

use schedule::{Published, Schedule, Step};

pub use document::Keys;
pub use problem::Problem;
pub use schedule::State;
pub use source::Source;

/// Concurrent requests of the process. Each takes up to 0.3 MiB: its response, and the buffers of its connection.
const REQUESTS_MAX: usize = 32;

/// The keys, or the problem, of these Applications have changed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Change {
    /// Their namespace.
    pub namespace: Arc<str>,
    /// Their names.
    pub applications: Vec<Arc<str>>,
}

/// The key sets of all namespaces.
pub struct KeySets {
    client: Arc<Client>,
    permits: Arc<Semaphore>,
    changes: mpsc::UnboundedSender<Change>,
    namespaces: Mutex<HashMap<Arc<str>, Followed>>,
}

/// A namespace, and the task that fetches its key sets.
type Followed = (Arc<Namespace>, AbortOnDropHandle<()>);

/// The key sets of one namespace.
struct Namespace {
    name: Arc<str>,
    schedule: Mutex<Schedule>,
    /// The schedule has changed.
    changed: Notify,
}

impl fmt::Debug for KeySets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySets").finish_non_exhaustive()
    }
}

impl KeySets {
    /// No key sets, and the receiver of the changes.
    #[must_use]
    pub fn new(client: Client) -> (Self, mpsc::UnboundedReceiver<Change>) {
        let (changes, receiver) = mpsc::unbounded_channel();
        let permits = Arc::new(Semaphore::new(REQUESTS_MAX));
        (Self { client: Arc::new(client), permits, changes, namespaces: Mutex::default() }, receiver)
    }

    /// Key sets for a test that has no source.
    #[cfg(test)]
    pub(crate) fn empty() -> Self {
        use crate::outbound::{Policy, SystemResolver};
        let (_, roots) = tokio::sync::watch::channel(None);
        Self::new(Client::new(Policy::default(), Arc::new(SystemResolver), roots)).0
    }

    /// Records where the keys of an Application are published, which is nowhere if it does not exist, and when the
    /// Application was created. Must be called in a runtime.
    pub fn set_application(
        &self,
        namespace: &Arc<str>,
        name: &Arc<str>,
        sources: BTreeSet<Source>,
        created: Timestamp,
    ) {
        let published = (!sources.is_empty()).then_some(Published { created, sources });
        let mut namespaces = lock(&self.namespaces);
        if published.is_none() && !namespaces.contains_key(namespace) {
            return;
        }
        let (entry, _) = namespaces.entry(Arc::clone(namespace)).or_insert_with(|| self.start(namespace));
        let (affected, is_unused) = {
            let mut schedule = lock(&entry.schedule);
            (schedule.set_application(name, published, Instant::now()), schedule.is_unused())
        };
        entry.changed.notify_one();
        publish(&self.changes, namespace, affected);
        if is_unused {
            namespaces.remove(namespace);
        }
    }

    /// What is known of a source of the namespace.
    #[must_use]
    pub fn state(&self, namespace: &str, source: &Source) -> State {
        let namespaces = lock(&self.namespaces);
        let schedule = namespaces.get(namespace).map(|(namespace, _)| lock(&namespace.schedule));
        schedule.map(|schedule| schedule.state(source, Instant::now())).unwrap_or_default()
    }

    /// The source of an Application for the keys of this issuer, or, without an issuer, for those of the client itself;
    /// `None`: it has none.
    #[must_use]
    pub fn source(&self, namespace: &str, application: &str, issuer: Option<&str>) -> Option<Source> {
        let namespaces = lock(&self.namespaces);
        let (namespace, _) = namespaces.get(namespace)?;
        lock(&namespace.schedule).source(application, issuer).cloned()
    }

    /// Fetches a source of the namespace soon: there may be newer keys.
    pub fn refresh(&self, namespace: &str, source: &Source) {
        if let Some((namespace, _)) = lock(&self.namespaces).get(namespace) {
            lock(&namespace.schedule).refresh(source, Instant::now());
            namespace.changed.notify_one();
        }
    }

    fn start(&self, name: &Arc<str>) -> (Arc<Namespace>, AbortOnDropHandle<()>) {
        let namespace =
            Arc::new(Namespace { name: Arc::clone(name), schedule: Mutex::default(), changed: Notify::new() });
        let (client, permits) = (Arc::clone(&self.client), Arc::clone(&self.permits));
        let work = work(Arc::clone(&namespace), client, permits, self.changes.clone());
        (namespace, AbortOnDropHandle::new(tokio::spawn(work)))
    }
}

/// Fetches what is due in one namespace, one source after the other.
async fn work(
    namespace: Arc<Namespace>,
    client: Arc<Client>,
    permits: Arc<Semaphore>,
    changes: mpsc::UnboundedSender<Change>,
) {
    loop {
        let step = lock(&namespace.schedule).step(Instant::now());
        match step {
            Step::Fetch { source, etag } => {
                let result = {
                    // First come, first served: the other namespaces have one request each before the next one of this.
                    let Ok(_permit) = permits.acquire().await else { return };
                    source.fetch(&client, etag.as_ref()).await
                };
                if let Err(error) = &result {
                    let (namespace, url, error) = (&namespace.name, source.url(), display_chain(error));
                    tracing::debug!(%namespace, url, error, "a key set was not fetched");
                }
                let affected = lock(&namespace.schedule).finish(&source, result, Instant::now(), jitter());
                publish(&changes, &namespace.name, affected);
            }
            Step::Expired(affected) => publish(&changes, &namespace.name, affected),
            Step::Wait(Some(until)) => {
                let _ = tokio::time::timeout_at(until, namespace.changed.notified()).await;
            }
            Step::Wait(None) => namespace.changed.notified().await,
        }
    }
}

fn publish(changes: &mpsc::UnboundedSender<Change>, namespace: &Arc<str>, applications: Vec<Arc<str>>) {
    if !applications.is_empty() {
        // The receiver is dropped during shutdown.
        let _ = changes.send(Change { namespace: Arc::clone(namespace), applications });
    }
}

/// A random number in 0..1.
fn jitter() -> f64 {
    f64::from(u16::from_ne_bytes(random::bytes())) / 65_536.0
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
