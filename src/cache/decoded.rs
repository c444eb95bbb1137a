//! What the watches decode of an object: only the metadata that is read.
//!
//! Managed fields, the copy that `kubectl apply` makes and foreign annotations are skipped during decoding: they are
//! often larger than all the rest, and any client may make them so.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta, OwnerReference, Time};
use kube::Resource;
use kube::core::error_boundary::InvalidObject;
use serde::de::{DeserializeOwned, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use crate::api::names::GROUP;

/// Maximum length of a Postern annotation: a user's name.
const ANNOTATION_MAX: usize = 1024;

/// An object of a Postern kind. One that cannot be decoded is treated as absent and does not block others.
#[derive(Clone, Debug)]
pub(super) struct Decoded<K>(pub(super) Result<K, Box<InvalidObject>>);

/// The metadata of an object of another kind.
#[derive(Clone, Debug)]
pub(super) struct Metadata<K> {
    pub(super) metadata: ObjectMeta,
    kind: PhantomData<fn() -> K>,
}

impl<'de, K: DeserializeOwned> Deserialize<'de> for Decoded<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Raw { api_version, kind, metadata, spec, status } = Raw::deserialize(deserializer)?;
        let metadata = ObjectMeta::from(metadata);
        let object = json!({
            "apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec, "status": status,
        });
        let invalid = |error: serde_json::Error| Box::new(InvalidObject { error: error.to_string(), metadata });
        Ok(Self(serde_json::from_value(object).map_err(invalid)))
    }
}

impl<'de, K> Deserialize<'de> for Metadata<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = OnlyMetadata::deserialize(deserializer)?;
        Ok(Self { metadata: object.metadata.into(), kind: PhantomData })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    #[serde(default)]
    api_version: Value,
    #[serde(default)]
    kind: Value,
    metadata: Slim,
    #[serde(default)]
    spec: Value,
    #[serde(default)]
    status: Value,
}

#[derive(Deserialize)]
struct OnlyMetadata {
    metadata: Slim,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Slim {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    generation: Option<i64>,
    creation_timestamp: Option<Time>,
    deletion_timestamp: Option<Time>,
    labels: Option<BTreeMap<String, String>>,
    finalizers: Option<Vec<String>>,
    owner_references: Option<Vec<OwnerReference>>,
    #[serde(default)]
    annotations: Ours,
    #[serde(default)]
    managed_fields: Newest,
}

impl From<Slim> for ObjectMeta {
    fn from(slim: Slim) -> Self {
        let managed = slim.managed_fields.0.map(|time| {
            // The time of the last change; its author and content are not stored.
            vec![ManagedFieldsEntry { time: Some(Time(time)), ..ManagedFieldsEntry::default() }]
        });
        Self {
            name: slim.name,
            namespace: slim.namespace,
            uid: slim.uid,
            resource_version: slim.resource_version,
            generation: slim.generation,
            creation_timestamp: slim.creation_timestamp,
            deletion_timestamp: slim.deletion_timestamp,
            labels: slim.labels,
            finalizers: slim.finalizers,
            owner_references: slim.owner_references,
            annotations: Some(slim.annotations.0).filter(|annotations| !annotations.is_empty()),
            managed_fields: managed,
            ..Self::default()
        }
    }
}

/// The annotations of the Postern group, up to the maximum length.
#[derive(Default)]
struct Ours(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Ours {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keep;
        impl<'de> Visitor<'de> for Keep {
            type Value = Ours;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("annotations")
            }

            fn visit_unit<E>(self) -> Result<Ours, E> {
                Ok(Ours::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Ours, A::Error> {
                let mut ours = BTreeMap::new();
                while let Some(key) = map.next_key::<Cow<'de, str>>()? {
                    let is_ours = key.split_once('/').is_some_and(|(domain, _)| domain == GROUP);
                    if !is_ours {
                        map.next_value::<serde::de::IgnoredAny>()?;
                        continue;
                    }
                    let value = map.next_value::<Cow<'de, str>>()?;
                    if value.len() <= ANNOTATION_MAX {
                        ours.insert(key.into_owned(), value.into_owned());
                    }
                }
                Ok(Ours(ours))
            }
        }
        deserializer.deserialize_any(Keep)
    }
}

/// When a field was last written.
#[derive(Default)]
struct Newest(Option<Timestamp>);

impl<'de> Deserialize<'de> for Newest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Entry {
            time: Option<Time>,
        }
        struct Latest;
        impl<'de> Visitor<'de> for Latest {
            type Value = Newest;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("managed fields")
            }

