//! The page of a kind: a section for each object level, and in it one for each field.

use serde_json::Value;

use crate::conditions;
use crate::field::Field;
use crate::text::{anchor, codes, escape};

/// The page of a CustomResourceDefinition.
pub fn page(crd: &Value) -> String {
    let kind = text(&crd["spec"]["names"]["kind"]);
    let version = &crd["spec"]["versions"][0];
    let schema = &version["schema"]["openAPIV3Schema"];
    let condition = &schema["properties"]["status"]["properties"]["conditions"]["items"]["properties"];
    let time_pattern = condition["lastTransitionTime"]["pattern"].as_str();
    // A kind without conditions has no status either.
    let reported = schema["properties"]["spec"]["properties"]["reportedAt"]["pattern"].as_str();
    let parts = ["spec", "status"].into_iter().filter(|part| schema["properties"][part].is_object());
    let levels = parts.map(|part| {
        level(&Field {
            path: part.to_owned(),
            schema: &schema["properties"][part],
            required: part == "spec",
            time_pattern: time_pattern.or(reported).expect("a time"),
        })
    });
    [
        format!("# {kind}\n\n{}\n\n", escape(text(&schema["description"]))),
        resource(crd),
        levels.collect(),
        time_pattern.map(|_| conditions::section(kind)).unwrap_or_default(),
        columns(version),
    ]
    .concat()
}

/// How the API server and kubectl name the kind.
fn resource(crd: &Value) -> String {
    let (names, version) = (&crd["spec"]["names"], &crd["spec"]["versions"][0]);
    let (plural, group) = (text(&names["plural"]), text(&crd["spec"]["group"]));
    let list = |values: &Value| codes(&values.as_array().into_iter().flatten().map(text).collect::<Vec<_>>());
    let selectors = version["selectableFields"].as_array().into_iter().flatten();
    let selectors: Vec<&str> = selectors.map(|field| text(&field["jsonPath"]).trim_start_matches('.')).collect();
    let rows = [
        ("`apiVersion`", format!("`{group}/{}`", text(&version["name"]))),
        ("resource", format!("`{plural}.{group}`")),
        ("short name", list(&names["shortNames"])),
        ("category", list(&names["categories"])),
        ("scope", text(&crd["spec"]["scope"]).to_owned()),
        ("field selectors", codes(&selectors)),
    ];
    let rows = rows.into_iter().filter(|(_, value)| !value.is_empty());
    let rows: Vec<String> = rows.map(|(name, value)| format!("| {name} | {value} |")).collect();
    format!("| | |\n|---|---|\n{}\n\n", rows.join("\n"))
}

/// The section of an object, those of its fields, and then those of the objects below it.
fn level(field: &Field<'_>) -> String {
    let fields = fields_of(field);
    let own = format!("## `{}`\n\n{}\n\n{}", field.object_path(), field.body(), overview(&fields));
    let (objects, values): (Vec<_>, Vec<_>) = fields.into_iter().partition(|field| field.object().is_some());
    let values = values.iter().map(|field| format!("### `{}`\n\n{}\n\n", field.path, field.body()));
    [own].into_iter().chain(values).chain(objects.iter().map(level)).collect()
}

/// The fields of an object.
fn fields_of<'a>(parent: &Field<'a>) -> Vec<Field<'a>> {
    let object = parent.object().expect("an object");
    let is_required = |name: &str| object["required"].as_array().is_some_and(|names| names.iter().any(|it| it == name));
    let properties = object["properties"].as_object().into_iter().flatten();
    properties
        .map(|(name, schema)| Field {
            path: format!("{}.{name}", parent.object_path()),
            schema,
            required: is_required(name),
            time_pattern: parent.time_pattern,
        })
        .collect()
}

/// The fields of an object, each with a link to its section.
fn overview(fields: &[Field<'_>]) -> String {
    let row = |field: &Field<'_>| {
        let (_, name) = field.path.rsplit_once('.').expect("a path");
        let presence = if field.required { "required" } else { "" };
        format!("| [`{name}`](#{}) | {} | {presence} |", anchor(&field.path), field.type_name())
    };
    format!("| field | type | |\n|---|---|---|\n{}\n\n", fields.iter().map(row).collect::<Vec<_>>().join("\n"))
}

/// The columns of `kubectl get`.
fn columns(version: &Value) -> String {
    let row = |column: &Value| {
        let output = if column["priority"].as_i64().unwrap_or_default() > 0 { "`wide`" } else { "" };
        format!("| {} | `{}` | {output} |", text(&column["name"]).to_uppercase(), text(&column["jsonPath"]))
    };
    let rows: Vec<String> = version["additionalPrinterColumns"].as_array().into_iter().flatten().map(row).collect();
    format!(
        "## Columns of kubectl get\n\n| column | path | only with `--output` |\n|---|---|---|\n{}\n",
        rows.join("\n")
    )
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}
