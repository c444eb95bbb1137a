//! Kubernetes Events for users: a credential was issued, refused, repaired. There is no event per request, and no event
//! contains a secret.
//!
//! A background task writes the events one at a time, so that they do not slow down a burst of work. Namespaces take
//! turns, so a burst in one of them does not delay the events of another.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime, ObjectMeta};
use kube::api::Patch;
use kube::{Api, Client, Resource, ResourceExt};
use serde_json::json;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::event_series::Recent;
use super::round_robin::RoundRobin;
use super::write_params;
use crate::api::Application;
use crate::api::application::ApplicationStatus;
use crate::api::conditions::{is_switched_off, reasons, types};
use crate::api::names::GROUP;
use crate::api::printable::printable;
use crate::clock::Clock;
use crate::util::error_chain::display_chain;
use crate::util::fair_share::{FairShare, TRIPLE};
use crate::util::timing::duty_cycle::DutyCycle;

/// Limit of queued events, twice that of client-go, shared by all namespaces. Further events are dropped: the
/// conditions contain the same facts, and each queued event takes 400 bytes.
const BACKLOG: usize = 2_000;
/// Minimum pause after each event.
const PAUSE: Duration = Duration::from_millis(20);
/// More queued events than this are a burst. Events about ten thousand credentials must not slow down their creation;
/// events about a few objects are written immediately.
const BURST_THRESHOLD: usize = 25;
/// The pauses in a burst: a busy API server gets fewer requests. After it has hung, events resume soon.
const BURST: DutyCycle = DutyCycle { factor: 20, min: PAUSE, max: Duration::from_secs(2) };
/// `note` may have at most 1 KiB (events.k8s.io/v1).
const NOTE_LENGTH_MAX: usize = 1024;

/// The namespace where Kubernetes stores events about cluster-scoped objects.
const CLUSTER_SCOPED_NAMESPACE: &str = "default";

/// An event about an object.
#[derive(Debug)]
pub(crate) struct PendingEvent {
    regarding: ObjectReference,
    warning: bool,
    reason: String,
    action: &'static str,
    text: String,
}

impl PendingEvent {
    /// The namespace that stores the event.
    fn namespace(&self) -> &str {
        self.regarding.namespace.as_deref().unwrap_or(CLUSTER_SCOPED_NAMESPACE)
    }
}

/// Adds notes to the queue.
#[derive(Clone)]
pub(crate) struct Sender(Arc<Waiting>);

#[derive(Default)]
struct Waiting {
    backlog: Mutex<Backlog>,
    added: Notify,
}

struct Backlog {
    turns: RoundRobin<PendingEvent>,
    room: FairShare<Arc<str>>,
    /// Number of the newest note.
    last: u64,
}

impl Default for Backlog {
    fn default() -> Self {
        Self { turns: RoundRobin::default(), room: FairShare::new(TRIPLE, BACKLOG), last: 0 }
    }
}

impl Backlog {
    /// Adds the note; returns false if the queue is full.
    fn add(&mut self, note: PendingEvent) -> bool {
        let namespace: Arc<str> = note.namespace().into();
        let has_room = self.room.take(&namespace);
        if has_room {
            self.last += 1;
            self.turns.add(&namespace, self.last, note);
        }
        has_room
    }

    /// The first note of the namespace whose turn it is, and the number of notes that remain.
    fn take(&mut self) -> Option<(PendingEvent, usize)> {
        let note = self.turns.take(|_| true)?;
        self.room.free(&note.namespace().into());
        Some((note, self.room.used()))
    }
}

impl Sender {
    /// Reports a success.
    pub(crate) fn normal<K: Resource<DynamicType = ()>>(
        &self,
        about: &K,
        reason: impl Into<String>,
        action: &'static str,
        text: String,
    ) {
        self.send(PendingEvent {
            regarding: about.object_ref(&()),
            warning: false,
            reason: reason.into(),
            action,
            text,
        });
    }

    /// Reports a problem that a user should check.
    pub(crate) fn warning<K: Resource<DynamicType = ()>>(
        &self,
        about: &K,
        reason: impl Into<String>,
        action: &'static str,
        text: String,
    ) {
        self.send(PendingEvent {
            regarding: about.object_ref(&()),
            warning: true,
            reason: reason.into(),
            action,
            text,
        });
    }

