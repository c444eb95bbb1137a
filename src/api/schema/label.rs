//! Schemas of labels, with the API server's rules for labels of built-in kinds.

use schemars::{Schema, SchemaGenerator, json_schema};

const KEY: &str =
    "an optional domain and /, then at most 63 letters, digits, -, _ and ., first and last a letter or digit";

/// The longest key: a domain of 253 characters, /, a name of 63.
const KEY_LENGTH_MAX: usize = 317;

/// CEL: whether `text` is the key of a label or an annotation. The rule also bounds the length of a map key, from which
/// its cost is estimated.
fn is_key(text: &str) -> String {
    format!("size({text}) <= {KEY_LENGTH_MAX} && !format.qualifiedName().validate({text}).hasValue()")
}

/// A rule on a map: its keys are keys of labels or annotations, as named by `what`.
pub(super) fn has_keys(what: &str) -> serde_json::Value {
    serde_json::json!({
        "rule": format!("self.all(key, {})", is_key("key")),
        "message": format!("must have keys of {what}: {KEY}"),
    })
}

/// The value of a label; may be empty.
pub(super) fn label_value() -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": 63,
        "x-kubernetes-validations": [{
            "rule": "!format.labelValue().validate(self).hasValue()",
            "message": "must be the value of a label: at most 63 letters, digits, -, _ and ., first and last a letter or digit",
        }],
    })
}

/// A label selector (`metav1.LabelSelector`).
pub(in crate::api) fn label_selector(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "description": "A label selector on namespaces; {} selects all of them. Namespace labels decide which namespaces can have the role, so protect them; prefer `names`.",
        "properties": {
            "matchLabels": {
                "type": "object",
                "description": "Labels that the namespace must have, with these values.",
                "maxProperties": 64,
                "additionalProperties": label_value(),
                "x-kubernetes-validations": [has_keys("labels")],
            },
            "matchExpressions": {
                "type": "array",
                "description": "Requirements that must all be met.",
                "maxItems": 64,
                "x-kubernetes-list-type": "atomic",
                "items": requirement(),
            },
        },
    })
}

/// One of `matchExpressions`.
fn requirement() -> Schema {
    json_schema!({
        "type": "object",
        "required": ["key", "operator"],
        "properties": {
            "key": {
                "type": "string",
                "description": "Label key.",
                "maxLength": KEY_LENGTH_MAX,
                "x-kubernetes-validations": [{
                    "rule": is_key("self"),
                    "message": format!("must be the key of a label: {KEY}"),
                }],
            },
            "operator": {
                "type": "string",
                "description": "How the label's value relates to `values`.",
                "oneOf": [
                    {"const": "In", "description": "The namespace has the label, and its value is one of `values`."},
                    {"const": "NotIn", "description": "The namespace does not have the label, or its value is none of `values`."},
                    {"const": "Exists", "description": "The namespace has the label, with any value."},
                    {"const": "DoesNotExist", "description": "The namespace does not have the label."},
                ],
            },
            "values": {
                "type": "array",
                "description": "Values for In and NotIn.",
                "maxItems": 64,
                "x-kubernetes-list-type": "atomic",
                "items": label_value(),
            },
        },
        "x-kubernetes-validations": [{
            "rule": "self.operator in ['In', 'NotIn'] == (has(self.values) && size(self.values) > 0)",
            "message": "values must be given for the operators In and NotIn, and only for them",
        }],
    })
}
