//! The service user of a client.

use jiff::Timestamp;
use kube::ResourceExt;
use serde::Serialize;

use super::snapshot::full_name;
use super::status::{Standing, StatusAge};
use crate::api::ServiceUser;
use crate::api::names::CREATED_BY;
use crate::api::permissions::Membership;
use crate::plan::service_user::status;

/// An existing service user.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct User {
    /// `namespace/name`
    pub(super) name: String,
    pub(super) subject: String,
    pub(super) location: String,
    pub(super) suspended: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) created_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ready: Option<Standing>,
    pub(super) status: StatusAge,
}

/// `membership` is the result of its groups; `None`: the caller may not read them, so status is used.
pub(super) fn explain(user: &ServiceUser, membership: Option<&Membership>, now: Timestamp) -> User {
    let told = user.status.clone().unwrap_or_default();
    let wanted = membership.map(|membership| status(user, membership, now));
    let conditions = wanted.as_ref().map_or(&told.conditions, |wanted| &wanted.conditions);
    User {
        name: full_name(user),
        subject: user.uid().unwrap_or_default(),
        location: wanted.as_ref().map_or(told.location, |wanted| wanted.location.clone()).unwrap_or_default(),
        suspended: user.spec.is_suspended(),
        created_by: user.annotations().get(CREATED_BY).cloned(),
        ready: Standing::ready(conditions),
        status: StatusAge::new(
            told.epoch,
            (told.observed_generation, user.metadata.generation),
            wanted.as_ref().map(|wanted| (told.fingerprint.as_deref(), wanted.fingerprint.as_deref())),
        ),
    }
}