    /// Reports something about an object that is not in the cache.
    pub(crate) fn about(
        &self,
        regarding: ObjectReference,
        warning: bool,
        reason: &str,
        action: &'static str,
        text: String,
    ) {
        self.send(PendingEvent { regarding, warning, reason: reason.to_owned(), action, text });
    }

    fn send(&self, note: PendingEvent) {
        if self.backlog().add(note) {
            self.0.added.notify_one();
        } else {
            tracing::debug!("too many events at once, one is dropped");
        }
    }

    async fn next(&self) -> (PendingEvent, usize) {
        loop {
            let added = self.0.added.notified();
            if let Some(next) = self.backlog().take() {
                return next;
            }
            added.await;
        }
    }

    fn backlog(&self) -> MutexGuard<'_, Backlog> {
        self.0.backlog.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts the task that writes events.
pub(crate) fn start(client: Client, clock: impl Clock, replica: String) -> Sender {
    let sender = Sender(Arc::default());
    let notes = sender.clone();
    tokio::spawn(async move {
        let mut recent = Recent::default();
        loop {
            let (note, waiting) = notes.next().await;
            let started = Instant::now();
            write(&client, event(note, &clock, &replica), &mut recent).await;
            tokio::time::sleep(pause_after(started.elapsed(), waiting)).await;
        }
    });
    sender
}

/// One of the operator's own Secrets.
pub(crate) fn own_secret(namespace: &str, name: &str) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Secret".to_owned()),
        namespace: Some(namespace.to_owned()),
        name: Some(name.to_owned()),
        ..ObjectReference::default()
    }
}

/// Reports that one of the operator's own Secrets cannot be used.
pub(crate) async fn about_own_secret(
    client: &Client,
    namespace: &str,
    name: &str,
    text: String,
    clock: &impl Clock,
    replica: &str,
) {
    let note = PendingEvent {
        regarding: own_secret(namespace, name),
        warning: true,
        reason: reasons::KEY_UNUSABLE.to_owned(),
        action: "Load",
        text,
    };
    write(client, event(note, clock, replica), &mut Recent::default()).await;
}

/// The pause after an event that took `took`, with `waiting` further events in the queue.
fn pause_after(took: Duration, waiting: usize) -> Duration {
    if waiting > BURST_THRESHOLD { BURST.pause(took) } else { PAUSE }
}

async fn write(client: &Client, event: Event, recent: &mut Recent) {
    let namespace = event.metadata.namespace.as_deref().unwrap_or(CLUSTER_SCOPED_NAMESPACE);
    let api = Api::<Event>::namespaced(client.clone(), namespace);
    let now = std::time::Instant::now();
    if let Some((name, count)) = recent.repeated(&event, now) {
        let series = json!({"series": {"count": count, "lastObservedTime": event.event_time}});
        match api.patch(&name, &write_params::patch(), &Patch::Merge(&series)).await {
            Ok(_) => return,
            // The first event was deleted.
            Err(error) => {
                tracing::debug!(error = display_chain(&error), "an event could not be counted, another one is written");
            }
        }
    }
    match api.create(&write_params::create(), &event).await {
        Ok(written) => recent.written(&event, written.name_any(), now),
        Err(error) => tracing::debug!(error = display_chain(&error), "an event could not be written"),
    }
}

fn event(note: PendingEvent, clock: &impl Clock, replica: &str) -> Event {
    let namespace = note.namespace().to_owned();
    let mut text = printable(&note.text, NOTE_LENGTH_MAX);
    if text.len() > NOTE_LENGTH_MAX {
        let end =
            (0..=NOTE_LENGTH_MAX - '…'.len_utf8()).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
        text.truncate(end);
        text.push('…');
    }
    Event {
        metadata: ObjectMeta {
            // The API server truncates the prefix, so an object with a name of 253 characters has events too.
            generate_name: Some(format!("{}-", note.regarding.name.as_deref().unwrap_or("postern"))),
            namespace: Some(namespace),
            ..ObjectMeta::default()
        },
        action: Some(note.action.to_owned()),
        event_time: Some(MicroTime(clock.now())),
        note: Some(text),
        reason: Some(note.reason),
        regarding: Some(note.regarding),
        reporting_controller: Some(format!("{GROUP}/controller")),
        reporting_instance: Some(replica.chars().take(128).collect()),
        type_: Some(if note.warning { "Warning" } else { "Normal" }.to_owned()),
        ..Event::default()
    }
}

