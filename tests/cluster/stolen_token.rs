//! A stolen token of the operator is held to what the operator does: policies of the chart bind its own account.

use serde_json::{Value, json};

use crate::harness::{OPERATOR_NAMESPACE, TestNamespace, User, object};

const ONLY_OURS: &str = "Secrets of type servicebinding.io/oauth2 whose controller is a ClientSecret";
const ONLY_RESTARTS: &str = "may only restart workloads";
const ONLY_THE_MARK: &str = "may change nothing of a workload but the annotation postern.dev/restarted-for-";
const NO_TOKENS: &str = "may not make tokens of ServiceAccounts";

/// Annotations of a pod template by which the operator restarts it.
const MARK: &str = "postern.dev/restarted-for-000000000000";
const OTHER_MARK: &str = "postern.dev/restarted-for-111111111111";

fn secret(name: &str, type_: &str, metadata: &Value) -> Value {
    let mut secret = json!({"apiVersion": "v1", "kind": "Secret", "type": type_, "metadata": metadata});
    secret["metadata"]["name"] = name.into();
    secret
}

fn controlled_by(kind: &str, version: &str) -> Value {
    let uid = "3f0c3a52-9d55-4d0e-8b6a-0f1f2a6f5c1e";
    json!({"ownerReferences": [{"apiVersion": version, "kind": kind, "name": "x", "uid": uid, "controller": true}]})
}

#[tokio::test]
async fn it_makes_no_secret_but_those_that_postern_delivers() {
    let tenant = TestNamespace::new("stolen-create").await;
    let ours = controlled_by("ClientSecret", "postern.dev/v1alpha1");
    let mut no_controller = ours.clone();
    no_controller["ownerReferences"][0]["controller"] = json!(false);
    let account = json!({"annotations": {"kubernetes.io/service-account.name": "default"}});
    let mut token_of_ours = ours.clone();
    token_of_ours["annotations"] = account["annotations"].clone();
    for thief in tenant.cluster.operators().await {
        let create = async |namespace: &str, secret: &Value| thief.try_create(namespace, secret).await;
        for namespace in ["kube-system", &tenant.namespace] {
            for (type_, metadata) in [
                ("Opaque", json!({})),
                ("Opaque", ours.clone()),
                ("servicebinding.io/oauth2", json!({})),
                ("servicebinding.io/oauth2", no_controller.clone()),
                ("servicebinding.io/oauth2", controlled_by("ClientSecret", "example.com/v1")),
                ("servicebinding.io/oauth2", controlled_by("Deployment", "apps/v1")),
                ("kubernetes.io/service-account-token", account.clone()),
                ("kubernetes.io/service-account-token", token_of_ours.clone()),
            ] {
                refused(create(namespace, &secret("x", type_, &metadata)).await, ONLY_OURS);
            }
        }
        create(&tenant.namespace, &secret("x", "servicebinding.io/oauth2", &ours)).await.expect("what it delivers");
        let own = json!({"annotations": {"kubernetes.io/service-account.name": "postern"}});
        let token = |name: &str| secret(name, "kubernetes.io/service-account-token", &own);
        refused(create(OPERATOR_NAMESPACE, &token("x")).await, ONLY_OURS);
        refused(create(OPERATOR_NAMESPACE, &token("postern-tls")).await, NO_TOKENS);
        let release = secret("sh.helm.release.v1.postern.v9", "helm.sh/release.v1", &json!({}));
        refused(create(OPERATOR_NAMESPACE, &release).await, ONLY_OURS);
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kube-root-ca.crt-2"}});
        refused(create(OPERATOR_NAMESPACE, &map).await, "only the ConfigMap postern-ca");
    }
}

#[tokio::test]
async fn it_neither_changes_nor_adopts_a_secret_of_another_owner() {
    let tenant = TestNamespace::new("stolen-change").await;
    tenant.create_defaults().await;
    tenant.issue("blue").await;
    let theirs = secret("theirs", "Opaque", &json!({}));
    let unmarked = secret("unmarked", "servicebinding.io/oauth2", &json!({}));
    let of_another = secret("of-another", "servicebinding.io/oauth2", &controlled_by("Other", "example.com/v1"));
    let here = &*tenant.namespace;
    // What Helm installs at the next upgrade or rollback.
    let releases = tenant.list("Secret", OPERATOR_NAMESPACE).await;
    let mut names = releases.iter().filter_map(|secret| secret["metadata"]["name"].as_str());
    let release = names.find(|name| name.starts_with("sh.helm.release.")).expect("a release").to_owned();
    for (namespace, secret) in [("kube-system", &theirs), (here, &theirs), (here, &of_another), (here, &unmarked)] {
        tenant.kubernetes.apply(namespace, secret).await;
    }
    let ours = tenant.get("Secret", "blue").await["metadata"]["ownerReferences"].clone();
    for thief in tenant.cluster.operators().await {
        for (namespace, name) in [
            ("kube-system", "theirs"),
            (here, "theirs"),
            (here, "of-another"),
            (here, "unmarked"),
            (OPERATOR_NAMESPACE, &release),
        ] {
            for patch in [
                json!({"stringData": {"a": "b"}}),
                json!({"metadata": {"labels": {"a": "b"}}}),
                json!({"metadata": {"ownerReferences": ours}}),
            ] {
                refused(thief.merge("Secret", namespace, name, patch).await, ONLY_OURS);
            }
            refused(thief.try_delete("Secret", namespace, name).await, ONLY_OURS);
        }
        for owners in [json!(null), controlled_by("Other", "example.com/v1")["ownerReferences"].clone()] {
            let disowned = json!({"metadata": {"ownerReferences": owners}});
            refused(thief.merge("Secret", &tenant.namespace, "blue", disowned).await, ONLY_OURS);
        }
    }
    tenant.delete("Secret", "kube-system", "theirs").await;
}

