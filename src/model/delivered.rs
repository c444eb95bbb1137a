//! A delivered Secret as its metadata shows it.

use std::borrow::Cow;
use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta, OwnerReference};
use kube::Resource;
use kube::core::PartialObjectMeta;

use crate::api::names::{
    COMPONENT_LABEL, CONTENT_ANNOTATION, CREDENTIAL, FIELD_MANAGER, ISSUED_ANNOTATION, MANAGED_BY, MANAGED_BY_LABEL,
    VERSION_ANNOTATION,
};

/// Metadata of a Secret that carries our label; everything that is not needed is dropped before it is stored.
#[derive(Clone, Debug)]
pub struct DeliveredSecret {
    metadata: ObjectMeta,
    /// Data keys whose value was last written by Postern. A key that somebody else changed is not among them any more,
    /// so an edit is seen without reading the data.
    pub own_keys: BTreeSet<String>,
    /// Whether our annotations were last written by Postern, and our labels are right.
    pub own_metadata: bool,
}

impl DeliveredSecret {
    /// Keeps what the controller looks at.
    #[must_use]
    pub fn new(object: PartialObjectMeta<Secret>) -> Self {
        let mut metadata = object.metadata;
        let ours: Vec<ManagedFieldsEntry> = metadata
            .managed_fields
            .take()
            .into_iter()
            .flatten()
            .filter(|entry| entry.manager.as_deref() == Some(FIELD_MANAGER))
            .collect();
        let own = |path: &[&str]| ours.iter().flat_map(|entry| fields_under(entry, path)).collect::<BTreeSet<_>>();
        let own_keys = own(&["f:data"]);
        let own_annotations = own(&["f:metadata", "f:annotations"]);
        metadata.annotations = metadata
            .annotations
            .map(|all| all.into_iter().filter(|(key, _)| OWN_ANNOTATIONS.contains(&key.as_str())).collect());
        let labels = metadata.labels.take().unwrap_or_default();
        let label_is = |key, value| labels.get(key).is_some_and(|label| label == value);
        let own_metadata = OWN_ANNOTATIONS.iter().all(|key| own_annotations.contains(*key))
            && label_is(MANAGED_BY_LABEL, MANAGED_BY)
            && label_is(COMPONENT_LABEL, CREDENTIAL);
        Self { metadata, own_keys, own_metadata }
    }

    /// The controller owner reference: it alone decides whose the Secret is.
    #[must_use]
    pub fn controller(&self) -> Option<&OwnerReference> {
        self.metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
    }

    /// Id of the version that it says it holds.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        self.annotation(VERSION_ANNOTATION)
    }

    /// Digest of the content that was written.
    #[must_use]
    pub fn content(&self) -> Option<&str> {
        self.annotation(CONTENT_ANNOTATION)
    }

    fn annotation(&self, key: &str) -> Option<&str> {
        self.metadata.annotations.as_ref()?.get(key).map(String::as_str)
    }
}

const OWN_ANNOTATIONS: [&str; 3] = [VERSION_ANNOTATION, CONTENT_ANNOTATION, ISSUED_ANNOTATION];

/// Names of the fields directly under `path` in an entry of `managedFields` (a `FieldsV1` set: `f:` before each name).
fn fields_under(entry: &ManagedFieldsEntry, path: &[&str]) -> Vec<String> {
    let root = entry.fields_v1.as_ref().map(|fields| &fields.0);
    let at = path.iter().try_fold(root, |at, step| at.map(|value| value.get(step))).flatten();
    at.and_then(|value| value.as_object())
        .into_iter()
        .flatten()
        .filter_map(|(name, _)| name.strip_prefix("f:").map(str::to_owned))
        .collect()
}

impl Resource for DeliveredSecret {
    type DynamicType = ();
    type Scope = <Secret as Resource>::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        Secret::kind(&())
    }
    fn group((): &()) -> Cow<'_, str> {
        Secret::group(&())
    }
    fn version((): &()) -> Cow<'_, str> {
        Secret::version(&())
    }
    fn plural((): &()) -> Cow<'_, str> {
        Secret::plural(&())
    }
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
