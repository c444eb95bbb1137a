//! Durations in the format of Prometheus: `1y2w3d4h5m6s`.

use std::fmt;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

/// The syntax: units in this order, each at most once. The number of digits of each unit is bounded so that no sum
/// overflows an instant (all together less than 3,000 years).
pub const PATTERN: &str = "^([0-9]{1,3}y)?([0-9]{1,4}w)?([0-9]{1,5}d)?([0-9]{1,7}h)?([0-9]{1,8}m)?([0-9]{1,10}s)?$";

/// Units in the order of the syntax: letter, digits allowed, seconds. A year has 365 days.
const UNITS: [(char, usize, i64); 6] =
    [('y', 3, 365 * 86_400), ('w', 4, 7 * 86_400), ('d', 5, 86_400), ('h', 7, 3_600), ('m', 8, 60), ('s', 10, 1)];

/// A positive duration from a spec; the original text is kept.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct ConfigDuration {
    text: String,
    seconds: i64,
}

/// The text is not a positive duration.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a duration is positive and written like 30d, 1y or 1h30m (units y, w, d, h, m, s in that order)")]
pub struct MalformedDuration;

impl ConfigDuration {
    /// Its length; a year is 365 days.
    #[must_use]
    pub fn length(&self) -> SignedDuration {
        SignedDuration::from_secs(self.seconds)
    }
}

impl TryFrom<String> for ConfigDuration {
    type Error = MalformedDuration;

    fn try_from(text: String) -> Result<Self, MalformedDuration> {
        match seconds(&text) {
            Some(seconds) if seconds > 0 => Ok(Self { text, seconds }),
            _ => Err(MalformedDuration),
        }
    }
}

/// The length in seconds; `None` for a text with invalid syntax.
fn seconds(text: &str) -> Option<i64> {
    let mut rest = text;
    let mut seconds = 0;
    for (letter, digits_max, unit) in UNITS {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, after) = rest.split_at(digits);
        if let Some(after) = after.strip_prefix(letter) {
            seconds += number.parse::<i64>().ok().filter(|_| digits <= digits_max)? * unit;
            rest = after;
        }
    }
    (rest.is_empty() && !text.is_empty()).then_some(seconds)
}

/// CEL: whether the text at `path` is of the syntax.
pub(super) fn cel_is_duration(path: &str) -> String {
    format!("{path}.matches(r'{PATTERN}')")
}

/// CEL: the length in seconds of the duration at `path`.
pub(super) fn cel_seconds(path: &str) -> String {
    let part = |(letter, _, unit): &(char, usize, i64)| {
        let found = format!("{path}.find('[0-9]+{letter}')");
        format!("({found} == '' ? 0 : int({found}.replace('{letter}', '')) * {unit})")
    };
    format!("({})", UNITS.iter().map(part).collect::<Vec<_>>().join(" + "))
}

impl From<ConfigDuration> for String {
    fn from(duration: ConfigDuration) -> Self {
        duration.text
    }
}

impl fmt::Display for ConfigDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A duration from a spec that may be zero.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct DurationOrZero {
    text: String,
    seconds: i64,
}

impl DurationOrZero {
    /// Its length; a year is 365 days.
    #[must_use]
    pub fn length(&self) -> SignedDuration {
        SignedDuration::from_secs(self.seconds)
    }
}

impl TryFrom<String> for DurationOrZero {
    type Error = MalformedDuration;

    fn try_from(text: String) -> Result<Self, MalformedDuration> {
        seconds(&text).map(|seconds| Self { text, seconds }).ok_or(MalformedDuration)
    }
}

impl From<DurationOrZero> for String {
    fn from(duration: DurationOrZero) -> Self {
        duration.text
    }
}

/// A duration, or the word `Never`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum DurationOrNever {
    /// No end.
    Never,
    /// An end after this long.
    After(ConfigDuration),
}

impl TryFrom<String> for DurationOrNever {
    type Error = MalformedDuration;

    fn try_from(text: String) -> Result<Self, MalformedDuration> {
        if text == "Never" { Ok(Self::Never) } else { text.try_into().map(Self::After) }
    }
}

impl From<DurationOrNever> for String {
    fn from(value: DurationOrNever) -> Self {
        match value {
            DurationOrNever::Never => "Never".to_owned(),
            DurationOrNever::After(duration) => duration.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn length(text: &str) -> Result<i64, MalformedDuration> {
        ConfigDuration::try_from(text.to_owned()).map(|d| d.length().as_secs())
    }

    #[test]
    fn units_add_up_in_their_order() {
        assert_eq!(length("1y2w3d4h5m6s"), Ok(31_536_000 + 1_209_600 + 259_200 + 14_400 + 300 + 6));
        assert_eq!(length("90d"), Ok(90 * 86_400));
        assert_eq!(length("0y15m"), Ok(900));
    }

    #[test]
    fn zero_negative_overflowing_and_misordered_durations_are_refused() {
        for text in ["", "0s", "-1d", "1d1y", "1d1d", "d", "5", "1.5h", "9999y", "99999999999s", "1x", "1d ", "Never"] {
            assert_eq!(length(text), Err(MalformedDuration), "{text}");
        }
    }

    #[test]
    fn zero_is_a_duration_where_it_may_be_one() {
        let length = |text: &str| DurationOrZero::try_from(text.to_owned()).map(|d| d.length().as_secs());
        assert_eq!(length("0s"), Ok(0));
        assert_eq!(length("24h"), Ok(86_400));
        for text in ["", "-1s", "0", "Never"] {
            assert_eq!(length(text), Err(MalformedDuration), "{text}");
        }
    }
}
