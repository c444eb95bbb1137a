//! Whether a new version is due, and why.

use jiff::Timestamp;

use super::{Delivered, Observed, Policy};
use crate::api::client_secret::{
    ClientSecretSpec, ClientSecretStatus, RotationCause, RotationStatus, RotationStep, Version, VersionState,
};

/// When an old version is considered unused; `None`: it is accepted until the end of the overlap.
pub(super) fn unused_until(
    spec: &ClientSecretSpec,
    status: &ClientSecretStatus,
    version: &Version,
    policy: &Policy,
) -> Option<Timestamp> {
    let quiet = spec.rotation.as_ref()?.quiet_period.as_ref()?.length();
    let rolled = status.rotation.as_ref().filter(|rotation| rotation.step == RotationStep::WaitingForIdle)?.since;
    // All uses until then have been published by now.
    version.last_used_at.into_iter().chain([rolled]).max()?.checked_add(quiet + policy.usage_lag).ok()
}

impl Observed<'_> {
    /// Why a new value has to be recorded and delivered now; `None`: there is no reason.
    ///
    /// Decided from facts alone: the version in the Secret, the recorded status, and the spec. If a recorded value was
    /// not written into the Secret, no client knows it, so another value replaces it.
    pub(super) fn rotation_cause(&self) -> Option<RotationCause> {
        let is_there = matches!(self.delivered, Delivered::Ours { .. });
        if self.unknown_install_key.is_some() && self.staged().is_some() && is_there {
            // The staged value may be the one in the Secret.
            return None;
        }
        let lost = match &self.delivered {
            Delivered::Ours { version, .. } if self.newest_is(version.as_deref()) => None,
            // The Secret may contain the value.
            Delivered::Ours { .. } if self.unknown_install_key.is_some() => None,
            Delivered::Ours { .. } => {
                self.staged_cause().map_or(Some(RotationCause::SecretLost), |staged| match staged {
                    // Withdrawn before it was delivered.
                    RotationCause::Interval
                    | RotationCause::Trigger
                    | RotationCause::Requested
                    | RotationCause::Restore => None,
                    RotationCause::SecretLost | RotationCause::Redelivery => Some(staged),
                })
            }
            Delivered::Absent if self.ttl().is_some() => self.staged_cause(),
            Delivered::Absent => Some(match self.staged_cause() {
                Some(RotationCause::Redelivery) => RotationCause::Redelivery,
                _ if self.was_one_time() => RotationCause::Redelivery,
                // Also while another value was staged for it.
                _ => RotationCause::SecretLost,
            }),
            Delivered::Unknown | Delivered::Foreign | Delivered::OtherType | Delivered::Terminating { .. } => None,
        };
        lost.or_else(|| self.due_cause())
    }

    /// Why a new version is due now. While an older value is accepted until its announced end, none is due: a third
    /// value would end the oldest early. A lost value is replaced immediately in any case.
    pub(super) fn due_cause(&self) -> Option<RotationCause> {
        self.wanted_cause().filter(|_| !self.keeps_a_promise())
    }

    /// Whether a new version waits for the end of an overlap.
    pub(super) fn is_postponed(&self) -> bool {
        self.keeps_a_promise() && self.wanted_cause().is_some()
    }

    /// Whether a value older than the newest one is accepted until an announced end.
    fn keeps_a_promise(&self) -> bool {
        let rotation = self.status().and_then(|status| status.rotation.as_deref());
        let is_promised = |version: Version| {
            let until = self.policy.lifetime.accepted_until(&self.secret.spec, &version);
            version.state == VersionState::Retiring && version.retires_at.is_some() && until > Some(self.now)
        };
        self.versions().iter().map(|version| self.older(version, rotation)).any(is_promised)
    }

    /// The bearer's request to rotate the newest version, recent or recorded in status.
    pub(super) fn request(&self) -> Option<&String> {
        let newest = self.current()?;
        let remembered = self.status().and_then(|status| status.rotation.as_ref()?.requested.as_ref());
        // A request names a version, so it takes effect once: the next version has another id.
        [self.requested.as_ref(), remembered].into_iter().flatten().find(|id| **id == newest.id)
    }

    /// Why the spec or the bearer requests a new version.
    fn wanted_cause(&self) -> Option<RotationCause> {
        let newest = self.current().filter(|_| self.secret.spec.existing().is_none())?;
        if self.request().is_some() {
            return Some(RotationCause::Requested);
        }
        // The current value was imported. Only generated values can be rotated, so a generated one replaces it.
        if self.status().is_some_and(|status| status.source.is_some()) {
            return Some(RotationCause::Trigger);
        }
        if self.policy.restored_at.is_some_and(|restored| newest.created_at < restored) {
            return Some(RotationCause::Restore);
        }
        let rotation = self.secret.spec.rotation.as_ref()?;
        let told = self.status().and_then(|status| status.observed_trigger.as_ref());
        if rotation.trigger.is_some() && rotation.trigger.as_ref() != told {
            return Some(RotationCause::Trigger);
        }
        self.next_rotation_at(newest).is_some_and(|due| due <= self.now).then_some(RotationCause::Interval)
    }

    /// When the version is due for automatic rotation.
    pub(super) fn next_rotation_at(&self, version: &Version) -> Option<Timestamp> {
        let rotation = self.secret.spec.rotation.as_ref().filter(|_| self.secret.spec.existing().is_none())?;
        let lifetime = &self.policy.lifetime;
        let end = lifetime.expiry(&self.secret.spec, version.created_at);
        let due = rotation.due(version.created_at, end, self.spread(), lifetime.rotation_interval_min)?;
        match end.filter(|_| lifetime.shortens(&self.secret.spec, version.created_at)) {
            // The author of the spec could not know the limit: rotate early enough for the overlap, if the lifetime is
            // longer than two overlaps.
            Some(end) => {
                let early = rotation.overlap().min(end.duration_since(version.created_at) / 2);
                let in_time = end.checked_sub(early).unwrap_or(end);
                Some(due.min(in_time).max(lifetime.earliest_rotation(version.created_at)))
            }
            None => Some(due),
        }
    }

    /// The version whose age determines the rotation: the newest delivered one.
    fn current(&self) -> Option<&Version> {
        let staged = usize::from(self.is_delivering() && !self.staged_is_delivered());
        self.versions().get(staged)
    }

    /// Whether the Secret contains the last recorded value.
    pub(super) fn staged_is_delivered(&self) -> bool {
        matches!(&self.delivered, Delivered::Ours { version, .. } if self.newest_is(version.as_deref()))
    }

    pub(super) fn staged_cause(&self) -> Option<RotationCause> {
        self.staged().map(|rotation| rotation.cause)
    }

    /// The rotation whose new value is staged.
    pub(super) fn staged(&self) -> Option<&RotationStatus> {
        self.status().and_then(|status| status.rotation.as_deref()).filter(|_| self.is_delivering())
    }

    /// The delivery mode was Once until now, so the missing Secret is not a loss.
    fn was_one_time(&self) -> bool {
        self.status().is_some_and(|status| status.delivery.is_some())
    }

    /// A number from 0 to 1 that is constant for this object.
    fn spread(&self) -> f64 {
        let digest = crate::api::digest::digest(self.secret.metadata.uid.as_deref());
        let bits = digest.get(..8).and_then(|hex| u32::from_str_radix(hex, 16).ok()).unwrap_or_default();
        f64::from(bits) / f64::from(u32::MAX)
    }
}
