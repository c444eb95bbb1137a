//! The annotation `postern.dev/created-by` names the creator of an object, and cannot be forged.

use serde_json::{Value, json};

use crate::harness::{
    Cluster, Kubernetes, TestNamespace, User, access_group, application, checkout, client_secret, ensure, eventually,
    service_user,
};

const CREATED_BY: &str = "postern.dev/created-by";
const CANNOT: &str = "cannot be changed, added or removed";

#[tokio::test]
async fn the_creator_of_an_object_is_recorded_on_it_and_shown_with_output_wide() {
    let tenant = TestNamespace::new("stamp").await;
    for user in User::of_both_sorts(&tenant, "author").await {
        let user = user.edits().await;
        user.may("create", "postern.dev", "accessgroups", &[]).await;
        user.may("permit", "postern.dev", "audiences", &[]).await;
        user.may("grant", "postern.dev", "roles", &[]).await;
        let (group, name) = (tenant.unique_name(&user.name.replace(':', "-")), "sync");
        let objects = [
            access_group(&group, json!({})),
            service_user(name, &[]),
            application(name, "sync", json!({})),
            client_secret(name, "sync", json!({})),
        ];
        for object in &objects {
            let created = user.create(&tenant.namespace, object).await.expect("a new object");
            assert_eq!(created_by(&created), user.name, "{created}");
            let (kind, name) = (text(&created, "/kind"), text(&created, "/metadata/name"));
            let table = ["get", kind, name, "--namespace", &tenant.namespace, "--output"];
            let table =
                async |format: &str| tenant.cluster.controlplane.run("kubectl", &[&table[..], &[format]].concat());
            let wide = table("wide").await;
            assert!(wide.contains("CREATED BY") && wide.contains(&user.name), "{wide}");
            tenant.delete(kind, &tenant.namespace, name).await;
        }
    }
}

#[tokio::test]
async fn the_creator_of_a_service_user_is_in_the_audit_line_of_each_token_and_not_in_the_token() {
    let tenant = TestNamespace::new("stamped-token").await;
    let [user, _] = User::of_both_sorts(&tenant, "maker").await;
    let user = user.edits().await;
    let group = tenant.unique_name("readers");
    tenant.apply(&access_group(&group, json!({}))).await;
    user.may("bind", "postern.dev", "accessgroups", &[&group]).await;
    user.create(&tenant.namespace, &service_user("sync", &[&group])).await.expect("a service user");
    tenant.apply(&application("sync", "sync", json!({}))).await;
    let credential = tenant.issue("blue").await;
    for claims in tenant.accepted(&credential).await {
        assert_eq!(claims["created_by"], Value::Null, "every API would learn the name");
        // Lines are written some milliseconds later, many at once.
        let line = eventually("the audit line of the token", async || {
            let logs =
                tenant.cluster.logs().map(|log| std::fs::read_to_string(log).expect("a log")).collect::<String>();
            let line = logs.lines().find(|line| line.contains(claims["jti"].as_str().unwrap()) && line.ends_with('}'));
            line.map(str::to_owned).ok_or_else(|| "there is none".to_owned())
        })
        .await;
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap()["created_by"], user.name.as_str(), "{line}");
    }
}

