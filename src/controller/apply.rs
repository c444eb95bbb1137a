//! The only writes: the delivered Secret first, status second.

use std::collections::BTreeMap;
use std::fmt::Debug;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use k8s_openapi::{ByteString, NamespaceResourceScope};
use kube::api::{Patch, PatchParams};
use kube::{Api, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::gather::describe;
use super::{Context, Error, params};
use crate::api::ClientSecret;
use crate::api::conditions::whole_second;
use crate::api::names::{
    COMPONENT_LABEL, CONTENT_ANNOTATION, CREDENTIAL, FIELD_MANAGER, ISSUED_ANNOTATION, MANAGED_BY, MANAGED_BY_LABEL,
    SECRET_TYPE, VERSION_ANNOTATION, keys,
};
use crate::clock::Clock;
use crate::crypto::secret::{self, SecretValue};
use crate::plan::client_secret::Outcome;
use crate::plan::content::Content;

/// A value with the name of its version and its birth.
pub(super) struct Issue {
    id: String,
    value: SecretValue,
    at: Timestamp,
}

/// What came of an attempt to create the Secret.
pub(super) enum Created {
    /// It holds the new value.
    Issued(Outcome),
    /// A Secret of that name exists.
    Occupied,
}

impl<C: Clock> Context<C> {
    /// Creates the delivered Secret with a new value. The API server decides the race: one `create` wins.
    pub(super) async fn create(&self, owner: &ClientSecret, content: &Content) -> Result<Created, Error> {
        let issue = self.new_value();
        let secret = Secret {
            metadata: ObjectMeta {
                name: Some(owner.spec.secret_name(&owner.metadata).to_owned()),
                labels: Some(labels()),
                annotations: Some(annotations(&issue, content)),
                owner_references: owner_reference(owner).map(|reference| vec![reference]),
                ..ObjectMeta::default()
            },
            type_: Some(SECRET_TYPE.to_owned()),
            data: Some(data(&issue.value, content)),
            ..Secret::default()
        };
        let with = params::create();
        match self.secrets(owner).create(&with, &secret).await {
            Ok(answer) => {
                self.written.record(&answer);
                self.outcome(owner, &issue).map(Created::Issued)
            }
            Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(Created::Occupied),
            Err(source) => Err(failed("create", owner, source)),
        }
    }

    /// The value that the Secret holds, if it is one that we wrote as the version it is annotated with.
    pub(super) fn adopted(&self, owner: &ClientSecret, found: &Secret) -> Result<Option<Outcome>, Error> {
        let Some(issue) = stored_value(found) else { return Ok(None) };
        self.outcome(owner, &issue).map(Some)
    }

    /// Whether the Secret still holds the value that the active version's verifier knows.
    pub(super) fn holds_active_value(&self, owner: &ClientSecret, found: &Secret) -> bool {
        let versions = owner.status.iter().flat_map(|status| &status.versions);
        stored_value(found).is_some_and(|stored| {
            versions.into_iter().any(|version| {
                version.id == stored.id
                    && self.install_keys.verify(&version.verifier, stored.value.expose_secret(), uid_bytes(owner))
            })
        })
    }

    /// Puts our keys, annotations and labels right around the value that is there. Writes nothing if all is right.
    pub(super) async fn repair(&self, owner: &ClientSecret, found: &Secret, content: &Content) -> Result<bool, Error> {
        let Some(issue) = stored_value(found) else { return Ok(false) };
        let wanted = data(&issue.value, content);
        let has = |map: &Option<BTreeMap<String, String>>, all: &BTreeMap<String, String>| {
            map.as_ref().is_some_and(|map| all.iter().all(|(key, value)| map.get(key) == Some(value)))
        };
        let right =
            found.data.as_ref().is_some_and(|data| wanted.iter().all(|(key, value)| data.get(key) == Some(value)))
                && has(&found.metadata.annotations, &annotations(&issue, content))
                && has(&found.metadata.labels, &labels());
        if !right {
            self.write(owner, found, &issue, content).await?;
        }
        Ok(!right)
    }

    /// Writes a new value into the Secret.
    pub(super) async fn replace(
        &self,
        owner: &ClientSecret,
        found: &Secret,
        content: &Content,
    ) -> Result<Outcome, Error> {
        let issue = self.new_value();
        self.write(owner, found, &issue, content).await?;
        self.outcome(owner, &issue)
    }

    /// Patches what is ours and leaves the rest, on the condition that nobody changed the Secret since `found`.
    async fn write(&self, owner: &ClientSecret, found: &Secret, issue: &Issue, content: &Content) -> Result<(), Error> {
        let patch = json!({
            "metadata": {
                "resourceVersion": found.metadata.resource_version,
                "labels": labels(),
                "annotations": annotations(issue, content),
            },
            "data": data(&issue.value, content),
        });
        let with = params::patch();
        let name = owner.spec.secret_name(&owner.metadata);
        let answer = self.secrets(owner).patch(name, &with, &Patch::Merge(&patch)).await;
        self.written.record(&answer.map_err(|source| failed("patch", owner, source))?);
        Ok(())
    }

    /// The delivered Secret with its data. Called only after its metadata showed that it is ours, and checks that
    /// again on what it got.
    pub(super) async fn read_own(&self, owner: &ClientSecret) -> Result<Secret, Error> {
        let name = owner.spec.secret_name(&owner.metadata);
        let found = self.secrets(owner).get(name).await.map_err(|source| failed("read", owner, source))?;
        let references = found.metadata.owner_references.iter().flatten();
        let mut controllers = references.filter(|reference| reference.controller == Some(true));
        if controllers.any(|reference| Some(&reference.uid) == owner.metadata.uid.as_ref()) {
            Ok(found)
        } else {
            Err(Error::Unsettled { object: describe(owner) })
        }
    }

    /// Writes status through the subresource by server-side apply, unless it is what is there already.
    ///
    /// The preconditions (UID and resourceVersion) refuse a write that was decided from an older object.
    pub(super) async fn write_status<K, S>(
        &self,
        api: Api<K>,
        object: &K,
        previous: Option<&S>,
        status: &S,
    ) -> Result<(), Error>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
        S: Serialize + PartialEq,
    {
        if previous == Some(status) {
            return Ok(());
        }
        let patch = json!({
            "apiVersion": K::api_version(&()),
            "kind": K::kind(&()),
            "metadata": {
                "name": object.name_any(),
                "namespace": object.namespace(),
                "uid": object.uid(),
                "resourceVersion": object.resource_version(),
            },
            "status": status,
        });
        let with = PatchParams::apply(FIELD_MANAGER).force();
        match api.patch_status(&object.name_any(), &with, &Patch::Apply(&patch)).await {
            Ok(answer) => {
                self.written.record(&answer);
                Ok(())
            }
            // Deleted meanwhile: nothing to say any more.
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            Err(source) => {
                Err(Error::Api { step: "write the status of", object: describe(object), source: Box::new(source) })
            }
        }
    }

    /// The API of a namespaced object's own namespace.
    pub(super) fn api_of<K>(&self, object: &K) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &object.namespace().unwrap_or_default())
    }

    fn new_value(&self) -> Issue {
        let (id, value) = SecretValue::generate();
        Issue { id: id.to_string(), value, at: whole_second(self.clock.now()) }
    }

    fn outcome(&self, owner: &ClientSecret, issue: &Issue) -> Result<Outcome, Error> {
        let value = issue.value.expose_secret();
        let verifier = self
            .install_keys
            .hash(value, uid_bytes(owner))
            .map_err(|source| Error::Hash { object: describe(owner), source })?;
        Ok(Outcome::Issued { id: issue.id.clone(), verifier, hint: secret::hint(value), issued_at: issue.at })
    }

    fn secrets(&self, owner: &ClientSecret) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &owner.namespace().unwrap_or_default())
    }
}

