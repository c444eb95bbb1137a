//! A release of the chart after its installation: as docs/operations.md says, it is scaled, stopped, started and moved.

use serde_json::{Value, json};

use crate::harness::{Cluster, ControlPlane, OPERATOR_NAMESPACE, RELEASE, Replica, TestNamespace, checkout};

const ISSUER: &str = "https://postern.example.com";
/// What a person types who keeps the values.
const UPGRADE: &str = "helm upgrade postern charts/postern --namespace postern-system --reuse-values";

#[test]
fn a_release_that_was_stopped_starts_as_many_replicas_as_there_were() {
    let [stop, start] = <[String; 2]>::try_from(commands("### Stop and start")).expect("two blocks");
    // It upgrades the release while it is stopped.
    let mut runbook = commands("### A replica is not ready: `keys`").into_iter();
    let upgrade = runbook.find(|block| block.contains("--adopt-unverified-secrets")).expect("an upgrade");
    for (mode, deployments, unset) in [
        ("mode=Split", &["postern-control", "postern-serve"][..], "replicaCount=null,control.replicaCount=null"),
        ("mode=Single", &["postern"], "replicaCount=null"),
    ] {
        let controlplane = ControlPlane::another();
        let folder = tempfile::tempdir().unwrap();
        let saved = folder.path().join("postern-replicas");
        let shell = |commands: &str| controlplane.shell(&commands.replace("postern-replicas", saved.to_str().unwrap()));
        let are = |replicas: u32| {
            for deployment in deployments {
                assert_eq!(replicas_of(&controlplane, deployment), replicas, "{mode}: {deployment}");
            }
        };
        controlplane.install_chart(ISSUER, &[mode]);
        are(2);
        shell(&stop);
        are(0);
        shell(&upgrade);
        shell(&start);
        are(2);

        shell(&scale("--all", 4));
        shell(&format!("{UPGRADE} --set {unset}"));
        are(4);
        shell(&stop);
        shell(&upgrade);
        are(0);
        shell(&start);
        are(4);
        controlplane.give_back();
    }
}

#[test]
fn a_release_without_a_replica_count_keeps_the_count_set_with_kubectl_scale() {
    let controlplane = ControlPlane::another();
    controlplane.install_chart(ISSUER, &[]);
    controlplane.shell(&scale("postern-serve", 4));
    let refused = controlplane.shell(&format!("if {UPGRADE} 2>&1; then exit 1; fi"));
    assert!(refused.contains("conflict with \"kubectl\"") && refused.contains(".spec.replicas"), "{refused}");

    let [unset] = <[String; 1]>::try_from(commands("### Scale")).expect("one block");
    controlplane.shell(&unset);
    assert_eq!(replicas_of(&controlplane, "postern-serve"), 3);
    assert_eq!(replicas_of(&controlplane, "postern-control"), 2, "this one has its number from the values");
    controlplane.shell(&scale("postern-serve", 5));
    controlplane.shell(&format!("{UPGRADE} --set logLevel=debug"));
    assert_eq!(replicas_of(&controlplane, "postern-serve"), 5);
    controlplane.give_back();
}

#[tokio::test]
async fn under_another_name_and_in_another_namespace_credentials_and_tokens_stay_as_they_were() {
    let cluster = Cluster::dedicated(1);
    cluster.start().await;
    let tenant = TestNamespace::on(cluster.clone(), "moved", json!({})).await;
    tenant.create_defaults().await;
    let credential = tenant.issue("blue").await;
    let replica = &cluster.replicas[0];
    let (kept, revoked) = (tenant.token(&credential, 0).await, tenant.token(&credential, 0).await);
    let url = format!("{}/oauth2/revoke", replica.url);
    let (status, said) = credential.post(&tenant.connections, &url, &[("token", &revoked)]).await;
    assert_eq!(status, 200, "{said}");
    replica.process().terminate();
    replica.process().ended().await;

    let controlplane = &cluster.controlplane;
    controlplane.run("helm", &["uninstall", RELEASE, "--namespace", OPERATOR_NAMESPACE]);
    let mut blocks = commands("### Install again under another name");
    let install = blocks.pop().expect("commands").replace(ISSUER, &format!("{},mode=Single", cluster.issuer()));
    let attempt = format!("{{ {} 2>&1; }} || true", install.replace("install", "install --create-namespace").trim());
    let refused = controlplane.shell(&attempt);
    assert!(refused.contains("invalid ownership metadata"), "{refused}");
    for block in &blocks {
        controlplane.shell(block);
    }
    controlplane.shell(&install);

    let token = controlplane.run("kubectl", &["create", "token", "identity-postern", "--namespace", "identity"]);
    let kubeconfig = cluster.operator_kubeconfig(&controlplane.address());
    let mut account: Value = serde_json::from_slice(&std::fs::read(&kubeconfig).unwrap()).unwrap();
    account["users"][0]["user"]["token"] = token.trim().into();
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = folder.path().join("kubeconfig");
    std::fs::write(&kubeconfig, account.to_string()).unwrap();
    let log = controlplane.scratch().join("identity.log");
    let moved = Replica::new("identity-0", Some(cluster.issuer()), log).in_namespace("identity");
    moved.start(&kubeconfig);
    moved.ready().await;
    // The earlier CA, and the earlier credential.
    let answer = credential.ask(&cluster.connections(), &moved.url, &[]).await.expect("an answer");
    answer.claims().expect("a token");
    for (token, is_active) in [(&kept, true), (&revoked, false)] {
        let (status, said) = credential.introspect(&cluster.connections(), &moved.url, token).await;
        assert_eq!((status.as_u16(), &said["active"]), (200, &json!(is_active)), "{said}");
    }

    // For whichever test gets this control plane next.
    moved.process().terminate();
    moved.process().ended().await;
    let back = blocks[0].replace("release-name=identity", &format!("release-name={RELEASE}"));
    controlplane.shell(&back.replace("release-namespace=identity", &format!("release-namespace={OPERATOR_NAMESPACE}")));
}

/// Scales a Deployment, or `--all`.
fn scale(deployment: &str, replicas: u32) -> String {
    format!("kubectl scale deployment {deployment} --namespace {OPERATOR_NAMESPACE} --replicas {replicas}")
}

/// `spec.replicas` of a Deployment of the operator.
fn replicas_of(controlplane: &ControlPlane, deployment: &str) -> u32 {
    let printed = controlplane.run(
        "kubectl",
        &["get", "deployment", deployment, "--namespace", OPERATOR_NAMESPACE, "--output", "jsonpath={.spec.replicas}"],
    );
    printed.parse().unwrap_or_else(|_| panic!("{deployment}: {printed:?}"))
}

/// The indented blocks of a section of docs/operations.md.
fn commands(heading: &str) -> Vec<String> {
    let page = std::fs::read_to_string(checkout().join("docs/operations.md")).unwrap();
    let (_, section) = page.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no {heading}"));
    let section = section.split("\n##").next().unwrap_or_default();
    let blocks = section.split("\n\n").filter(|block| block.starts_with("    "));
    blocks.map(|block| format!("{block}\n")).collect()
}
