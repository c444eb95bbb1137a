//! The reconciliation of each kind.

pub(crate) mod access_group;
pub(crate) mod application;
pub(crate) mod client_secret;
pub(crate) mod over_limit;
pub(crate) mod service_user;
