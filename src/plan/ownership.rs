//! Who owns a Secret with the delivery name of a ClientSecret.

use crate::api::ClientSecret;
use crate::api::precedence::{uid_number, uuid_number};

/// The owner of a Secret, by its metadata.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ownership {
    /// The ClientSecret is the controller of the Secret.
    Controlled,
    /// The UID equals the one in status: this is the delivered Secret, even if its metadata has changed.
    Remembered,
    /// The Secret has no controller and names a version: it may be a restored or orphaned Secret of Postern.
    Claimable,
    /// Another owner's Secret.
    Foreign,
}

/// The metadata of a Secret that shows its owner.
#[derive(Clone, Copy, Debug)]
pub struct SecretMarks {
    /// `metadata.uid`
    pub uid: Option<u128>,
    /// UID of the controller owner reference.
    pub controller: Option<u128>,
    /// It has the annotation with the id of a version.
    pub has_version: bool,
}

impl Ownership {
    /// Compares UIDs, which cannot be forged. Postern may also own a Secret without a controller, except for the
    /// younger of several ClientSecrets that want the name.
    #[must_use]
    pub fn of(secret: &ClientSecret, has_older_claimant: bool, found: SecretMarks) -> Self {
        let remembered = secret.status.as_ref().and_then(|status| uuid_number(status.secret_uid.as_deref()?));
        if found.controller.is_some() && found.controller == uid_number(&secret.metadata) {
            Self::Controlled
        } else if found.uid.is_some() && found.uid == remembered {
            Self::Remembered
        } else if found.controller.is_none() && found.has_version && !has_older_claimant {
            Self::Claimable
        } else {
            Self::Foreign
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn uids_decide_and_only_the_oldest_claimant_may_claim_a_secret_without_a_controller() {
        let [own, delivered, other] = [1, 2, 3].map(|number| format!("00000000-0000-4000-8000-00000000000{number}"));
        let secret: ClientSecret = serde_json::from_value(json!({
            "apiVersion": "postern.dev/v1alpha1", "kind": "ClientSecret", "metadata": {"name": "blue", "uid": own},
            "spec": {"applicationRef": {"name": "sync"}}, "status": {"secretUID": delivered},
        }))
        .unwrap();
        let [own, delivered, other] = [own, delivered, other].map(|uid| uuid_number(&uid));
        for (uid, controller, has_version, has_older_claimant, expected) in [
            (other, own, false, true, Ownership::Controlled),
            (delivered, other, false, true, Ownership::Remembered),
            (other, None, true, false, Ownership::Claimable),
            (other, None, true, true, Ownership::Foreign),
            (other, None, false, false, Ownership::Foreign),
            (other, other, true, false, Ownership::Foreign),
            (None, other, true, false, Ownership::Foreign),
        ] {
            let found = SecretMarks { uid, controller, has_version };
            assert_eq!(Ownership::of(&secret, has_older_claimant, found), expected, "{found:?} {has_older_claimant}");
        }
    }
}
