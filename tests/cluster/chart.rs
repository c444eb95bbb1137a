//! What the chart renders, and the program and the cluster that it is for.

use clap::Parser as _;
use postern::cli::Cli;
use serde_json::{Value, json};

use crate::harness::{Cluster, checkout};

/// With enough rights for a Pod of the chart, and no more than a restricted one may have.
const RESTRICTED: &str = "chart-restricted";

#[tokio::test]
async fn the_program_takes_what_the_chart_gives_it_and_a_restricted_namespace_takes_its_pod() {
    let cluster = Cluster::installed();
    let kubernetes = cluster.kubernetes().await;
    let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
    let namespace =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": RESTRICTED, "labels": labels}});
    kubernetes.apply("", &namespace).await;
    let values: Vec<_> = std::fs::read_dir(checkout().join("charts/postern/ci")).unwrap().collect();
    assert!(values.len() > 2, "{values:?}");
    for values in values.into_iter().map(|file| file.unwrap().path()) {
        let values = values.to_str().unwrap();
        let pod = rendered(&cluster, values)["spec"]["template"]["spec"].take();
        let arguments =
            pod["containers"][0]["args"].as_array().unwrap().iter().map(|argument| argument.as_str().unwrap());
        let parsed = Cli::try_parse_from(std::iter::once("postern").chain(arguments));
        assert!(parsed.is_ok(), "{values}: {}", parsed.unwrap_err());

        let account =
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": pod["serviceAccountName"]}});
        kubernetes.apply(RESTRICTED, &account).await;
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "postern"}, "spec": pod});
        let created = kubernetes.try_create(RESTRICTED, &pod).await;
        created.unwrap_or_else(|refusal| panic!("{values}: {refusal}"));
    }
}

/// The Deployment.
fn rendered(cluster: &Cluster, values: &str) -> Value {
    let chart = checkout().join("charts/postern");
    let render = format!(
        "helm template postern '{}' --values '{values}' --show-only templates/deployment.yaml |
         kubectl create --dry-run=client --output json --filename -",
        chart.display()
    );
    serde_json::from_str(&cluster.controlplane.shell(&render)).unwrap()
}
