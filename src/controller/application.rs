//! Application: says whose client it is and what it may ask for.

use std::sync::Arc;

use kube::runtime::controller::Action as Next;

use super::{Context, Error, events};
use crate::api::Application;
use crate::api::conditions::types;
use crate::clock::Clock;
use crate::model::is_deleting;
use crate::plan::application::status;

pub(super) async fn reconcile<C: Clock>(object: Arc<Application>, context: Arc<Context<C>>) -> Result<Next, Error> {
    if is_deleting(object.as_ref()) || context.written.is_ahead_of(object.as_ref()) {
        return Ok(Next::await_change());
    }
    let facts = context.application_facts(&object);
    let wanted = status(&facts.observed(&context, &object, context.secret_counts(&object)));
    context.write_status(context.api_of(object.as_ref()), object.as_ref(), object.status.as_ref(), &wanted).await?;
    let before = object.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    events::refusal(&context.events, object.as_ref(), before, &wanted.conditions, types::READY);
    Ok(Next::await_change())
}
