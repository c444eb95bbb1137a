//! The metadata of a delivered Secret.

use std::borrow::Cow;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::runtime::reflector::Lookup;

use super::ObjectRef;
use crate::api::names::{CONTENT_ANNOTATION, MAC_ANNOTATION, VERSION_ANNOTATION};
use crate::api::precedence::{uid_number, uuid_number};
use crate::api::terminating::{finalizers, is_terminating};

/// Maximum length of the value of a Postern annotation: a digest. Postern did not write a longer one.
const ANNOTATION_LENGTH_MAX: usize = 64;

/// What the controller reads from the metadata of a Secret with the Postern label. There is one Secret for each
/// credential, so nothing else is stored; an `ObjectMeta` alone takes more than all of this.
#[derive(Clone, Debug)]
pub struct DeliveredSecret {
    key: ObjectRef,
    /// `metadata.resourceVersion`: if it differs, any field may differ.
    pub revision: u64,
    /// `metadata.uid`
    pub uid: Option<u128>,
    /// UID of the controller owner reference; `None`: it is absent, or not a UID that an API server assigns.
    pub controller: Option<u128>,
    /// Name of that owner, if it differs from the name of the Secret.
    owner: Option<Box<str>>,
    /// Id of the version, according to the annotation. Any client may have written it.
    pub version: Option<Box<str>>,
    /// Digest of the written content, according to the annotation. Any client may have written it.
    pub content: Option<Box<str>>,
    /// Id of the install key of its MAC, according to the annotation. Any client may have written it.
    pub install_key: Option<Box<str>>,
    /// Set if the deletion was requested: the finalizers that block it.
    pub terminating: Option<Box<str>>,
}

impl DeliveredSecret {
    /// Extracts what the controller reads.
    #[must_use]
    pub fn new(key: ObjectRef, metadata: &ObjectMeta) -> Self {
        let short = |value: &&str| value.len() <= ANNOTATION_LENGTH_MAX;
        let annotation = |key| {
            let value = metadata.annotations.as_ref()?.get(key).map(String::as_str);
            value.filter(short).map(Box::from)
        };
        let mac = metadata.annotations.as_ref().and_then(|all| all.get(MAC_ANNOTATION));
        let owner = metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
        Self {
            uid: uid_number(metadata),
            controller: owner.and_then(|owner| uuid_number(&owner.uid)),
            owner: owner.filter(|owner| *owner.name != *key.name).map(|owner| owner.name.as_str().into()),
            version: annotation(VERSION_ANNOTATION),
            content: annotation(CONTENT_ANNOTATION),
            install_key: mac.and_then(|mac| mac.split_once('.')).map(|(id, _)| id).filter(short).map(Box::from),
            terminating: is_terminating(metadata).then(|| finalizers(metadata).into()),
            key,
            revision: metadata.resource_version.as_ref().and_then(|version| version.parse().ok()).unwrap_or_default(),
        }
    }

    /// Name of the ClientSecret that the Secret belongs to, according to its metadata.
    pub(super) fn client_secret(&self) -> Option<&str> {
        self.controller.map(|_| self.owner.as_deref().unwrap_or(&self.key.name))
    }

    /// Namespace and name.
    #[must_use]
    pub fn key(&self) -> &ObjectRef {
        &self.key
    }
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
mod tests;
