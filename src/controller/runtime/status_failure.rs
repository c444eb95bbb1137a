//! Reports a status that cannot be written: the API server refuses it, or the object cannot be decoded.
//!
//! Both failures are reported on the object, by an event and by the condition `Ready`. A separate field manager writes
//! that condition, so the rest of the status is unchanged. The next complete status replaces the condition.

use std::time::Instant;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use kube::api::{ListParams, Patch};
use kube::core::{DynamicObject, PartialObjectMeta, PartialObjectMetaExt as _};
use kube::{Api, Resource};
use serde_json::json;

use super::work_queue::Requeue;
use super::write_params;
use crate::api::conditions::{ConditionValue, merge, reasons, types};
use crate::cache::ObjectRef;
use crate::clock::Clock;
use crate::controller::gather::describe;
use crate::controller::kinds::over_limit::Reported;
use crate::controller::{Context, Error};
use crate::util::error_chain::display_chain;

impl<C: Clock> Context<C> {
    /// Reports that the API server refuses the status of the object.
    pub(crate) async fn report_status_refused<K: Reported>(&self, object: &K, words: &str) {
        let message = |words: &str| {
            format!(
                "status: the API server refuses what the controller writes: {}. Correct the field that it names, or the \
                 admission policy that refuses it; the write is repeated automatically, at least every five minutes.",
                words.trim_end_matches('.')
            )
        };
        self.report_failure(object, object.reported(), reasons::STATUS_REFUSED, &status_of(object), words, message)
            .await;
    }

    /// The status was written: the next failure is a new one.
    pub(crate) fn status_is_written<K: Reported>(&self, object: &K) {
        self.refusals.forget(&status_of(object));
    }

    /// Reports that the object cannot be decoded because of `error`.
    pub(crate) async fn report_undecodable<K: Reported>(&self, key: &ObjectRef, error: &str) -> Result<Requeue, Error> {
        let one = ListParams::default().fields(&format!("metadata.name={}", key.name));
        let found = self.raw::<K>(&key.namespace).list(&one).await.map_err(|source| Error::Api {
            step: "read",
            object: format!("{} {}/{}", K::kind(&()), key.namespace, key.name),
            source: Box::new(source),
        })?;
        let Some(found) = found.items.into_iter().next().filter(|found| found.metadata.deletion_timestamp.is_none())
        else {
            return Ok(Requeue::AwaitChange);
        };
        let previous = found.data.pointer("/status/conditions").cloned().unwrap_or_default();
        let previous: Vec<Condition> = serde_json::from_value(previous).unwrap_or_default();
        let object: PartialObjectMeta<K> = found.metadata.into_response_partial();
        let message = |error: &str| {
            format!(
                "The object cannot be decoded and counts as absent: {error}. Correct the field, or create the object again."
            )
        };
        let what = format!("decoding of {}", describe(&object));
        self.report_failure(&object, &previous, reasons::NOT_DECODED, &what, error, message).await;
        Ok(Requeue::AwaitChange)
    }

    /// Writes the event and the condition, unless they are up to date. `what` failed with this message.
    async fn report_failure<K: Resource<DynamicType = ()>>(
        &self,
        object: &K,
        previous: &[Condition],
        reason: &'static str,
        what: &str,
        words: &str,
        message: impl Fn(&str) -> String,
    ) {
        let known = self.refusals.message(what);
        let refused = self.refusals.record_failure(what, Instant::now(), words);
        let verdict = ConditionValue::new_false(types::READY, reason, message(&refused.message));
        let now = merge(previous, vec![verdict], object.meta().generation, self.clock.now());
        if now.iter().all(|condition| previous.contains(condition)) {
            return;
        }
        if known.as_ref() != Some(&refused.message) {
            let text = now.first().map(|condition| condition.message.clone()).unwrap_or_default();
            self.events.warning(object, reason, "WriteStatus", text);
        }
        let ObjectMeta { name, namespace, uid, resource_version, generation, .. } = object.meta();
        let patch = json!({
            "apiVersion": K::api_version(&()),
            "kind": K::kind(&()),
            "metadata": {"name": name, "namespace": namespace, "uid": uid, "resourceVersion": resource_version},
            "status": {"observedGeneration": generation, "conditions": now},
        });
        let api = self.raw::<K>(namespace.as_deref().unwrap_or_default());
        let name = name.as_deref().unwrap_or_default();
        if let Err(error) = api.patch_status(name, &write_params::apply_alone(), &Patch::Apply(&patch)).await {
            tracing::debug!(error = display_chain(&error), "the condition could not be written either");
        }
    }

    /// Stored objects of the kind, including objects that do not match its schema.
    fn raw<K: Resource<DynamicType = ()>>(&self, namespace: &str) -> Api<DynamicObject> {
        let resource = kube::api::ApiResource::erase::<K>(&());
        if namespace.is_empty() {
            Api::all_with(self.client.clone(), &resource)
        } else {
            Api::namespaced_with(self.client.clone(), namespace, &resource)
        }
    }
}

fn status_of<K: Resource<DynamicType = ()>>(object: &K) -> String {
    format!("status of {}", describe(object))
}
