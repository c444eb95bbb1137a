//! What `examples/` shows can be applied as it is, and works.

use std::path::PathBuf;

use serde_json::Value;

use crate::harness::{Cluster, Credential, Kubernetes, OPERATOR_NAMESPACE, RELEASE, checkout, ensure, eventually};

mod documentation;
pub mod snippet;

#[tokio::test]
async fn every_example_can_be_applied_and_its_objects_become_ready() {
    let cluster = Cluster::shared();
    let kubernetes = cluster.kubernetes().await;
    let examples = examples();
    assert!(!examples.is_empty());
    let mut objects = Vec::new();
    for example in &examples {
        let file = example.to_str().expect("a path in UTF-8");
        let applied = cluster.controlplane.run("kubectl", &["apply", "--filename", file, "--output", "json"]);
        let applied: Value = serde_json::from_str(&applied).expect("JSON");
        let one = [applied.clone()];
        for object in applied["items"].as_array().map_or(&one[..], Vec::as_slice) {
            if object["apiVersion"].as_str().is_some_and(|version| version.starts_with("postern.dev/")) {
                objects.push((file, object.clone()));
            }
        }
    }
    // Some files use objects of others.
    for (file, object) in &objects {
        becomes_ready(&kubernetes, file, object).await;
    }
    for secret in kubernetes.list("ClientSecret", "").await.iter().filter(|it| is_from_an_example(it)) {
        let namespace = secret["metadata"]["namespace"].as_str().expect("a namespace");
        let name = secret["status"]["binding"]["name"].as_str().expect("a delivered Secret");
        // An imported value is Ready, because it works, before it is delivered.
        let delivered = eventually(format_args!("{namespace}/{name} is delivered"), async || {
            kubernetes.find("Secret", namespace, name).await.ok_or("there is none".to_owned())
        })
        .await;
        let credential = Credential::delivered_in(&delivered);
        let scope = credential.key("scopes").split(' ').next().unwrap_or_default().to_owned();
        let answer =
            credential.ask(&cluster.connections(), cluster.issuer(), &[("scope", &scope)]).await.expect("an answer");
        let application = secret["spec"]["applicationRef"]["name"].as_str().expect("an Application");
        let application = kubernetes.get("Application", namespace, application).await;
        match application["spec"]["token"]["senderConstraint"].as_str() {
            Some("DPoP") => assert_eq!(answer.error(), "invalid_dpop_proof", "{namespace}/{name}"),
            // This installation requests no certificates.
            Some("MutualTLS") => assert_eq!(answer.error(), "invalid_request", "{namespace}/{name}"),
            _ => _ = answer.claims().unwrap_or_else(|refusal| panic!("{namespace}/{name}: {refusal}")),
        }
    }
}

/// The commands that the chart prints can be copied into a shell.
#[tokio::test]
async fn the_commands_in_the_notes_of_the_chart_work() {
    let cluster = Cluster::shared();
    let notes = cluster.controlplane.run("helm", &["get", "notes", RELEASE, "--namespace", OPERATOR_NAMESPACE]);
    let between = |begin: &str, end: &str| {
        let (_, rest) = notes.split_once(begin).unwrap_or_else(|| panic!("no {begin} in\n{notes}"));
        rest.split_once(end).unwrap_or_else(|| panic!("no {end} in\n{notes}")).0.to_owned()
    };
    let offers = between("2. Check the discovery document:\n", "\n\n");
    assert!(offers.trim_start().starts_with("kubectl get --raw"), "{offers}");
    let folder = tempfile::tempdir().unwrap();
    let ca = between("Clients need the CA:\n", "3. Create");
    cluster.controlplane.shell(&format!("cd '{}'\n{ca}", folder.path().display()));
    assert_eq!(std::fs::read(folder.path().join("postern-ca.crt")).unwrap(), cluster.ca());
    let made = cluster.controlplane.shell(&between("and a ClientSecret:\n", "4. Mount"));
    assert!(made.contains("clientsecret.postern.dev/example condition met"), "{made}");
    let mounted = cluster.controlplane.shell(&between("to get a token:\n", "5. Clean up"));
    assert!(mounted.contains("client-secret"), "{mounted}");
    cluster.controlplane.shell(&between("5. Clean up:\n", "`kubectl explain"));
    let (_, last) = notes.split_once("5. Clean up:\n").unwrap();
    let quoted: Vec<_> = last.split('`').skip(1).step_by(2).filter(|quoted| quoted.starts_with("kubectl ")).collect();
    assert_eq!(quoted.len(), 2, "{last}");
    for command in quoted {
        cluster.controlplane.shell(command);
    }
}

/// Examples live in namespaces with one-word names, tests in numbered ones.
fn is_from_an_example(object: &Value) -> bool {
    object["metadata"]["namespace"].as_str().is_some_and(|namespace| !namespace.contains('-'))
}

fn examples() -> Vec<PathBuf> {
    let files = std::fs::read_dir(checkout().join("examples")).expect("the folder examples");
    let mut files: Vec<PathBuf> = files.map(|file| file.expect("a file").path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    files
}

async fn becomes_ready(kubernetes: &Kubernetes, file: &str, object: &Value) {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (kind, namespace, name) = (text("/kind"), text("/metadata/namespace"), text("/metadata/name"));
    eventually(format_args!("{kind} {namespace}/{name} of {file} is ready"), async || {
        let status = kubernetes.get(kind, namespace, name).await["status"].clone();
        let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
        let ready = conditions.iter().find(|it| it["type"] == "Ready").ok_or_else(|| status.to_string())?;
        // The operator of the tests allows no host, so this one waits for its operator.
        let needs_operator = ready["reason"] == "KeySetUnavailable"
            && ready["message"].as_str().is_some_and(|message| message.contains("to --outbound-hosts"));
        let is_partner = file.ends_with("partner-issuer.yaml") && kind == "Application";
        ensure(ready["status"] == "True" || is_partner && needs_operator, format_args!("{status:#}"))
    })
    .await;
}
