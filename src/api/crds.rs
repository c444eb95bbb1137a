//! The CustomResourceDefinitions, as generated YAML under `crds/` has them.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;
use serde_json::json;

use super::conditions::{reasons, types};
use super::{AccessGroup, Application, ClientSecret, ReplicaState, ServiceUser};

mod conditions;

/// Every CRD of Postern.
#[must_use]
pub fn all() -> Vec<CustomResourceDefinition> {
    [AccessGroup::crd(), ServiceUser::crd(), Application::crd(), ClientSecret::crd(), ReplicaState::crd()]
        .map(finish)
        .into()
}

/// What the derive does not generate: the default of `status`, and the rules for every schema, see [`tidy`].
fn finish(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut crd.spec.versions {
        let Some(root) = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut()) else {
            continue;
        };
        tidy(root);
        let Some(status) = root.properties.as_mut().and_then(|properties| properties.get_mut("status")) else {
            continue;
        };
        status.default = Some(JSON(pending()));
        status.description.get_or_insert_with(|| "Observed state of the object. The controller writes it.".to_owned());
        if let Some(conditions) = status.properties.as_mut().and_then(|properties| properties.get_mut("conditions")) {
            conditions::complete(conditions);
        }
    }
    crd
}

/// `Ready=Unknown` until the controller has reconciled the object, so that `kubectl wait` and `helm --wait` never see
/// an empty status (as in Gateway API).
fn pending() -> serde_json::Value {
    json!({"conditions": [{
        "type": types::READY,
        "status": "Unknown",
        "reason": reasons::PENDING,
        "message": "Waiting for the controller.",
        "lastTransitionTime": "1970-01-01T00:00:00Z",
    }]})
}

