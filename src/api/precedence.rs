//! Which of several claimants comes first: the same answer everywhere, at every time, from the objects alone.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Order of age: creation time, then UID. Both are given by the API server and never change, so the order does not
/// flap over restarts or replicas.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Seniority {
    created_seconds: i64,
    uid: u128,
}

impl Seniority {
    /// Reads it from the object's metadata. An object without a creation time (never seen on a real server) comes last.
    #[must_use]
    pub fn of(metadata: &ObjectMeta) -> Self {
        Self {
            created_seconds: metadata.creation_timestamp.as_ref().map_or(i64::MAX, |time| time.0.as_second()),
            uid: uid_number(metadata).unwrap_or(u128::MAX),
        }
    }
}

/// The UID of an object as a number.
#[must_use]
pub fn uid_number(metadata: &ObjectMeta) -> Option<u128> {
    uuid_number(metadata.uid.as_ref()?)
}

/// A UUID as a number: both have one order. `None` for anything else, which no API server gives.
#[must_use]
pub fn uuid_number(text: &str) -> Option<u128> {
    let hex: String = text.chars().filter(|c| *c != '-').collect();
    u128::from_str_radix(&hex, 16).ok().filter(|_| hex.len() == 32)
}
