//! The endpoint and the controller as processes of their own: what each waits for, and what it may do.

use axum::body::Body;
use axum::http::{Request, header};
use serde_json::json;

use crate::harness::{
    Cluster, Kubernetes, OPERATOR_NAMESPACE, Part, RELEASE, Replica, TestNamespace, User, client_secret, ensure,
    eventually, http,
};

/// What an endpoint waits for, and its name in `/readyz`.
const MADE: [(&str, &str); 4] = [
    ("keys", "postern-install-key"),
    ("keys", "postern-signing-keys"),
    ("keys", "postern-token-keys"),
    ("certificate", "postern-tls"),
];

#[tokio::test]
async fn an_endpoint_makes_no_keys_and_waits_until_the_controller_has_made_them() {
    let cluster = Cluster::split(1, 1);
    let (replica, controller) = (&cluster.replicas[0], &cluster.controllers[0]);
    cluster.launch(replica);
    eventually("it says what it waits for", async || {
        let text = readyz(replica).await?;
        let named = ["keys", "certificate"].iter().all(|name| text.contains(&format!("{name} (Secret ")));
        ensure(named && text.contains("the controller (`postern control`) makes it"), text)
    })
    .await;
    let kubernetes = cluster.kubernetes().await;
    for (_, secret) in MADE {
        let found = kubernetes.find("Secret", OPERATOR_NAMESPACE, secret).await;
        assert!(found.is_none(), "{secret} was made by the endpoint");
    }
    cluster.launch(controller);
    cluster.wait_policies_active().await;
    cluster.ready().await;
    let tenant = TestNamespace::on(cluster.clone(), "waits", json!({})).await;
    tenant.create_defaults().await;
    tenant.accepted(&tenant.issue("blue").await).await;

    // Without a controller tokens are issued, also after a restart; and what is lost is not made again.
    controller.process().kill();
    replica.process().terminate();
    replica.process().ended().await;
    cluster.launch(replica);
    replica.ready().await;
    tenant.accepted(&tenant.delivered("blue").await).await;
    tenant.delete("Secret", OPERATOR_NAMESPACE, "postern-signing-keys").await;
    replica.process().terminate();
    replica.process().ended().await;
    cluster.launch(replica);
    eventually("it waits for the signing keys", async || {
        let text = readyz(replica).await?;
        ensure(text.contains("keys (Secret postern-system/postern-signing-keys does not exist"), text)
    })
    .await;
    let found = kubernetes.find("Secret", OPERATOR_NAMESPACE, "postern-signing-keys").await;
    assert!(found.is_none(), "it was made by the endpoint");
}

/// The attacker has the token of the process that faces the network.
#[tokio::test]
async fn the_token_of_an_endpoint_permits_neither_writing_nor_reading_a_credential() {
    let tenant = TestNamespace::new("stolen").await;
    tenant.create_defaults().await;
    tenant.issue("blue").await;
    let stolen = acting_as(&tenant.cluster, Part::Serve).await;
    let here = &tenant.namespace;
    let refused = |done: Result<serde_json::Value, String>, what: &str| {
        let refusal = done.expect_err(what);
        assert!(refusal.contains("forbidden") || refusal.contains("cannot"), "{what}: {refusal}");
    };
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "planted"}});
    refused(stolen.try_create(here, &secret).await, "a Secret of a tenant");
    refused(stolen.try_create(OPERATOR_NAMESPACE, &secret).await, "a Secret of the operator");
    for (kind, namespace, name) in [
        ("Secret", here.as_str(), "blue"),
        ("Secret", OPERATOR_NAMESPACE, "postern-install-key"),
        ("ClientSecret", here, "blue"),
        ("Application", here, "sync"),
        ("ServiceUser", here, "sync"),
        // By which it would keep every controller from writing.
        ("Lease", OPERATOR_NAMESPACE, "postern"),
    ] {
        let patched = stolen.merge(kind, namespace, name, json!({"metadata": {"labels": {"a": "b"}}})).await;
        refused(patched, &format!("{kind} {namespace}/{name}"));
    }
    let verified = json!({"status": {"versions": null}});
    refused(stolen.merge_status("ClientSecret", here, "blue", verified).await, "the status of a ClientSecret");
    for (right, name) in [
        (["get", "secrets", here], "blue"),
        (["list", "secrets", here], ""),
        (["list", "secrets", OPERATOR_NAMESPACE], ""),
        (["get", "secrets", OPERATOR_NAMESPACE], "sh.helm.release.v1.postern.v1"),
        (["patch", "deployments.apps", here], "any"),
        (["create", "serviceaccounts/token", OPERATOR_NAMESPACE], "postern-control"),
    ] {
        assert!(!may(&tenant.cluster, Part::Serve, right, name), "it may {right:?} {name}");
    }
    assert!(may(&tenant.cluster, Part::Serve, ["get", "secrets", OPERATOR_NAMESPACE], "postern-install-key"));
}

