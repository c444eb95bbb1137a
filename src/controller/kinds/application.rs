//! Application: reports its client and the permissions that the client can request.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::api::Application;
use crate::api::application::ApplicationStatus;
use crate::api::conditions::types;
use crate::cache::{ObjectRef, is_deleting};
use crate::clock::Clock;
use crate::controller::runtime::propagation::required_revisions;
use crate::controller::runtime::work_queue::{Queue, Requeue};
use crate::controller::runtime::{due_scan, event_recorder};
use crate::controller::{CONCURRENCY, Context, Error};
use crate::plan::application::{is_propagated, status};

/// `secrets` is the queue of ClientSecrets. While keys of the namespace wait, the count is delayed: credentials have
/// priority and will change the count.
pub(crate) async fn reconcile<C: Clock>(
    object: Arc<Application>,
    context: Arc<Context<C>>,
    secrets: Queue,
) -> Result<Requeue, Error> {
    if is_deleting(object.as_ref()) || context.expectations.is_stale(object.as_ref()) {
        return Ok(Requeue::AwaitChange);
    }
    context.signing_algorithms.request(&ObjectRef::of(object.as_ref()), object.spec.signing_algorithm());
    let facts = context.application_facts(&object);
    let wanted = status(&facts.observed(&context, &object, context.secret_counts(&object)));
    let told = object.status.clone().unwrap_or_default();
    let waits_for =
        (!is_propagated(&wanted)).then(|| required_revisions(&object, facts.user.as_deref(), &context.cache));
    context.propagation.watch_for(&ObjectRef::of(object.as_ref()), waits_for);
    if let Some(wait) = wait(&context, &object, &wanted, &secrets) {
        return Ok(Requeue::After(wait));
    }
    context.write_status(object.as_ref(), &wanted).await?;
    if let (Some(before), Some(now)) = (&told.client_id, &wanted.client_id)
        && before != now
    {
        event_recorder::client_id_changed(&context.events, &object, before, now);
    }
    event_recorder::refusal(&context.events, object.as_ref(), &told.conditions, &wanted.conditions, types::READY);
    event_recorder::lockout(&context.events, &object, &told, &wanted);
    Ok(due_scan::next(wanted.locked_until, context.clock.now()))
}

/// How long to wait if only the last uses of methods, further locks, or the count of ClientSecrets, are new: several are
/// written together.
fn wait<C: Clock>(
    context: &Context<C>,
    object: &Application,
    wanted: &ApplicationStatus,
    secrets: &Queue,
) -> Option<Duration> {
    let told = object.status.as_ref().filter(|told| *told != wanted)?;
    let (key, now) = (ObjectRef::of(object), Instant::now());
    let mut but_for = ApplicationStatus {
        auth_methods: told.auth_methods.clone(),
        locked_until: told.locked_until,
        locked_sources: told.locked_sources.clone(),
        ..wanted.clone()
    };
    if but_for == *told {
        return context.method_use_throttle.wait(&key, now);
    }
    but_for.secrets.clone_from(&told.secrets);
    if but_for != *told {
        return None;
    }
    let others_wait = secrets.waiting_in(&key.namespace) > CONCURRENCY;
    if others_wait {
        context.count_throttle.wait_low_priority(&key, now)
    } else {
        context.count_throttle.wait(&key, now)
    }
}
