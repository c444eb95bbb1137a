//! Schemas of what a user may ask of a delivered Secret: keys, labels, annotations.

use schemars::{Schema, SchemaGenerator, json_schema};

use super::text;

/// The key of a Secret.
pub(in crate::api) fn secret_key(_: &mut SchemaGenerator) -> Schema {
    text(253, "^[-._a-zA-Z0-9]+$", "must be a key of a Secret: a-z, A-Z, 0-9, -, _ and ., at most 253 characters")
}

/// Other names for single keys.
pub(in crate::api) fn renamed_keys(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "maxProperties": 8, "additionalProperties": secret_key(generator)})
}

/// Labels added to the Secret.
pub(in crate::api) fn added_labels(_: &mut SchemaGenerator) -> Schema {
    let value = json_schema!({
        "type": "string",
        "maxLength": 63,
        "x-kubernetes-validations": [{
            "rule": "self.matches(r'^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$')",
            "message": "must be the value of a label: at most 63 letters, digits, -, _ and ., first and last a letter or digit",
        }],
    });
    added("label", &value)
}

/// Annotations added to the Secret.
pub(in crate::api) fn added_annotations(_: &mut SchemaGenerator) -> Schema {
    added("annotation", &json_schema!({"type": "string", "maxLength": 4096}))
}

fn added(what: &str, value: &Schema) -> Schema {
    // Nothing else limits the length of a key of a map, and the cost of the rules is reckoned from it.
    let syntax = "size(key) <= 317 && key.matches(r'^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$') \
                  && key.split('/')[size(key.split('/')) - 1].size() <= 63";
    let ours = r"key.matches(r'^([^/]*\.)?(postern\.dev|app\.kubernetes\.io)/')";
    json_schema!({
        "type": "object",
        "maxProperties": 32,
        "additionalProperties": value,
        "x-kubernetes-validations": [
            {
                "rule": format!("self.all(key, {syntax})"),
                "message": format!("must have keys of {what}s: an optional domain and /, then at most 63 letters, digits, -, _ and ."),
            },
            {
                "rule": format!("self.all(key, !{ours})"),
                "message": format!("must not have keys under postern.dev/ or app.kubernetes.io/: those {what}s are set by Postern; choose others"),
            },
        ],
    })
}
