//! One reading of a presented secret, and what was computed for it.

use std::sync::Arc;

use crate::crypto::secret::{self, PresentedSecret};
use crate::oauth::client_auth::SharedSecret;
use crate::oauth::client_record::{SecretRecord, SecretVersion};
use crate::oauth::lockout::PendingAttempt;

/// One well-formed reading of the credentials.
pub(super) struct Reading<'a> {
    pub(super) client_id: &'a str,
    pub(super) form: SecretFormat<'a>,
    /// The value that counts if it is wrong: the first one that the request presents for this client.
    pub(super) counted: &'a str,
    /// The versions, by UID and verifier, for which a hash was computed.
    hashed: Vec<([u8; 16], Arc<str>)>,
    /// It is the value of a version.
    has_matched: bool,
    /// The secrets of the client are locked.
    pub(super) is_locked: bool,
    /// The hash of a version shows that the value is another one.
    pending: Option<PendingAttempt<'a>>,
}

impl<'a> Reading<'a> {
    /// The readings of a secret that can be secrets.
    pub(super) fn all(presented: &'a SharedSecret) -> Vec<Self> {
        let counted = |client_id: &str| presented.candidates.iter().find(|first| first.client_id == client_id);
        let readings = presented.candidates.iter().filter_map(|candidate| {
            Some(Self {
                client_id: &candidate.client_id,
                form: SecretFormat::of(&candidate.secret)?,
                counted: &counted(&candidate.client_id)?.secret,
                hashed: Vec::new(),
                has_matched: false,
                is_locked: false,
                pending: None,
            })
        });
        readings.collect()
    }

    /// Whether a hash was computed.
    pub(super) fn is_hashed(&self) -> bool {
        !self.hashed.is_empty()
    }

    /// Whether the value was compared with this version. A version with another verifier gets another hash.
    pub(super) fn is_tried(&self, secret: &SecretRecord, version: &SecretVersion) -> bool {
        let mut hashed = self.hashed.iter();
        hashed.any(|(uid, verifier)| *uid == secret.uid && Some(verifier) == version.verification.verifier())
    }

    /// The value was compared with this version. `attempt`: the value is another one.
    pub(super) fn tried(
        &mut self,
        secret: &SecretRecord,
        version: &SecretVersion,
        attempt: Option<PendingAttempt<'a>>,
    ) {
        self.hashed.extend(version.verification.verifier().map(|verifier| (secret.uid, Arc::clone(verifier))));
        self.pending = self.pending.take().or(attempt);
    }

    /// It is the value of a version. What it was compared with before does not count.
    pub(super) fn matched(&mut self) {
        self.has_matched = true;
        self.cancel();
    }

    fn cancel(&mut self) {
        if let Some(attempt) = self.pending.take() {
            attempt.cancel();
        }
    }

    /// Whether a hash shows that the request presents no correct value. If it presents one, nothing counts.
    pub(super) fn are_wrong(readings: &mut [Self]) -> bool {
        if readings.iter().any(|reading| reading.has_matched) {
            readings.iter_mut().for_each(Self::cancel);
            return false;
        }
        readings.iter().any(Self::is_hashed)
    }
}

/// What a presented value may be.
#[derive(Clone, Copy)]
pub(super) enum SecretFormat<'a> {
    /// A generated value: it names its version, and its checksum is right.
    Generated(PresentedSecret<'a>),
    /// An imported value.
    Foreign(&'a str),
}

impl<'a> SecretFormat<'a> {
    /// `None` for what cannot be a secret: a mistyped generated value, or a value of an impossible length.
    fn of(value: &'a str) -> Option<Self> {
        match secret::parse(value) {
            Ok(presented) => Some(Self::Generated(presented)),
            Err(_) if value.starts_with(secret::PREFIX) => None,
            Err(_) => secret::IMPORTED_LENGTH.contains(&value.chars().count()).then_some(Self::Foreign(value)),
        }
    }

    pub(super) fn value(&self) -> &'a str {
        match self {
            Self::Generated(presented) => presented.expose_secret(),
            Self::Foreign(value) => value,
        }
    }
}