            fn visit_unit<E>(self) -> Result<Newest, E> {
                Ok(Newest::default())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Newest, A::Error> {
                let mut newest = None;
                while let Some(entry) = entries.next_element::<Entry>()? {
                    newest = newest.max(entry.time.map(|time| time.0));
                }
                Ok(Newest(newest))
            }
        }
        deserializer.deserialize_any(Latest)
    }
}

impl<K: Resource> Resource for Decoded<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(kind: &K::DynamicType) -> Cow<'_, str> {
        K::kind(kind)
    }
    fn group(kind: &K::DynamicType) -> Cow<'_, str> {
        K::group(kind)
    }
    fn version(kind: &K::DynamicType) -> Cow<'_, str> {
        K::version(kind)
    }
    fn plural(kind: &K::DynamicType) -> Cow<'_, str> {
        K::plural(kind)
    }
    fn meta(&self) -> &ObjectMeta {
        self.0.as_ref().map_or_else(|invalid| &invalid.metadata, K::meta)
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match &mut self.0 {
            Ok(object) => object.meta_mut(),
            Err(invalid) => &mut invalid.metadata,
        }
    }
}

impl<K: Resource> Resource for Metadata<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn metadata_api() -> bool {
        true
    }
    fn kind(kind: &K::DynamicType) -> Cow<'_, str> {
        K::kind(kind)
    }
    fn group(kind: &K::DynamicType) -> Cow<'_, str> {
        K::group(kind)
    }
    fn version(kind: &K::DynamicType) -> Cow<'_, str> {
        K::version(kind)
    }
    fn plural(kind: &K::DynamicType) -> Cow<'_, str> {
        K::plural(kind)
    }
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ServiceUser;

    fn user(spec: &Value) -> Value {
        let managed = |time: &str| json!({"manager": "kubectl", "time": time, "fieldsV1": {"f:spec": {}}});
        json!({
            "apiVersion": "postern.dev/v1alpha1", "kind": "ServiceUser", "spec": spec, "status": {"epoch": 3},
            "metadata": {
                "name": "sync", "namespace": "billing", "uid": "u", "resourceVersion": "7", "generation": 2,
                "annotations": {
                    "kubectl.kubernetes.io/last-applied-configuration": "x".repeat(100_000),
                    "postern.dev/created-by": "alice",
                    "postern.dev/long": "x".repeat(ANNOTATION_MAX + 1),
                    "evil.example.com/postern.dev": "x",
                },
                "managedFields": [managed("2026-11-22T02:00:05Z"), managed("2026-11-22T02:00:03Z")],
            },
        })
    }

    #[test]
    fn fields_that_are_not_read_are_not_kept() {
        let Decoded(object) = serde_json::from_value::<Decoded<ServiceUser>>(user(&json!({"location": "/"}))).unwrap();
        let object = object.unwrap();
        let metadata = &object.metadata;
        assert_eq!(metadata.annotations, Some(BTreeMap::from([("postern.dev/created-by".into(), "alice".into())])));
        let managed = metadata.managed_fields.as_ref().unwrap();
        assert_eq!(managed.len(), 1);
        assert_eq!(managed[0].time, Some(Time("2026-11-22T02:00:05Z".parse().unwrap())));
        assert!(managed[0].fields_v1.is_none());
        assert_eq!((metadata.generation, object.status.unwrap().epoch), (Some(2), Some(3)));
    }

    #[test]
    fn an_undecodable_object_keeps_its_name_and_does_not_fail_the_list() {
        for spec in [json!({"location": 7}), Value::Null] {
            let Decoded(object) = serde_json::from_str::<Decoded<ServiceUser>>(&user(&spec).to_string()).unwrap();
            let invalid = object.unwrap_err();
            assert_eq!(
                (invalid.metadata.name.as_deref(), invalid.metadata.resource_version.as_deref()),
                (Some("sync"), Some("7"))
            );
        }
    }
}
