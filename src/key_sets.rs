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

pub mod document;
mod problem;
mod schedule;
pub mod source;

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

use document::Answer;
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

/// The key sets of one namespace. Its lock is never taken together with that of the map: a large namespace delays no other.
struct Namespace {
    name: Arc<str>,
    /// `None`: no Application had a source, and whoever changes the sources must begin with another `Namespace`.
    schedule: Mutex<Option<Schedule>>,
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
        loop {
            let Some(entry) = self.entry(namespace, published.is_some()) else { return };
            let mut schedule = lock(&entry.schedule);
            if let Some(open) = schedule.as_mut() {
                let affected = open.set_application(name, published, Instant::now());
                let is_unused = open.is_unused();
                if is_unused {
                    *schedule = None;
                }
                drop(schedule);
                entry.changed.notify_one();
                publish(&self.changes, namespace, affected);
                if is_unused {
                    self.remove(&entry);
                }
                return;
            }
            drop(schedule);
            // Another call has closed it, and has not removed it yet.
            self.remove(&entry);
        }
    }

    /// What is known of a source of the namespace.
    #[must_use]
    pub fn state(&self, namespace: &str, source: &Source) -> State {
        let state = |schedule: &mut Schedule| schedule.state(source, Instant::now());
        self.with(namespace, state).unwrap_or_default()
    }

    /// The source of an Application for the keys of this issuer, or, without an issuer, for those of the client itself;
    /// `None`: it has none.
    #[must_use]
    pub fn source(&self, namespace: &str, application: &str, issuer: Option<&str>) -> Option<Source> {
        self.with(namespace, |schedule| schedule.source(application, issuer).cloned())?
    }

    /// Fetches a source of the namespace soon: there may be newer keys.
    pub fn refresh(&self, namespace: &str, source: &Source) {
        let Some(entry) = self.find(namespace) else { return };
        if let Some(schedule) = lock(&entry.schedule).as_mut() {
            schedule.refresh(source, Instant::now());
        }
        entry.changed.notify_one();
    }

    fn with<T>(&self, namespace: &str, read: impl FnOnce(&mut Schedule) -> T) -> Option<T> {
        let entry = self.find(namespace)?;
        lock(&entry.schedule).as_mut().map(read)
    }

    fn find(&self, namespace: &str) -> Option<Arc<Namespace>> {
        lock(&self.namespaces).get(namespace).map(|(entry, _)| Arc::clone(entry))
    }

    /// The entry of a namespace, which is created if `creates`.
    fn entry(&self, namespace: &Arc<str>, creates: bool) -> Option<Arc<Namespace>> {
        if !creates {
            return self.find(namespace);
        }
        let mut namespaces = lock(&self.namespaces);
        let (entry, _) = namespaces.entry(Arc::clone(namespace)).or_insert_with(|| self.start(namespace));
        Some(Arc::clone(entry))
    }

    /// Removes a closed entry from the map, and ends its worker. A newer entry of the namespace stays.
    fn remove(&self, closed: &Arc<Namespace>) {
        let mut namespaces = lock(&self.namespaces);
        if namespaces.get(&closed.name).is_some_and(|(entry, _)| Arc::ptr_eq(entry, closed)) {
            namespaces.remove(&closed.name);
        }
    }

    fn start(&self, name: &Arc<str>) -> (Arc<Namespace>, AbortOnDropHandle<()>) {
        let namespace = Arc::new(Namespace {
            name: Arc::clone(name),
            schedule: Mutex::new(Some(Schedule::default())),
            changed: Notify::new(),
        });
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
        let Some(step) = lock(&namespace.schedule).as_mut().map(|schedule| schedule.step(Instant::now())) else {
            return;
        };
        match step {
            Step::Fetch { source, etag } => {
                let result = {
                    // First come, first served: the other namespaces have one request each before the next one of this.
                    let Ok(_permit) = permits.acquire().await else { return };
                    // Decoded before the schedule is locked, because requests read the schedule.
                    source.fetch(&client, etag.as_ref()).await.and_then(Answer::decode)
                };
                if let Err(error) = &result {
                    let (namespace, url, error) = (&namespace.name, source.url(), display_chain(error));
                    tracing::debug!(%namespace, url, error, "a key set was not fetched");
                }
                let finish = |schedule: &mut Schedule| schedule.finish(&source, result, Instant::now(), jitter());
                let affected = lock(&namespace.schedule).as_mut().map(finish);
                publish(&changes, &namespace.name, affected.unwrap_or_default());
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
