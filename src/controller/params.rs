//! How every write says who made it.

use kube::api::{PatchParams, PostParams};

use crate::api::names::FIELD_MANAGER;

pub(super) fn create() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() }
}

pub(super) fn patch() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() }
}
