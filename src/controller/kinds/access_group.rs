//! AccessGroup: counts the users of each group.

use std::sync::Arc;
use std::time::Instant;

use kube::ResourceExt;

use crate::api::AccessGroup;
use crate::api::access_group::AccessGroupStatus;
use crate::cache::{ObjectRef, is_deleting};
use crate::clock::Clock;
use crate::controller::runtime::work_queue::Requeue;
use crate::controller::{Context, Error, YIELD_EVERY};
use crate::plan::access_group::status;

pub(crate) async fn reconcile<C: Clock>(group: Arc<AccessGroup>, context: Arc<Context<C>>) -> Result<Requeue, Error> {
    if is_deleting(group.as_ref()) || context.expectations.is_stale(group.as_ref()) {
        return Ok(Requeue::AwaitChange);
    }
    let name = group.name_any();
    let users: Vec<_> = context.cache.relations().users_of_group.get(&name).into_iter().flatten().cloned().collect();
    let holds = |key: &ObjectRef| {
        let user = context.cache.user(key);
        user.is_some_and(|user| context.cache.membership(&user).grants.iter().any(|grant| grant.group == name))
    };
    let mut members = 0;
    for users in users.chunks(YIELD_EVERY) {
        members += users.iter().filter(|user| holds(user)).count();
        tokio::task::yield_now().await;
    }
    let wanted = status(&group, members, context.clock.now());
    let told = group.status.clone().unwrap_or_default();
    if told != wanted
        && (AccessGroupStatus { members: told.members, ..wanted.clone() }) == told
        && let Some(wait) = context.count_throttle.wait(&ObjectRef::of(group.as_ref()), Instant::now())
    {
        return Ok(Requeue::After(wait));
    }
    context.write_status(group.as_ref(), &wanted).await?;
    Ok(Requeue::AwaitChange)
}