/// Corrects a schema and all schemas in it. An optional field is omitted, not null: without the marker the API server
/// drops a null before it stores the object. A list is atomic unless the schema defines otherwise. A description has
/// one line for each paragraph, without the line breaks of the source.
fn tidy(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    if let Some(description) = &mut schema.description {
        let paragraphs = description.split("\n\n").map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "));
        *description = paragraphs.collect::<Vec<_>>().join("\n\n");
    }
    if schema.type_.as_deref() == Some("array") {
        schema.x_kubernetes_list_type.get_or_insert_with(|| "atomic".to_owned());
    }
    let properties = schema.properties.iter_mut().flat_map(|properties| properties.values_mut());
    properties.for_each(tidy);
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = schema.items.as_mut() {
        tidy(items);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = schema.additional_properties.as_mut() {
        tidy(values);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::access_group::{Plane, Reach};
    use crate::api::application::{ScopePolicy, SigningAlgorithm, TokenFormat, TokenType};
    use crate::api::client_secret::{DeliveryMode, KeyNaming};

    /// Every schema of the CRDs, with its path.
    fn each(path: &str, schema: &JSONSchemaProps, look: &mut impl FnMut(&str, &JSONSchemaProps)) {
        look(path, schema);
        for (name, property) in schema.properties.iter().flatten() {
            each(&format!("{path}.{name}"), property, look);
        }
        if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
            each(&format!("{path}[]"), items, look);
        }
        if let Some(JSONSchemaPropsOrBool::Schema(values)) = &schema.additional_properties {
            each(&format!("{path}{{}}"), values, look);
        }
    }

    fn roots() -> Vec<(String, JSONSchemaProps)> {
        let root = |mut crd: CustomResourceDefinition| {
            let schema = crd.spec.versions.remove(0).schema.unwrap().open_api_v3_schema.unwrap();
            (crd.spec.names.kind, schema)
        };
        all().into_iter().map(root).collect()
    }

    #[test]
    fn every_list_declares_its_merge_type_and_no_paragraph_of_a_description_has_a_line_break() {
        for (kind, root) in roots() {
            each(&kind, &root, &mut |path, schema| {
                let is_list = schema.type_.as_deref() == Some("array");
                assert_eq!(is_list, schema.x_kubernetes_list_type.is_some(), "{path}");
                let description = schema.description.as_deref().unwrap_or_default();
                assert!(!description.replace("\n\n", "").contains('\n'), "{path}: {description}");
            });
        }
    }

    /// A column with a wrong path is empty, and nothing reports that.
    #[test]
    fn every_column_and_every_selectable_field_is_in_the_schema() {
        for crd in all() {
            let version = &crd.spec.versions[0];
            let root = version.schema.as_ref().unwrap().open_api_v3_schema.as_ref().unwrap();
            let columns = version.additional_printer_columns.iter().flatten().map(|column| &column.json_path);
            let fields = version.selectable_fields.iter().flatten().map(|field| &field.json_path);
            for path in columns.chain(fields).filter(|path| !path.starts_with(".metadata.")) {
                let is_there = path[1..].split('.').try_fold(root, |schema, step| property(schema, step)).is_some();
                assert!(is_there, "{}: {path}", crd.spec.names.kind);
            }
        }
    }

    /// The schema of one step of a JSON path: a property, or the items of a list that a filter selects. Dots of the
    /// filter have been split too.
    fn property<'s>(schema: &'s JSONSchemaProps, step: &str) -> Option<&'s JSONSchemaProps> {
        let Some(name) = step.strip_suffix("[?(@") else {
            return if step.starts_with("type==") { Some(schema) } else { schema.properties.as_ref()?.get(step) };
        };
        match schema.properties.as_ref()?.get(name)?.items.as_ref()? {
            JSONSchemaPropsOrArray::Schema(items) => Some(items),
            JSONSchemaPropsOrArray::Schemas(_) => None,
        }
    }

    /// `kubectl explain` shows the description of a list, and not that of its items.
    #[test]
    fn every_value_of_an_enumeration_has_a_meaning_in_the_description() {
        let values = |schema: &JSONSchemaProps| schema.enum_.iter().flatten().map(|value| value.0.clone()).collect();
        for (kind, root) in roots() {
            each(&kind, &root, &mut |path, schema| {
                let items = match &schema.items {
                    Some(JSONSchemaPropsOrArray::Schema(items)) => values(items),
                    _ => Vec::new(),
                };
                let own = if path.ends_with("[]") { Vec::new() } else { values(schema) };
                let description = schema.description.as_deref().unwrap_or_default();
                for value in own.iter().chain(&items).filter_map(|value| value.as_str()) {
                    let start = format!("{value}: ");
                    assert!(description.split("\n\n").any(|text| text.starts_with(&start)), "{path}: {value}");
                }
            });
        }
    }

    /// The description of a field names the default; the decoder takes that of the Rust type.
    #[test]
    fn the_described_default_of_an_enumeration_is_the_one_of_its_type() {
        let defaults = [
            ("AccessGroup.spec.plane", json!(Plane::default())),
            ("AccessGroup.spec.reach", json!(Reach::default())),
            ("Application.spec.token.format", json!(TokenFormat::default())),
            ("Application.spec.token.type", json!(TokenType::default())),
            ("Application.spec.token.signingAlgorithm", json!(SigningAlgorithm::default())),
            ("Application.spec.token.scopePolicy", json!(ScopePolicy::default())),
            ("ClientSecret.spec.delivery.mode", json!(DeliveryMode::default())),
            ("ClientSecret.spec.delivery.keys", json!(KeyNaming::default())),
        ];
        let mut seen = 0;
        for (kind, root) in roots() {
            each(&kind, &root, &mut |path, schema| {
                let Some((_, default)) = defaults.iter().find(|(described, _)| *described == path) else { return };
                let expected = format!("Default: {}.", default.as_str().unwrap());
                assert!(schema.description.as_deref().is_some_and(|text| text.contains(&expected)), "{path}");
                seen += 1;
            });
        }
        assert_eq!(seen, defaults.len());
    }

    /// `kubectl get` of a category fails as a whole for a user who may not list one of its kinds, and Kubernetes'
    /// `edit` and `view` roles grant permissions in namespaces only.
    #[test]
    fn the_category_has_the_kinds_of_namespaces_only() {
        for crd in all() {
            let is_for_users = crd.spec.scope == "Namespaced" && crd.spec.names.kind != "ReplicaState";
            assert_eq!(crd.spec.names.categories.is_some(), is_for_users, "{}", crd.spec.names.kind);
        }
    }

    /// Service Binding Specification: the label marks kinds that are Provisioned Services.
    #[test]
    fn the_kind_with_a_binding_in_its_status_is_a_provisioned_service() {
        for crd in all() {
            let labels = crd.metadata.labels.unwrap_or_default();
            let is_labelled = labels.get("servicebinding.io/provisioned-service").is_some_and(|value| value == "true");
            assert_eq!(is_labelled, crd.spec.names.kind == "ClientSecret", "{}", crd.spec.names.kind);
        }
    }

    #[test]
    fn condition_fields_are_bounded_as_in_kubernetes() {
        for (kind, root) in roots().into_iter().filter(|(kind, _)| kind != "ReplicaState") {
            let mut seen = 0;
            each(&kind, &root, &mut |path, schema| {
                if path.contains(".status.conditions[].") {
                    seen += 1;
                    let bounded = schema.max_length.is_some()
                        || schema.enum_.is_some()
                        || schema.minimum.is_some()
                        || schema.pattern.is_some();
                    assert!(bounded, "{path}");
                }
            });
            assert_eq!(seen, 6, "{kind}");
        }
    }
}