#[tokio::test]
async fn it_changes_nothing_of_a_workload_but_the_annotation_by_which_it_restarts_it() {
    let tenant = TestNamespace::new("stolen-workload").await;
    let image = json!([{"name": "sync", "image": "evil:1"}]);
    let in_template = |template: Value| json!({"spec": {"template": template}});
    let annotated = |annotations: Value| json!({"spec": {"template": {"metadata": {"annotations": annotations}}}});
    let owners = controlled_by("Other", "example.com/v1")["ownerReferences"].clone();
    let mut patches = vec![
        in_template(json!({"spec": {"containers": image}})),
        in_template(json!({"spec": {"serviceAccountName": "admin"}})),
        in_template(json!({"metadata": {"labels": {"b": "c"}}})),
        in_template(json!({"metadata": {"annotations": {MARK: "two"}}, "spec": {"containers": image}})),
        annotated(json!({"sidecar.istio.io/inject": "false"})),
        annotated(json!({"a": null})),
        annotated(json!({"a": "c"})),
        json!({"spec": {"minReadySeconds": 1}}),
        json!({"metadata": {"labels": {"b": "c"}}}),
        json!({"metadata": {"annotations": {"b": "c"}}}),
        json!({"metadata": {"finalizers": ["example.com/never"]}}),
        json!({"metadata": {"ownerReferences": owners}}),
    ];
    for kind in ["DaemonSet", "Deployment", "StatefulSet"] {
        if kind != "DaemonSet" {
            patches.push(json!({"spec": {"replicas": 5}}));
        }
        tenant.apply(&workload(kind, "sync")).await;
        for thief in tenant.cluster.operators().await {
            let change = async |patch: Value| thief.merge(kind, &tenant.namespace, "sync", patch).await;
            for patch in &patches {
                let message = change(patch.clone()).await.expect_err("a change of a workload");
                assert!(message.contains(ONLY_THE_MARK), "{kind} {patch}: {message}");
            }
            change(annotated(json!({MARK: "two", OTHER_MARK: "x"}))).await.expect("a restart");
        }
    }
}

/// RBAC refuses this, too. So that it is the policies that refuse, it gets the rights here.
#[tokio::test]
async fn with_more_rights_than_the_chart_grants_it_still_makes_no_token_and_does_nothing_else_to_workloads() {
    let tenant = TestNamespace::new("stolen-rights").await;
    let rules = json!([
        {"apiGroups": [""], "resources": ["serviceaccounts/token"], "verbs": ["create"]},
        {"apiGroups": ["apps"], "resources": ["deployments", "deployments/scale"], "verbs": ["create", "patch", "delete"]},
    ]);
    let more = tenant.unique_name("more");
    let version = "rbac.authorization.k8s.io/v1";
    let role = json!({"apiVersion": version, "kind": "ClusterRole", "metadata": {"name": more}, "rules": rules});
    tenant.apply(&role).await;
    tenant.apply(&workload("Deployment", "sync")).await;
    for thief in User::operators(&tenant).await {
        let thief = thief.with_role(&more, ("create", "", "serviceaccounts/token")).await;
        refused(thief.token_of(&tenant.namespace, "default").await, NO_TOKENS);
        refused(thief.try_create(&tenant.namespace, &workload("Deployment", "new")).await, ONLY_RESTARTS);
        refused(thief.try_delete("Deployment", &tenant.namespace, "sync").await, ONLY_RESTARTS);
        refused(thief.scale("Deployment", &tenant.namespace, "sync", 5).await, ONLY_RESTARTS);
    }
}

fn workload(kind: &str, name: &str) -> Value {
    let labels = json!({"app": name});
    let annotations = json!({"a": "b", MARK: "one"});
    let template = json!({
        "metadata": {"labels": labels, "annotations": annotations},
        "spec": {"containers": [{"name": "sync", "image": "sync:1"}]},
    });
    object(kind, name, json!({"selector": {"matchLabels": labels}, "template": template}))
}

fn refused<T: std::fmt::Debug>(answer: Result<T, String>, said: &str) {
    let message = answer.expect_err("what the operator does not do");
    assert!(message.contains(said), "{message}");
}
