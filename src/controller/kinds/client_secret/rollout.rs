//! Restarts workloads when a new version is delivered: as `kubectl rollout restart` does, once per version.

use std::time::Instant;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use kube::api::Patch;
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::api::ClientSecret;
use crate::api::client_secret::{RotationStep, Workload, WorkloadKind};
use crate::api::conditions::{reasons, types};
use crate::api::digest::digest;
use crate::api::names::ROLLOUT_ANNOTATION_PREFIX;
use crate::cache::is_deleting;
use crate::clock::Clock;
use crate::controller::gather::describe;
use crate::controller::runtime::refusals::Refused;
use crate::controller::runtime::write_params;
use crate::controller::{Context, Error};
use crate::plan::client_secret::Rollout;

impl<C: Clock> Context<C> {
    /// The state of the restarts; empty while none is in progress.
    pub(crate) async fn workloads_of(&self, secret: &ClientSecret) -> Result<Vec<(Workload, Rollout)>, Error> {
        let status = secret.status.as_ref();
        let rolling = status.and_then(|status| status.rotation.as_ref());
        let newest = status.and_then(|status| status.versions.first());
        let (Some(_), Some(newest)) = (rolling.filter(|rotation| rotation.step == RotationStep::RollingOut), newest)
        else {
            return Ok(Vec::new());
        };
        let mut seen = Vec::new();
        let wanted = secret.spec.rotation.as_ref().and_then(|rotation| rotation.rollout.as_deref());
        for workload in wanted.unwrap_or_default() {
            if self.settings.policy.rollout_disabled {
                seen.push((workload.clone(), Rollout::Disabled));
                continue;
            }
            let mark = (annotation(secret), newest.id.as_str());
            let found = match workload.kind {
                WorkloadKind::Deployment => self.rollout_of(secret, workload, &mark, deployment).await,
                WorkloadKind::StatefulSet => self.rollout_of(secret, workload, &mark, stateful_set).await,
                WorkloadKind::DaemonSet => self.rollout_of(secret, workload, &mark, daemon_set).await,
            };
            seen.push((workload.clone(), found.or_else(|error| self.refused(secret, workload, error))?));
        }
        Ok(seen)
    }

    /// Workloads of `spec.rotation.rollout` that the next rotation could not restart. They are checked when the spec is
    /// new, and while one is unavailable: a rotation in progress detects them automatically.
    pub(crate) async fn unavailable_workloads(&self, secret: &ClientSecret) -> Result<Vec<(Workload, Rollout)>, Error> {
        let wanted = secret.spec.rotation.as_ref().and_then(|rotation| rotation.rollout.as_deref());
        let (Some(wanted), false) =
            (wanted.filter(|_| asks_for_workloads(secret)), self.settings.policy.rollout_disabled)
        else {
            return Ok(Vec::new());
        };
        let mut unavailable = Vec::new();
        for workload in wanted {
            let what = restart_of(secret, workload);
            if let Some(refused) = self.refusals.waiting(&what, Instant::now()) {
                unavailable.push((workload.clone(), stuck(&refused)));
                continue;
            }
            let exists = match workload.kind {
                WorkloadKind::Deployment => self.exists::<Deployment>(secret, workload).await,
                WorkloadKind::StatefulSet => self.exists::<StatefulSet>(secret, workload).await,
                WorkloadKind::DaemonSet => self.exists::<DaemonSet>(secret, workload).await,
            };
            match exists {
                Ok(true) => self.refusals.forget(&what),
                Ok(false) => unavailable.push((workload.clone(), Rollout::Missing)),
                Err(error) => unavailable.push((workload.clone(), self.refused(secret, workload, error)?)),
            }
        }
        Ok(unavailable)
    }

    async fn exists<K>(&self, secret: &ClientSecret, workload: &Workload) -> Result<bool, Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + std::fmt::Debug,
    {
        let found = self.api_beside::<K>(secret).get_metadata_opt(&workload.name).await;
        let found = found.map_err(|source| failed("read", secret, workload, source))?;
        Ok(found.is_some_and(|found| !is_deleting(&found)))
    }

