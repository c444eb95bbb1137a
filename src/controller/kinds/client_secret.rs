//! ClientSecret: gather, decide, deliver, report.

mod credential_entries;
mod delivery;
mod events;
pub(crate) mod import;
pub(crate) mod import_checks;
pub(crate) mod inspect;
pub(crate) mod inspected;
pub(crate) mod issued_value;
pub(crate) mod key_pairs;
pub(crate) mod pending_values;
pub(crate) mod rekey;
mod rollout;
pub(crate) mod secret_content;

use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Secret;

use crate::api::ClientSecret;
use crate::api::client_secret::{ClientSecretStatus, RotationCause};
use crate::cache::{ObjectRef, is_deleting};
use crate::clock::Clock;
use crate::controller::gather::describe;
use crate::controller::runtime::due_scan;
use crate::controller::runtime::event_recorder::client_id_changed;
use crate::controller::runtime::repair_schedule::changed;
use crate::controller::runtime::work_queue::{Queue, Requeue};
use crate::controller::{Context, Error};
use crate::plan::client_secret::{
    Action, ApplicationState, Contents, Delivered, Issued, Observed, Outcome, Rollout, decide, next_due, status,
};
use crate::plan::precedence::Place;
use crate::plan::secret_content::Content;
use delivery::Created;
use import_checks::{Compared, active};
use inspect::{Seen, delivered_key};
use issued_value::IssuedValue;
use secret_content::Difference;

/// No watch reports a Secret of another owner, a workload before its restart, or the release of a name. While one of
/// them blocks a ClientSecret, the controller polls at this interval.
const CONFLICT_POLL_INTERVAL: Duration = Duration::from_mins(1);
/// Workloads are polled only during a rollout.
const ROLLOUT_POLL_INTERVAL: Duration = Duration::from_secs(3);
/// A rollout that waits for a user is polled less often, because it can wait for long.
const STUCK_POLL_INTERVAL: Duration = Duration::from_secs(20);
/// A slow restart is polled with increasing intervals: the interval is this share of the elapsed time, …
const ROLLOUT_SHARE: i32 = 8;
/// … and at most this long.
const ROLLOUT_POLL_INTERVAL_MAX: Duration = Duration::from_mins(1);

/// The queues of work for which no reconciliation waits: the ClientSecret is reconciled again after it.
#[derive(Clone)]
pub(crate) struct SlowWork {
    /// ClientSecrets whose imported value has to be hashed.
    pub(crate) imports: Queue,
    /// ClientSecrets whose RSA key pair has to be generated.
    pub(crate) key_pairs: Queue,
}

pub(crate) async fn reconcile<C: Clock>(
    secret: Arc<ClientSecret>,
    context: Arc<Context<C>>,
    slow: SlowWork,
) -> Result<Requeue, Error> {
    if is_deleting(secret.as_ref()) || context.expectations.is_stale(secret.as_ref()) {
        return Ok(Requeue::AwaitChange);
    }
    let key = ObjectRef::of(secret.as_ref());
    if context.cache.namespace(&key.namespace).terminating {
        return Ok(Requeue::AwaitChange);
    }
    let Place { rank, has_older_claimant } = context.place(&secret);
    // A ClientSecret beyond the limit is only counted: the controller reads nothing for it.
    let is_counted_only = rank >= context.settings.policy.limit;
    let application = if is_counted_only { ApplicationState::Missing } else { context.application_state(&secret) };
    let found = match &application {
        ApplicationState::Known { content, .. } => match context.delivered(&secret, content).await? {
            Seen::CacheStale => return Ok(Requeue::AwaitChange),
            Seen::Later(wait) => return Ok(Requeue::After(wait)),
            Seen::Now(found) => found,
        },
        _ => Delivered::Unknown.into(),
    };
    let import = if is_counted_only { None } else { context.import_of(&secret).await? };
    let (uses, requested) = (context.cache.uses_of(&key), context.cache.rotation_request(&key));
    let workloads = if is_counted_only { Vec::new() } else { context.workloads_of(&secret).await? };
    let unavailable = if is_counted_only { Vec::new() } else { context.unavailable_workloads(&secret).await? };
    let (policy, now) = (&context.settings.policy, context.clock.now());
    let secret = secret.as_ref();
    let contested = || context.repairs.contested(&delivered_key(secret), Instant::now()).unzip();
    let mut observed = Observed {
        secret,
        application,
        rank,
        has_older_claimant,
        delivered: found.delivered,
        secret_uid: found.uid,
        import,
        uses,
        requested,
        workloads,
        unavailable,
        contested: contested().0,
        rekeyed: context.rekeyed(secret, found.read.as_deref())?,
        unknown_install_key: context.unknown_install_key(secret),
        policy,
        now,
    };
    let done = match context.act(&mut observed, found.read).await {
        Ok(done) => done,
        Err(error) => {
            context.report_refusal(&observed, &error).await?;
            return Err(error);
        }
    };
    match done {
        // The watch delivers the new status and the new Secret, which trigger the remaining reports.
        Done::Staged => Ok(Requeue::AwaitChange),
        Done::Waits => {
            let queue = if secret.spec.existing().is_some() { slow.imports } else { slow.key_pairs };
            queue.push(key);
            Ok(Requeue::AwaitChange)
        }
        Done::Outcome(outcome) => {
            context.pending_values.forget(&key);
            context.pending_keys.forget(&key);
            let (still_contested, contested_for) = contested();
            observed.contested = still_contested;
            let wanted = status(&observed, &outcome);
            let due = due_scan::next(next_due(&secret.spec, &wanted, policy, now), now);
            let next = poll_interval(&observed).into_iter().chain(contested_for).fold(due, Requeue::min);
            if let Some(wait) = context.only_uses_are_new(secret, &wanted) {
                return Ok(next.min(wait));
            }
            context.publish_status(secret, &wanted).await?;
            context.recovery.done(&key);
            Ok(next)
        }
    }
}

