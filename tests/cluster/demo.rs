//! `make demo` on a cluster that is there already.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::harness::{ControlPlane, checkout};

#[test]
fn the_demo_on_an_existing_cluster_removes_nothing_that_it_did_not_create() {
    let controlplane = ControlPlane::start();

    // It finds all of it free, and fails before it has applied anything. Then another user creates a namespace.
    let begun = refused(&controlplane, "kubectl create namespace reporting; false");
    assert!(begun.contains("Removing everything from the cluster again"), "{begun}");
    controlplane.run("kubectl", &["get", "namespace", "reporting"]);

    let definition = checkout().join("crds/replicastates.yaml");
    for (makes, name) in [
        // What it is refused for now.
        (&["version"][..], "namespace/reporting"),
        (&["create", "namespace", "billing"], "namespace/billing"),
        (
            &["apply", "--filename", definition.to_str().unwrap()],
            "customresourcedefinition.apiextensions.k8s.io/replicastates.postern.dev",
        ),
    ] {
        controlplane.run("kubectl", makes);
        let refused = refused(&controlplane, "echo installed; false");
        assert!(refused.contains("they exist already") && refused.contains(name), "{name}: {refused}");
        assert!(!refused.contains("installed"), "{refused}");
        controlplane.run("kubectl", &["get", name]);
    }
}

#[test]
fn the_tour_first_describes_its_actions_and_shows_commands_that_can_be_typed() {
    let controlplane = ControlPlane::start();
    // Another example, which the tour does not apply and must not remove.
    controlplane.run("kubectl", &["create", "namespace", "metering"]);
    let compiled = r#"{"reason":"compiler-artifact","executable":null,"fresh":false}"#;
    let built = format!(r#"{{"executable":"{}","fresh":false}}"#, env!("CARGO_BIN_EXE_postern"));
    let cargo = format!(
        "[[ \" $* \" == *' --quiet '* ]] || exit 1
         for crate in {{1..60}}; do echo '{compiled}'; done
         echo '{built}'"
    );
    let (said, succeeded) = demo(&controlplane, &[("cargo", &cargo)]);
    assert!(succeeded, "{said}");

    let first = said.lines().next().unwrap();
    for promise in ["builds Postern", "minutes", "GB of disk", "context postern", "a few seconds", "removes"] {
        assert!(first.contains(promise), "{promise}: {first}");
    }
    let progress: Vec<_> = said.lines().filter(|line| line.contains("Compiling")).collect();
    assert_eq!(progress, ["Compiling Postern: 50 crates"]);
    let (_, tour) = said.split_once("\n1. ").expect("a first step");
    let (first_step, _) = tour.split_once("\n2. ").expect("a second step");
    let applied: Vec<_> = first_step.lines().filter(|line| line.contains("$ kubectl apply")).collect();
    assert_eq!(applied, ["    $ kubectl apply --filename examples/invoice-sync.yaml"]);
    for duration in ["Building and starting took ", ", the tour "] {
        let (_, after) = said.split_once(duration).expect(duration);
        assert!(after.starts_with(|digit: char| digit.is_ascii_digit()), "{duration}: {said}");
    }

    let commands = shown(&said);
    assert!(commands.len() > 20, "{commands:?}");
    for command in commands {
        let read = Command::new("bash").args(["-n", "-c", &command]).output().unwrap();
        let problem = String::from_utf8_lossy(&read.stderr);
        assert!(
            read.status.success() && problem.is_empty(),
            "as it is shown, bash does not take\n{command}\n{problem}"
        );
    }
    let left = controlplane.run("kubectl", &["get", "namespaces", "--output", "name"]);
    for (namespace, is_left) in
        [("metering", true), ("billing", false), ("reporting", false), ("postern-system", false)]
    {
        assert_eq!(left.lines().any(|line| line == format!("namespace/{namespace}")), is_left, "{namespace}: {left}");
    }
}

/// The commands of a tour, as a user would copy them: what a command prints begins after a line that ends it.
fn shown(said: &str) -> Vec<String> {
    let mut commands = Vec::new();
    let mut lines = said.lines();
    while let Some(line) = lines.next() {
        let Some(command) = line.strip_prefix("    $ ") else { continue };
        let mut command = command.to_owned();
        // Open quotes continue in the next line.
        while command.ends_with(['\\', '|']) || command.matches('\'').count() % 2 == 1 {
            command = format!("{command}\n{}", lines.next().unwrap_or_default());
        }
        commands.push(command);
    }
    commands
}

/// Runs the demo with `helm` in Helm's place, which has to fail. What it says.
fn refused(controlplane: &ControlPlane, helm: &str) -> String {
    // The operator need not be built for this.
    let (said, succeeded) = demo(controlplane, &[("cargo", "true"), ("helm", helm)]);
    assert!(!succeeded, "{said}");
    said
}

/// Runs the demo with these programs in place of those of their names. What it says, and whether it succeeded.
fn demo(controlplane: &ControlPlane, replaced: &[(&str, &str)]) -> (String, bool) {
    let programs = tempfile::tempdir().unwrap();
    for (name, does) in replaced {
        program(&programs.path().join(name), does);
    }
    let path = [programs.path(), &controlplane.programs()].map(|folder| folder.to_str().unwrap().to_owned()).join(":");
    let output = Command::new(checkout().join("hack/demo"))
        .env("PATH", format!("{path}:{}", std::env::var("PATH").unwrap()))
        .env("KUBECONFIG", controlplane.kubeconfig())
        .env("POSTERN_DEMO_CONTEXT", "postern")
        .stdin(Stdio::null())
        .output()
        .expect("run hack/demo");
    (String::from_utf8(output.stdout).unwrap(), output.status.success())
}

fn program(path: &Path, does: &str) {
    std::fs::write(path, format!("#!/usr/bin/env bash\n{does}\n")).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o700)).unwrap();
}
