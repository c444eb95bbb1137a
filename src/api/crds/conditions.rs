//! The schema of conditions, with the bounds of `metav1.Condition`, which `k8s_openapi` leaves out.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSON, JSONSchemaProps, JSONSchemaPropsOrArray,
};

use crate::api::conditions::MESSAGE_LENGTH_MAX;
use crate::api::schema::instant_pattern;

const TYPE: &str =
    r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$";
const REASON: &str = "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$";

/// The values of `status`, with the meaning of each.
const STATUS: [(&str, &str); 3] = [
    ("True", "The condition applies."),
    ("False", "The condition does not apply."),
    ("Unknown", "The controller has not reconciled the object yet."),
];

/// Completes the schema of a list of conditions: they merge by type, each as a whole. A writer of a condition writes
/// all of its fields; with granular fields the API server would record seven owners for each.
pub(super) fn complete(conditions: &mut JSONSchemaProps) {
    conditions.x_kubernetes_list_type = Some("map".to_owned());
    conditions.x_kubernetes_list_map_keys = Some(vec!["type".to_owned()]);
    let Some(JSONSchemaPropsOrArray::Schema(condition)) = conditions.items.as_mut() else { return };
    condition.x_kubernetes_map_type = Some("atomic".to_owned());
    for (name, field) in condition.properties.iter_mut().flatten() {
        match name.as_str() {
            "type" => (field.max_length, field.pattern) = (Some(316), Some(TYPE.to_owned())),
            "status" => {
                field.enum_ = Some(STATUS.map(|(status, _)| JSON(status.into())).into());
                let meanings = STATUS.map(|(status, meaning)| format!("{status}: {meaning}"));
                field.description = Some(format!("Status of the condition.\n\n{}", meanings.join("\n\n")));
            }
            "reason" => {
                (field.min_length, field.max_length) = (Some(1), Some(1024));
                field.pattern = Some(REASON.to_owned());
            }
            "message" => field.max_length = i64::try_from(MESSAGE_LENGTH_MAX).ok(),
            // A field that cannot be decoded would make the whole object be treated as absent.
            "lastTransitionTime" => (field.format, field.pattern) = (None, Some(instant_pattern())),
            "observedGeneration" => field.minimum = Some(0.0),
            _ => {}
        }
    }
}
