//! Authors cannot act through the operator beyond their own rights: the author of a ClientSecret needs the rights that the
//! operator uses for it.

use serde_json::{Value, json};

use crate::harness::{TestNamespace, User, application, client_secret, object, service_user};

/// Users who may write our kinds, and have no right on Secrets or workloads.
async fn authors(tenant: &TestNamespace) -> [User<'_>; 2] {
    let right = ("create", "postern.dev", "clientsecrets");
    let [person, account] = User::of_both_sorts(tenant, "author").await;
    [person.with_role("postern-edit", right).await, account.with_role("postern-edit", right).await]
}

/// What the operator would do, and the right that it takes.
fn deeds() -> Vec<(Value, &'static str)> {
    let cluster_of_argo_cd = json!({"argocd.argoproj.io/secret-type": "cluster"});
    let delivery = |delivery: Value| json!({"delivery": delivery});
    let rollout = |kind: &str| json!({"rotation": {"rollout": [{"kind": kind, "name": "sync"}]}});
    vec![
        (delivery(json!({"secretName": "another"})), "create on secrets of this namespace to set secretName;"),
        (delivery(json!({"labels": cluster_of_argo_cd})), "create on secrets of this namespace to set labels;"),
        (delivery(json!({"annotations": {"a": ""}})), "create on secrets of this namespace to set annotations;"),
        (
            delivery(json!({"rename": {"client-secret": "password"}})),
            "create on secrets of this namespace to set rename;",
        ),
        (
            delivery(json!({"labels": {"a": ""}, "rename": {"client-id": "user"}})),
            "create on secrets of this namespace to set labels, rename;",
        ),
        (json!({"source": {"existing": {"secretName": "legacy", "key": "password"}}}), "get on the Secret legacy "),
        (json!({"source": {"existing": {"secretName": "nowhere", "key": "password"}}}), "get on the Secret nowhere "),
        (rollout("Deployment"), "patch on Deployment sync "),
        (rollout("StatefulSet"), "patch on StatefulSet sync "),
        (rollout("DaemonSet"), "patch on DaemonSet sync "),
    ]
}

#[tokio::test]
async fn an_author_needs_the_right_to_do_what_the_operator_does_for_a_client_secret() {
    let tenant = TestNamespace::new("deputy").await;
    tenant.apply(&object_of_others()).await;
    for user in authors(&tenant).await {
        let (here, name) = (&tenant.namespace, "blue");
        user.create(here, &client_secret(name, "sync", json!({}))).await.expect("what takes no other right");
        let its_own_name = client_secret("red", "sync", json!({"delivery": {"secretName": "red", "keys": "Env"}}));
        user.try_create(here, &its_own_name).await.expect("the name that it would have anyway");
        for (spec, right) in deeds() {
            let asked = client_secret("green", "sync", spec.clone());
            refused(user.try_create(here, &asked).await, right);
            refused(user.try_apply(here, &asked).await, right);
            if spec["delivery"]["secretName"].is_null() {
                refused(user.merge("ClientSecret", here, name, json!({"spec": spec})).await, right);
            }
        }
        user.delete("ClientSecret", here, name).await;
        assert!(tenant.find("Secret", here, "another").await.is_none());

        user.may("create", "", "secrets", &[]).await;
        user.may("get", "", "secrets", &["legacy", "nowhere"]).await;
        for workload in ["deployments", "statefulsets", "daemonsets"] {
            user.may("patch", "apps", workload, &["sync"]).await;
        }
        for (spec, right) in deeds() {
            let allowed = user.try_create(here, &client_secret("green", "sync", spec)).await;
            allowed.unwrap_or_else(|refusal| panic!("{right}: {refusal}"));
        }
    }
}

