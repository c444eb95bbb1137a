//! Every test that `docs/threat-model.md` names exists, so that no claim of it outlives its test.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in tests a panic is the report")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn checkout() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// `file.rs::name` of every function in a folder.
fn functions(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            functions(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            // With the folder, if many files have this name.
            let names = path.iter().rev().map(|part| part.to_string_lossy()).collect::<Vec<_>>();
            let file = match &names[..] {
                [file, folder, ..] if file == "tests.rs" => format!("{folder}/{file}"),
                [file, ..] => file.to_string(),
                [] => continue,
            };
            let text = fs::read_to_string(&path).expect("a source file");
            let names = text.split("fn ").skip(1).filter_map(|rest| rest.split(['(', '<']).next());
            found.extend(names.map(|name| format!("{file}::{name}")));
        }
    }
}

#[test]
fn every_test_that_the_threat_model_names_exists() {
    let mut known = BTreeSet::new();
    for folder in ["src", "tests"] {
        functions(&checkout().join(folder), &mut known);
    }
    let page = fs::read_to_string(checkout().join("docs/threat-model.md")).expect("the threat model");
    let named: Vec<&str> = page.split('`').filter(|quoted| quoted.contains(".rs::")).collect();
    assert!(named.len() > 50, "only {} tests are named", named.len());
    let missing: Vec<_> = named.into_iter().filter(|name| !known.contains(*name)).collect();
    assert!(missing.is_empty(), "no such test: {missing:#?}");
}
