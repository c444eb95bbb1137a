//! Secret values (generated, found in a Secret, or imported) and their verifiers.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;

use super::secret_content::is_proven;
use crate::api::ClientSecret;
use crate::api::client_secret::{Version, uid_bytes};
use crate::api::conditions::whole_second;
use crate::api::names::{ISSUED_ANNOTATION, VERSION_ANNOTATION};
use crate::cache::ObjectRef;
use crate::clock::Clock;
use crate::controller::gather::describe;
use crate::controller::{Context, Error};
use crate::crypto::install_key::HashCost;
use crate::crypto::secret::{self, SecretValue, VersionId};
use crate::plan::client_secret::Issued;

/// A value with the id and the creation time of its version.
pub(crate) struct IssuedValue {
    pub(crate) id: String,
    pub(crate) text: SecretValue,
    pub(crate) at: Timestamp,
}

impl IssuedValue {
    /// An imported value, as a new version.
    pub(crate) fn imported(value: SecretValue, now: Timestamp) -> Self {
        Self { id: VersionId::generate().to_string(), text: value, at: whole_second(now) }
    }
}

impl<C: Clock> Context<C> {
    /// A new generated value.
    pub(crate) fn generate(&self) -> IssuedValue {
        let (id, value) = SecretValue::generate();
        IssuedValue { id: id.to_string(), text: value, at: whole_second(self.clock.now()) }
    }

    /// The version that a generated value is recorded as.
    pub(crate) fn issued(&self, owner: &ClientSecret, value: &IssuedValue) -> Result<Issued, Error> {
        let verifier = self
            .install_keys
            .hash(value.text.expose_secret(), uid_bytes(&owner.metadata), HashCost::Generated)
            .map_err(|source| Error::Hash { object: describe(owner), source })?;
        Ok(Issued { id: value.id.clone(), verifier, at: value.at })
    }

    /// Whether `value` is the value of this version.
    pub(crate) fn is_value_of(&self, owner: &ClientSecret, version: &Version, value: &SecretValue) -> bool {
        self.install_keys.verify(&version.verifier, value.expose_secret(), uid_bytes(&owner.metadata))
    }

    /// The value in a delivered Secret, under any key, if Postern delivered it: that of the newest version or, if
    /// status has no version yet, the one that was being recorded. Any client that can write Secrets can replace it.
    pub(crate) fn held(&self, owner: &ClientSecret, found: &Secret) -> Option<IssuedValue> {
        let Some(newest) = owner.status.as_ref().and_then(|status| status.versions.first()) else {
            return self.unrecorded(owner, found);
        };
        let version = (newest.id.as_str(), newest.created_at);
        let text = texts(found).find(|text| match HashCost::of(&newest.verifier) {
            Some(HashCost::Generated) => {
                names_version(text, &newest.id)
                    && self.install_keys.verify(&newest.verifier, text, uid_bytes(&owner.metadata))
            }
            // Hashing these would take tens of milliseconds each.
            _ => is_proven(&self.install_keys, owner, found, version, text),
        })?;
        Some(IssuedValue { id: newest.id.clone(), text: SecretValue::new(text.to_owned()), at: newest.created_at })
    }

    /// A generated value that was delivered and not recorded. An unproven value is accepted only in a recovery.
    fn unrecorded(&self, owner: &ClientSecret, found: &Secret) -> Option<IssuedValue> {
        if owner.spec.existing().is_some() {
            return None;
        }
        let id = found.annotations().get(VERSION_ANNOTATION)?;
        let at: Timestamp = found.annotations().get(ISSUED_ANNOTATION)?.parse().ok()?;
        let mut named = texts(found).filter(|text| names_version(text, id));
        let text = if self.recovery.allows(&ObjectRef::of(owner)) {
            named.next()?
        } else {
            named.find(|text| is_proven(&self.install_keys, owner, found, (id, at), text))?
        };
        // The time of an unproven value is not proven either: its lifetime begins no later than now.
        let at = whole_second(at.min(self.clock.now()));
        Some(IssuedValue { id: id.clone(), text: SecretValue::new(text.to_owned()), at })
    }
}

/// All UTF-8 values in a Secret.
fn texts(found: &Secret) -> impl Iterator<Item = &str> {
    found.data.iter().flatten().filter_map(|(_, value)| std::str::from_utf8(&value.0).ok())
}

/// Whether a text is a well-formed generated value of this version.
fn names_version(text: &str, id: &str) -> bool {
    secret::parse(text).is_ok_and(|value| value.version_id() == id)
}
