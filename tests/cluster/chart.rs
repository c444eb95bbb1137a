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
        for mut deployment in rendered(&cluster, values) {
            let pod = deployment["spec"]["template"]["spec"].take();
            let arguments =
                pod["containers"][0]["args"].as_array().unwrap().iter().map(|argument| argument.as_str().unwrap());
            let parsed = Cli::try_parse_from(std::iter::once("postern").chain(arguments));
            assert!(parsed.is_ok(), "{values}: {}", parsed.unwrap_err());

            let account =
                json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": pod["serviceAccountName"]}});
            kubernetes.apply(RESTRICTED, &account).await;
            let name = &deployment["metadata"]["name"];
            let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": pod});
            let created = kubernetes.try_create(RESTRICTED, &pod).await;
            created.unwrap_or_else(|refusal| panic!("{values}: {refusal}"));
        }
    }
}

/// The kubelet reaches health from the node, without a rule; metrics are for the clients in the values.
#[test]
fn the_network_policies_admit_to_each_process_only_whom_it_is_for() {
    let cluster = Cluster::installed();
    let policies = |values: &[&str]| -> Vec<Value> {
        let values = [&["issuer=https://postern.example.com"], values].concat().join(" --set ");
        rendered_with(&cluster, &format!("--set {values}"), "networkpolicy")
    };
    let admitted = |policy: &Value, port: &str| -> Vec<Value> {
        let rules = policy["spec"]["ingress"].as_array().cloned().unwrap_or_default();
        rules.into_iter().filter(|rule| rule["ports"] == json!([{"port": port}])).collect()
    };
    let default = policies(&[]);
    assert_eq!(default.len(), 2, "one for each process");
    let labelled = json!([
        {"podSelector": {}},
        {"namespaceSelector": {"matchLabels": {"postern.dev/metrics": "allowed"}}},
    ]);
    for (policy, serves) in default.iter().zip([true, false]) {
        let component = &policy["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/component"];
        assert_eq!(component, if serves { "serve" } else { "control" });
        assert_eq!(policy["spec"]["policyTypes"], json!(["Ingress", "Egress"]));
        assert_eq!(admitted(policy, "token").len(), usize::from(serves));
        assert_eq!(admitted(policy, "health"), Vec::<Value>::new());
        let metrics = admitted(policy, "metrics");
        assert_eq!(metrics.iter().map(|rule| &rule["from"]).collect::<Vec<_>>(), [&labelled]);
    }
    // An empty list of peers would admit everybody.
    for policy in policies(&["networkPolicy.metricsFrom=null"]) {
        assert_eq!(admitted(&policy, "metrics"), Vec::<Value>::new());
    }
}

/// The Deployments.
fn rendered(cluster: &Cluster, values: &str) -> Vec<Value> {
    rendered_with(cluster, &format!("--values '{values}'"), "deployment")
}

/// What a template of the chart makes of these values.
fn rendered_with(cluster: &Cluster, values: &str, template: &str) -> Vec<Value> {
    let chart = checkout().join("charts/postern");
    let render = format!(
        "helm template postern '{}' {values} --show-only templates/{template}.yaml |
         kubectl create --dry-run=client --output json --filename -",
        chart.display()
    );
    let printed = cluster.controlplane.shell(&render);
    serde_json::Deserializer::from_str(&printed).into_iter().map(|object| object.unwrap()).collect()
}
