//! A release of the chart after its installation: as docs/operations.md says, it is scaled, stopped, started and moved.

use serde_json::{Value, json};

use crate::harness::{Cluster, ControlPlane, OPERATOR_NAMESPACE, RELEASE, Replica, Tenant, checkout};

const ISSUER: &str = "https://postern.example.com";

#[test]
fn whoever_scales_decides_and_a_release_that_was_stopped_starts_as_many_replicas_as_there_were() {
    let [stop, start] = <[String; 2]>::try_from(commands("### Stop and start")).expect("two blocks");
    let [scale] = <[String; 1]>::try_from(commands("### Scale")).expect("one block");
    for (mode, number, deployments) in [
        ("Split", "replicaCount=null,control.replicaCount=null", &["postern-control", "postern-serve"][..]),
        ("Single", "replicaCount=null", &["postern"]),
    ] {
        let controlplane = ControlPlane::another();
        let folder = tempfile::tempdir().unwrap();
        let saved = folder.path().join("postern-replicas");
        let shell = |commands: &str| {
            controlplane.shell(&commands.replace("postern-replicas", saved.to_str().unwrap()));
        };
        let are = |replicas: u32| {
            for deployment in deployments {
                assert_eq!(replicas_of(&controlplane, deployment), replicas, "{mode}: {deployment}");
            }
        };
        let mode = format!("mode={mode}");
        controlplane.install_chart(ISSUER, &[&mode]);
        are(2);

        // The number of the values is back, and the next upgrade finds nobody else's.
        shell(&stop);
        are(0);
        shell(&start);
        are(2);
        controlplane.install_chart(ISSUER, &[&mode, "logLevel=debug"]);
        are(2);

        // The commands for one Deployment, then for all.
        if deployments.len() > 1 {
            shell(&scale);
            assert_eq!(replicas_of(&controlplane, "postern-serve"), 3);
            assert_eq!(replicas_of(&controlplane, "postern-control"), 2);
        }
        shell(&format!("kubectl scale deployment --all --namespace {OPERATOR_NAMESPACE} --replicas 4"));
        let upgrade = format!("helm upgrade {RELEASE} charts/postern --namespace {OPERATOR_NAMESPACE} --reuse-values");
        shell(&format!("{upgrade} --set {number}"));
        are(4);
        shell(&format!("kubectl scale deployment --all --namespace {OPERATOR_NAMESPACE} --replicas 5"));
        shell(&format!("{upgrade} --set logLevel=info"));
        are(5);

        // An upgrade while it is stopped, as in the runbook for a lost key.
        shell(&stop);
        let runbook = commands("### A replica is not ready: `keys`").into_iter();
        let mut upgrades = runbook.filter(|block| block.contains("--adopt-unverified-secrets"));
        let upgrade = upgrades.next().expect("an upgrade");
        shell(&upgrade);
        are(0);
        shell(&start);
        are(5);

        // With a number in the values too.
        controlplane
            .shell(&format!("{} --force-conflicts --set replicaCount=2,control.replicaCount=2", upgrade.trim()));
        are(2);
        shell(&stop);
        shell(&upgrade);
        shell(&start);
        are(2);
        controlplane.give_back();
    }
}

#[tokio::test]
async fn under_another_name_and_in_another_namespace_credentials_stay_valid() {
    let cluster = Cluster::own(1);
    cluster.start().await;
    let tenant = Tenant::on(cluster.clone(), "moved", json!({})).await;
    tenant.settle_in().await;
    let credential = tenant.issue("blue").await;
    let replica = &cluster.replicas[0];
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
    // The CA of before, and the credential of before.
    let answer = credential.ask(&cluster.connections(), &moved.url, &[]).await.expect("an answer");
    answer.claims().expect("a token");

    // For whichever test gets this control plane next.
    moved.process().terminate();
    moved.process().ended().await;
    let back = blocks[0].replace("release-name=identity", &format!("release-name={RELEASE}"));
    controlplane.shell(&back.replace("release-namespace=identity", &format!("release-namespace={OPERATOR_NAMESPACE}")));
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
