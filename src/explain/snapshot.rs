//! The inputs of an explanation.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kube::ResourceExt;

use super::Settings;
use crate::api::permissions::Membership;
use crate::api::{AccessGroup, Application, ClientSecret, NamespaceFacts, ServiceUser};
use crate::read_model::from_objects::ClientObjects;

/// AccessGroups by name.
pub(super) type Groups = Arc<BTreeMap<String, AccessGroup>>;

/// The objects of one client.
pub(super) struct Snapshot {
    pub(super) application: Application,
    /// Namespace and name of the Applications that claim the client id, oldest first.
    pub(super) claimants: Vec<(String, String)>,
    /// The client id equals the subject of a service user.
    pub(super) is_subject: bool,
    /// The service user, if it exists and is not being deleted.
    pub(super) user: Option<ServiceUser>,
    pub(super) namespace: NamespaceFacts,
    /// `None`: the caller may not read AccessGroups.
    pub(super) groups: Option<Groups>,
    /// ClientSecrets that are not being deleted, oldest first.
    pub(super) secrets: Vec<ClientSecret>,
    /// The methods of client authentication that the settings of every replica admit; `None`: the caller may not read
    /// ReplicaStates.
    pub(super) admitted_methods: Option<BTreeSet<String>>,
    /// What could not be read, and the consequence.
    pub(super) notes: Vec<String>,
}

impl Snapshot {
    /// The input of the functions that compile a client. `held` is the result of the groups, if known.
    pub(super) fn objects<'a>(&'a self, held: Option<&'a Membership>, settings: &Settings) -> ClientObjects<'a> {
        ClientObjects {
            application: &self.application,
            user: self.user.as_ref(),
            held,
            secrets: &self.secrets,
            secrets_limit: settings.secrets_per_application,
            is_subject: self.is_subject,
            namespace: &self.namespace,
        }
    }
}

/// The objects of all clients that may call an API.
pub(super) struct CallerFacts {
    pub(super) clients: Vec<Snapshot>,
    /// `None`: the caller may not read AccessGroups.
    pub(super) groups: Option<Groups>,
    /// What could not be read, and the consequence.
    pub(super) notes: Vec<String>,
}

/// The objects that a token refers to.
pub(super) struct TokenFacts {
    /// `None`: no Application has the client id any more.
    pub(super) client: Option<Snapshot>,
    /// Ids of revoked tokens; `None`: no object with revocations was found, or the caller may not read them.
    pub(super) revoked: Option<BTreeSet<String>>,
}

/// `namespace/name`
pub(super) fn full_name<K: ResourceExt>(object: &K) -> String {
    format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any())
}