    /// The API for the namespace of the ClientSecret.
    fn api_beside<K>(&self, secret: &ClientSecret) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &secret.namespace().unwrap_or_default())
    }

    /// Restarts workloads that have not been restarted for the newest version. A repeated call restarts nothing again:
    /// the annotation in the pod template is the version. If the API server refuses one restart, the others still
    /// happen.
    pub(crate) async fn roll_out(
        &self,
        secret: &ClientSecret,
        workloads: &mut [(Workload, Rollout)],
    ) -> Result<(), Error> {
        let newest = secret.status.as_ref().and_then(|status| status.versions.first());
        let Some(version) = newest.map(|newest| newest.id.as_str()) else { return Ok(()) };
        for (workload, rollout) in workloads.iter_mut().filter(|(_, rollout)| *rollout == Rollout::Outdated) {
            let what = restart_of(secret, workload);
            if let Some(refused) = self.refusals.waiting(&what, Instant::now()) {
                *rollout = stuck(&refused);
                continue;
            }
            let mark = (annotation(secret), version);
            let restarted = match workload.kind {
                WorkloadKind::Deployment => self.restart::<Deployment>(secret, workload, &mark).await,
                WorkloadKind::StatefulSet => self.restart::<StatefulSet>(secret, workload, &mark).await,
                WorkloadKind::DaemonSet => self.restart::<DaemonSet>(secret, workload, &mark).await,
            };
            match restarted {
                Ok(()) => self.refusals.forget(&what),
                Err(error) => *rollout = self.refused(secret, workload, error)?,
            }
        }
        Ok(())
    }

    /// Reports a refusal of the API server, which is retried with increasing intervals; any other failure is an error.
    fn refused(&self, secret: &ClientSecret, workload: &Workload, error: Error) -> Result<Rollout, Error> {
        let Some(refusal) = error.refusal() else { return Err(error) };
        let what = restart_of(secret, workload);
        Ok(stuck(&self.refusals.record_failure(&what, Instant::now(), &refusal.message)))
    }

    async fn rollout_of<K>(
        &self,
        secret: &ClientSecret,
        workload: &Workload,
        (key, version): &(String, &str),
        state_of: fn(&K) -> (Option<String>, Rollout),
    ) -> Result<Rollout, Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + std::fmt::Debug,
        K: Template,
    {
        let found = self.api_beside::<K>(secret).get_opt(&workload.name).await;
        let found = found.map_err(|source| failed("read", secret, workload, source))?;
        let Some(found) = found.filter(|found| !is_deleting(found)) else { return Ok(Rollout::Missing) };
        if found.annotation(key) != Some(version) {
            return Ok(Rollout::Outdated);
        }
        let (impossible, rollout) = state_of(&found);
        Ok(impossible.map_or(rollout, Rollout::Stuck))
    }

    async fn restart<K>(
        &self,
        secret: &ClientSecret,
        workload: &Workload,
        (key, version): &(String, &str),
    ) -> Result<(), Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + std::fmt::Debug,
    {
        let api = self.api_beside::<K>(secret);
        let patch = json!({"spec": {"template": {"metadata": {"annotations": {key: version}}}}});
        let patched = api.patch(&workload.name, &write_params::patch(), &Patch::Merge(&patch)).await;
        patched.map(drop).map_err(|source| failed("restart", secret, workload, source))
    }
}

/// Whether to check the workloads of the spec: no state was reported, or a reported problem may be fixed.
fn asks_for_workloads(secret: &ClientSecret) -> bool {
    let Some(status) = &secret.status else { return true };
    let rotating = status.conditions.iter().find(|condition| condition.type_ == types::ROTATING);
    let is_open = rotating.is_none_or(|rotating| rotating.reason == reasons::WORKLOAD_UNAVAILABLE);
    status.rotation.is_none() && (is_open || status.observed_generation != secret.metadata.generation)
}

/// The annotation of a pod template with the version of this ClientSecret for which it was restarted.
fn annotation(secret: &ClientSecret) -> String {
    let digest = digest(secret.metadata.uid.as_deref());
    format!("{ROLLOUT_ANNOTATION_PREFIX}{}", digest.get(..12).unwrap_or_default())
}

/// The common part of the three kinds.
pub(crate) trait Template {
    /// An annotation of future pods.
    fn annotation(&self, key: &str) -> Option<&str>;
}