#[tokio::test]
async fn existing_settings_of_a_client_secret_may_be_kept_and_removed_without_the_right() {
    let tenant = TestNamespace::new("deputy-kept").await;
    tenant.apply(&service_user("sync", &[])).await;
    tenant.apply(&application("sync", "sync", json!({}))).await;
    let (here, name) = (&tenant.namespace, "blue");
    let workload = |name: &str| json!({"kind": "Deployment", "name": name});
    for user in authors(&tenant).await {
        let whole = json!({
            "delivery": {
                "secretName": "another", "labels": {"a": "b", "c": ""}, "annotations": {"a": "b"},
                "rename": {"client-id": "user", "client-secret": "password"},
            },
            "rotation": {"rollout": [workload("one"), workload("two")]},
        });
        // What is imported is not rotated.
        let imported = json!({"source": {"existing": {"secretName": "legacy", "key": "password"}}});
        tenant.apply(&client_secret(name, "sync", whole.clone())).await;
        tenant.apply(&client_secret("imported", "sync", imported.clone())).await;
        let change = async |spec: Value| {
            let name = if spec.get("source").is_some() { "imported" } else { name };
            user.merge("ClientSecret", here, name, json!({"spec": spec})).await
        };
        let shaped = "create on secrets of this namespace to set ";
        let refusals = [
            (json!({"delivery": {"labels": {"a": "c"}}}), format!("{shaped}labels;")),
            (json!({"delivery": {"annotations": {"c": ""}}}), format!("{shaped}annotations;")),
            (json!({"delivery": {"rename": {"client-id": "name"}}}), format!("{shaped}rename;")),
            (json!({"source": {"existing": {"key": "other"}}}), "get on the Secret legacy ".to_owned()),
            (json!({"source": {"existing": {"secretName": "other"}}}), "get on the Secret other ".to_owned()),
            (
                json!({"rotation": {"rollout": [workload("one"), workload("three")]}}),
                "patch on Deployment three ".to_owned(),
            ),
            (
                json!({"rotation": {"rollout": [{"kind": "StatefulSet", "name": "one"}]}}),
                "patch on StatefulSet one ".to_owned(),
            ),
        ];
        for (spec, right) in refusals {
            refused(change(spec).await, &right);
        }
        user.apply(here, &client_secret(name, "sync", whole)).await;
        user.apply(here, &client_secret("imported", "sync", imported)).await;
        let harmless = [
            json!({"description": "Another text", "expiresIn": "30d"}),
            json!({"rotation": {"rollout": [workload("two"), workload("one")]}}),
            json!({"rotation": {"rollout": [workload("two")]}}),
            json!({"delivery": {"labels": {"c": null}, "rename": {"client-id": null}, "annotations": null}}),
            json!({"rotation": null}),
            json!({"source": null}),
        ];
        for spec in harmless {
            let changed = change(spec.clone()).await;
            changed.unwrap_or_else(|refusal| panic!("{spec}: {refusal}"));
        }
        for name in [name, "imported"] {
            user.delete("ClientSecret", here, name).await;
        }
    }
}

#[tokio::test]
async fn the_role_edit_of_kubernetes_has_every_right_that_the_operator_uses_for_an_author() {
    let tenant = TestNamespace::new("deputy-edit").await;
    for user in User::of_both_sorts(&tenant, "editor").await {
        let user = user.edits().await;
        for (spec, right) in deeds() {
            let allowed = user.try_create(&tenant.namespace, &client_secret("green", "sync", spec)).await;
            allowed.unwrap_or_else(|refusal| panic!("{right}: {refusal}"));
        }
    }
}

#[tokio::test]
async fn every_one_of_the_most_workloads_is_checked() {
    let tenant = TestNamespace::new("deputy-most").await;
    let [user, _] = authors(&tenant).await;
    // As many and as long as they may be: the API server ends a policy that takes it too long.
    let names: Vec<String> = (0..20).map(|number| format!("{number:02}{}", "n".repeat(251))).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let workloads: Vec<Value> = names.iter().map(|name| json!({"kind": "StatefulSet", "name": name})).collect();
    let asked = json!({
        "delivery": {"secretName": "s".repeat(253), "labels": {"a": "b"}},
        "rotation": {"rollout": workloads},
    });
    let asked = client_secret("green", "sync", asked);
    user.may("create", "", "secrets", &[]).await;
    for missing in [0, 19] {
        let mut held = names.clone();
        held.remove(missing);
        user.may("patch", "apps", "statefulsets", &held).await;
        refused(user.try_create(&tenant.namespace, &asked).await, &format!("patch on StatefulSet {}", names[missing]));
    }
    user.may("patch", "apps", "statefulsets", &names).await;
    user.try_create(&tenant.namespace, &asked).await.expect("all of it");
}

/// That it exists makes no difference.
fn object_of_others() -> Value {
    let mut secret = object("Secret", "legacy", json!({}));
    secret.as_object_mut().unwrap().remove("spec");
    secret["metadata"]["labels"] = json!({"postern.dev/import": "true"});
    secret["stringData"] = json!({"password": "a value that is long enough"});
    secret
}

fn refused(answer: Result<Value, String>, right: &str) {
    let message = answer.expect_err("what they may not do themselves");
    assert!(message.contains(&format!("you need the verb {right}")), "{right}: {message}");
}
