//! The facts of a Namespace that Postern uses.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::location::{Location, MalformedLocation};
use super::names::LOCATION_ANNOTATION;
use super::terminating::is_terminating;

/// Name, labels and location bound of a Namespace, and whether it is being deleted.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct NamespaceFacts {
    /// `metadata.name`
    pub name: String,
    /// `metadata.labels`
    pub labels: BTreeMap<String, String>,
    /// The annotation `postern.dev/location`; an invalid location admits nothing.
    pub bound: Option<Result<Location, MalformedLocation>>,
    /// Its deletion was requested: the clients in it are rejected.
    pub terminating: bool,
}

impl NamespaceFacts {
    /// Reads them from the object's metadata.
    #[must_use]
    pub fn new(metadata: &ObjectMeta) -> Self {
        Self {
            name: metadata.name.clone().unwrap_or_default(),
            labels: metadata.labels.clone().unwrap_or_default(),
            bound: metadata
                .annotations
                .as_ref()
                .and_then(|annotations| annotations.get(LOCATION_ANNOTATION))
                .map(|text| Location::try_from(text.clone())),
            terminating: is_terminating(metadata),
        }
    }

    /// The effective location of a service user in this namespace with `location` in its spec, or with none.
    #[must_use]
    pub fn location_of(&self, location: Option<&Location>) -> Location {
        let bound = || self.bound.as_ref().and_then(|bound| bound.as_ref().ok());
        location.or_else(bound).cloned().unwrap_or_default()
    }

    /// Whether a service user in this namespace may be at `location`.
    #[must_use]
    pub fn allows(&self, location: &Location) -> bool {
        match &self.bound {
            None => true,
            Some(Ok(bound)) => location.is_at_or_below(bound),
            Some(Err(MalformedLocation)) => false,
        }
    }
}