/// The result of the action.
enum Done {
    /// A new value was recorded in status, then written into the Secret.
    Staged,
    /// Nothing yet: the imported value has to be hashed first, or the key pair to be generated.
    Waits,
    /// A result that the status reports.
    Outcome(Outcome),
}

/// The poll interval for objects that no watch reports.
fn poll_interval(observed: &Observed<'_>) -> Option<Duration> {
    let is_blocked =
        matches!(observed.delivered, Delivered::Foreign | Delivered::OtherType | Delivered::Terminating { .. })
            || observed.has_older_claimant
            || !observed.unavailable.is_empty();
    let rolling_since = || Some(observed.secret.status.as_ref()?.rotation.as_ref()?.since);
    let interval =
        rolling_since().and_then(|since| (observed.now.duration_since(since) / ROLLOUT_SHARE).try_into().ok());
    let interval = interval.unwrap_or(ROLLOUT_POLL_INTERVAL);
    let rolls = |(_, rollout): &(_, Rollout)| match rollout {
        Rollout::Outdated | Rollout::Progressing(_) => {
            Some(interval.clamp(ROLLOUT_POLL_INTERVAL, ROLLOUT_POLL_INTERVAL_MAX))
        }
        // A user has to act.
        Rollout::Missing | Rollout::Stuck(_) => Some(interval.clamp(STUCK_POLL_INTERVAL, ROLLOUT_POLL_INTERVAL_MAX)),
        // The user ends this state with a change of the spec, which is an event.
        Rollout::Disabled | Rollout::Done => None,
    };
    is_blocked.then_some(CONFLICT_POLL_INTERVAL).or_else(|| observed.workloads.iter().filter_map(rolls).min())
}

impl<C: Clock> Context<C> {
    /// Executes the decision. If the Secret is not the expected one, the controller decides once more. `found` is the
    /// Secret, if it was read.
    async fn act(&self, observed: &mut Observed<'_>, mut found: Option<Box<Secret>>) -> Result<Done, Error> {
        let owner = observed.secret;
        if decide(observed) == Action::Create {
            let ApplicationState::Known { content, .. } = &observed.application else { return Ok(UNCHANGED) };
            let Some(value) = self.generate(owner)? else { return Ok(Done::Waits) };
            match self.create(owner, &value, content).await {
                Ok(Created::Done(uid)) => {
                    observed.secret_uid = uid;
                    return self.issued(owner, &value).map(Outcome::Issued).map(Done::Outcome);
                }
                Err(error) => {
                    self.keep_unused(owner, value.text);
                    return Err(error);
                }
                Ok(Created::AlreadyExists) => {
                    self.keep_unused(owner, value.text);
                    let live = self.delivered_live(owner, content).await?;
                    (observed.delivered, observed.secret_uid, found) = (live.delivered, live.uid, live.read);
                }
            }
        }
        let action = decide(observed);
        let ApplicationState::Known { content, .. } = &observed.application else { return Ok(UNCHANGED) };
        match action {
            Action::None => return Ok(UNCHANGED),
            // The Secret was deleted between two reads; the next reconciliation detects this.
            Action::Create => return Err(Error::Conflict { object: describe(owner) }),
            Action::Import(_) => return self.imported(observed).await,
            Action::RollOut => {
                self.roll_out(owner, &mut observed.workloads).await?;
                return Ok(UNCHANGED);
            }
            Action::Stage(cause) if observed.delivered == Delivered::Absent => {
                return self.stage(observed, cause, content, None).await;
            }
            Action::Deliver if observed.delivered == Delivered::Absent => {
                let Some(value) = self.imported_value(owner).await? else { return Ok(Done::Waits) };
                match self.create(owner, &value, content).await? {
                    Created::AlreadyExists => observed.delivered = self.delivered_live(owner, content).await?.delivered,
                    Created::Done(uid) => {
                        observed.secret_uid = uid;
                        self.import_checks.forget(&ObjectRef::of(owner));
                    }
                }
                return Ok(UNCHANGED);
            }
            _ => {}
        }
        let found = match found {
            Some(found) => found,
            None => self.read_own(owner).await?.ok_or_else(|| Error::Conflict { object: describe(owner) })?,
        };
        self.change(observed, action, content, &found).await
    }

