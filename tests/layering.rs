//! Checks the modules against the boundaries of `docs/architecture.md`: which modules each may use, and which crates
//! each must not use. Reads every `crate::…` and every banned crate name in `src/`, without comments.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "in tests a panic is the report; clippy's own exception covers test functions, not their helpers"
)]

use std::fs;
use std::path::{Path, PathBuf};

struct Layer {
    name: &'static str,
    may_use: &'static [&'static str],
    must_not_know: &'static [&'static str],
}

const KUBERNETES: &[&str] = &["kube", "kube_lease_manager", "k8s_openapi"];
const HTTP: &[&str] = &["axum", "hyper", "hyper_util", "tower"];

/// `run`, `cli`, `lib` and `main` may use everything.
const LAYERS: &[Layer] = &[
    Layer { name: "api", may_use: &[], must_not_know: HTTP },
    // Small tools, which every module may use.
    Layer { name: "util", may_use: &[], must_not_know: KUBERNETES },
    // An HTTP client of the API server; not a server.
    Layer { name: "kube_client", may_use: &[], must_not_know: &["axum"] },
    Layer { name: "clock", may_use: &[], must_not_know: KUBERNETES },
    Layer { name: "telemetry", may_use: &["clock"], must_not_know: KUBERNETES },
    Layer { name: "crypto", may_use: &["clock"], must_not_know: KUBERNETES },
    // Requests to hosts that tenants name: an HTTP client; not a server.
    Layer { name: "outbound", may_use: &[], must_not_know: &["axum", "kube", "kube_lease_manager", "k8s_openapi"] },
    // The keys that clients publish at URLs, fetched in the background.
    Layer { name: "key_sets", may_use: &["outbound", "crypto"], must_not_know: KUBERNETES },
    Layer { name: "oauth", may_use: &["crypto", "clock"], must_not_know: KUBERNETES },
    Layer { name: "http", may_use: &["oauth", "crypto", "clock", "telemetry"], must_not_know: KUBERNETES },
    // Pure decisions: no clients, no async, no clock, no randomness, no plaintext secrets.
    Layer {
        name: "plan",
        may_use: &["api"],
        must_not_know: &["kube", "kube_lease_manager", "tokio", "secrecy", "aws_lc_rs"],
    },
    // Shared by the watches of both halves.
    Layer { name: "cache", may_use: &["api", "clock"], must_not_know: HTTP },
    // What the replicas publish to each other and to the controller.
    Layer { name: "replica_state", may_use: &["api", "cache", "clock", "crypto", "oauth"], must_not_know: HTTP },
    // Implements the protocol's view of the objects, with what other replicas have published. Its tests use the fake API
    // server of `kube_client`.
    Layer {
        name: "read_model",
        may_use: &["api", "cache", "clock", "crypto", "key_sets", "kube_client", "oauth", "replica_state"],
        must_not_know: HTTP,
    },
    // Reads with the caller's rights, calls the decisions of other modules, and prints; not a server.
    Layer {
        name: "explain",
        may_use: &["api", "plan", "read_model", "oauth", "clock", "kube_client"],
        must_not_know: HTTP,
    },
    // Reads what the controller creates for the installation. Both halves may read.
    Layer { name: "keystore", may_use: &["api", "crypto"], must_not_know: HTTP },
    Layer {
        name: "controller",
        may_use: &["api", "plan", "crypto", "clock", "key_sets", "keystore", "cache"],
        must_not_know: HTTP,
    },
];

/// Modules that must not depend on HTTP, in addition to their row of the table.
const NO_HTTP: &[&str] = &["clock", "util", "telemetry", "crypto", "oauth", "plan"];

#[test]
fn modules_use_only_what_the_table_allows() {
    let mut wrong = Vec::new();
    for layer in LAYERS {
        let banned: Vec<&str> =
            layer.must_not_know.iter().chain(if NO_HTTP.contains(&layer.name) { HTTP } else { &[] }).copied().collect();
        for (file, line) in code_of(layer.name) {
            let allowed = |module: &str| [layer.name, "util"].contains(&module) || layer.may_use.contains(&module);
            for module in paths_after(&line, "crate").into_iter().filter(|module| !allowed(module)) {
                wrong.push(format!("{}: {} may not use crate::{module}", file.display(), layer.name));
            }
            for name in banned.iter().filter(|name| !paths_after(&line, name).is_empty()) {
                wrong.push(format!("{}: {} must not know {name}", file.display(), layer.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Modules that face the network create no keys, no certificate and no credential.
#[test]
fn the_serving_process_uses_no_module_that_writes_secrets() {
    for (file, loads) in [("run/serve.rs", false), ("run/keys.rs", true), ("run/certificate.rs", true)] {
        let text = fs::read_to_string(source().join(file)).unwrap();
        assert!(!loads || text.contains("keystore"), "{file} has moved: look for what loads keys and certificate");
        for word in ["controller", "plan"] {
            assert!(
                paths_after(&text, "crate").iter().all(|module| *module != word),
                "{file} may not use crate::{word}"
            );
        }
    }
    let writes = [".create(", ".patch(", ".replace(", ".delete("];
    for (file, line) in code_of("keystore") {
        assert!(writes.iter().all(|write| !line.contains(write)), "{}: {line}", file.display());
    }
}

#[test]
fn every_module_has_a_row() {
    let everything = ["cli", "lib", "main", "run"];
    for entry in fs::read_dir(source()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let known = everything.contains(&name.as_str()) || LAYERS.iter().any(|layer| layer.name == name);
        assert!(known, "src/{name} has no row in the table");
    }
}

#[test]
fn the_test_finds_the_paths_that_it_searches_for() {
    assert_eq!(paths_after("use crate::api::names;", "crate"), ["api"]);
    assert_eq!(paths_after("    let x = crate::cache::Store::new(crate::api::A);", "crate"), ["cache", "api"]);
    assert_eq!(paths_after("use crate::{api, cache};", "crate"), ["{api, cache}"]);
    assert_eq!(paths_after("pub(crate) use kube::Client;", "kube"), ["Client"]);
    assert!(paths_after("use kube_runtime::x; my_kube::y", "kube").is_empty());
    assert!(LAYERS.iter().all(|layer| !code_of(layer.name).is_empty()));
}

/// The rest of the word after `name::` in a line.
fn paths_after<'a>(line: &'a str, name: &str) -> Vec<&'a str> {
    let separator = format!("{name}::");
    let mut found = Vec::new();
    for (at, _) in line.match_indices(&separator) {
        let starts_a_word =
            !line[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_' || before == ':');
        let rest = &line[at + separator.len()..];
        let end = if rest.starts_with('{') {
            rest.find('}').map_or(rest.len(), |end| end + 1)
        } else {
            rest.find(|after: char| !after.is_alphanumeric() && after != '_').unwrap_or(rest.len())
        };
        if starts_a_word {
            found.push(&rest[..end]);
        }
    }
    found
}

/// The lines of a module without comments, each with its file.
fn code_of(module: &str) -> Vec<(PathBuf, String)> {
    let mut files = vec![source().join(format!("{module}.rs"))];
    let mut folders = vec![source().join(module)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(folder) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    let lines = |file: PathBuf| {
        let text = fs::read_to_string(&file).unwrap_or_default();
        let code: Vec<_> =
            text.lines().filter(|line| !line.trim_start().starts_with("//")).map(str::to_owned).collect();
        code.into_iter().map(move |line| (file.clone(), line))
    };
    files.into_iter().flat_map(lines).collect()
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}