#[tokio::test]
async fn an_operator_that_restarts_no_workloads_has_no_right_to_and_reports_it() {
    let values = ["rollout.enabled=false", "metrics.authentication=true"];
    let cluster = Cluster::split_with(1, 1, &["--metrics-auth"], &values);
    let controller = &cluster.controllers[0];
    let kubeconfig = cluster.kubeconfig_of(Part::Control, &cluster.controlplane.address());
    cluster.launch(&cluster.replicas[0]);
    controller.start_with(&kubeconfig, &["--no-rollout"]);
    cluster.wait_policies_active().await;
    cluster.ready().await;
    for verb in ["get", "patch"] {
        assert!(!may(&cluster, Part::Control, [verb, "deployments.apps", "default"], "any"), "it may {verb} workloads");
    }
    let tenant = TestNamespace::on(cluster.clone(), "no-rollout", json!({})).await;
    tenant.create_defaults().await;
    let rotation = |trigger: &str, workloads: serde_json::Value| {
        client_secret("blue", "sync", json!({"rotation": {"trigger": trigger, "overlap": "1h", "rollout": workloads}}))
    };
    let workloads = json!([{"kind": "Deployment", "name": "sync"}]);
    tenant.apply(&rotation("a", workloads.clone())).await;
    tenant.wait_condition("ClientSecret", "blue", "Rotating", "False", "RolloutDisabled").await;
    tenant.ready("ClientSecret", "blue").await;
    tenant.apply(&rotation("b", workloads)).await;
    eventually("it names the workload", async || {
        let waits = tenant.wait_condition("ClientSecret", "blue", "Rotating", "True", "RolloutDisabled").await;
        let message = waits["message"].as_str().unwrap_or_default();
        ensure(message.contains("Deployment sync to be restarted by you"), message)
    })
    .await;
    tenant.apply(&rotation("b", json!([]))).await;
    tenant.wait_condition("ClientSecret", "blue", "Rotating", "True", "Overlap").await;

    metrics_are_for_their_readers(&tenant).await;
}

/// Accounts that may `get` the URL /metrics read the metrics of every process; others cannot.
async fn metrics_are_for_their_readers(tenant: &TestNamespace) {
    for name in ["stranger", "reader"] {
        User::service_account(tenant, name).await;
    }
    let role = format!("{RELEASE}-metrics-reader");
    let subject = json!({"kind": "ServiceAccount", "namespace": tenant.namespace, "name": "reader"});
    tenant
        .apply(&json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": tenant.unique_name("metrics")}, "subjects": [subject],
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        }))
        .await;
    let token = |name: &str| {
        let arguments = ["create", "token", name, "--namespace", &tenant.namespace];
        tenant.cluster.controlplane.run("kubectl", &arguments).trim().to_owned()
    };
    let (stranger, reader) = (token("stranger"), token("reader"));
    for process in tenant.cluster.processes() {
        assert_eq!(metrics(process, None).await, 401, "without a token");
        assert_eq!(metrics(process, Some("nonsense")).await, 401, "with an invalid token");
        assert_eq!(metrics(process, Some(&stranger)).await, 403, "with a token without the right");
        // The API server learns of new rights by a watch.
        eventually("the reader reads", async || {
            let status = metrics(process, Some(&reader)).await;
            ensure(status == 200, status)
        })
        .await;
        assert_eq!(metrics(process, Some(&stranger)).await, 403, "afterwards as before");
        assert_eq!(process.probe("livez").await.unwrap(), 200, "health needs no token");
    }
}

async fn metrics(process: &Replica, token: Option<&str>) -> u16 {
    let mut request = Request::get(format!("{}/metrics", process.metrics_url));
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let answer = http::send(&http::trusting(b""), request.body(Body::empty()).unwrap()).await.unwrap();
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    assert_eq!(answer.status == 200, text.ends_with("# EOF\n"), "{text}");
    answer.status.as_u16()
}

async fn readyz(process: &Replica) -> Result<String, String> {
    let answer = http::get(&http::trusting(b""), &format!("{}/readyz", process.health_url)).await?;
    Ok(String::from_utf8_lossy(&answer.body).into_owned())
}

/// An admin who impersonates a process: what it is refused is not counted as asked for by the operator.
async fn acting_as(cluster: &Cluster, part: Part) -> Kubernetes {
    let name = account(part);
    Kubernetes::connect_with(&cluster.controlplane.kubeconfig(), |auth| auth.impersonate = Some(name)).await
}

/// Whether a process may do something: the verb, the resource, and the namespace; on the object of this name, or on all.
fn may(cluster: &Cluster, part: Part, [verb, resource, namespace]: [&str; 3], name: &str) -> bool {
    let what = if name.is_empty() { resource.to_owned() } else { format!("{resource}/{name}") };
    let account = account(part);
    let command = format!("kubectl auth can-i {verb} '{what}' --namespace '{namespace}' --as '{account}' || true");
    let answer = cluster.controlplane.shell(&command);
    assert!(["yes", "no"].contains(&answer.trim()), "{answer}");
    answer.trim() == "yes"
}

fn account(part: Part) -> String {
    format!("system:serviceaccount:{OPERATOR_NAMESPACE}:{}", part.account())
}