    /// Executes the decision about a Secret that Postern owns.
    async fn change(
        &self,
        observed: &Observed<'_>,
        action: Action,
        content: &Content,
        found: &Secret,
    ) -> Result<Done, Error> {
        let owner = observed.secret;
        let held = || self.held(owner, found).ok_or_else(|| Error::Conflict { object: describe(owner) });
        match action {
            Action::Stage(cause) => self.stage(observed, cause, content, Some(found)).await,
            Action::Remove => self.remove(owner, found).await.map(|()| Done::Outcome(Outcome::Removed)),
            Action::Deliver => {
                let Some(value) = self.imported_value(owner).await? else { return Ok(Done::Waits) };
                let difference = self.update_secret(owner, found, &value, content).await?;
                self.note_repair(observed, found, difference);
                self.import_checks.forget(&ObjectRef::of(owner));
                Ok(UNCHANGED)
            }
            Action::Repair => {
                let difference = self.update_secret(owner, found, &held()?, content).await?;
                self.note_repair(observed, found, difference);
                Ok(UNCHANGED)
            }
            // No value of this ClientSecret is in use yet, so this one is recorded second, like every first one.
            Action::Replace => {
                let Some(value) = self.generate(owner)? else { return Ok(Done::Waits) };
                if let Err(error) = self.update_secret(owner, found, &value, content).await {
                    self.keep_unused(owner, value.text);
                    return Err(error);
                }
                events::replaced(&self.events, owner);
                self.report_other_client_id(owner, content, found);
                self.issued(owner, &value).map(Outcome::Issued).map(Done::Outcome)
            }
            Action::Adopt => self.issued(owner, &held()?).map(Outcome::Issued).map(Done::Outcome),
            Action::None | Action::Create | Action::Import(_) | Action::RollOut => Ok(UNCHANGED),
        }
    }

    /// Records and reports the repair of a change by another client. Postern's own updates (an added scope, another
    /// issuer) are not reported.
    fn note_repair(&self, observed: &Observed<'_>, found: &Secret, difference: Option<Difference>) {
        let Delivered::Ours { contents: contents @ (Contents::Changed | Contents::Relabelled), .. } =
            observed.delivered
        else {
            return;
        };
        let Some(difference) = difference else { return };
        let what = changed(found, &difference);
        events::repaired(&self.events, observed.secret, &what);
        if contents == Contents::Relabelled {
            self.repairs.note(&delivered_key(observed.secret), Instant::now(), what);
        }
    }

    /// Records a new value, so that every replica knows it, then writes it into the Secret.
    async fn stage(
        &self,
        observed: &Observed<'_>,
        cause: RotationCause,
        content: &Content,
        found: Option<&Secret>,
    ) -> Result<Done, Error> {
        let owner = observed.secret;
        let (value, issued) = if let Some(staged) = self.staged_before(owner) {
            staged
        } else {
            let Some(value) = self.generate(owner)? else {
                // A lost key pair ends now, not when the next one is there.
                self.publish_status(owner, &status(observed, &Outcome::Generating(cause))).await?;
                return Ok(Done::Waits);
            };
            let issued = self.issued(owner, &value)?;
            (value, issued)
        };
        self.publish_status(owner, &status(observed, &Outcome::Staged(issued, cause))).await?;
        let delivered = match found {
            Some(found) => self.update_secret(owner, found, &value, content).await.map(|_| Created::Done(None)),
            None => self.create(owner, &value, content).await,
        };
        match delivered {
            Ok(Created::Done(_)) => Ok(Done::Staged),
            Ok(Created::AlreadyExists) => Err(Error::Conflict { object: describe(owner) }),
            Err(error) => {
                // If the write succeeded anyway, the next reconciliation finds the value. If each attempt recorded a
                // new value, the event about that record would trigger the next attempt immediately.
                self.pending_values.keep(&ObjectRef::of(owner), value);
                Err(error)
            }
        }
    }

