//! The lifetime of a version: from the spec, within the operator's limits.

use jiff::{SignedDuration, Timestamp};

use super::{ClientSecretSpec, Version, VersionState};
use crate::api::duration::DurationOrNever;

/// Default of `spec.expiresIn` if `spec.expiresAt` is also absent: a year of 365 days.
pub const EXPIRES_IN_DEFAULT: SignedDuration = SignedDuration::from_hours(365 * 24);

/// The operator's limits for every ClientSecret of the install.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct LifetimePolicy {
    /// Maximum lifetime of a version; `None`: no limit.
    pub max: Option<SignedDuration>,
    /// `expiresIn: Never` is treated as [`EXPIRES_IN_DEFAULT`].
    pub forbid_never: bool,
    /// Minimum interval between two rotations by `rotation.every`.
    pub rotation_interval_min: SignedDuration,
}

impl LifetimePolicy {
    /// When a version issued at `issued` ends; `None`: never.
    #[must_use]
    pub fn expiry(&self, spec: &ClientSecretSpec, issued: Timestamp) -> Option<Timestamp> {
        let after = |length| Some(saturating_add(issued, length));
        let asked = match (spec.expires_at, &spec.expires_in) {
            (Some(at), _) => Some(at),
            (None, Some(DurationOrNever::Never)) if self.forbid_never => after(EXPIRES_IN_DEFAULT),
            (None, Some(DurationOrNever::Never)) => None,
            (None, Some(DurationOrNever::After(duration))) => after(duration.length()),
            (None, None) => after(EXPIRES_IN_DEFAULT),
        };
        asked.into_iter().chain(self.max.and_then(after)).min()
    }

    /// When a version other than the newest ends: with its overlap, or with its own lifetime if that ends earlier.
    /// `None`: not before the credential expires.
    #[must_use]
    pub fn accepted_until(&self, spec: &ClientSecretSpec, version: &Version) -> Option<Timestamp> {
        let expires = || self.expiry(spec, version.created_at);
        match version.state {
            VersionState::Active => None,
            VersionState::Retiring => version.retires_at.into_iter().chain(expires()).min(),
            VersionState::Retired => Some(version.retires_at.unwrap_or(Timestamp::MIN)),
        }
    }

    /// The rotation interval that replaces a shorter one in the spec; `None`: the one in the spec is used.
    #[must_use]
    pub fn slows(&self, spec: &ClientSecretSpec) -> Option<SignedDuration> {
        let every = spec.rotation.as_ref()?.every.as_ref()?.length();
        Some(self.rotation_interval_min).filter(|least| every < *least)
    }

    /// The earliest time at which `rotation.every` rotates a version issued at `issued`.
    #[must_use]
    pub fn earliest_rotation(&self, issued: Timestamp) -> Timestamp {
        saturating_add(issued, self.rotation_interval_min)
    }

    /// Whether a version issued at `issued` ends earlier than its spec requests.
    #[must_use]
    pub fn shortens(&self, spec: &ClientSecretSpec, issued: Timestamp) -> bool {
        self.expiry(spec, issued) != Self::default().expiry(spec, issued)
    }
}

pub(super) fn saturating_add(instant: Timestamp, length: SignedDuration) -> Timestamp {
    instant.checked_add(length).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::application::Reference;

    fn spec(expires_in: Option<&str>, expires_at: Option<&str>) -> ClientSecretSpec {
        let mut spec: ClientSecretSpec = serde_json::from_value(serde_json::json!({
            "applicationRef": Reference { name: "sync".to_owned() },
        }))
        .unwrap();
        spec.expires_in = expires_in.map(|text| text.to_owned().try_into().unwrap());
        spec.expires_at = expires_at.map(|text| text.parse().unwrap());
        spec
    }

    #[test]
    fn the_operator_s_limits_shorten_a_requested_lifetime_and_never_extend_it() {
        let issued: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let month = Some(SignedDuration::from_hours(30 * 24));
        let table = [
            (None, None, None, false, Some("2027-01-01T00:00:00Z"), false),
            (Some("Never"), None, None, false, None, false),
            (Some("Never"), None, None, true, Some("2027-01-01T00:00:00Z"), true),
            (Some("Never"), None, month, false, Some("2026-01-31T00:00:00Z"), true),
            (Some("90d"), None, month, false, Some("2026-01-31T00:00:00Z"), true),
            (Some("7d"), None, month, true, Some("2026-01-08T00:00:00Z"), false),
            (None, Some("2026-06-01T00:00:00Z"), month, false, Some("2026-01-31T00:00:00Z"), true),
            (None, Some("2026-01-02T00:00:00Z"), month, false, Some("2026-01-02T00:00:00Z"), false),
        ];
        for (expires_in, expires_at, max, forbid_never, expected, shortened) in table {
            let policy = LifetimePolicy { max, forbid_never, ..LifetimePolicy::default() };
            let spec = spec(expires_in, expires_at);
            let expected = expected.map(|text| text.parse().unwrap());
            assert_eq!(policy.expiry(&spec, issued), expected, "{expires_in:?} {expires_at:?} {policy:?}");
            assert_eq!(policy.shortens(&spec, issued), shortened, "{expires_in:?} {expires_at:?} {policy:?}");
        }
    }
}
