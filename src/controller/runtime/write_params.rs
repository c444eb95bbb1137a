//! Parameters of every write, with its field manager.

use kube::api::{PatchParams, PostParams, ValidationDirective};

use crate::api::names::FIELD_MANAGER;

pub(crate) fn create() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() }
}

pub(crate) fn patch() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() }
}

/// Server-side apply of a condition about the failure to write the rest of the status. With the same manager, the
/// fields that the condition's write omits would be removed.
pub(crate) fn apply_alone() -> PatchParams {
    PatchParams { field_manager: Some(format!("{FIELD_MANAGER}-failure")), ..apply() }
}

/// Server-side apply. Postern ignores the API server's warnings about unknown fields, and the check for them makes the
/// API server parse the body, which it treats as YAML, a second time.
pub(crate) fn apply() -> PatchParams {
    PatchParams { force: true, field_validation: Some(ValidationDirective::Ignore), ..patch() }
}