    /// The last recorded value and its version, if the API server refused to write it into the Secret.
    fn staged_before(&self, owner: &ClientSecret) -> Option<(IssuedValue, Issued)> {
        let newest = owner.status.as_ref()?.versions.first()?;
        let value = self.pending_values.take(&ObjectRef::of(owner), &newest.id)?;
        let (id, verification) = (newest.id.clone(), newest.verification.clone());
        let issued = Issued { id, verification, at: newest.created_at };
        self.is_value_of(owner, newest, &value).then_some((value, issued))
    }

    /// Reports that the API server refuses the Secret. If another change was recorded just before, the next
    /// reconciliation reports the refusal.
    async fn report_refusal(&self, observed: &Observed<'_>, error: &Error) -> Result<(), Error> {
        let Some(refusal) = error.refusal().filter(|_| matches!(error, Error::Delivery { .. })) else { return Ok(()) };
        if self.expectations.is_stale(observed.secret) {
            return Ok(());
        }
        let what = describe(observed.secret);
        let refused = self.refusals.record_failure(&what, Instant::now(), &refusal.message);
        self.publish_status(observed.secret, &status(observed, &Outcome::Refused(refused.message))).await
    }

    /// The wait if only the last use is new: several uses are reported together.
    fn only_uses_are_new(&self, owner: &ClientSecret, wanted: &ClientSecretStatus) -> Option<Duration> {
        let told = owner.status.as_ref().filter(|told| *told != wanted)?;
        let mut but_for_uses = wanted.clone();
        but_for_uses.last_used_at = told.last_used_at;
        for version in &mut but_for_uses.versions {
            let known = told.versions.iter().find(|known| known.id == version.id);
            version.last_used_at = known.and_then(|known| known.last_used_at);
        }
        (but_for_uses == *told).then(|| self.use_throttle.wait(&ObjectRef::of(owner), Instant::now())).flatten()
    }

    /// Writes the status, and events about its changes.
    async fn publish_status(&self, owner: &ClientSecret, wanted: &ClientSecretStatus) -> Result<(), Error> {
        self.write_status(owner, wanted).await?;
        events::record(&self.events, owner, wanted);
        Ok(())
    }

    /// Reports that a Secret of an earlier ClientSecret was delivered for another client id. The status of the
    /// Application does not contain that id, because backup tools omit status.
    fn report_other_client_id(&self, owner: &ClientSecret, content: &Content, found: &Secret) {
        let application = self.cache.application(&ObjectRef::of(owner).sibling(&owner.spec.application_ref.name));
        let Some((application, (key, now))) = application.zip(content.client_id()) else { return };
        let before = found.data.as_ref().and_then(|data| std::str::from_utf8(&data.get(key)?.0).ok());
        if let Some(before) = before.filter(|before| !before.is_empty() && *before != now) {
            client_id_changed(&self.events, &application, before, now);
        }
    }

    /// Checks the value to import: a different one immediately becomes a new version.
    async fn imported(&self, observed: &mut Observed<'_>) -> Result<Done, Error> {
        let owner = observed.secret;
        let Some((found, compared)) = self.checked_import(owner).await? else { return Ok(Done::Waits) };
        let key = ObjectRef::of(owner);
        let issued = match compared {
            Compared::Same(rekeyed) => {
                self.import_checks.forget(&key);
                observed.rekeyed.extend(active(owner).map(|newest| newest.id.clone()).zip(rekeyed));
                None
            }
            Compared::Other(issued) => {
                // The value is delivered next, and is known by then.
                self.import_checks.keep(&key, found.source.clone(), Some(issued.id.clone()), Compared::Same(None));
                Some(issued)
            }
        };
        Ok(Done::Outcome(Outcome::Imported(found.source, issued)))
    }

    /// The imported value as the active version; `None`: it has to be hashed first.
    async fn imported_value(&self, owner: &ClientSecret) -> Result<Option<IssuedValue>, Error> {
        let Some((found, compared)) = self.checked_import(owner).await? else { return Ok(None) };
        match (active(owner), compared) {
            (Some(newest), Compared::Same(_)) => Ok(Some(IssuedValue {
                id: newest.id.clone(),
                text: found.value,
                key_pair: None,
                at: newest.created_at,
            })),
            // The source has changed since the value was recorded.
            _ => Err(Error::Conflict { object: describe(owner) }),
        }
    }
}

const UNCHANGED: Done = Done::Outcome(Outcome::Unchanged);
