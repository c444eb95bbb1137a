//! Application: reports its client and the permissions that the client can request.

use std::sync::Arc;
use std::time::Instant;

use crate::api::Application;
use crate::api::application::ApplicationStatus;
use crate::api::conditions::types;
use crate::cache::{Key, is_deleting};
use crate::clock::Clock;
use crate::controller::runtime::event_recorder;
use crate::controller::runtime::propagation::needed;
use crate::controller::runtime::work_queue::{Next, Queue};
use crate::controller::{CONCURRENCY, Context, Error};
use crate::plan::application::{is_propagated, status};

/// `secrets` is the queue of ClientSecrets. While keys of the namespace wait, the count is delayed: credentials have
/// priority and will change the count.
pub(crate) async fn reconcile<C: Clock>(
    object: Arc<Application>,
    context: Arc<Context<C>>,
    secrets: Queue,
) -> Result<Next, Error> {
    if is_deleting(object.as_ref()) || context.written.is_ahead_of(object.as_ref()) {
        return Ok(Next::Change);
    }
    let facts = context.application_facts(&object);
    let wanted = status(&facts.observed(&context, &object, context.secret_counts(&object)));
    let told = object.status.clone().unwrap_or_default();
    let waits_for = (!is_propagated(&wanted)).then(|| needed(&object, facts.user.as_deref(), &context.model));
    context.propagation.watch_for(&Key::of(object.as_ref()), waits_for);
    if told != wanted && (ApplicationStatus { secrets: told.secrets.clone(), ..wanted.clone() }) == told {
        let (key, now) = (Key::of(object.as_ref()), Instant::now());
        let others_wait = secrets.waiting_in(&key.namespace) > CONCURRENCY;
        let wait = if others_wait { context.pace.wait_behind_others(&key, now) } else { context.pace.wait(&key, now) };
        if let Some(wait) = wait {
            return Ok(Next::After(wait));
        }
    }
    context.write_status(object.as_ref(), &wanted).await?;
    if let (Some(before), Some(now)) = (&told.client_id, &wanted.client_id)
        && before != now
    {
        event_recorder::client_id_changed(&context.events, &object, before, now);
    }
    event_recorder::refusal(&context.events, object.as_ref(), &told.conditions, &wanted.conditions, types::READY);
    Ok(Next::Change)
}
