//! Schemas of the delivered Secret's settings: keys, labels, annotations.

use schemars::{Schema, SchemaGenerator, json_schema};

use super::label::{has_keys, label_value};
use super::{lines, matches, ruled};

const KEY: &str =
    "must be a key of a Secret: a-z, A-Z, 0-9, -, _ and ., at most 253 characters, and not . or begin with ..";

/// The key of a Secret. Keys are file names: the API server rejects those that lead to another directory.
pub(in crate::api) fn secret_key(_: &mut SchemaGenerator) -> Schema {
    let rule = format!("{} && self != '.' && !self.startsWith('..')", matches("^[-._a-zA-Z0-9]+$"));
    ruled(253, &rule, KEY)
}

/// Other names for single keys.
pub(in crate::api) fn renamed_keys(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "maxProperties": 8, "additionalProperties": secret_key(generator)})
}

/// Labels added to the Secret.
pub(in crate::api) fn added_labels(_: &mut SchemaGenerator) -> Schema {
    added("labels", &label_value())
}

/// Annotations added to the Secret.
pub(in crate::api) fn added_annotations(_: &mut SchemaGenerator) -> Schema {
    added("annotations", &lines(4096))
}

fn added(what: &str, value: &Schema) -> Schema {
    let ours = r"key.matches(r'^([^/]*\.)?(postern\.dev|app\.kubernetes\.io)/')";
    json_schema!({
        "type": "object",
        "maxProperties": 32,
        "additionalProperties": value,
        "x-kubernetes-validations": [
            has_keys(what),
            {
                "rule": format!("self.all(key, !{ours})"),
                "message": format!("must not have keys under postern.dev/ or app.kubernetes.io/: those {what} are set by Postern; choose others"),
            },
        ],
    })
}
