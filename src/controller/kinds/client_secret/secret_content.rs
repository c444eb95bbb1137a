//! The wanted content of a delivered Secret, and how an existing Secret differs from it.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::{Resource, ResourceExt};
use serde_json::{Value as Json, json};

use super::credential_entries::{credential_entries, quotes};
use super::issued_value::IssuedValue;
use crate::api::ClientSecret;
use crate::api::client_secret::uid_bytes;
use crate::api::names::{
    COMPONENT_LABEL, CONTENT_ANNOTATION, CREDENTIAL, ISSUED_ANNOTATION, KEYS_ANNOTATION, MAC_ANNOTATION, MANAGED_BY,
    MANAGED_BY_LABEL, VERSION_ANNOTATION,
};
use crate::crypto::delivery_mac::{self, Delivery};
use crate::crypto::install_key::{InstallKeyError, InstallKeys};
use crate::plan::secret_content::Content;

/// Everything that Postern writes into a delivered Secret.
pub(crate) struct Wanted {
    pub(crate) data: BTreeMap<String, ByteString>,
    credential_keys: Vec<String>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) owner: Option<OwnerReference>,
}

/// How a Secret differs from the wanted content.
pub(crate) struct Difference {
    /// A merge patch (RFC 7396) that repairs the Secret.
    pub(crate) patch: Json,
    /// What the patch changes, as `data/KEY`, `labels/KEY`, `annotations/KEY` and `ownerReferences`.
    pub(crate) keys: Vec<String>,
}

impl Wanted {
    /// The content to deliver for `owner`: the value and its metadata.
    pub(crate) fn new(
        owner: &ClientSecret,
        value: &IssuedValue,
        content: &Content,
        install_keys: &InstallKeys,
    ) -> Result<Self, InstallKeyError> {
        let text = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
        let bytes = |(key, value): (&str, &str)| (key.to_owned(), ByteString(value.as_bytes().to_vec()));
        let (issued, digest, names) = (value.at.to_string(), content.digest(), names(content));
        let mac = delivery_mac::sign(install_keys, &delivery(owner, &value.id, value.at, value.text.expose_secret()))?;
        let credential = credential_entries(content, value);
        let annotations = [
            (VERSION_ANNOTATION, value.id.as_str()),
            (ISSUED_ANNOTATION, &issued),
            (CONTENT_ANNOTATION, &digest),
            (KEYS_ANNOTATION, &names),
            (MAC_ANNOTATION, &mac),
        ];
        let labels = [(MANAGED_BY_LABEL, MANAGED_BY), (COMPONENT_LABEL, CREDENTIAL)];
        Ok(Self {
            credential_keys: credential.iter().map(|(key, _)| key.clone()).collect(),
            data: content.entries().map(bytes).chain(credential).collect(),
            labels: content.labels().chain(labels).map(text).collect(),
            annotations: content.annotations().chain(annotations).map(text).collect(),
            owner: owner_reference(owner),
        })
    }

    /// Whether a text contains the credential, or a long part of it.
    pub(super) fn is_quoted_in(&self, text: &str) -> bool {
        quotes(text, self.credential_keys.iter().filter_map(|key| self.data.get(key)))
    }

    /// How `found` differs; `None`: it has all the wanted content. Additions of other clients are no difference;
    /// entries that Postern wrote under an earlier name are one.
    pub(crate) fn differs(&self, found: &Secret) -> Option<Difference> {
        let written = found.annotations().get(KEYS_ANNOTATION).map(String::as_str).unwrap_or_default();
        let written: Vec<&str> = written.split(' ').collect();
        let mut keys = Vec::new();
        let mut patch = |part: &str, changes: BTreeMap<String, Json>| {
            keys.extend(changes.keys().map(|key| format!("{part}/{key}")));
            json!(changes)
        };
        let metadata = &found.metadata;
        // Only the metadata of an immutable Secret can be changed. Postern watches it by its labels, and its
        // annotations describe its content.
        let is_immutable = found.immutable == Some(true);
        let only_if = |wrong: BTreeMap<String, Json>| if is_immutable { BTreeMap::new() } else { wrong };
        let data = patch("data", only_if(changes("data", &written, found.data.as_ref(), &self.data)));
        let labels = patch("labels", changes("labels", &written, metadata.labels.as_ref(), &self.labels));
        let annotations = changes("annotations", &written, metadata.annotations.as_ref(), &self.annotations);
        let annotations = patch("annotations", only_if(annotations));
        let mut patched =
            json!({"resourceVersion": metadata.resource_version, "labels": labels, "annotations": annotations});
        if let (Some(references), Some(patched)) = (self.references_for(metadata), patched.as_object_mut()) {
            patched.insert("ownerReferences".to_owned(), json!(references));
            keys.push("ownerReferences".to_owned());
        }
        (!keys.is_empty()).then(|| Difference { patch: json!({"metadata": patched, "data": data}), keys })
    }

