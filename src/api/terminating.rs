//! What an object means that is being deleted: it has a `deletionTimestamp`, and finalizers keep it in the API.
//!
//! It counts as deleted from the request on, however long a finalizer keeps it.
//!
//! | kind | as soon as its deletion is requested |
//! |---|---|
//! | AccessGroup | it grants nothing |
//! | ServiceUser, Application | its clients are refused |
//! | ClientSecret | it is refused, and nothing is delivered for it any more |
//! | Namespace | the clients in it are refused |
//! | delivered Secret | its value ends; a new one is delivered when the Secret is gone |
//! | Secret to import from | it does not exist |
//! | workload to restart | it does not exist |
//! | the operator's own Secrets | a process that starts does not use them; a running process keeps what it has read |
//!
//! EndpointStates and Leases are the exception: they count until they are gone, because a revocation that is forgotten early
//! would let a token live.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Whether the deletion of the object was requested.
#[must_use]
pub fn is_terminating(metadata: &ObjectMeta) -> bool {
    metadata.deletion_timestamp.is_some()
}

/// What keeps a terminating object in the API, for a message to people.
#[must_use]
pub fn finalizers(metadata: &ObjectMeta) -> String {
    metadata.finalizers.as_deref().unwrap_or_default().join(", ")
}
