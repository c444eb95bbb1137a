//! What the chart's roles let a team do, and that it ends at the team's namespace.

use serde_json::{Value, json};

use crate::harness::{OPERATOR_NAMESPACE, TestNamespace, User, access_group, application, client_secret, service_user};

const VERBS: [&str; 8] = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"];

#[tokio::test]
async fn an_application_of_another_namespace_is_out_of_reach() {
    let (ours, theirs) = (TestNamespace::new("ours").await, TestNamespace::new("theirs").await);
    theirs.create_defaults().await;
    let neighbour = User::person(&theirs, "neighbour").await.edits().await;
    neighbour
        .create(&theirs.namespace, &client_secret("blue", "sync", json!({})))
        .await
        .expect("an application of theirs");
    theirs.ready("ClientSecret", "blue").await;
    for user in User::of_both_sorts(&ours, "outsider").await {
        let user = user.edits().await;
        let reference =
            |name: &str, reference: Value| client_secret(name, "sync", json!({"applicationRef": reference}));
        user.create(&ours.namespace, &reference("blue", json!({"name": "sync"}))).await.expect("a name of nothing");
        ours.wait_not_ready("ClientSecret", "blue", "ApplicationNotFound").await;
        assert!(ours.find("Secret", &ours.namespace, "blue").await.is_none(), "nothing is delivered");
        user.delete("ClientSecret", &ours.namespace, "blue").await;
        let elsewhere =
            [json!({"name": "sync", "namespace": theirs.namespace}), json!({"name": theirs.unique_name("/sync")})];
        for elsewhere in elsewhere {
            let message = user.create(&ours.namespace, &reference("astray", elsewhere)).await.unwrap_err();
            assert!(message.contains("spec.applicationRef."), "{message}");
        }
        forbidden(user.create(&theirs.namespace, &client_secret("green", "sync", json!({}))).await);
        forbidden(user.read("Application", &theirs.namespace, "sync").await);
        forbidden(user.read("Secret", &theirs.namespace, "blue").await);
        forbidden(user.read("Secret", OPERATOR_NAMESPACE, "postern-install-key").await);
    }
}

#[tokio::test]
async fn a_forged_status_is_refused_or_has_no_effect() {
    let tenant = TestNamespace::new("made-up").await;
    tenant.create_defaults().await;
    let blue = tenant.issue("blue").await;
    let known = tenant.get("ClientSecret", "blue").await["status"]["versions"].clone();
    let made_up = |kind: &str| match kind {
        "ClientSecret" => json!({"status": {"versions": [{
            "id": "AAAAAAAA", "state": "Active", "createdAt": "2026-01-01T00:00:00Z", "verifier": known[0]["verifier"],
        }]}}),
        "Application" => json!({"status": {"clientId": "3f0c3a52-9d55-4d0e-8b6a-0f1f2a6f5c1e", "epoch": 0}}),
        _ => json!({"status": {"subject": "3f0c3a52-9d55-4d0e-8b6a-0f1f2a6f5c1e", "epoch": 0, "roles": ["admin"]}}),
    };
    let objects = [("ClientSecret", "blue"), ("Application", "sync"), ("ServiceUser", "sync")];
    for user in User::of_both_sorts(&tenant, "forger").await {
        let user = user.edits().await;
        for (kind, name) in objects {
            let before = believed(&tenant.get(kind, name).await);
            forbidden(user.merge_status(kind, &tenant.namespace, name, made_up(kind)).await);
            user.merge(kind, &tenant.namespace, name, made_up(kind)).await.expect("a status is not read here");
            assert_eq!(believed(&tenant.get(kind, name).await), before);
        }
        let status = made_up("ClientSecret")["status"].clone();
        let mut born_with_it = client_secret("born", "nowhere", json!({}));
        born_with_it["status"] = status;
        user.create(&tenant.namespace, &born_with_it).await.expect("a status is not read here either");
        tenant.wait_not_ready("ClientSecret", "born", "ApplicationNotFound").await;
        assert!(tenant.get("ClientSecret", "born").await["status"]["versions"].is_null());
        user.delete("ClientSecret", &tenant.namespace, "born").await;
        tenant.accepted(&blue).await;
    }
}

