//! ServiceUser: resolves its groups and reports the resulting permissions.

use std::sync::Arc;

use crate::api::ServiceUser;
use crate::api::conditions::types;
use crate::cache::is_deleting;
use crate::clock::Clock;
use crate::controller::runtime::event_recorder;
use crate::controller::runtime::work_queue::Requeue;
use crate::controller::{Context, Error};
use crate::plan::service_user::status;

pub(crate) async fn reconcile<C: Clock>(user: Arc<ServiceUser>, context: Arc<Context<C>>) -> Result<Requeue, Error> {
    if is_deleting(user.as_ref()) || context.expectations.is_stale(user.as_ref()) {
        return Ok(Requeue::AwaitChange);
    }
    let wanted = status(&user, &context.cache.membership(&user), context.clock.now());
    context.write_status(user.as_ref(), &wanted).await?;
    let before = user.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    event_recorder::refusal(&context.events, user.as_ref(), before, &wanted.conditions, types::READY);
    Ok(Requeue::AwaitChange)
}
