//! Every test that `docs/security-model.md` and `docs/conformance.md` name exists, so that no claim of them outlives its
//! test. Every position of an attacker has its tests, or the reason why there is none. Every test with the code of a
//! requirement in its name is in `docs/conformance.md`.

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

/// All functions of the crate and of its tests.
fn known() -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    for folder in ["src", "tests"] {
        functions(&checkout().join(folder), &mut known);
    }
    known
}

/// The text of a page.
fn page(name: &str) -> String {
    fs::read_to_string(checkout().join("docs").join(name)).expect("a page")
}

/// The tests that a page names.
fn named(name: &str) -> BTreeSet<String> {
    let text = page(name);
    let named = text.split('`').filter(|quoted| quoted.contains(".rs::"));
    let named: BTreeSet<String> = named.map(str::to_owned).collect();
    assert!(named.len() > 50, "only {} tests are named", named.len());
    named
}

/// Whether the name of a test begins with the code of a requirement, such as `t10_`.
fn has_code(test: &str) -> bool {
    let name = test.rsplit("::").next().unwrap_or_default();
    let rest = name.strip_prefix(|letter: char| letter.is_ascii_lowercase());
    let number = rest.and_then(|rest| rest.split_once('_')).map(|(number, _)| number);
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Whether the last cell of the row of a table names a test, or contains the reason why there is none.
fn has_test(row: &str) -> bool {
    let cell = row.trim_end_matches([' ', '|']).rsplit(" | ").next().unwrap_or_default();
    let reason = cell.split_once("no test: ").map(|(_, reason)| reason);
    cell.contains(".rs::") || reason.is_some_and(|reason| !reason.trim().is_empty())
}

#[test]
fn every_test_that_the_security_model_names_exists() {
    let (known, named) = (known(), named("security-model.md"));
    let missing: Vec<_> = named.difference(&known).collect();
    assert!(missing.is_empty(), "no such test: {missing:#?}");
}

#[test]
fn every_row_of_each_position_has_a_test_or_the_reason_why_there_is_none() {
    let page = page("security-model.md");
    let positions: Vec<_> = page.split("\n### ").skip(1).collect();
    assert!(positions.len() > 20, "only {} positions", positions.len());
    for position in positions {
        // Up to the next group of positions.
        let lines: Vec<_> = position.lines().take_while(|line| !line.starts_with("## ")).collect();
        let name = lines.first().copied().unwrap_or_default();
        let is_row = |line: &&str| line.starts_with("| ") && !line.ends_with("| test |");
        let rows: Vec<_> = lines.iter().copied().filter(is_row).collect();
        assert!(!rows.is_empty(), "{name}: the page lists nothing");
        let without: Vec<_> = rows.into_iter().filter(|row| !has_test(row)).collect();
        assert!(without.is_empty(), "{name}: neither a test nor \"no test: REASON\": {without:#?}");
    }
}

#[test]
fn the_conformance_page_names_existing_tests_and_every_test_with_a_code() {
    let (known, named) = (known(), named("conformance.md"));
    let missing: Vec<_> = named.difference(&known).collect();
    assert!(missing.is_empty(), "no such test: {missing:#?}");
    let unnamed: Vec<_> = known.difference(&named).filter(|test| has_code(test)).collect();
    assert!(unnamed.is_empty(), "not in docs/conformance.md: {unnamed:#?}");
}