/// A warning that the client id of an Application has changed.
pub(crate) fn client_id_changed(events: &Sender, application: &Application, before: &str, now: &str) {
    let text = format!(
        "The client id was {before} and is now {now}, because the Application was created again. Change what names the old \
         one. To keep it instead, create the Application again with spec.clientId: {before}."
    );
    events.warning(application, reasons::CLIENT_ID_CHANGED, "Register", text);
}

/// Reports that the secrets of a client were locked, or that the last lock has ended.
pub(crate) fn lockout(events: &Sender, application: &Application, before: &ApplicationStatus, now: &ApplicationStatus) {
    match (before.locked_until, now.locked_until) {
        (None, Some(_)) => {
            let networks: Vec<String> = now.locked_sources.iter().map(|source| source.network.to_string()).collect();
            let whom = if networks.is_empty() { "all callers".to_owned() } else { networks.join(", ") };
            let text = format!(
                "Several distinct wrong secrets were presented: secrets are refused for {whom}. To unlock, give the annotation \
                 postern.dev/unlock a new value."
            );
            events.warning(application, reasons::CLIENT_LOCKED, "Lock", text);
        }
        (Some(_), None) => {
            events.normal(
                application,
                reasons::CLIENT_UNLOCKED,
                "Unlock",
                "The secrets are accepted again.".to_owned(),
            );
        }
        _ => {}
    }
}

/// Reports that the condition `type_` has become False for a new reason, unless the change is in progress. The event is
/// a warning, unless the missing object may follow, for example when objects are applied in another order.
pub(crate) fn refusal<K: Resource<DynamicType = ()>>(
    events: &Sender,
    about: &K,
    before: &[Condition],
    after: &[Condition],
    type_: &str,
) {
    let find = |conditions: &[Condition], type_: &str| conditions.iter().find(|c| c.type_ == type_).cloned();
    let is_asked_for = type_ == types::READY && is_switched_off(after);
    let is_refusal = |now: &Condition| (now.status == "False" && now.reason != reasons::PENDING) || is_asked_for;
    let Some(now) = find(after, type_).filter(is_refusal) else { return };
    if find(before, type_).is_none_or(|before| before.reason != now.reason) {
        let may_come = find(after, types::RECONCILING).is_some_and(|reconciling| reconciling.status == "True");
        let tell = if may_come || is_asked_for { Sender::normal } else { Sender::warning };
        tell(events, about, now.reason, "Check", now.message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_written_with_longer_but_bounded_pauses_if_the_api_server_is_slow() {
        let pause = |milliseconds| pause_after(Duration::from_millis(milliseconds), BURST_THRESHOLD + 1).as_millis();
        assert_eq!([1, 2, 40, 500].map(pause), [20, 40, 800, 2_000]);
    }

    fn note(namespace: &str, name: &str) -> PendingEvent {
        let about = ObjectReference {
            namespace: Some(namespace.to_owned()),
            name: Some(name.to_owned()),
            ..ObjectReference::default()
        };
        PendingEvent {
            regarding: about,
            warning: false,
            reason: "Issued".to_owned(),
            action: "Issue",
            text: String::new(),
        }
    }

    #[test]
    fn a_namespace_with_many_events_delays_no_event_of_another_one() {
        let mut backlog = Backlog::default();
        let taken = (0..BACKLOG).filter(|number| backlog.add(note("a", &number.to_string()))).count();
        assert_eq!(taken, TRIPLE.alone(BACKLOG));
        assert!(backlog.add(note("b", "only")));
        let order: Vec<String> =
            std::iter::from_fn(|| backlog.take()).map(|(note, _)| note.regarding.name.unwrap_or_default()).collect();
        assert_eq!(order[..3], ["0", "only", "1"]);
        assert_eq!(order.len(), taken + 1);
        assert!(backlog.room.is_empty());
    }

    #[test]
    fn a_few_events_are_written_without_a_longer_pause() {
        assert_eq!(pause_after(Duration::from_millis(500), BURST_THRESHOLD), PAUSE);
    }
}
