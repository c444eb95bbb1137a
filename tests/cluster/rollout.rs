//! Workloads are restarted when a new version is delivered, once.

use postern::clock::{Clock, SystemClock};
use serde_json::{Value, json};

use crate::harness::{Kubernetes, TestNamespace, client_secret, ensure, eventually, object};

fn deployment(name: &str) -> Value {
    let labels = json!({"app": name});
    object(
        "Deployment",
        name,
        json!({
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "sync", "image": "sync:1"}]}},
        }),
    )
}

fn spec(trigger: &str, workloads: &[&str]) -> Value {
    let workloads: Vec<Value> = workloads.iter().map(|name| json!({"kind": "Deployment", "name": name})).collect();
    json!({"rotation": {"trigger": trigger, "overlap": "1h", "rollout": workloads}})
}

#[tokio::test]
async fn a_deployment_is_restarted_once_for_each_version_and_waited_for() {
    let tenant = TestNamespace::new("rollout").await;
    tenant.create_defaults().await;
    tenant.apply(&deployment("sync")).await;
    starts_pods(&tenant).await;
    tenant.apply(&client_secret("blue", "sync", spec("a", &["sync"]))).await;
    tenant.ready("ClientSecret", "blue").await;
    assert_eq!(restarts(&tenant, "sync").await, 0, "the first version restarts nothing: whoever wants it waits for it");
    for rotation in 1..=2 {
        tenant.apply(&client_secret("blue", "sync", spec(&format!("rotation-{rotation}"), &["sync"]))).await;
        tenant.wait_condition("ClientSecret", "blue", "Rotating", "True", "RollingOut").await;
        eventually("it waits for the pods", async || {
            let waits = waits_for(&tenant).await;
            ensure(waits.contains("Deployment sync") && waits.contains("of 2 pods are new"), &waits)
        })
        .await;
        starts_pods(&tenant).await;
        tenant.wait_condition("ClientSecret", "blue", "Rotating", "True", "Overlap").await;
        assert_eq!(restarts(&tenant, "sync").await, rotation, "once a version");
        // The next rotation would wait for the end of the overlap.
        let now = json!({"spec": {"rotation": {"overlap": "0s"}}});
        tenant.merge("ClientSecret", &tenant.namespace, "blue", now).await.unwrap();
        tenant.wait_condition("ClientSecret", "blue", "Rotating", "False", "NotRotating").await;
    }
    // Not by an edit, nor by a change of the Secret.
    tenant.merge("ClientSecret", &tenant.namespace, "blue", json!({"spec": {"description": "x"}})).await.unwrap();
    tenant.settled().await;
    assert_eq!(restarts(&tenant, "sync").await, 2);
}

#[tokio::test]
async fn a_workload_that_is_missing_or_stuck_is_named() {
    let tenant = TestNamespace::new("stuck-rollout").await;
    tenant.create_defaults().await;
    tenant.apply(&client_secret("blue", "sync", spec("a", &["nowhere", "sync"]))).await;
    let told = tenant.wait_condition("ClientSecret", "blue", "Rotating", "False", "WorkloadUnavailable").await;
    let named =
        "spec.rotation.rollout: Deployment nowhere does not exist or is being deleted; Deployment sync does not";
    assert!(told["message"].as_str().unwrap().contains(named), "told before any rotation: {told}");
    tenant.ready("ClientSecret", "blue").await;
    tenant.apply(&deployment("sync")).await;
    tenant.merge("Deployment", &tenant.namespace, "sync", json!({"spec": {"paused": true}})).await.unwrap();
    tenant.apply(&client_secret("blue", "sync", spec("b", &["nowhere", "sync"]))).await;
    eventually("both are named with what is wrong", async || {
        let waits = waits_for(&tenant).await;
        let named = ["Deployment nowhere: not found or being deleted", "Deployment sync, which is stuck: it is paused"];
        ensure(named.iter().all(|text| waits.contains(text)), &waits)
    })
    .await;
    tenant.accepted(&tenant.delivered("blue").await).await;
}

