//! Sentences that several kinds tell.

use crate::api::access_group::Plane;
use crate::api::conditions::{Verdict, types};
use crate::api::service_user::RoleGrant;

/// kstatus' companions of a `Ready` that is False: waiting for something that may come by itself, or stuck until
/// somebody acts. Both absent while all is well, and while a person switched the object off on purpose.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Outlook {
    /// As the user asked.
    Settled,
    /// What is missing may come by itself.
    Waiting,
    /// Somebody has to change something.
    Stuck,
}

/// `ready` with its companion.
pub(super) fn with_outlook(ready: Verdict, outlook: Outlook) -> Vec<Verdict> {
    let companion = match outlook {
        Outlook::Settled => None,
        Outlook::Waiting => Some(types::RECONCILING),
        Outlook::Stuck => Some(types::STALLED),
    };
    let companion = companion.map(|type_| Verdict::yes(type_, ready.reason, ready.message.clone()));
    std::iter::once(ready).chain(companion).collect()
}

/// Roles in one line, as the column ROLES shows them: those of the plane Admin marked.
pub(super) fn summary<'a>(grants: impl IntoIterator<Item = &'a RoleGrant>) -> String {
    let mut names: Vec<String> = grants
        .into_iter()
        .map(|grant| match grant.plane {
            Plane::Operational => grant.role.clone(),
            Plane::Admin => format!("{} (Admin)", grant.role),
        })
        .collect();
    names.sort();
    names.dedup();
    names.join(", ")
}
