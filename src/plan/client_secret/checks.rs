//! What blocks the delivery of a credential or its authentication.

use super::{ApplicationState, Delivered, Import, Observed};
use crate::api::conditions::{reasons, types};
use crate::plan::kstatus::Kstatus;

/// One reason, with its remedy.
pub(super) struct Blocker {
    pub(super) reason: &'static str,
    pub(super) outlook: Kstatus,
    pub(super) message: String,
}

impl Blocker {
    fn stuck(reason: &'static str, message: String) -> Self {
        Self { reason, outlook: Kstatus::Failed, message }
    }

    fn waiting(reason: &'static str, message: String) -> Self {
        Self { reason, outlook: Kstatus::InProgress, message }
    }
}

impl Observed<'_> {
    /// The first that applies.
    pub(super) fn blocker(&self) -> Option<Blocker> {
        self.revoked_or_expired().or_else(|| self.blocker_besides_expiry())
    }

    /// The first besides revocation and expiry.
    fn blocker_besides_expiry(&self) -> Option<Blocker> {
        let terminating = || self.is_terminating();
        self.reference_blocker().or_else(|| self.import_refused()).or_else(|| self.name_conflict()).or_else(terminating)
    }

    /// Whether something blocks the next action. The expiry of the value does not, if a new value may be there to
    /// import.
    pub(super) fn blocks_action(&self) -> bool {
        let may_be_another = matches!(self.import, Some(Import::Changed(_))) && !self.secret.spec.is_revoked();
        let blocker = if may_be_another { self.blocker_besides_expiry() } else { self.blocker() };
        blocker.is_some()
    }

    fn revoked_or_expired(&self) -> Option<Blocker> {
        if self.secret.spec.is_revoked() {
            let message = "spec.revoke is true: permanently revoked. Create a new ClientSecret to replace it.";
            let (outlook, message) = (Kstatus::Requested(types::REVOKED), message.to_owned());
            return Some(Blocker { reason: reasons::REVOKED, outlook, message });
        }
        // A due rotation gives it a new expiry.
        let issued = match self.newest() {
            Some(newest) if self.due_cause().is_none() => newest.created_at,
            _ => self.now,
        };
        let end = self.policy.lifetime.expiry(&self.secret.spec, issued).filter(|end| *end <= self.now)?;
        let message = format!(
            "The credential expired at {end}; it is no longer accepted. Set spec.expiresIn or spec.expiresAt to a later \
             time, or create another ClientSecret."
        );
        Some(Blocker::stuck(reasons::EXPIRED, message))
    }

    fn reference_blocker(&self) -> Option<Blocker> {
        let application = &self.secret.spec.application_ref.name;
        if self.rank >= self.policy.limit {
            let limit = self.policy.limit;
            let message = format!(
                "spec.applicationRef: {limit} older ClientSecrets belong to Application {application}, and only the oldest \
                 {limit} are active: delete one that is not needed, and this one is issued automatically."
            );
            return Some(Blocker::stuck(reasons::LIMIT_REACHED, message));
        }
        if matches!(self.application, ApplicationState::Missing) {
            let message = format!(
                "spec.applicationRef: Application {application} does not exist in this namespace: create it, or create \
                 this ClientSecret again with the right name."
            );
            return Some(Blocker::waiting(reasons::APPLICATION_NOT_FOUND, message));
        }
        if matches!(self.application, ApplicationState::WithoutClientId) {
            let message = format!(
                "spec.applicationRef: waiting for Application {application}: see its condition Ready. This credential is \
                 issued automatically once the Application is ready."
            );
            return Some(Blocker::waiting(reasons::APPLICATION_NOT_READY, message));
        }
        None
    }

    fn import_refused(&self) -> Option<Blocker> {
        let existing = self.secret.spec.existing()?;
        let (name, key) = (&existing.secret_name, &existing.key);
        match self.import.as_ref()? {
            Import::NotFound => Some(Blocker::waiting(
                reasons::IMPORT_NOT_FOUND,
                format!(
                    "spec.source.existing: Secret {name} does not exist in this namespace or does not carry the label \
                     postern.dev/import: \"true\": correct the name, create the Secret, or ask its owner for the label."
                ),
            )),
            Import::Terminating => Some(Blocker::waiting(
                reasons::IMPORT_NOT_FOUND,
                format!(
                    "spec.source.existing: Secret {name} is being deleted, which counts as deleted: create it again when it \
                     is gone, or correct the name."
                ),
            )),
            Import::KeyMissing => Some(Blocker::stuck(
                reasons::IMPORT_KEY_MISSING,
                format!(
                    "spec.source.existing: Secret {name} has no text under the key {key}: correct the key, or the Secret."
                ),
            )),
            // The length would help to guess the value.
            Import::WrongLength => Some(Blocker::stuck(
                reasons::IMPORT_VALUE_REFUSED,
                format!(
                    "spec.source.existing: the value under {key} of Secret {name} must have 16 to 256 characters: put \
                     another random value there."
                ),
            )),
            Import::ControlCharacter => Some(Blocker::stuck(
                reasons::IMPORT_VALUE_REFUSED,
                format!(
                    "spec.source.existing: the value under {key} of Secret {name} has a control character, such as a tab or a \
                     second line break, which is no part of a client secret (RFC 6749 Appendix A.2): put the value there \
                     without it, for example with printf instead of echo."
                ),
            )),
            Import::LooksGenerated => Some(Blocker::stuck(
                reasons::IMPORT_VALUE_REFUSED,
                format!(
                    "spec.source.existing: the value under {key} of Secret {name} must not start with \"pst_\", which is \
                     reserved for generated secrets: put another value there, or leave out spec.source and have one \
                     generated."
                ),
            )),
            Import::Unchanged | Import::Changed(_) => None,
        }
    }

    /// The message deliberately does not name the owner: an author of ClientSecrets may not be allowed to read Secrets.
    fn name_conflict(&self) -> Option<Blocker> {
        let name = self.secret.spec.secret_name(&self.secret.metadata);
        let message = match (&self.delivered, self.has_older_claimant) {
            (Delivered::Foreign, _) | (Delivered::Absent, true) => format!(
                "Secret {name} is taken, and Postern will not touch it: it exists and does not belong to this ClientSecret, or \
                 an older ClientSecret delivers under that name. Choose another spec.delivery.secretName in a new \
                 ClientSecret, or remove the other."
            ),
            (Delivered::OtherType, _) => format!(
                "Secret {name} names this ClientSecret as its owner but is not of type servicebinding.io/oauth2, and the \
                 type of a Secret cannot be changed: delete it to have it recreated."
            ),
            (Delivered::Ours { .. } | Delivered::Terminating { .. } | Delivered::Unknown, _)
            | (Delivered::Absent, false) => return None,
        };
        Some(Blocker::stuck(reasons::SECRET_NAME_CONFLICT, message))
    }

    /// With delivery mode Once the credential authenticates without its Secret.
    fn is_terminating(&self) -> Option<Blocker> {
        match &self.delivered {
            Delivered::Terminating { finalizers } if self.ttl().is_none() => {
                Some(Blocker::waiting(reasons::SECRET_TERMINATING, self.terminating(finalizers)))
            }
            _ => None,
        }
    }

    /// The message for a Secret that is being deleted, with the remedy.
    pub(super) fn terminating(&self, finalizers: &str) -> String {
        let name = self.secret.spec.secret_name(&self.secret.metadata);
        let value = if self.is_lost_for_good() { ", and its value is refused" } else { "" };
        format!(
            "Secret {name} is being deleted{value}. Its finalizers keep it: {finalizers}. Have their controller finish, or \
             remove them from metadata.finalizers; then the Secret is recreated automatically if it is needed."
        )
    }
}
