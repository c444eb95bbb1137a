//! Writes the status.

use kube::ResourceExt;
use kube::api::Patch;
use serde_json::json;

use super::gather::describe;
use super::kinds::over_limit::Reported;
use super::runtime::write_params;
use super::{Context, Error};
use crate::clock::Clock;

impl<C: Clock> Context<C> {
    /// Writes status through the subresource by server-side apply, unless it is unchanged.
    ///
    /// The API server refuses a write decided from an older object, by its preconditions (UID and resourceVersion).
    ///
    /// A status that the API server refuses is reported on the object.
    pub(super) async fn write_status<K: Reported>(&self, object: &K, status: &K::Status) -> Result<(), Error> {
        if object.status() == Some(status) {
            return Ok(());
        }
        let api = K::api(self.client.clone(), &object.namespace().unwrap_or_default());
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
        match api.patch_status(&object.name_any(), &write_params::apply(), &Patch::Apply(&patch)).await {
            Ok(answer) => {
                self.expectations.record(&answer);
                self.status_is_written(object);
                Ok(())
            }
            // The object was deleted: there is nothing to report.
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            Err(source) => {
                let error =
                    Error::Api { step: "write the status of", object: describe(object), source: Box::new(source) };
                if let Some(refusal) = error.refusal() {
                    self.report_status_refused(object, &refusal.message).await;
                }
                Err(error)
            }
        }
    }
}
