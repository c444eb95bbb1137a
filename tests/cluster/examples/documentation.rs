//! The snippets of the documentation work as written.

use std::process::Command;

use serde_json::Value;

use super::snippet::snippets;
use crate::harness::{TestNamespace, checkout, output};

#[tokio::test]
async fn the_api_server_accepts_every_object_of_the_documentation() {
    let tenant = TestNamespace::without_operator("documentation").await;
    let mut accepted = 0;
    for snippet in snippets(&["yaml"]).into_iter().filter(|snippet| !snippet.is_fragment) {
        for mut object in snippet.documents() {
            assert!(object["kind"].is_string(), "{}: mark it as ```yaml fragment", snippet.place);
            if is_of_another_project(&object) {
                continue;
            }
            if object["metadata"]["namespace"].is_string() {
                object["metadata"]["namespace"] = tenant.namespace.clone().into();
            }
            let result = tenant.try_apply_dry(&tenant.namespace, &object).await;
            result.unwrap_or_else(|refusal| panic!("{}: {refusal}", snippet.place));
            accepted += usize::from(object["apiVersion"] == "postern.dev/v1alpha1");
        }
    }
    assert!(accepted > 5, "{accepted} objects of Postern were found");
}

#[test]
fn every_fragment_of_an_object_has_fields_of_one_kind() {
    let schemas = schemas();
    let mut checked = 0;
    for snippet in snippets(&["yaml"]).into_iter().filter(|snippet| snippet.is_fragment) {
        for fragment in snippet.documents().iter().filter(|fragment| fragment["spec"].is_object()) {
            let unknown: Vec<_> = schemas.iter().map(|schema| unknown_field("", schema, fragment)).collect();
            assert!(unknown.contains(&None), "{}: {unknown:?}", snippet.place);
            checked += 1;
        }
    }
    assert!(checked > 2, "{checked} fragments were found");
}

#[test]
fn every_shell_block_can_be_parsed() {
    let blocks = snippets(&["sh", "bash"]);
    assert!(blocks.len() > 10);
    for block in blocks {
        println!("{}", block.place);
        output(Command::new("bash").args(["-n", "-c", &block.text]));
    }
}

/// The control plane has no CRDs of other projects.
fn is_of_another_project(object: &Value) -> bool {
    let version = object["apiVersion"].as_str().expect("an apiVersion");
    let group = version.split_once('/').map_or("", |(group, _)| group);
    group.contains('.') && !group.ends_with(".k8s.io") && group != "postern.dev"
}

/// The schema of each kind.
fn schemas() -> Vec<Value> {
    let files = std::fs::read_dir(checkout().join("crds")).expect("the folder crds");
    let text = files.map(|file| std::fs::read_to_string(file.expect("a file").path()).expect("a CRD"));
    let crd = |text: String| serde_saphyr::from_str::<Value>(&text).expect("YAML");
    text.map(|text| crd(text)["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()).collect()
}

/// The path of a field that the schema does not have.
fn unknown_field(path: &str, schema: &Value, value: &Value) -> Option<String> {
    match value {
        Value::Object(fields) => fields.iter().find_map(|(name, below)| {
            let path = format!("{path}.{name}");
            let known = schema["properties"].get(name).or(schema.get("additionalProperties"));
            known.map_or(Some(path.clone()), |schema| unknown_field(&path, schema, below))
        }),
        Value::Array(entries) => entries.iter().find_map(|entry| unknown_field(path, &schema["items"], entry)),
        _ => None,
    }
}
