//! The meaning of each value of an enumeration, as part of the description of its field.
//!
//! schemars keeps the doc comments of variants in a `oneOf`. kube replaces that with a plain `enum`, and the description
//! of an optional field with that of its type. So this transformation runs before those of kube. `kubectl explain` and
//! the reference (`tests/reference.rs`) read the result.

use schemars::Schema;
use schemars::transform::transform_subschemas;
use serde_json::{Map, Value};

/// Adds a paragraph `Value: meaning` for each value to the description of every field with an enumeration, or with a
/// list of one. To be set on the root of a schema.
pub(in crate::api) fn describe_values(schema: &mut Schema) {
    if let Some(field) = schema.as_object_mut() {
        unwrap_optional(field);
        let meanings = flatten(field).or_else(|| flatten(field.get_mut("items")?.as_object_mut()?));
        if let Some(meanings) = meanings {
            let own = field.get("description").and_then(Value::as_str).map(str::to_owned);
            let paragraphs: Vec<String> = own.into_iter().chain(meanings).collect();
            field.insert("description".to_owned(), paragraphs.join("\n\n").into());
        }
    }
    transform_subschemas(&mut describe_values, schema);
}

/// An optional enumeration is a choice between the enumeration and null. The field's own description stays.
fn unwrap_optional(field: &mut Map<String, Value>) {
    let Some([choice, _]) = field.get("anyOf").and_then(Value::as_array).map(Vec::as_slice) else { return };
    let Some(values) = choice.get("oneOf").cloned() else { return };
    field.remove("anyOf");
    field.insert("oneOf".to_owned(), values);
}

/// Replaces the variants with a plain enumeration, and returns a paragraph for each.
fn flatten(schema: &mut Map<String, Value>) -> Option<Vec<String>> {
    let variants = schema.get("oneOf")?.as_array()?;
    let values = variants.iter().map(|variant| variant.get("const").cloned()).collect::<Option<Vec<_>>>()?;
    let text = |variant: &Value, key: &str| variant.get(key).and_then(Value::as_str).map(str::to_owned);
    let paragraph = |variant| Some(format!("{}: {}", text(variant, "const")?, text(variant, "description")?));
    let meanings = variants.iter().map(paragraph).collect::<Option<Vec<_>>>()?;
    schema.remove("oneOf");
    schema.insert("type".to_owned(), "string".into());
    schema.insert("enum".to_owned(), values.into());
    Some(meanings)
}
