//! What the rotation of a key set is decided from, and what is decided.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use crate::api::key_records::KeyRecords;
use crate::api::replica_state::KeysInUse;

/// The settings of the rotation of one Secret.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How long a key signs; `None`: until its replacement is requested.
    pub rotate_every: Option<SignedDuration>,
    /// How long a key is published before it may sign, so that every verifier knows it.
    pub publish_for: SignedDuration,
    /// The longest lifetime of a token.
    pub token_lifetime_max: SignedDuration,
    /// How long a replica that cannot reach the API server may sign with a key that others have replaced.
    pub staleness_max: SignedDuration,
    /// The most replaced keys of an algorithm. More frequent rotations wait until the oldest is removed.
    pub retiring_max: usize,
    /// When a backup was restored: older active keys are replaced.
    pub restored_at: Option<Timestamp>,
    /// Whether an active key can be dropped. Without the active install key, no credential would be accepted.
    pub drops_active: bool,
}

/// The keys that each live replica reports; `None` for a replica without a report.
pub type Replicas = BTreeMap<String, Option<KeysInUse>>;

/// The inputs of the decision.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// The records of the Secret.
    pub records: &'a KeyRecords,
    /// The annotation `postern.dev/rotate`.
    pub rotate: Option<&'a str>,
    /// The annotation `postern.dev/drop`.
    pub drop: Option<&'a str>,
    /// The algorithms that need keys, besides those that have keys.
    pub algorithms: &'a [&'a str],
    /// The live replicas; `None`: not known yet.
    pub replicas: Option<&'a Replicas>,
    /// Replaced keys that something still depends on, besides tokens.
    pub in_use: &'a BTreeSet<String>,
    /// The time of the decision.
    pub now: Clocks,
}

/// The time, as the clocks of the leader and the live replicas show it. Elapsed time is measured with the earliest, and
/// the latest is recorded. So no step of a single clock shortens a wait.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Clocks {
    /// The clock that is furthest behind.
    pub earliest: Timestamp,
    /// The clock that is furthest ahead.
    pub latest: Timestamp,
}

impl Clocks {
    /// One clock.
    #[must_use]
    pub fn one(now: Timestamp) -> Self {
        Self { earliest: now, latest: now }
    }
}

/// What is decided.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Decision {
    /// This step is due.
    Do(Step),
    /// No step is due.
    Wait(Wait),
}

/// One step of a rotation, which one write makes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Step {
    /// Keys are removed at once. A key that is ready takes the place of an active one.
    Drop {
        /// The keys.
        ids: Vec<String>,
        /// Ids of the annotation that no key has, or that cannot be dropped.
        unknown: Vec<String>,
        /// The annotation.
        value: String,
    },
    /// The annotation names no key that can be dropped.
    ReportUnknown {
        /// What it names.
        ids: Vec<String>,
        /// The annotation.
        value: String,
    },
    /// Every active key is to be replaced.
    RequestRotation {
        /// The annotation.
        value: String,
    },
    /// A next key is created.
    Create {
        /// Its algorithm.
        algorithm: String,
    },
    /// Every live replica publishes the key.
    RecordPublished {
        /// The key.
        id: String,
    },
    /// Every verifier can know the key.
    RecordReady {
        /// The key.
        id: String,
    },
    /// The key signs from now on. The one that signed before is retiring.
    Activate {
        /// The key.
        id: String,
    },
    /// No live replica signs with the key any more.
    RecordUnused {
        /// The key.
        id: String,
    },
    /// Nothing depends on the key any more: its last token has expired.
    Remove {
        /// The key.
        id: String,
    },
    /// Tokens may live longer than the records say.
    RecordLifetime,
}

/// What the rotation waits for.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Wait {
    /// The next step is due then, if no replica is waited for.
    pub until: Option<Timestamp>,
    /// A step depends on the live replicas.
    pub needs_replicas: bool,
    /// What a step waits for, besides time.
    pub blocked: BTreeSet<Blocked>,
}

/// What a step waits for.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Blocked {
    /// A live replica.
    Replica {
        /// Its name.
        replica: String,
        /// The key.
        key: String,
        /// Whether it has to sign with the key, or only to publish it.
        signs: bool,
    },
    /// The removal of a key that something depends on.
    InUse {
        /// The key.
        key: String,
    },
    /// An instant in the records that no clock shows yet: a clock was ahead.
    Ahead {
        /// The key.
        key: String,
        /// The instant.
        until: Timestamp,
    },
    /// The removal of a replaced key: there are as many as the settings allow.
    Full {
        /// Their algorithm.
        algorithm: String,
    },
}