#[tokio::test]
async fn no_user_can_forge_change_or_remove_the_creator_of_an_object() {
    let tenant = TestNamespace::new("forge").await;
    for user in User::of_both_sorts(&tenant, "forger").await {
        let user = user.edits().await;
        let by = |who: &str| annotated(service_user("sync", &[]), json!({CREATED_BY: who}));
        for forged in ["somebody-else", ""] {
            let created = user.create(&tenant.namespace, &by(forged)).await.expect("a restored object");
            assert_eq!(created_by(&created), user.name, "{forged}");
            user.delete("ServiceUser", &tenant.namespace, "sync").await;
        }
        user.create(&tenant.namespace, &by(&user.name)).await.expect("what would be written anyway");
        let attempts = [json!({CREATED_BY: "somebody-else"}), json!({CREATED_BY: ""})];
        for annotations in attempts {
            let forged = json!({"metadata": {"annotations": annotations}});
            let message = user.merge("ServiceUser", &tenant.namespace, "sync", forged).await.unwrap_err();
            assert!(message.contains(CREATED_BY) && message.contains(CANNOT), "{message}");
            assert!(message.contains(&format!("keep {}", user.name)), "{message}");
        }
        for left_out in [json!({CREATED_BY: null}), json!(null), json!({CREATED_BY: null, "a": "b"})] {
            let dropped = json!({"metadata": {"annotations": left_out}});
            user.merge("ServiceUser", &tenant.namespace, "sync", dropped).await.expect("a harmless change");
            assert_eq!(created_by(&tenant.get("ServiceUser", "sync").await), user.name);
        }
        let through_status = json!({"metadata": {"annotations": {CREATED_BY: "somebody-else"}}});
        tenant.merge_status("ServiceUser", &tenant.namespace, "sync", through_status).await.unwrap();
        assert_eq!(created_by(&tenant.get("ServiceUser", "sync").await), user.name);
        user.delete("ServiceUser", &tenant.namespace, "sync").await;
    }
}

#[tokio::test]
async fn tools_that_never_saw_the_annotation_leave_it_and_find_no_difference() {
    let tenant = TestNamespace::new("gitops").await;
    let author = User::person(&tenant, "author").await.edits().await;
    let other = User::service_account(&tenant, "gitops").await.edits().await;
    author.create(&tenant.namespace, &service_user("sync", &[])).await.unwrap();
    // After that the operator has nothing to write.
    tenant.ready("ServiceUser", "sync").await;
    let stays = async |what: &str| {
        let object = tenant.get("ServiceUser", "sync").await;
        assert_eq!(created_by(&object), author.name, "{what}: {object}");
        object["metadata"]["resourceVersion"].clone()
    };

    other.apply(&tenant.namespace, &service_user("sync", &[])).await;
    let applied = stays("server-side apply").await;
    other.apply(&tenant.namespace, &service_user("sync", &[])).await;
    assert_eq!(stays("server-side apply again").await, applied, "nothing to do");

    // An admin of the control plane: the annotation still names another user.
    let file = tenant.cluster.controlplane.scratch().join(format!("{}.json", tenant.namespace));
    std::fs::write(&file, service_user("sync", &[]).to_string()).unwrap();
    let file = file.to_str().unwrap();
    let kubectl = |verb: &str| {
        let arguments = [verb, "--namespace", &tenant.namespace, "--filename", file];
        tenant.cluster.controlplane.run("kubectl", &arguments)
    };
    kubectl("apply");
    let applied = stays("kubectl apply").await;
    assert!(kubectl("apply").contains("unchanged"));
    kubectl("diff");
    assert_eq!(stays("kubectl apply again").await, applied, "nothing to do");
    kubectl("replace");
    stays("kubectl replace").await;

    let mut seen = tenant.get("ServiceUser", "sync").await;
    seen["metadata"].as_object_mut().unwrap().remove("annotations");
    other.replace(&tenant.namespace, &seen).await.expect("an update by who never saw it");
    stays("an update").await;
    seen = tenant.get("ServiceUser", "sync").await;
    seen["metadata"]["annotations"] = json!({});
    other.replace(&tenant.namespace, &seen).await.expect("an update without annotations");
    stays("an update without annotations").await;
    other.merge("ServiceUser", &tenant.namespace, "sync", json!({"spec": {"email": "a@b"}})).await.unwrap();
    stays("a merge patch").await;

    // Nor is it in the way of an end.
    tenant.delete("Namespace", "", &tenant.namespace).await;
    eventually("the namespace ends", async || {
        let namespace = tenant.find("Namespace", "", &tenant.namespace).await;
        ensure(namespace.is_none(), format_args!("{namespace:?}"))
    })
    .await;
}

