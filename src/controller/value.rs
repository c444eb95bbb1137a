//! Secret values on their way: generated, found in a Secret, or imported, and the verifiers made of them.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;

use super::gather::describe;
use super::{Context, Error};
use crate::api::ClientSecret;
use crate::api::client_secret::{Version, uid_bytes};
use crate::api::conditions::whole_second;
use crate::api::names::{ISSUED_ANNOTATION, VERSION_ANNOTATION};
use crate::clock::Clock;
use crate::crypto::install_key::Strength;
use crate::crypto::secret::{self, SecretValue, VersionId};
use crate::plan::client_secret::Issued;

/// A value with the name of its version and its birth.
pub(super) struct Value {
    pub(super) id: String,
    pub(super) text: SecretValue,
    pub(super) at: Timestamp,
}

impl Value {
    /// A value brought from elsewhere, as a new version.
    pub(super) fn imported(value: SecretValue, now: Timestamp) -> Self {
        Self { id: VersionId::generate().to_string(), text: value, at: whole_second(now) }
    }
}

impl<C: Clock> Context<C> {
    /// A new generated value.
    pub(super) fn generate(&self) -> Value {
        let (id, value) = SecretValue::generate();
        Value { id: id.to_string(), text: value, at: whole_second(self.clock.now()) }
    }

    /// The version that a generated value is recorded as.
    pub(super) fn issued(&self, owner: &ClientSecret, value: &Value) -> Result<Issued, Error> {
        let verifier = self
            .install_keys
            .hash(value.text.expose_secret(), uid_bytes(&owner.metadata), Strength::Generated)
            .map_err(|source| Error::Hash { object: describe(owner), source })?;
        Ok(Issued { id: value.id.clone(), verifier, at: value.at })
    }

    /// Whether `value` is the value of this version.
    pub(super) fn is_value_of(&self, owner: &ClientSecret, version: &Version, value: &SecretValue) -> bool {
        self.install_keys.verify(&version.verifier, value.expose_secret(), uid_bytes(&owner.metadata))
    }
}

/// The generated value in a delivered Secret, whatever its key, if it is the version that the annotation says.
pub(super) fn stored(found: &Secret) -> Option<Value> {
    let annotation = |key: &str| found.metadata.annotations.as_ref()?.get(key);
    let id = annotation(VERSION_ANNOTATION)?;
    let at = annotation(ISSUED_ANNOTATION)?.parse().ok()?;
    let value = found.data.iter().flatten().find_map(|(_, value)| {
        let value = std::str::from_utf8(&value.0).ok()?;
        (secret::parse(value).ok()?.version_id() == id).then(|| SecretValue::new(value.to_owned()))
    })?;
    Some(Value { id: id.clone(), text: value, at })
}
