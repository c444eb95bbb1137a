//! The delivered Secret: created, patched, removed, and read back. Never without a precondition, never one that is not
//! ours.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::{DeleteParams, Patch, Preconditions};
use kube::core::Status;
use kube::{Api, Resource, ResourceExt};
use serde_json::json;

use super::value::Value;
use super::{Context, Error, params};
use crate::api::ClientSecret;
use crate::api::names::{
    COMPONENT_LABEL, CONTENT_ANNOTATION, CREDENTIAL, ISSUED_ANNOTATION, MANAGED_BY, MANAGED_BY_LABEL, SECRET_TYPE,
    VERSION_ANNOTATION,
};
use crate::clock::Clock;
use crate::model::{DeliveredSecret, Key, Part};
use crate::plan::content::Content;

/// What came of an attempt to create the Secret.
#[derive(Eq, PartialEq)]
pub(super) enum Created {
    /// It holds the value.
    Done,
    /// A Secret of that name exists.
    Occupied,
}

/// What is found under the name of a Secret that is ours by its metadata.
pub(super) enum Found {
    /// The Secret, with its data.
    Ours(Box<Secret>),
    /// One of another type: nothing that we wrote.
    OtherType,
}

impl<C: Clock> Context<C> {
    /// Creates the delivered Secret. The API server decides the race: one `create` wins.
    pub(super) async fn create(
        &self,
        owner: &ClientSecret,
        value: &Value,
        content: &Content,
    ) -> Result<Created, Error> {
        let secret = Secret {
            metadata: ObjectMeta {
                name: Some(owner.spec.secret_name(&owner.metadata).to_owned()),
                labels: Some(labels(content)),
                annotations: Some(annotations(value, content)),
                owner_references: owner_reference(owner).map(|reference| vec![reference]),
                ..ObjectMeta::default()
            },
            type_: Some(SECRET_TYPE.to_owned()),
            data: Some(data(value, content)),
            ..Secret::default()
        };
        let with = params::create();
        match self.secrets(owner).create(&with, &secret).await {
            Ok(answer) => {
                self.written.record(&answer);
                Ok(Created::Done)
            }
            Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(Created::Occupied),
            Err(source) => Err(undelivered("create", owner, value, source)),
        }
    }

    /// Writes the value and what is around it into the Secret, on the condition that nobody changed it since `found`.
    ///
    /// What others added is left alone; what we wrote before under another name is taken away. Writes nothing if all is
    /// right, and says whether it wrote.
    pub(super) async fn put(
        &self,
        owner: &ClientSecret,
        found: &Secret,
        value: &Value,
        content: &Content,
    ) -> Result<bool, Error> {
        let ours = DeliveredSecret::new(Key::of(found), found.metadata.clone());
        let data = Changes::of(&ours, Part::Data, found.data.as_ref(), data(value, content));
        let labels = Changes::of(&ours, Part::Labels, found.metadata.labels.as_ref(), labels(content));
        let annotations = annotations(value, content);
        let annotations = Changes::of(&ours, Part::Annotations, found.metadata.annotations.as_ref(), annotations);
        if data.is_right && labels.is_right && annotations.is_right {
            return Ok(false);
        }
        let patch = json!({
            "metadata": {
                "resourceVersion": found.metadata.resource_version,
                "labels": labels.patch,
                "annotations": annotations.patch,
            },
            "data": data.patch,
        });
        let with = params::patch();
        let name = owner.spec.secret_name(&owner.metadata);
        let answer = self.secrets(owner).patch(name, &with, &Patch::Merge(&patch)).await;
        self.written.record(&answer.map_err(|source| undelivered("patch", owner, value, source))?);
        Ok(true)
    }

    /// Removes the Secret, on the condition that it is still the one that was seen. One that is gone already is fine.
    pub(super) async fn remove(&self, owner: &ClientSecret, found: &Secret) -> Result<(), Error> {
        let preconditions =
            Preconditions { uid: found.metadata.uid.clone(), resource_version: found.resource_version() };
        let with = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        let name = owner.spec.secret_name(&owner.metadata);
        match self.secrets(owner).delete(name, &with).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            Err(source) => Err(failed("remove", owner, source)),
        }
    }

    /// The delivered Secret with its data. Called only after its metadata showed that it is ours, and checks that
    /// again on what it got.
    pub(super) async fn read_own(&self, owner: &ClientSecret) -> Result<Found, Error> {
        let name = owner.spec.secret_name(&owner.metadata);
        let found = self.secrets(owner).get(name).await.map_err(|source| failed("read", owner, source))?;
        let references = found.metadata.owner_references.iter().flatten();
        let mut controllers = references.filter(|reference| reference.controller == Some(true));
        if !controllers.any(|reference| Some(&reference.uid) == owner.metadata.uid.as_ref()) {
            return Err(Error::Unsettled { object: super::gather::describe(owner) });
        }
        Ok(if found.type_.as_deref() == Some(SECRET_TYPE) { Found::Ours(Box::new(found)) } else { Found::OtherType })
    }

    /// Whether nothing in the delivered Secret can be changed any more. Called only when its metadata shows that it is ours.
    pub(super) async fn is_immutable(&self, owner: &ClientSecret) -> Result<bool, Error> {
        let name = owner.spec.secret_name(&owner.metadata);
        let found = self.secrets(owner).get_opt(name).await.map_err(|source| failed("read", owner, source))?;
        Ok(found.is_some_and(|found| found.immutable == Some(true)))
    }

    pub(super) fn secrets(&self, owner: &ClientSecret) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &owner.namespace().unwrap_or_default())
    }
}

