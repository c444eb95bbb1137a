//! `make demo` on a cluster that is there already.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::harness::{ControlPlane, checkout};

#[test]
fn the_demo_on_a_cluster_of_somebody_else_removes_nothing_that_it_did_not_make() {
    let controlplane = ControlPlane::start();

    // It finds all of it free, and fails before it has applied anything. Meanwhile somebody else makes a namespace.
    let begun = demo(&controlplane, "kubectl create namespace metering; false");
    assert!(begun.contains("Removing everything from the cluster again"), "{begun}");
    controlplane.run("kubectl", &["get", "namespace", "metering"]);

    let definition = checkout().join("crds/endpointstates.yaml");
    for (makes, name) in [
        // What it is refused for now.
        (&["version"][..], "namespace/metering"),
        (
            &["create", "clusterrole", "lend-billing-readers", "--verb=get", "--resource=pods"],
            "clusterrole.rbac.authorization.k8s.io/lend-billing-readers",
        ),
        (
            &["apply", "--filename", definition.to_str().unwrap()],
            "customresourcedefinition.apiextensions.k8s.io/endpointstates.postern.dev",
        ),
    ] {
        controlplane.run("kubectl", makes);
        let refused = demo(&controlplane, "echo installed; false");
        assert!(refused.contains("they exist already") && refused.contains(name), "{name}: {refused}");
        assert!(!refused.contains("installed"), "{refused}");
        controlplane.run("kubectl", &["get", name]);
    }
}

/// Runs the demo with `helm` in Helm's place, which has to fail. What it says.
fn demo(controlplane: &ControlPlane, helm: &str) -> String {
    let programs = tempfile::tempdir().unwrap();
    // The operator need not be built for this.
    for (name, does) in [("cargo", "true"), ("helm", helm)] {
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
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(!output.status.success(), "{said}");
    said
}

fn program(path: &Path, does: &str) {
    std::fs::write(path, format!("#!/usr/bin/env bash\n{does}\n")).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o700)).unwrap();
}
