//! The generated pages of `docs/reference`: one for each kind, the conditions, and the flags. `hack/generate` writes
//! them, and runs this test to check them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "in tests a panic is the report; clippy's own exception covers test functions, not their helpers"
)]

use std::path::PathBuf;

use postern::api::crds;

mod conditions;
mod field;
mod flags;
mod kind;
mod text;

/// Set by `hack/generate`, which writes the pages; otherwise they are compared.
const WRITE: &str = "POSTERN_WRITE_REFERENCE";

fn check(page: &str, source: &str, text: &str) {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/reference").join(page);
    let wanted = format!("<!-- Generated from {source} by hack/generate; do not edit. -->\n\n{}\n", text.trim_end());
    if std::env::var_os(WRITE).is_some() {
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("make the folder");
        std::fs::write(&file, wanted).expect("write a page");
    } else {
        let found = std::fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(found, wanted, "{} is not up to date: run hack/generate", file.display());
    }
}

#[test]
fn every_kind_has_a_page_with_its_fields() {
    for crd in crds::all() {
        let page = format!("{}.md", crd.spec.names.plural);
        check(&page, "src/api", &kind::page(&serde_json::to_value(crd).expect("JSON")));
    }
}

#[test]
fn every_condition_and_reason_is_described() {
    check("conditions.md", "src/api/conditions.rs", &conditions::page());
}

#[test]
fn every_flag_is_described() {
    check("flags.md", "src/cli", &flags::page());
}
