//! The CustomResourceDefinitions, as generated YAML under `crds/` has them.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray,
};
use kube::CustomResourceExt;
use serde_json::json;

use super::conditions::{reasons, types};
use super::{AccessGroup, Application, ClientSecret, EndpointState, ServiceUser};

/// Every CRD of Postern.
#[must_use]
pub fn all() -> Vec<CustomResourceDefinition> {
    [AccessGroup::crd(), ServiceUser::crd(), Application::crd(), ClientSecret::crd(), EndpointState::crd()]
        .map(finish)
        .into()
}

/// What the derive does not know: the default of `status`, that an absent field is not a null one, and that conditions
/// merge by type, each as a whole.
fn finish(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut crd.spec.versions {
        let Some(root) = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut()) else {
            continue;
        };
        drop_nullable(root);
        let Some(status) = root.properties.as_mut().and_then(|properties| properties.get_mut("status")) else {
            continue;
        };
        status.default = Some(JSON(pending()));
        status.description.get_or_insert_with(|| "What the controller says of the object.".to_owned());
        if let Some(conditions) = status.properties.as_mut().and_then(|properties| properties.get_mut("conditions")) {
            conditions.x_kubernetes_list_type = Some("map".to_owned());
            conditions.x_kubernetes_list_map_keys = Some(vec!["type".to_owned()]);
            if let Some(JSONSchemaPropsOrArray::Schema(condition)) = conditions.items.as_mut() {
                // Who says a condition says all of it. Field by field the API server would note seven owners for each.
                condition.x_kubernetes_map_type = Some("atomic".to_owned());
            }
        }
    }
    crd
}

/// `Ready=Unknown` until the controller has looked, so that `kubectl wait` and `helm --wait` never race an empty status
/// (as Gateway API does).
fn pending() -> serde_json::Value {
    json!({"conditions": [{
        "type": types::READY,
        "status": "Unknown",
        "reason": reasons::PENDING,
        "message": "Waiting for the controller.",
        "lastTransitionTime": "1970-01-01T00:00:00Z",
    }]})
}

/// An optional field is left out, not null: without the marker the API server drops a null before it stores the object.
fn drop_nullable(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    let properties = schema.properties.iter_mut().flat_map(|properties| properties.values_mut());
    properties.for_each(drop_nullable);
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = schema.items.as_mut() {
        drop_nullable(items);
    }
}
