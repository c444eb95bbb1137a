//! A delivered Secret as its metadata shows it.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};
use kube::Resource;
use kube::runtime::reflector::Lookup;

use super::Key;
use crate::api::names::{CONTENT_ANNOTATION, FIELD_MANAGER, VERSION_ANNOTATION};
use crate::api::precedence::uuid_number;
use crate::pool::Pool;

/// What the controller looks at in the metadata of a Secret with our label. There are as many as credentials, so nothing
/// else is kept; an `ObjectMeta` alone takes more than all of this.
#[derive(Clone, Debug)]
pub struct DeliveredSecret {
    key: Key,
    /// `metadata.resourceVersion`
    revision: u64,
    /// UID of the controller owner reference, which alone decides whose the Secret is; `None`: there is none, or not one
    /// that an API server gives.
    pub controller: Option<u128>,
    /// Id of the version that it says it holds.
    pub version: Option<Box<str>>,
    /// Digest of the content that was written.
    pub content: Option<Box<str>>,
    /// Everything whose value was last written by Postern, as `data/KEY`, `labels/KEY` and `annotations/KEY`, sorted, with
    /// spaces between. What somebody else changed is not among it any more, so an edit is seen without reading the data.
    own: Arc<str>,
    /// Somebody set the field `immutable`, to true or to false: which is not in the metadata.
    pub sets_immutable: bool,
}

/// A part of a Secret that consists of keys and values.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Part {
    /// `data`
    Data,
    /// `metadata.labels`
    Labels,
    /// `metadata.annotations`
    Annotations,
}

impl Part {
    const ALL: [Self; 3] = [Self::Data, Self::Labels, Self::Annotations];

    fn name(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Labels => "labels",
            Self::Annotations => "annotations",
        }
    }

    /// Where an entry of `managedFields` has it (a `FieldsV1` set: `f:` before each name).
    fn path(self) -> &'static [&'static str] {
        match self {
            Self::Data => &["f:data"],
            Self::Labels => &["f:metadata", "f:labels"],
            Self::Annotations => &["f:metadata", "f:annotations"],
        }
    }
}

impl DeliveredSecret {
    /// Keeps what the controller looks at.
    #[must_use]
    pub fn new(key: Key, metadata: ObjectMeta) -> Self {
        let annotation = |key| metadata.annotations.as_ref()?.get(key).map(|value| value.as_str().into());
        let owner = metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
        let managed = metadata.managed_fields.as_deref().unwrap_or_default();
        let own: BTreeSet<String> =
            Part::ALL.into_iter().flat_map(|part| own(managed, part).map(move |key| spelled(part, key))).collect();
        Self {
            controller: owner.and_then(|owner| uuid_number(&owner.uid)),
            version: annotation(VERSION_ANNOTATION),
            content: annotation(CONTENT_ANNOTATION),
            own: Vec::from_iter(own).join(" ").into(),
            sets_immutable: managed.iter().any(|entry| at(entry, &["f:immutable"]).is_some()),
            key,
            revision: metadata.resource_version.and_then(|version| version.parse().ok()).unwrap_or_default(),
        }
    }

    /// The same with what most Secrets have in common held once for all.
    #[must_use]
    pub(super) fn shared(self, texts: &Pool<str>) -> Self {
        Self { own: texts.shared(self.own), ..self }
    }

    /// Whether the value under `key` was last written by Postern.
    #[must_use]
    pub fn owns(&self, part: Part, key: &str) -> bool {
        self.own.split(' ').any(|own| own == spelled(part, key))
    }

    /// The keys of `part` whose value was last written by Postern.
    pub fn own_keys(&self, part: Part) -> impl Iterator<Item = &str> {
        self.own.split(' ').filter_map(move |own| own.strip_prefix(part.name())?.strip_prefix('/'))
    }
}

fn spelled(part: Part, key: &str) -> String {
    format!("{}/{key}", part.name())
}

/// The keys of `part` that are Postern's by `managedFields`.
fn own(managed: &[ManagedFieldsEntry], part: Part) -> impl Iterator<Item = &str> {
    managed
        .iter()
        .filter(|entry| entry.manager.as_deref() == Some(FIELD_MANAGER))
        .filter_map(move |entry| at(entry, part.path())?.as_object())
        .flatten()
        .filter_map(|(name, _)| name.strip_prefix("f:"))
}

fn at<'a>(entry: &'a ManagedFieldsEntry, path: &[&str]) -> Option<&'a serde_json::Value> {
    path.iter().try_fold(&entry.fields_v1.as_ref()?.0, |at, step| at.get(step))
}

impl Lookup for DeliveredSecret {
    type DynamicType = ();

    fn kind((): &()) -> Cow<'_, str> {
        <Secret as Resource>::kind(&())
    }
    fn group((): &()) -> Cow<'_, str> {
        <Secret as Resource>::group(&())
    }
    fn version((): &()) -> Cow<'_, str> {
        <Secret as Resource>::version(&())
    }
    fn plural((): &()) -> Cow<'_, str> {
        <Secret as Resource>::plural(&())
    }
    fn name(&self) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(&self.key.name))
    }
    fn namespace(&self) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(&self.key.namespace))
    }
    fn resource_version(&self) -> Option<Cow<'_, str>> {
        Some(Cow::Owned(self.revision.to_string()))
    }
    fn uid(&self) -> Option<Cow<'_, str>> {
        None
    }
}

#[cfg(test)]
#[path = "delivered_tests.rs"]
mod tests;
