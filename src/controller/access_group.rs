//! AccessGroup: counts who holds it.

use std::sync::Arc;

use kube::runtime::controller::Action as Next;
use kube::{Api, ResourceExt};

use super::{Context, Error};
use crate::api::AccessGroup;
use crate::clock::Clock;
use crate::model::is_deleting;
use crate::plan::access_group::status;

pub(super) async fn reconcile<C: Clock>(group: Arc<AccessGroup>, context: Arc<Context<C>>) -> Result<Next, Error> {
    if is_deleting(group.as_ref()) || context.written.is_ahead_of(group.as_ref()) {
        return Ok(Next::await_change());
    }
    let name = group.name_any();
    let users: Vec<_> = context.model.relations().users_of_group.get(&name).into_iter().flatten().cloned().collect();
    let holds = |key: &&_| {
        let user = context.model.user(key);
        user.is_some_and(|user| context.model.membership(&user).grants.iter().any(|grant| grant.group == name))
    };
    let wanted = status(&group, users.iter().filter(holds).count(), context.clock.now());
    let api = Api::all(context.client.clone());
    context.write_status(api, group.as_ref(), group.status.as_ref(), &wanted).await?;
    Ok(Next::await_change())
}