    /// The owner references that make `owner` the controller; `None`: `owner` is the controller. Other owners stay,
    /// none of them as controller.
    fn references_for(&self, found: &ObjectMeta) -> Option<Vec<OwnerReference>> {
        let wanted = self.owner.as_ref()?;
        let there = found.owner_references.as_deref().unwrap_or_default();
        let is_same = |one: &&OwnerReference| one.uid == wanted.uid;
        if there.iter().find(is_same).is_some_and(|ours| ours.controller == Some(true)) {
            return None;
        }
        let others = there.iter().filter(|one| !is_same(one));
        let others = others.map(|other| OwnerReference { controller: None, ..other.clone() });
        Some(others.chain([wanted.clone()]).collect())
    }
}

/// The controller owner reference, without `blockOwnerDeletion`: no deletion has to wait for that of the Secret.
fn owner_reference(owner: &ClientSecret) -> Option<OwnerReference> {
    let mut reference = owner.controller_owner_ref(&())?;
    reference.block_owner_deletion = None;
    Some(reference)
}

/// Whether a Secret has all marks of a Secret of Postern. Any client may have written them.
pub(crate) fn has_all_marks(found: &Secret) -> bool {
    let label = |(key, value)| found.labels().get(key).is_some_and(|found| found == value);
    [(MANAGED_BY_LABEL, MANAGED_BY), (COMPONENT_LABEL, CREDENTIAL)].into_iter().all(label)
        && found.annotations().contains_key(VERSION_ANNOTATION)
}

impl Difference {
    /// Whether only labels and annotations of the user differ. Postern's have distinct names, which spec.delivery may
    /// not use.
    pub(crate) fn is_added_only(&self) -> bool {
        let is_ours = |name: &str| name.starts_with("postern.dev/") || name.starts_with("app.kubernetes.io/");
        self.keys.iter().all(|key| match key.split_once('/') {
            Some(("labels" | "annotations", name)) => !is_ours(name),
            _ => false,
        })
    }

    /// Whether more than Postern's annotations about the content differs.
    pub(crate) fn concerns_content(&self) -> bool {
        let notes = [KEYS_ANNOTATION, MAC_ANNOTATION].map(|note| format!("annotations/{note}"));
        self.keys.iter().any(|key| !notes.contains(key))
    }
}

/// The entries of a merge patch that add `wanted` to `found`, and remove entries that Postern wrote and no longer
/// wants.
fn changes<V: PartialEq + serde::Serialize>(
    part: &str,
    written: &[&str],
    found: Option<&BTreeMap<String, V>>,
    wanted: &BTreeMap<String, V>,
) -> BTreeMap<String, Json> {
    let there = |key: &str| found.and_then(|found| found.get(key));
    let ours = written.iter().filter_map(|name| name.strip_prefix(part)?.strip_prefix('/'));
    let outdated = ours.filter(|key| !wanted.contains_key(*key) && there(key).is_some());
    let outdated = outdated.map(|key| (key.to_owned(), Json::Null));
    let wrong = wanted.iter().filter(|(key, value)| there(key) != Some(value));
    outdated.chain(wrong.map(|(key, value)| (key.clone(), json!(value)))).collect()
}

/// The names that are written for this content, separated by spaces. Labels and annotations that every delivered Secret
/// has are omitted.
/// has are not among them.
fn names(content: &Content) -> String {
    let data = content.keys().map(|key| format!("data/{key}"));
    let labels = content.labels().map(|(key, _)| format!("labels/{key}"));
    let annotations = content.annotations().map(|(key, _)| format!("annotations/{key}"));
    data.chain(labels).chain(annotations).collect::<Vec<_>>().join(" ")
}

/// The input of the MAC on a value.
fn delivery<'a>(owner: &'a ClientSecret, version: &'a str, at: jiff::Timestamp, value: &'a str) -> Delivery<'a> {
    Delivery {
        owner: uid_bytes(&owner.metadata),
        namespace: owner.metadata.namespace.as_deref().unwrap_or_default(),
        name: owner.spec.secret_name(&owner.metadata),
        version,
        issued_at: at.as_second(),
        value,
    }
}

/// Whether the MAC in the annotations of `found` proves that this install delivered `value` as this version of `owner`.
pub(crate) fn is_proven(
    install_keys: &InstallKeys,
    owner: &ClientSecret,
    found: &Secret,
    (version, at): (&str, jiff::Timestamp),
    value: &str,
) -> bool {
    let mac = found.annotations().get(MAC_ANNOTATION);
    mac.is_some_and(|mac| delivery_mac::verify(install_keys, mac, &delivery(owner, version, at, value)))
}