#[tokio::test]
async fn a_refused_restart_is_reported_and_does_not_block_the_restart_of_other_workloads() {
    let tenant = TestNamespace::new("refused-rollout").await;
    tenant.create_defaults().await;
    let workloads = ["sync", "other"];
    for name in workloads {
        tenant.apply(&deployment(name)).await;
    }
    tenant.apply(&client_secret("blue", "sync", spec("a", &workloads))).await;
    tenant.ready("ClientSecret", "blue").await;
    let policy = tenant.unique_name("no-restarts");
    refuse_restarts(&tenant, &policy, "sync").await;
    let before = [restarts(&tenant, "sync").await, restarts(&tenant, "other").await];

    tenant.apply(&client_secret("blue", "sync", spec("b", &workloads))).await;
    eventually("it is told, and the other one is restarted", async || {
        let (waits, restarted) = (waits_for(&tenant).await, restarts(&tenant, "other").await);
        let told = "Deployment sync, which is stuck: the API server refuses it: ";
        ensure(waits.contains(told) && waits.contains("not now, attempt ") && restarted == before[1] + 1, waits)
    })
    .await;
    assert_eq!(restarts(&tenant, "sync").await, before[0]);

    tenant.delete("ValidatingAdmissionPolicyBinding", "", &policy).await;
    eventually("it is restarted when it may be", async || {
        let restarted = restarts(&tenant, "sync").await;
        ensure(restarted == before[0] + 1, restarted)
    })
    .await;
    assert_eq!(restarts(&tenant, "other").await, before[1] + 1);
}

/// From now on the pods of a Deployment cannot be changed.
async fn refuse_restarts(tenant: &TestNamespace, policy: &str, name: &str) {
    let rule = json!({
        "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"], "operations": ["UPDATE"],
        "resourceNames": [name],
    });
    let spec = json!({
        "matchConstraints": {"resourceRules": [rule]},
        "validations": [{
            "expression": "object.spec.template == oldObject.spec.template",
            "message": "not now",
            "messageExpression": "'not now, attempt ' + object.metadata.resourceVersion",
        }],
    });
    let here = json!({"matchLabels": {"kubernetes.io/metadata.name": tenant.namespace}});
    let binding = json!({
        "policyName": policy, "validationActions": ["Deny"], "matchResources": {"namespaceSelector": here},
    });
    tenant.kubernetes.apply("", &object("ValidatingAdmissionPolicy", policy, spec)).await;
    tenant.kubernetes.apply("", &object("ValidatingAdmissionPolicyBinding", policy, binding)).await;
    eventually("the policy is in force", async || {
        let grace = json!({"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 31}}}});
        let back = json!({"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 30}}}});
        // It may come between the two.
        let mut tried = tenant.merge("Deployment", &tenant.namespace, name, grace).await;
        if tried.is_ok() {
            tried = tenant.merge("Deployment", &tenant.namespace, name, back).await;
        }
        let refusal = tried.err().unwrap_or_default();
        ensure(refusal.contains("not now"), refusal)
    })
    .await;
}

async fn waits_for(tenant: &TestNamespace) -> String {
    let status = tenant.get("ClientSecret", "blue").await["status"].clone();
    status["rotation"]["waitsFor"].as_str().unwrap_or_default().to_owned()
}

/// How often the pods of the Deployment got another template.
async fn restarts(tenant: &TestNamespace, name: &str) -> i64 {
    let deployment = tenant.get("Deployment", name).await;
    deployment["metadata"]["generation"].as_i64().expect("a generation") - 1
}

/// What kubelets would do, of which there are none here: every pod of the newest template becomes ready.
async fn starts_pods(tenant: &TestNamespace) {
    eventually("the Deployment is complete", async || {
        for pod in tenant.kubernetes.list("Pod", &tenant.namespace).await {
            start(&tenant.kubernetes, &tenant.namespace, &pod).await;
        }
        let deployment = tenant.get("Deployment", "sync").await;
        let status = &deployment["status"];
        // Until the newest template has been seen, the status is that of the pods before it.
        let seen = status["observedGeneration"] == deployment["metadata"]["generation"];
        let counts = ["replicas", "updatedReplicas", "availableReplicas"];
        ensure(seen && counts.iter().all(|count| status[count] == 2), status)
    })
    .await;
}

async fn start(kubernetes: &Kubernetes, namespace: &str, pod: &Value) {
    let now = jiff::Timestamp::from_second(SystemClock.now().as_second()).expect("an instant").to_string();
    let ready = json!({"type": "Ready", "status": "True", "lastTransitionTime": now});
    let name = pod["metadata"]["name"].as_str().expect("a name");
    let running = json!({"status": {"phase": "Running", "conditions": [ready]}});
    // It may be gone by now.
    let _ = kubernetes.merge_status("Pod", namespace, name, running).await;
}