/// What an attacker would forge in a status. The rest of it still changes: secrets are counted, uses are reported.
fn believed(object: &Value) -> Value {
    let status = &object["status"];
    let versions = status["versions"].as_array().into_iter().flatten();
    let versions: Vec<_> = versions.map(|version| [&version["id"], &version["state"], &version["verifier"]]).collect();
    json!([status["clientId"], status["subject"], status["epoch"], status["roles"], versions])
}

#[tokio::test]
async fn the_role_view_sees_no_credential() {
    let tenant = TestNamespace::new("view").await;
    tenant.create_defaults().await;
    let blue = tenant.issue("blue").await;
    for user in User::of_both_sorts(&tenant, "viewer").await {
        let user = user.with_role("view", ("get", "postern.dev", "clientsecrets")).await;
        for (kind, name) in [("ServiceUser", "sync"), ("Application", "sync"), ("ClientSecret", "blue")] {
            let seen = user.read(kind, &tenant.namespace, name).await.expect("what they may see").to_string();
            assert!(!seen.contains(blue.key("client-secret")));
        }
        forbidden(user.read("Secret", &tenant.namespace, "blue").await);
        forbidden(user.create(&tenant.namespace, &application("new", "sync", json!({}))).await);
        for verb in VERBS {
            assert!(!user.has((verb, "", "secrets"), "").await, "{verb} secrets");
            for kind in ["serviceusers", "applications", "clientsecrets"] {
                let reads = ["get", "list", "watch"].contains(&verb);
                assert_eq!(user.has((verb, "postern.dev", kind), "").await, reads, "{verb} {kind}");
            }
        }
    }
}

#[tokio::test]
async fn the_role_edit_can_neither_access_nor_bind_access_groups() {
    let tenant = TestNamespace::new("edit").await;
    let (group, right) = (tenant.unique_name("readers"), ("create", "postern.dev", "accessgroups"));
    let editor = User::person(&tenant, "editor").await;
    let editor = editor.with_role_everywhere("edit", ("create", "postern.dev", "serviceusers")).await;
    let owner = User::person(&tenant, "owner").await.with_role_everywhere("postern-accessgroup-editor", right).await;
    owner.may("permit", "postern.dev", "audiences", &["https://billing.example.com"]).await;
    owner.may("grant", "postern.dev", "roles", &["billing.reader", "writer"]).await;
    forbidden(editor.create("", &access_group(&group, json!({}))).await);
    owner.create("", &access_group(&group, json!({}))).await.expect("the owner of an API");
    forbidden(editor.merge("AccessGroup", "", &group, json!({"spec": {"role": "admin"}})).await);
    owner.merge("AccessGroup", "", &group, json!({"spec": {"role": "writer"}})).await.expect("the owner of an API");
    for verb in VERBS {
        assert!(!editor.has((verb, "postern.dev", "accessgroups"), "").await, "{verb} accessgroups");
        assert!(owner.has((verb, "postern.dev", "accessgroups"), "").await, "{verb} accessgroups");
    }
    for user in [&editor, &owner] {
        assert!(!user.has(("bind", "postern.dev", "accessgroups"), &group).await);
        for status in ["serviceusers/status", "applications/status", "clientsecrets/status", "accessgroups/status"] {
            assert!(!user.has(("patch", "postern.dev", status), "").await, "{status}");
        }
    }
    editor
        .create(&tenant.namespace, &service_user("sync", &[&group]))
        .await
        .expect_err("a group that they do not hold");
}

fn forbidden(answer: Result<Value, String>) {
    let message = answer.expect_err("a right that they do not have");
    assert!(message.contains(" is forbidden: User ") && message.contains(" cannot "), "{message}");
}
