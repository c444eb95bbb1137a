//! Status: the write that says what is true.

use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use kube::api::Patch;
use kube::{Api, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::gather::describe;
use super::{Context, Error, params};
use crate::clock::Clock;

impl<C: Clock> Context<C> {
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
        match api.patch_status(&object.name_any(), &params::apply(), &Patch::Apply(&patch)).await {
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
}