impl Template for Deployment {
    fn annotation(&self, key: &str) -> Option<&str> {
        in_template(&self.spec.as_ref()?.template, key)
    }
}

impl Template for StatefulSet {
    fn annotation(&self, key: &str) -> Option<&str> {
        in_template(&self.spec.as_ref()?.template, key)
    }
}

impl Template for DaemonSet {
    fn annotation(&self, key: &str) -> Option<&str> {
        in_template(&self.spec.as_ref()?.template, key)
    }
}

fn in_template<'a>(template: &'a PodTemplateSpec, key: &str) -> Option<&'a str> {
    template.metadata.as_ref()?.annotations.as_ref()?.get(key).map(String::as_str)
}

fn stuck(refused: &Refused) -> Rollout {
    Rollout::Stuck(format!("the API server refuses it: {}", refused.message))
}

fn restart_of(secret: &ClientSecret, workload: &Workload) -> String {
    format!("{workload} for {}", describe(secret))
}

/// The same criteria as `kubectl rollout status`.
fn deployment(found: &Deployment) -> (Option<String>, Rollout) {
    let (spec, status) = (found.spec.clone().unwrap_or_default(), found.status.clone().unwrap_or_default());
    let stuck = status.conditions.iter().flatten().find(|condition| {
        condition.type_ == "Progressing" && condition.reason.as_deref() == Some("ProgressDeadlineExceeded")
    });
    let stuck = if spec.paused.unwrap_or_default() {
        Some("it is paused".to_owned())
    } else {
        stuck.map(|condition| condition.message.clone().unwrap_or_else(|| "its deadline has passed".to_owned()))
    };
    let wanted = spec.replicas.unwrap_or(1);
    let updated = status.updated_replicas.unwrap_or_default();
    let old = status.replicas.unwrap_or_default() - updated;
    let available = status.available_replicas.unwrap_or_default();
    let seen = status.observed_generation >= found.metadata.generation;
    (stuck, progress(seen, [updated, available], wanted, old))
}

fn stateful_set(found: &StatefulSet) -> (Option<String>, Rollout) {
    let (spec, status) = (found.spec.clone().unwrap_or_default(), found.status.clone().unwrap_or_default());
    let by_hand = spec.update_strategy.and_then(|strategy| strategy.type_).is_some_and(|type_| type_ == "OnDelete");
    let wanted = spec.replicas.unwrap_or(1);
    let updated = status.updated_replicas.unwrap_or_default();
    let available = status.available_replicas.unwrap_or_default();
    let seen = status.observed_generation >= found.metadata.generation;
    let rollout = progress(seen, [updated, available], wanted, status.replicas - updated);
    (by_hand.then(on_delete).filter(|_| rollout != Rollout::Done), rollout)
}

fn daemon_set(found: &DaemonSet) -> (Option<String>, Rollout) {
    let (spec, status) = (found.spec.clone().unwrap_or_default(), found.status.clone().unwrap_or_default());
    let by_hand = spec.update_strategy.and_then(|strategy| strategy.type_).is_some_and(|type_| type_ == "OnDelete");
    let updated = status.updated_number_scheduled.unwrap_or_default();
    let available = status.number_available.unwrap_or_default();
    let seen = status.observed_generation >= found.metadata.generation;
    let rollout = progress(seen, [updated, available], status.desired_number_scheduled, 0);
    (by_hand.then(on_delete).filter(|_| rollout != Rollout::Done), rollout)
}

fn on_delete() -> String {
    "its updateStrategy is OnDelete, so its pods have to be deleted by hand".to_owned()
}

fn progress(seen: bool, [updated, available]: [i32; 2], wanted: i32, old: i32) -> Rollout {
    if seen && updated >= wanted && available >= wanted && old <= 0 {
        Rollout::Done
    } else {
        let leaving = if old > 0 { format!(", {old} old") } else { String::new() };
        Rollout::Progressing(format!("{updated} of {wanted} pods are new, {available} available{leaving}"))
    }
}

fn failed(step: &'static str, secret: &ClientSecret, workload: &Workload, source: kube::Error) -> Error {
    let object = format!("{:?} {}/{}", workload.kind, secret.namespace().unwrap_or_default(), workload.name);
    Error::Api { step, object, source: Box::new(source) }
}
