//! The keys of the installation, as the endpoint uses them.

use std::sync::atomic::{AtomicI64, Ordering};

use arc_swap::ArcSwapOption;
use jiff::{SignedDuration, Timestamp};

use crate::crypto::install_key::InstallKeys;
use crate::crypto::keyset::JwkSet;
use crate::crypto::opaque::TokenKeys;

/// The keys of the install, each replaced atomically. While one is missing, the endpoint answers 503.
#[derive(Debug, Default)]
pub struct ServerKeys {
    /// Signing keys, which are also published.
    pub signing: ArcSwapOption<JwkSet>,
    /// The confirmation of the signing keys.
    pub signing_confirmed: Confirmation,
    /// Encrypt opaque tokens.
    pub tokens: ArcSwapOption<TokenKeys>,
    /// The confirmation of the token keys.
    pub tokens_confirmed: Confirmation,
    /// Checks secrets.
    pub install: ArcSwapOption<InstallKeys>,
    /// The confirmation of the install keys.
    pub install_confirmed: Confirmation,
}

/// A replica that has read its keys within this time knows every key that others use: a key is used only after each
/// replica that has renewed its Lease in the last fifteen seconds knows it.
const CURRENT_FOR: SignedDuration = SignedDuration::from_secs(15);

/// When the keys were last known to be current. Keys that nobody replaces are current for ever.
#[derive(Debug)]
pub struct Confirmation(AtomicI64);

impl Default for Confirmation {
    fn default() -> Self {
        Self(AtomicI64::new(i64::MAX))
    }
}

impl Confirmation {
    /// Records that the keys were current at this instant.
    pub fn set(&self, at: Timestamp) {
        self.0.store(at.as_second(), Ordering::Relaxed);
    }

    /// Whether other replicas may use keys that this one does not know.
    #[must_use]
    pub fn is_behind(&self, now: Timestamp) -> bool {
        now.as_second().saturating_sub(self.0.load(Ordering::Relaxed)) > CURRENT_FOR.as_secs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_current_for_a_while_after_each_confirmation() {
        let (confirmation, at) = (Confirmation::default(), |second| Timestamp::from_second(second).unwrap());
        assert!(!confirmation.is_behind(at(i64::from(u32::MAX))), "nobody replaces them");
        confirmation.set(at(100));
        assert!(!confirmation.is_behind(at(115)) && confirmation.is_behind(at(116)));
        assert!(!confirmation.is_behind(at(50)), "the clock was set back");
    }
}
