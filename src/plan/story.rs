//! Sentences that several kinds tell.

use crate::api::access_group::Plane;
use crate::api::conditions::{Verdict, reasons, types};
use crate::api::service_user::RoleGrant;

/// What a verdict is for kstatus: Current, InProgress or Failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Outlook {
    /// It authenticates, or grants, as the spec asks.
    Settled,
    /// It is refused as the spec asks; the condition that says so. What was asked for is no failure.
    Requested(&'static str),
    /// What is missing may come by itself.
    Waiting,
    /// Somebody has to change something.
    Stuck,
}

/// The condition `Ready` for whether the object is accepted, with its companion.
pub(super) fn with_outlook(accepted: Verdict, outlook: Outlook) -> Vec<Verdict> {
    let companion = match outlook {
        Outlook::Settled => None,
        Outlook::Requested(type_) => Some(type_),
        Outlook::Waiting => Some(types::RECONCILING),
        Outlook::Stuck => Some(types::STALLED),
    };
    let companion = companion.map(|type_| Verdict::yes(type_, accepted.reason, accepted.message.clone()));
    let is_as_asked = matches!(outlook, Outlook::Settled | Outlook::Requested(_));
    std::iter::once(Verdict { status: is_as_asked, ..accepted }).chain(companion).collect()
}

/// The condition `Permitted`; `missing` says why nothing is permitted.
pub(super) fn permitted(missing: Option<String>) -> Verdict {
    match missing {
        None => Verdict::yes(types::PERMITTED, reasons::HAS_PERMISSIONS, "It holds permissions."),
        Some(why) => {
            let message = format!("It holds no permission, so no token for an API is issued. {why}");
            Verdict::no(types::PERMITTED, reasons::NO_PERMISSIONS, message)
        }
    }
}

/// What the message of `Ready` adds where nothing is permitted.
pub(super) const HOLDS_NOTHING: &str = " It holds no permission: the condition Permitted says why.";

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
