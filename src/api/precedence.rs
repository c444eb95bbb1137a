//! Which of several claimants comes first: the same answer everywhere, at every time, from the objects alone.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Order of age: creation time, then UID. Both are given by the API server and never change, so the order does not
/// flap over restarts or replicas.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Seniority {
    created_seconds: i64,
    uid: String,
}

impl Seniority {
    /// Reads it from the object's metadata. An object without a creation time (never seen on a real server) comes last.
    #[must_use]
    pub fn of(metadata: &ObjectMeta) -> Self {
        Self {
            created_seconds: metadata.creation_timestamp.as_ref().map_or(i64::MAX, |time| time.0.as_second()),
            uid: metadata.uid.clone().unwrap_or_default(),
        }
    }

    /// The UID part.
    #[must_use]
    pub fn uid(&self) -> &str {
        &self.uid
    }
}
