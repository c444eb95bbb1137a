//! The public keys that clients publish at a URL (`jwks_uri`, RFC 7591 §2): fetched in the background, never by a request.
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

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::crypto::random;
use crate::outbound::Client;
use crate::util::error_chain::display_chain;

use schedule::{Schedule, Step};

pub use document::Keys;
pub use problem::Problem;
pub use schedule::State;

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
    namespaces: Mutex<HashMap<Arc<str>, (Arc<Namespace>, AbortOnDropHandle<()>)>>,
}

/// The key sets of one namespace.
struct Namespace {
    name: Arc<str>,
    schedule: Mutex<Schedule>,
    /// The schedule has changed.
    changed: Notify,
}

impl KeySets {
    /// No key sets, and the receiver of the changes.
    #[must_use]
    pub fn new(client: Client) -> (Self, mpsc::UnboundedReceiver<Change>) {
        let (changes, changed) = mpsc::unbounded_channel();
        let permits = Arc::new(Semaphore::new(REQUESTS_MAX));
        (Self { client: Arc::new(client), permits, changes, namespaces: Mutex::default() }, changed)
    }

    /// Records the URL of an Application and when the Application was created; `None`: it has no URL, or does not exist.
    /// Must be called in a runtime.
    pub fn set_application(&self, namespace: &Arc<str>, name: &Arc<str>, url: Option<(&str, Timestamp)>) {
        let mut namespaces = lock(&self.namespaces);
        if url.is_none() && !namespaces.contains_key(namespace) {
            return;
        }
        let (entry, _) = namespaces.entry(Arc::clone(namespace)).or_insert_with(|| self.start(namespace));
        let (affected, is_unused) = {
            let mut schedule = lock(&entry.schedule);
            (schedule.set_application(name, url, Instant::now()), schedule.is_unused())
        };
        entry.changed.notify_one();
        publish(&self.changes, namespace, affected);
        if is_unused {
            namespaces.remove(namespace);
        }
    }

    /// What is known of a URL of the namespace.
    #[must_use]
    pub fn state(&self, namespace: &str, url: &str) -> State {
        let namespaces = lock(&self.namespaces);
        namespaces.get(namespace).map(|(namespace, _)| lock(&namespace.schedule).state(url)).unwrap_or_default()
    }

    /// Fetches the keys of an Application soon, because a client has signed with a key that is not among them. Returns what is
    /// known of them; `None`: the Application has no URL.
    pub fn refresh(&self, namespace: &str, application: &str) -> Option<State> {
        let namespaces = lock(&self.namespaces);
        let (namespace, _) = namespaces.get(namespace)?;
        let mut schedule = lock(&namespace.schedule);
        let url = Arc::clone(schedule.url(application)?);
        schedule.refresh(&url, Instant::now());
        namespace.changed.notify_one();
        Some(schedule.state(&url))
    }

    fn start(&self, name: &Arc<str>) -> (Arc<Namespace>, AbortOnDropHandle<()>) {
        let namespace =
            Arc::new(Namespace { name: Arc::clone(name), schedule: Mutex::default(), changed: Notify::new() });
        let (client, permits) = (Arc::clone(&self.client), Arc::clone(&self.permits));
        let work = work(Arc::clone(&namespace), client, permits, self.changes.clone());
        (namespace, AbortOnDropHandle::new(tokio::spawn(work)))
    }
}

/// Fetches what is due in one namespace, one URL after the other.
async fn work(
    namespace: Arc<Namespace>,
    client: Arc<Client>,
    permits: Arc<Semaphore>,
    changes: mpsc::UnboundedSender<Change>,
) {
    loop {
        let step = lock(&namespace.schedule).step(Instant::now());
        match step {
            Step::Fetch { url, etag } => {
                let result = {
                    // First come, first served: the other namespaces have one request each before the next one of this.
                    let Ok(_permit) = permits.acquire().await else { return };
                    client.get(&url, etag.as_ref()).await
                };
                if let Err(error) = &result {
                    let (namespace, error) = (&namespace.name, display_chain(error));
                    tracing::debug!(%namespace, %url, error, "a key set was not fetched");
                }
                let affected = lock(&namespace.schedule).finish(&url, result, Instant::now(), jitter());
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
