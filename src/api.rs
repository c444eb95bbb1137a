//! The API: four custom resources, their conditions and the rules that both halves of Postern share.
//!
//! ```text
//! AccessGroup (cluster)      ServiceUser  <----- Application <------ ClientSecret -----> Secret
//!  role + what it permits     identity   1     n  OAuth client 1  n  one credential  1 1  mounted by pods
//! ```
//!
//! The controller half writes its decisions into `status`; the serving half trusts only `spec` and the
//! cryptographically bound parts of `status`. This module has the pure functions that both use: the effective
//! permissions ([`authority`]), and the order of claimants ([`precedence`]).

pub mod access_group;
pub mod application;
pub mod client_certificates;
pub mod client_id;
pub mod client_secret;
pub mod conditions;
pub mod crds;
pub mod default_scopes;
pub mod digest;
pub mod duration;
pub mod fingerprint;
pub mod jwks;
pub mod key_records;
pub mod location;
pub mod lockout;
pub mod names;
pub mod namespace;
pub mod permissions;
pub mod precedence;
pub mod printable;
pub mod replica_state;
mod schema;
pub mod service_account;
pub mod service_user;
pub mod terminating;
pub mod trusted_issuers;

pub use access_group::AccessGroup;
pub use application::Application;
pub use client_secret::ClientSecret;
pub use namespace::NamespaceFacts;
pub use replica_state::ReplicaState;
pub use service_user::ServiceUser;
