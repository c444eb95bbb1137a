//! What the Secret of a rotating key set records about its keys. The state of a key, and what is due, follow from it.
//!
//! ```text
//! Next ─ published ─ ready ──▶ Active ──▶ Retiring ─ unused ──▶ removed
//! ```

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// Annotation of the Secret: ids of keys that are not accepted from now on, separated by commas.
pub const DROP_ANNOTATION: &str = "postern.dev/drop";

/// The records of one Secret.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyRecords {
    /// The keys, oldest first.
    pub keys: Vec<KeyRecord>,
    /// The value of `postern.dev/rotate` that was handled last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_rotate: Option<String>,
    /// The value of `postern.dev/drop` that was handled last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_drop: Option<String>,
}

/// One key. Each instant is absent until the step was made, and is never earlier than the one before it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyRecord {
    /// Its public id, as tokens name it.
    pub id: String,
    /// Its algorithm. The keys of each algorithm rotate separately.
    pub algorithm: String,
    /// The entry of the Secret that contains it.
    pub entry: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// When every live replica accepted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published_at: Option<Timestamp>,
    /// When every verifier could know it. From then on it may sign.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_at: Option<Timestamp>,
    /// When it became the key that signs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activated_at: Option<Timestamp>,
    /// When another key replaced it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retired_at: Option<Timestamp>,
    /// When every live replica signed with its successor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unused_at: Option<Timestamp>,
    /// The longest lifetime of its tokens, in seconds.
    #[serde(default)]
    pub token_lifetime_seconds: i64,
    /// Its replacement was requested.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rotation_requested: bool,
}

/// The state of a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyState {
    /// It is accepted and published, and does not sign yet.
    Next,
    /// It signs.
    Active,
    /// It is accepted until its last token has expired.
    Retiring,
}

impl KeyRecord {
    /// A new key, which is not published yet.
    #[must_use]
    pub fn new(id: String, algorithm: String, entry: String, created_at: Timestamp) -> Self {
        Self {
            id,
            algorithm,
            entry,
            created_at,
            published_at: None,
            ready_at: None,
            activated_at: None,
            retired_at: None,
            unused_at: None,
            token_lifetime_seconds: 0,
            rotation_requested: false,
        }
    }

    /// Its state.
    #[must_use]
    pub fn state(&self) -> KeyState {
        match (self.activated_at, self.retired_at) {
            (_, Some(_)) => KeyState::Retiring,
            (Some(_), None) => KeyState::Active,
            (None, None) => KeyState::Next,
        }
    }

    /// The longest lifetime of its tokens.
    #[must_use]
    pub fn token_lifetime(&self) -> SignedDuration {
        SignedDuration::from_secs(self.token_lifetime_seconds)
    }

    /// The last instant that is recorded.
    #[must_use]
    pub fn changed_at(&self) -> Timestamp {
        let later = [self.published_at, self.ready_at, self.activated_at, self.retired_at, self.unused_at];
        later.into_iter().flatten().fold(self.created_at, Timestamp::max)
    }
}

impl KeyRecords {
    /// The keys of an algorithm in a state.
    pub fn in_state(&self, algorithm: &str, state: KeyState) -> impl Iterator<Item = &KeyRecord> {
        self.keys.iter().filter(move |key| key.algorithm == algorithm && key.state() == state)
    }

    /// The key that signs: the active one, or one that may take its place if that is dropped.
    #[must_use]
    pub fn signer(&self, algorithm: &str, dropped: &BTreeSet<&str>) -> Option<&KeyRecord> {
        let next = self.in_state(algorithm, KeyState::Next).filter(|key| key.ready_at.is_some());
        self.in_state(algorithm, KeyState::Active).chain(next).find(|key| !dropped.contains(key.id.as_str()))
    }

    /// The algorithms of the keys.
    #[must_use]
    pub fn algorithms(&self) -> BTreeSet<&str> {
        self.keys.iter().map(|key| key.algorithm.as_str()).collect()
    }

    /// The first contradiction in the records, as part of a sentence about the Secret.
    ///
    /// # Errors
    /// The contradiction.
    pub fn check(&self) -> Result<(), String> {
        let mut ids = BTreeSet::new();
        if let Some(key) = self.keys.iter().find(|key| !ids.insert(&key.id)) {
            return Err(format!("it records the key {} twice", key.id));
        }
        for algorithm in self.algorithms() {
            if self.in_state(algorithm, KeyState::Active).count() > 1 {
                return Err(format!("it records several active keys of the algorithm {algorithm}"));
            }
        }
        Ok(())
    }
}

/// The ids in a value of `postern.dev/drop`.
#[must_use]
pub fn dropped(annotation: Option<&str>) -> BTreeSet<&str> {
    annotation.unwrap_or_default().split(',').map(str::trim).filter(|id| !id.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: &str) -> KeyRecord {
        let at = "2026-11-01T00:00:00Z".parse().unwrap();
        KeyRecord::new(id.to_owned(), "ES256".to_owned(), format!("{id}.pk8"), at)
    }

    #[test]
    fn a_dropped_key_does_not_sign_and_only_a_ready_key_takes_its_place() {
        let at = key("a").created_at;
        let active = KeyRecord { activated_at: Some(at), ..key("a") };
        let mut records = KeyRecords { keys: vec![active, key("b")], ..KeyRecords::default() };
        let signer = |records: &KeyRecords, drop| records.signer("ES256", &dropped(drop)).map(|key| key.id.clone());
        assert_eq!(signer(&records, None).as_deref(), Some("a"));
        assert_eq!(signer(&records, Some("a")), None, "no verifier may know it yet");
        records.keys[1].ready_at = Some(at);
        assert_eq!(signer(&records, Some("x, a")).as_deref(), Some("b"));
        assert_eq!(signer(&records, Some("a,b")), None);
        assert_eq!(records.signer("RS256", &dropped(None)), None);
    }

    #[test]
    fn contradictions_are_named() {
        let twice = KeyRecords { keys: vec![key("a"), key("a")], ..KeyRecords::default() };
        assert!(twice.check().unwrap_err().contains("the key a twice"));
        let active = |id| KeyRecord { activated_at: Some(key(id).created_at), ..key(id) };
        let both = KeyRecords { keys: vec![active("a"), active("b")], ..KeyRecords::default() };
        assert!(both.check().unwrap_err().contains("several active keys of the algorithm ES256"));
    }
}