/// A merge patch (RFC 7396) of one part of the Secret.
struct Changes {
    patch: serde_json::Value,
    is_right: bool,
}

impl Changes {
    fn of<V: PartialEq + serde::Serialize>(
        ours: &DeliveredSecret,
        part: Part,
        found: Option<&BTreeMap<String, V>>,
        wanted: BTreeMap<String, V>,
    ) -> Self {
        let there = |key: &str| found.and_then(|found| found.get(key));
        let outdated = ours.own_keys(part).filter(|key| !wanted.contains_key(*key) && there(key).is_some());
        let outdated: Vec<String> = outdated.map(str::to_owned).collect();
        let is_right = outdated.is_empty() && wanted.iter().all(|(key, value)| there(key) == Some(value));
        let wanted = wanted.into_iter().map(|(key, value)| (key, Some(value)));
        let patch: BTreeMap<String, Option<V>> = outdated.into_iter().map(|key| (key, None)).chain(wanted).collect();
        Self { patch: json!(patch), is_right }
    }
}

fn data(value: &Value, content: &Content) -> BTreeMap<String, ByteString> {
    let secret = (content.secret_key(), value.text.expose_secret());
    content
        .entries()
        .chain([secret])
        .map(|(key, value)| (key.to_owned(), ByteString(value.as_bytes().to_vec())))
        .collect()
}

fn labels(content: &Content) -> BTreeMap<String, String> {
    let ours = [(MANAGED_BY_LABEL, MANAGED_BY), (COMPONENT_LABEL, CREDENTIAL)];
    content.labels().chain(ours).map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn annotations(value: &Value, content: &Content) -> BTreeMap<String, String> {
    let (issued, digest) = (value.at.to_string(), content.digest());
    let ours = [(VERSION_ANNOTATION, value.id.as_str()), (ISSUED_ANNOTATION, &issued), (CONTENT_ANNOTATION, &digest)];
    content.annotations().chain(ours).map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// The controller owner reference, without `blockOwnerDeletion`: nothing has to wait for the Secret to go.
fn owner_reference(owner: &ClientSecret) -> Option<OwnerReference> {
    let mut reference = owner.controller_owner_ref(&())?;
    reference.block_owner_deletion = None;
    Some(reference)
}

fn failed(step: &'static str, owner: &ClientSecret, source: kube::Error) -> Error {
    Error::Api { step, object: describe_secret(owner), source: Box::new(source) }
}

/// The answer goes into status, events and the log. A policy may print what it refuses, so one that quotes the value is
/// left out.
fn undelivered(step: &'static str, owner: &ClientSecret, value: &Value, source: kube::Error) -> Error {
    let source = match source {
        kube::Error::Api(answer) if quotes(&answer.message, value) => {
            let message = "what it answers is left out, because it quotes the value".to_owned();
            kube::Error::Api(Box::new(Status { message, code: answer.code, ..Status::default() }))
        }
        source => source,
    };
    Error::Delivery { step, object: describe_secret(owner), source: Box::new(source) }
}

/// Whether the value stands in `text`, as it is or as Secrets show it.
fn quotes(text: &str, value: &Value) -> bool {
    let value = value.text.expose_secret();
    text.contains(value) || text.contains(&STANDARD.encode(value))
}

fn describe_secret(owner: &ClientSecret) -> String {
    let namespace = owner.namespace().unwrap_or_default();
    format!("Secret {namespace}/{}", owner.spec.secret_name(&owner.metadata))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::chain;
    use crate::crypto::secret::SecretValue;

    #[test]
    fn an_answer_that_quotes_the_value_is_left_out_and_stays_a_refusal() {
        let spec = serde_json::from_value(json!({"applicationRef": {"name": "sync"}})).unwrap();
        let owner = ClientSecret::new("blue", spec);
        let (id, text) = SecretValue::generate();
        let value = Value { id: id.to_string(), text, at: jiff::Timestamp::UNIX_EPOCH };
        let said = |message: String| {
            let answer = Status { message, code: 403, ..Status::default() };
            let error = undelivered("create", &owner, &value, kube::Error::Api(Box::new(answer)));
            assert!(error.refusal().is_some());
            format!("{} {error:?}", chain(&error))
        };
        let plain = value.text.expose_secret();
        for quoted in [plain.to_owned(), STANDARD.encode(plain)] {
            let said = said(format!("denied: {{client-secret: {quoted}}}"));
            assert!(!said.contains(&quoted) && said.contains("left out"), "{said}");
        }
        assert!(said("exceeded quota".to_owned()).contains("exceeded quota"));
    }
}
