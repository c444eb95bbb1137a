//! How every write says who made it.

use kube::api::{PatchParams, PostParams, ValidationDirective};

use crate::api::names::FIELD_MANAGER;

pub(super) fn create() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() }
}

pub(super) fn patch() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() }
}

/// Server-side apply of a condition that says why the rest of the status is not written. The manager of the rest would
/// give up what it does not repeat.
pub(super) fn apply_alone() -> PatchParams {
    PatchParams { field_manager: Some(format!("{FIELD_MANAGER}-failure")), ..apply() }
}

/// Server-side apply. Nobody reads the API server's warnings of fields that it does not know, and looking for some makes it
/// parse the YAML that it takes this for a second time.
pub(super) fn apply() -> PatchParams {
    PatchParams { force: true, field_validation: Some(ValidationDirective::Ignore), ..patch() }
}