#[tokio::test]
async fn no_user_can_forge_add_or_remove_the_creator_if_the_cluster_cannot_record_it() {
    let tenant = TestNamespace::on(Cluster::dedicated(1), "guard", json!({})).await;
    tenant.cluster.wait_policies_active().await;
    tenant.delete("MutatingAdmissionPolicyBinding", "", "postern-created-by").await;
    eventually("nothing is written any more", async || {
        let tried = tenant.try_create(&tenant.namespace, &service_user("tried", &[])).await?;
        ensure(tried["metadata"]["annotations"].is_null(), &tried["metadata"])
    })
    .await;
    let user = User::person(&tenant, "forger").await.edits().await;
    let named = |name: &str, who: &str| annotated(service_user(name, &[]), json!({CREATED_BY: who}));
    user.create(&tenant.namespace, &service_user("without", &[])).await.expect("nobody has to say it");
    for forged in ["somebody-else", ""] {
        let message = user.create(&tenant.namespace, &named("forged", forged)).await.expect_err("a forgery");
        assert!(message.contains(CREATED_BY) && message.contains("leave it out"), "{message}");
        assert!(message.contains(&user.name), "{message}");
    }
    user.create(&tenant.namespace, &named("with", &user.name)).await.expect("the truth");

    let merge = async |kubernetes: &Kubernetes, name: &str, who: Value| {
        let patch = json!({"metadata": {"annotations": {CREATED_BY: who}}});
        kubernetes.merge("ServiceUser", &tenant.namespace, name, patch).await
    };
    let (myself, cannot) = (json!(user.name), |answer: Result<Value, String>| {
        let message = answer.expect_err("a forgery");
        assert!(message.contains(CANNOT), "{message}");
    });
    cannot(merge(&user, "without", myself.clone()).await);
    cannot(merge(&tenant, "without", json!("an-admin")).await);
    cannot(merge(&user, "with", json!(null)).await);
    cannot(merge(&user, "with", json!("somebody-else")).await);
    merge(&user, "with", myself).await.expect("no change");
    user.apply(&tenant.namespace, &service_user("with", &[])).await;
    user.apply(&tenant.namespace, &service_user("without", &[])).await;
    assert_eq!(created_by(&tenant.get("ServiceUser", "with").await), user.name);
    assert!(tenant.get("ServiceUser", "without").await["metadata"]["annotations"].is_null());
}

#[tokio::test]
async fn the_chart_writes_it_in_the_newest_version_that_the_cluster_serves() {
    let chart = checkout().join("charts/postern");
    let chart = chart.to_str().expect("a path in UTF-8");
    let template = ["template", "postern", chart, "--set", "issuer=https://postern.example.com"];
    let served = |versions: &[&str]| {
        let kind = |version| format!("admissionregistration.k8s.io/{version}/MutatingAdmissionPolicy");
        let served = versions.iter().flat_map(|version| ["--api-versions".to_owned(), kind(version)]);
        let arguments: Vec<String> = template.map(str::to_owned).into_iter().chain(served).collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let rendered = Cluster::installed().controlplane.run("helm", &arguments);
        let before = rendered.split_once("\nkind: MutatingAdmissionPolicy\n")?.0;
        Some(before.rsplit_once("apiVersion: ")?.1.to_owned())
    };
    assert_eq!(served(&["v1beta1", "v1"]).as_deref(), Some("admissionregistration.k8s.io/v1"));
    assert_eq!(served(&["v1beta1"]).as_deref(), Some("admissionregistration.k8s.io/v1beta1"));
    assert_eq!(served(&[]), None);
}

fn annotated(mut object: Value, annotations: Value) -> Value {
    object["metadata"]["annotations"] = annotations;
    object
}

fn created_by(object: &Value) -> &str {
    object["metadata"]["annotations"][CREATED_BY].as_str().unwrap_or_default()
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}