/// The value in the Secret, if it is well-formed and is the version that the annotation says.
fn stored_value(found: &Secret) -> Option<Issue> {
    let annotation = |key: &str| found.metadata.annotations.as_ref()?.get(key);
    let value = std::str::from_utf8(&found.data.as_ref()?.get(keys::CLIENT_SECRET)?.0).ok()?;
    let id = secret::parse(value).ok()?.version_id().to_owned();
    if annotation(VERSION_ANNOTATION)? != &id {
        return None;
    }
    let at = annotation(ISSUED_ANNOTATION)?.parse().ok()?;
    Some(Issue { id, value: SecretValue::new(value.to_owned()), at })
}

fn data(value: &SecretValue, content: &Content) -> BTreeMap<String, ByteString> {
    let secret = (keys::CLIENT_SECRET, value.expose_secret());
    content
        .entries()
        .chain([secret])
        .map(|(key, value)| (key.to_owned(), ByteString(value.as_bytes().to_vec())))
        .collect()
}

fn labels() -> BTreeMap<String, String> {
    [(MANAGED_BY_LABEL, MANAGED_BY), (COMPONENT_LABEL, CREDENTIAL)]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

fn annotations(issue: &Issue, content: &Content) -> BTreeMap<String, String> {
    [
        (VERSION_ANNOTATION, issue.id.clone()),
        (ISSUED_ANNOTATION, issue.at.to_string()),
        (CONTENT_ANNOTATION, content.digest()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into()
}

/// The controller owner reference, without `blockOwnerDeletion`: nothing has to wait for the Secret to go.
fn owner_reference(owner: &ClientSecret) -> Option<OwnerReference> {
    let mut reference = owner.controller_owner_ref(&())?;
    reference.block_owner_deletion = None;
    Some(reference)
}

/// The UID as the 16 bytes that verifiers are bound to.
fn uid_bytes(owner: &ClientSecret) -> [u8; 16] {
    crate::api::client_secret::uid_bytes(&owner.metadata)
}

fn failed(step: &'static str, owner: &ClientSecret, source: kube::Error) -> Error {
    let namespace = owner.namespace().unwrap_or_default();
    let object = format!("Secret {namespace}/{}", owner.spec.secret_name(&owner.metadata));
    Error::Api { step, object, source: Box::new(source) }
}
