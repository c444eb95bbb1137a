//! A delivered Secret as its metadata shows it.

use std::borrow::Cow;
use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};
use kube::Resource;
use kube::core::PartialObjectMeta;

use crate::api::names::{
    COMPONENT_LABEL, CONTENT_ANNOTATION, CREDENTIAL, FIELD_MANAGER, ISSUED_ANNOTATION, MANAGED_BY, MANAGED_BY_LABEL,
    VERSION_ANNOTATION,
};

/// What the controller looks at in the metadata of a Secret with our label. There are as many as credentials, so nothing
/// else is kept.
#[derive(Clone, Debug)]
pub struct DeliveredSecret {
    /// Name, namespace, UID and resourceVersion only.
    metadata: ObjectMeta,
    /// The controller owner reference: it alone decides whose the Secret is.
    pub controller: Option<Controller>,
    /// Id of the version that it says it holds.
    pub version: Option<Box<str>>,
    /// Digest of the content that was written.
    pub content: Option<Box<str>>,
    /// Data keys whose value was last written by Postern, sorted, with spaces between. A key that somebody else changed
    /// is not among them any more, so an edit is seen without reading the data.
    own_keys: Box<str>,
    /// Whether our annotations were last written by Postern, and our labels are right.
    pub own_metadata: bool,
}

/// Who controls a Secret.
#[derive(Clone, Debug)]
pub struct Controller {
    /// UID, which decides.
    pub uid: Box<str>,
    /// Kind and name, for a message to people.
    pub description: Box<str>,
}

impl DeliveredSecret {
    /// Keeps what the controller looks at.
    #[must_use]
    pub fn new(object: PartialObjectMeta<Secret>) -> Self {
        let metadata = object.metadata;
        let entries = metadata.managed_fields.iter().flatten();
        let ours: Vec<_> = entries.filter(|entry| entry.manager.as_deref() == Some(FIELD_MANAGER)).collect();
        let own = |path: &[&str]| ours.iter().flat_map(|entry| fields_under(entry, path)).collect::<BTreeSet<_>>();
        let own_annotations = own(&["f:metadata", "f:annotations"]);
        let label_is = |key, value| {
            metadata.labels.iter().flatten().any(|label| label == (&String::from(key), &String::from(value)))
        };
        let own_metadata = OWN_ANNOTATIONS.iter().all(|key| own_annotations.contains(*key))
            && label_is(MANAGED_BY_LABEL, MANAGED_BY)
            && label_is(COMPONENT_LABEL, CREDENTIAL);
        let annotation = |key| metadata.annotations.as_ref()?.get(key).map(|value| value.as_str().into());
        let owner = metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
        Self {
            controller: owner.map(|owner| Controller {
                uid: owner.uid.as_str().into(),
                description: format!("{} {}", owner.kind, owner.name).into(),
            }),
            version: annotation(VERSION_ANNOTATION),
            content: annotation(CONTENT_ANNOTATION),
            own_keys: Vec::from_iter(own(&["f:data"])).join(" ").into(),
            own_metadata,
            metadata: ObjectMeta {
                name: metadata.name,
                namespace: metadata.namespace,
                uid: metadata.uid,
                resource_version: metadata.resource_version,
                ..ObjectMeta::default()
            },
        }
    }

    /// Whether the value under the data key `key` was last written by Postern.
    #[must_use]
    pub fn owns(&self, key: &str) -> bool {
        self.own_keys.split(' ').any(|own| own == key)
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

#[cfg(test)]
#[path = "delivered_tests.rs"]
mod tests;
