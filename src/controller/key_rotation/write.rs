//! The write of one step.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::Patch;
use serde_json::json;

use crate::api::key_records::{KeyRecord, KeyRecords};
use crate::clock::Clock;
use crate::controller::Context;
use crate::controller::key_material::{Material, new_key};
use crate::controller::runtime::write_params;
use crate::keystore::CURRENT;
use crate::keystore::records::{self, RECORDS};
use crate::plan::key_rotation::{Clocks, Settings, Step, after};

/// Why a step was not made.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The Secret is not the version that the step was decided on.
    #[error("the Secret has changed")]
    Conflict,
    /// The API server refused the write, or did not answer.
    #[error("could not write Secret {name}")]
    Api {
        /// Name of the Secret.
        name: &'static str,
        /// The error of the API server.
        source: Box<kube::Error>,
    },
    /// The key could not be generated.
    #[error("could not generate a key: {0}")]
    Generate(String),
}

/// Makes a step, and returns the records after it. One write changes keys and records together.
pub(super) async fn make<C: Clock>(
    context: &Context<C>,
    name: &'static str,
    secret: &Secret,
    before: &KeyRecords,
    step: &Step,
    clocks: Clocks,
    settings: &Settings,
) -> Result<KeyRecords, Error> {
    let created = match step {
        Step::Create { algorithm } => Some((algorithm.clone(), generate(algorithm.clone()).await?)),
        _ => None,
    };
    let record = created.as_ref().map(|(algorithm, Material { id, entry, .. })| {
        KeyRecord::new(id.clone(), algorithm.clone(), entry.clone(), clocks.latest)
    });
    let records = after(before, step, record, clocks, settings);
    let gone = before.keys.iter().filter(|key| records.keys.iter().all(|kept| kept.id != key.id));
    let mut data: BTreeMap<&str, Option<ByteString>> = gone.map(|key| (key.entry.as_str(), None)).collect();
    if let Some((_, Material { entry, bytes, .. })) = &created {
        data.insert(entry, Some(ByteString(bytes.to_vec())));
    }
    data.insert(RECORDS, Some(records::content(&records)));
    // The records replace it. An entry that does not exist is no error.
    data.insert(CURRENT, None);
    let patch = json!({"metadata": {"resourceVersion": secret.metadata.resource_version}, "data": data});
    let api: Api<Secret> = Api::namespaced(context.client.clone(), &context.settings.namespace);
    match api.patch(name, &write_params::patch(), &Patch::Merge(&patch)).await {
        Ok(_) => Ok(records),
        Err(kube::Error::Api(status)) if status.is_conflict() => Err(Error::Conflict),
        Err(source) => Err(Error::Api { name, source: Box::new(source) }),
    }
}

/// RSA keys take a noticeable time of a core.
async fn generate(algorithm: String) -> Result<Material, Error> {
    let generated = tokio::task::spawn_blocking(move || new_key(&algorithm)).await;
    generated.unwrap_or_else(|error| Err(error.to_string())).map_err(Error::Generate)
}
