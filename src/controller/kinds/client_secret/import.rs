//! Imported values: the owner's permission, and the value itself.

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;

use crate::api::ClientSecret;
use crate::api::client_secret::{ExistingSecret, SourceStatus, Version, VersionState};
use crate::api::conditions::{reasons, types};
use crate::api::names::{IMPORT_ALLOWED, IMPORT_LABEL};
use crate::cache::{ObjectRef, is_deleting};
use crate::clock::Clock;
use crate::controller::{Context, Error};
use crate::crypto::secret::{IMPORTED_LENGTH, PREFIX, SecretValue};
use crate::plan::client_secret::Import;

/// A value that may be imported.
pub(crate) struct Found {
    /// The source of the value.
    pub(crate) source: SourceStatus,
    pub(crate) value: SecretValue,
}

impl<C: Clock> Context<C> {
    /// The Secret that `secret` imports from. It is read only if it differs from the last one read, or if there was a
    /// problem with that one.
    pub(crate) async fn import_of(&self, secret: &ClientSecret) -> Result<Option<Import>, Error> {
        let Some(existing) = secret.spec.existing() else { return Ok(None) };
        let key = ObjectRef::new(&secret.namespace().unwrap_or_default(), &existing.secret_name);
        let Some(stored) = self.cache.imports.get(&key) else { return Ok(Some(Import::NotFound)) };
        if is_deleting(stored.as_ref()) {
            return Ok(Some(Import::Terminating));
        }
        // The source of a retired value is read again even if it is unchanged.
        let is_active = |version: &Version| version.state == VersionState::Active;
        let told = secret.status.as_ref().filter(|status| status.versions.first().is_some_and(is_active));
        let same = |told: &SourceStatus| {
            Some(&told.uid) == stored.metadata.uid.as_ref()
                && Some(&told.resource_version) == stored.metadata.resource_version.as_ref()
                && told.key == existing.key
        };
        // Only the value itself can get a verifier under another install key.
        let is_needed = was_refused(secret) || self.needs_rekey(secret);
        if told.and_then(|status| status.source.as_deref()).is_some_and(same) && !is_needed {
            return Ok(Some(Import::Unchanged));
        }
        let found = self.secrets(secret).get_opt(&existing.secret_name).await.map_err(|source| failed(&key, source))?;
        Ok(Some(found.map_or(Import::NotFound, |found| evaluate(&found, existing))))
    }

    /// The value; `None` if there is none that may be imported.
    pub(crate) async fn read_import(&self, secret: &ClientSecret) -> Result<Option<Found>, Error> {
        let Some(existing) = secret.spec.existing() else { return Ok(None) };
        let key = ObjectRef::new(&secret.namespace().unwrap_or_default(), &existing.secret_name);
        let found = self.secrets(secret).get_opt(&existing.secret_name).await.map_err(|source| failed(&key, source))?;
        let Some(found) = found else { return Ok(None) };
        let Import::Changed(source) = evaluate(&found, existing) else { return Ok(None) };
        let text = text(&found, existing).map(|text| without_line_break(text).to_owned());
        Ok(text.map(|value| Found { source, value: SecretValue::new(value) }))
    }
}

/// The owner must permit the import, because a user who may write a ClientSecret may lack the permission to read
/// Secrets.
fn evaluate(found: &Secret, existing: &ExistingSecret) -> Import {
    if is_deleting(found) {
        return Import::Terminating;
    }
    if found.labels().get(IMPORT_LABEL).is_none_or(|value| value != IMPORT_ALLOWED) {
        return Import::NotFound;
    }
    let Some(text) = text(found, existing) else { return Import::KeyMissing };
    let value = without_line_break(text);
    if value.chars().any(char::is_control) {
        return Import::ControlCharacter;
    }
    if !IMPORTED_LENGTH.contains(&value.chars().count()) {
        return Import::WrongLength;
    }
    // The endpoint would look for the version in the prefix.
    if value.starts_with(PREFIX) {
        return Import::LooksGenerated;
    }
    let metadata = &found.metadata;
    Import::Changed(SourceStatus {
        uid: metadata.uid.clone().unwrap_or_default(),
        resource_version: metadata.resource_version.clone().unwrap_or_default(),
        key: existing.key.clone(),
        line_break_ignored: value.len() < text.len(),
    })
}

/// Editors and `echo` end a file with a line break, and `kubectl create secret --from-file` keeps it. Readers of the
/// value, such as shells, remove the line break. Pods would send the value without it, so Postern must verify that
/// form.
fn without_line_break(text: &str) -> &str {
    text.strip_suffix("\r\n").or_else(|| text.strip_suffix('\n')).unwrap_or(text)
}

fn text<'a>(found: &'a Secret, existing: &ExistingSecret) -> Option<&'a str> {
    std::str::from_utf8(&found.data.as_ref()?.get(&existing.key)?.0).ok()
}

fn was_refused(secret: &ClientSecret) -> bool {
    let conditions = secret.status.iter().flat_map(|status| &status.conditions);
    let refusals = [reasons::IMPORT_NOT_FOUND, reasons::IMPORT_KEY_MISSING, reasons::IMPORT_VALUE_REFUSED];
    conditions.into_iter().any(|c| c.type_ == types::READY && refusals.contains(&c.reason.as_str()))
}

fn failed(key: &ObjectRef, source: kube::Error) -> Error {
    let object = format!("Secret {}/{}", key.namespace, key.name);
    Error::Api { step: "read", object, source: Box::new(source) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn evaluated(value: &str) -> Import {
        let existing = ExistingSecret { secret_name: "legacy".to_owned(), key: "password".to_owned() };
        let metadata = json!({"name": "legacy", "labels": {IMPORT_LABEL: IMPORT_ALLOWED}});
        let mut found: Secret = serde_json::from_value(json!({"metadata": metadata})).unwrap();
        let data = k8s_openapi::ByteString(value.as_bytes().to_vec());
        found.data = Some([("password".to_owned(), data)].into());
        evaluate(&found, &existing)
    }

    #[test]
    fn one_trailing_line_break_is_removed_and_every_other_control_character_is_refused() {
        for (value, ignored) in [
            ("a value of some length", false),
            ("a value of some length\n", true),
            ("a value of some length\r\n", true),
        ] {
            let Import::Changed(source) = evaluated(value) else { panic!("{value:?} is refused") };
            assert_eq!(source.line_break_ignored, ignored, "{value:?}");
        }
        for value in [
            "a value of some length\n\n",
            "\na value of some length",
            "a value\tof some length",
            "a value of some length\u{7f}",
            "a value of some\u{85}length",
            "a value of some length\r",
        ] {
            assert_eq!(evaluated(value), Import::ControlCharacter, "{value:?}");
        }
        // The line break does not count as a character.
        assert_eq!(evaluated("fifteen letters\n"), Import::WrongLength);
    }
}
