//! Writes the ReplicaStates of this replica: what it publishes to the other replicas and to the controller. Each
//! replica writes only its own objects, so writes do not conflict.

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, Resource as _, ResourceExt as _};
use serde_json::json;

use super::cas_object::StateStore;
use crate::api::ReplicaState;
use crate::api::names::{COMPONENT_LABEL, ENDPOINT_FIELD_MANAGER, MANAGED_BY, MANAGED_BY_LABEL, REPLICA};
use crate::api::replica_state::{AppliedRevisions, KeysInUse, ReplicaStateSpec};

/// Where a replica reports.
#[derive(Clone, Debug)]
pub struct Reporting {
    /// The operator's namespace.
    pub namespace: String,
    /// This replica.
    pub replica: String,
    /// The methods of client authentication that its settings admit.
    pub auth_methods: Vec<String>,
}

/// The objects of this replica.
#[derive(Clone)]
pub(crate) struct ApiStore {
    client: Client,
    reporting: Reporting,
}

impl ApiStore {
    pub(crate) fn new(client: Client, reporting: Reporting) -> Self {
        Self { client, reporting }
    }

    /// An empty state.
    pub(crate) fn empty_spec(&self, now: Timestamp) -> ReplicaStateSpec {
        ReplicaStateSpec { replica: self.reporting.replica.clone(), reported_at: now, ..ReplicaStateSpec::default() }
    }

    /// What this replica serves: the applied revisions, its keys, and what the settings of the process admit.
    pub(crate) fn served_spec(
        &self,
        serves: Option<AppliedRevisions>,
        keys: Option<KeysInUse>,
        now: Timestamp,
    ) -> ReplicaStateSpec {
        let auth_methods = Some(self.reporting.auth_methods.clone());
        ReplicaStateSpec { serves, auth_methods, keys, ..self.empty_spec(now) }
    }

    /// Reports that this replica is live for the next `seconds`.
    pub(crate) async fn renew_lease(&self, now: Timestamp, seconds: i32) -> kube::Result<()> {
        let lease = json!({
            "apiVersion": Lease::api_version(&()),
            "kind": Lease::kind(&()),
            "metadata": {"name": self.lease(), "labels": {COMPONENT_LABEL: REPLICA, MANAGED_BY_LABEL: MANAGED_BY}},
            "spec": {
                "holderIdentity": self.reporting.replica,
                "leaseDurationSeconds": seconds,
                "renewTime": MicroTime(now),
            },
        });
        let with = PatchParams::apply(ENDPOINT_FIELD_MANAGER).force();
        self.leases().patch(&self.lease(), &with, &Patch::Apply(&lease)).await.map(drop)
    }

    /// Reports that this replica has stopped.
    pub(crate) async fn drop_lease(&self) -> kube::Result<()> {
        self.leases().delete(&self.lease(), &DeleteParams::default()).await.map(drop)
    }

    fn leases(&self) -> Api<Lease> {
        Api::namespaced(self.client.clone(), &self.reporting.namespace)
    }

    fn lease(&self) -> String {
        object_name(&self.reporting.replica, "replica")
    }

    /// Writes the object for `part`, whole, with any content.
    pub(crate) async fn write(&self, part: &str, spec: &ReplicaStateSpec) -> kube::Result<()> {
        let api = self.states();
        let name = object_name(&self.reporting.replica, part);
        let state = json!({
            "apiVersion": ReplicaState::api_version(&()),
            "kind": ReplicaState::kind(&()),
            "metadata": {"name": name},
            "spec": spec,
        });
        let with = PatchParams::apply(ENDPOINT_FIELD_MANAGER).force();
        api.patch(&name, &with, &Patch::Apply(&state)).await.map(drop)
    }

    fn states(&self) -> Api<ReplicaState> {
        Api::namespaced(self.client.clone(), &self.reporting.namespace)
    }
}

impl StateStore for ApiStore {
    async fn create(&self, part: &str, spec: &ReplicaStateSpec) -> kube::Result<Option<String>> {
        let state = ReplicaState::new(&object_name(&self.reporting.replica, part), spec.clone());
        let with = PostParams { field_manager: Some(ENDPOINT_FIELD_MANAGER.to_owned()), ..PostParams::default() };
        conflict_to_none(self.states().create(&with, &state).await)
    }

    async fn replace(&self, part: &str, revision: &str, spec: &ReplicaStateSpec) -> kube::Result<Option<String>> {
        let name = object_name(&self.reporting.replica, part);
        let state = json!({"metadata": {"resourceVersion": revision}, "spec": spec});
        let with = PatchParams { field_manager: Some(ENDPOINT_FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        conflict_to_none(self.states().patch(&name, &with, &Patch::Merge(&state)).await)
    }

    // A list of one: the operator needs the verb `get` for nothing else.
    async fn find(&self, part: &str) -> kube::Result<Option<(String, ReplicaStateSpec)>> {
        let name = object_name(&self.reporting.replica, part);
        let found = self.states().list(&ListParams::default().fields(&format!("metadata.name={name}"))).await?;
        Ok(found.items.into_iter().next().map(|state| (state.resource_version().unwrap_or_default(), state.spec)))
    }
}

/// The revision of the written object; `None`: it already exists, has changed or is gone.
fn conflict_to_none(written: kube::Result<ReplicaState>) -> kube::Result<Option<String>> {
    match written {
        Ok(state) => Ok(state.resource_version()),
        Err(kube::Error::Api(refusal)) if [404, 409].contains(&refusal.code) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A valid object name for a replica with any name.
fn object_name(replica: &str, part: &str) -> String {
    let plain = |c: char| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' };
    let name: String = replica.to_ascii_lowercase().chars().map(plain).take(200).collect();
    format!("endpoint-{name}-{part}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_replica_has_a_name_that_an_object_may_have() {
        assert_eq!(object_name("postern-7d9f-x2x4z", "0"), "endpoint-postern-7d9f-x2x4z-0");
        assert_eq!(object_name("My_Host.local-77", "1"), "endpoint-my-host-local-77-1");
    }
}
