//! A location in the organisation: `/`, `/emea`, `/emea/billing`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Most segments a location may have.
pub const SEGMENTS_MAX: usize = 16;
/// Most characters of one segment, as of a DNS label.
pub const SEGMENT_LENGTH_MAX: usize = 63;
/// Longest location: every segment with its slash.
pub const LENGTH_MAX: usize = SEGMENTS_MAX * (SEGMENT_LENGTH_MAX + 1);

/// A well-formed location. Equality is by text: each location has one text form.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Location(String);

/// The text is not a location.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a location is / or segments of a-z, 0-9 and - such as /emea/billing, at most 16, without a trailing slash")]
pub struct MalformedLocation;

/// The root.
impl Default for Location {
    fn default() -> Self {
        Self("/".to_owned())
    }
}

impl Location {
    /// The text form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `self` is `place` or lies below it. `/emea-west` is not below `/emea`.
    #[must_use]
    pub fn is_at_or_below(&self, place: &Self) -> bool {
        place.0 == "/" || self.0.strip_prefix(&place.0).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl TryFrom<String> for Location {
    type Error = MalformedLocation;

    fn try_from(text: String) -> Result<Self, MalformedLocation> {
        let Some(path) = text.strip_prefix('/') else { return Err(MalformedLocation) };
        let well_formed =
            path.is_empty() || (path.split('/').count() <= SEGMENTS_MAX && path.split('/').all(is_segment));
        if well_formed { Ok(Self(text)) } else { Err(MalformedLocation) }
    }
}

impl From<Location> for String {
    fn from(location: Location) -> Self {
        location.0
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_segment(segment: &str) -> bool {
    (1..=SEGMENT_LENGTH_MAX).contains(&segment.len())
        && segment.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Location {
        text.to_owned().try_into().unwrap()
    }

    #[test]
    fn a_location_lies_below_whole_segments_only() {
        assert!(at("/emea/billing").is_at_or_below(&at("/emea")));
        assert!(at("/emea").is_at_or_below(&at("/emea")));
        assert!(at("/emea").is_at_or_below(&at("/")));
        assert!(!at("/emea-west").is_at_or_below(&at("/emea")));
        assert!(!at("/").is_at_or_below(&at("/emea")));
    }

    #[test]
    fn a_malformed_location_is_refused() {
        let seventeen = "/a".repeat(17);
        let long = format!("/{}", "a".repeat(64));
        for text in ["", "emea", "/emea/", "//", "/emea//billing", "/..", "/EMEA", "/a.b", "/a b", &seventeen, &long] {
            assert_eq!(Location::try_from(text.to_owned()), Err(MalformedLocation), "{text}");
        }
        assert!(Location::try_from("/a".repeat(16)).is_ok());
    }
}
