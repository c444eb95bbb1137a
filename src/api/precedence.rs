//! The order of claimants: computed from the objects alone, so it is the same everywhere and at any time.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;

/// Order of age: creation time, then UID. The API server assigns both and never changes them, so the order is stable
/// across restarts and replicas.
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

/// Sorts objects by age.
pub fn oldest_first<K: Resource>(objects: &mut [&K]) {
    objects.sort_by_key(|object| Seniority::of(object.meta()));
}

/// The UID of an object as a number.
#[must_use]
pub fn uid_number(metadata: &ObjectMeta) -> Option<u128> {
    uuid_number(metadata.uid.as_ref()?)
}

/// A UUID as a number with the same order. `None` for any other text, including a UUID in another format than that of
/// API servers, so that equal numbers mean equal texts.
#[must_use]
pub fn uuid_number(text: &str) -> Option<u128> {
    let is_usual = |(at, byte)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
    };
    let usual = text.len() == 36 && text.bytes().enumerate().all(is_usual);
    let digits = text.chars().filter_map(|digit| digit.to_digit(16));
    usual.then(|| digits.fold(0, |number, digit| number << 4 | u128::from(digit)))
}

/// The usual spelling of a UUID, of which [`uuid_number`] reads the number.
#[must_use]
pub fn uuid_text(number: u128) -> String {
    let digits = format!("{number:032x}");
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_spelling_of_a_uuid_is_one() {
        let uuid = "0d0c8f6e-4b7e-4f6c-9a53-00000000000a";
        assert_eq!(uuid_number(uuid), Some(0x0d0c_8f6e_4b7e_4f6c_9a53_0000_0000_000a));
        assert_eq!(uuid_number(uuid).map(uuid_text).as_deref(), Some(uuid));
        let others = [uuid.to_uppercase(), uuid.replace('-', ""), format!("{{{uuid}}}"), uuid.replacen('0', "+", 1)];
        for other in others.iter().map(String::as_str).chain(["", "0d0c8f6e4-b7e-4f6c-9a53-00000000000a"]) {
            assert_eq!(uuid_number(other), None, "{other}");
        }
    }
}
