//! AccessGroup: counts the users of each group.

use std::sync::Arc;
use std::time::Instant;

use kube::ResourceExt;

use crate::api::AccessGroup;
use crate::api::access_group::AccessGroupStatus;
use crate::cache::{Key, is_deleting};
use crate::clock::Clock;
use crate::controller::runtime::work_queue::Next;
use crate::controller::{Context, Error, PIECE};
use crate::plan::access_group::status;

pub(crate) async fn reconcile<C: Clock>(group: Arc<AccessGroup>, context: Arc<Context<C>>) -> Result<Next, Error> {
    if is_deleting(group.as_ref()) || context.written.is_ahead_of(group.as_ref()) {
        return Ok(Next::Change);
    }
    let name = group.name_any();
    let users: Vec<_> = context.model.relations().users_of_group.get(&name).into_iter().flatten().cloned().collect();
    let holds = |key: &Key| {
        let user = context.model.user(key);
        user.is_some_and(|user| context.model.membership(&user).grants.iter().any(|grant| grant.group == name))
    };
    let mut members = 0;
    for users in users.chunks(PIECE) {
        members += users.iter().filter(|user| holds(user)).count();
        tokio::task::yield_now().await;
    }
    let wanted = status(&group, members, context.clock.now());
    let told = group.status.clone().unwrap_or_default();
    if told != wanted
        && (AccessGroupStatus { members: told.members, ..wanted.clone() }) == told
        && let Some(wait) = context.pace.wait(&Key::of(group.as_ref()), Instant::now())
    {
        return Ok(Next::After(wait));
    }
    context.write_status(group.as_ref(), &wanted).await?;
    Ok(Next::Change)
}
