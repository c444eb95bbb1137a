//! Names that others trust cannot be taken: client ids, and where a namespace lies.

use serde_json::{Value, json};

use crate::harness::{Cluster, TestNamespace, User, application};

/// A user with every right inside a namespace, the namespace itself included.
async fn owners_of(tenant: &TestNamespace) -> [User<'_>; 2] {
    let [person, account] = User::of_both_sorts(tenant, "owner").await;
    let right = ("patch", "", "namespaces");
    [person.with_role("cluster-admin", right).await, account.with_role("cluster-admin", right).await]
}

#[tokio::test]
async fn the_client_id_of_a_deleted_application_cannot_be_taken_without_the_verb_use() {
    let (victim, thieves) = (TestNamespace::new("inherited").await, TestNamespace::new("heirs").await);
    for user in owners_of(&thieves).await {
        victim.create_defaults().await;
        let application_of = victim.get("Application", "sync").await;
        let id = application_of["metadata"]["uid"].as_str().expect("a UID").to_owned();
        victim.delete("Application", &victim.namespace, "sync").await;

        let heir = application("heir", "sync", json!({"clientId": id}));
        let refused = async |answer: Result<Value, String>| {
            let message = answer.expect_err("a client id that others trust");
            assert!(message.contains(&format!("spec.clientId: you need the verb use on {id}")), "{message}");
        };
        refused(user.create(&thieves.namespace, &heir).await).await;
        refused(user.try_apply(&thieves.namespace, &heir).await).await;
        user.may("use", "postern.dev", "clientids", &["7f0c3a52-9d55-4d0e-8b6a-0f1f2a6f5c1e"]).await;
        refused(user.create(&thieves.namespace, &heir).await).await;
        user.create(&thieves.namespace, &application("heir", "sync", json!({}))).await.expect("an id of its own");
        let later = json!({"spec": {"clientId": id}});
        let message = user.merge("Application", &thieves.namespace, "heir", later).await.unwrap_err();
        assert!(message.contains("clientId is immutable"), "{message}");
        user.delete("Application", &thieves.namespace, "heir").await;

        user.may("use", "postern.dev", "clientids", &[&id]).await;
        user.create(&thieves.namespace, &heir).await.expect("an id that they may use");
        let renamed = json!({"spec": {"displayName": "Heir"}});
        user.merge("Application", &thieves.namespace, "heir", renamed).await.expect("a change of something else");
        user.delete("Application", &thieves.namespace, "heir").await;
    }
}

#[tokio::test]
async fn a_client_id_of_another_system_needs_the_verb_use_in_the_same_letter_case() {
    let tenant = TestNamespace::new("foreign-ids").await;
    for user in owners_of(&tenant).await {
        let id = format!("{}.prod~1", tenant.namespace);
        user.may("use", "postern.dev", "clientids", &[&id]).await;
        user.create(&tenant.namespace, &application("sync", "sync", json!({"clientId": id}))).await.expect("their id");
        for other in [id.to_uppercase(), format!("{id}.x"), "..".to_owned()] {
            let taken = application("other", "sync", json!({"clientId": other}));
            let message = user.try_create(&tenant.namespace, &taken).await.expect_err("another id");
            let said = format!(
                "spec.clientId: you need the verb use on {other} (postern.dev/clientids); ask for the right, or leave the field out"
            );
            assert!(message.contains(&said), "{message}");
        }
        user.delete("Application", &tenant.namespace, "sync").await;
    }
}

#[tokio::test]
async fn the_owner_of_a_namespace_cannot_move_it_without_the_verb_locate() {
    let metadata = json!({"annotations": {"postern.dev/location": "/emea"}});
    let tenant = TestNamespace::on(Cluster::shared(), "moved", metadata).await;
    let name = &tenant.namespace;
    let stays = async || {
        let namespace = tenant.kubernetes.get("Namespace", "", name).await;
        assert_eq!(namespace["metadata"]["annotations"]["postern.dev/location"], "/emea");
        namespace
    };
    for user in owners_of(&tenant).await {
        for to in [json!("/apac"), json!("/"), json!(""), json!(null)] {
            let moved = located(&to);
            refused(user.merge("Namespace", "", name, moved.clone()).await);
            refused(user.merge_status("Namespace", "", name, moved).await);
        }
        refused(user.merge("Namespace", "", name, json!({"metadata": {"annotations": null}})).await);
        let mut namespace = stays().await;
        namespace["metadata"]["annotations"]["postern.dev/location"] = json!("/apac");
        refused(user.replace("", &namespace).await);
        refused(user.finalize(&namespace).await);
        stays().await;

        let other = json!({"metadata": {"annotations": {"a": "b"}, "labels": {"team": "billing"}}});
        user.merge("Namespace", "", name, other).await.expect("a change of something else");
        user.finalize(&stays().await).await.expect("nothing changed");

        user.may("locate", "", "namespaces", &[name]).await;
        for to in [json!("/apac"), json!(null), json!("/emea")] {
            user.merge("Namespace", "", name, located(&to)).await.expect("who may locate it");
        }
    }
}

#[tokio::test]
async fn only_a_user_with_the_verb_locate_can_give_a_new_namespace_a_location() {
    let tenant = TestNamespace::new("founded").await;
    for user in User::of_both_sorts(&tenant, "founder").await {
        user.may("create", "", "namespaces", &[]).await;
        let (here, there) = (tenant.unique_name("here"), tenant.unique_name("there"));
        let namespace = |name: &str, annotations: Value| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "annotations": annotations}});
        let placed = |name: &str| namespace(name, json!({"postern.dev/location": "/emea"}));
        refused(user.try_create("", &placed(&here)).await);
        user.try_create("", &namespace(&here, json!({"a": "b"}))).await.expect("a namespace without a location");
        user.may("locate", "", "namespaces", &[&here]).await;
        user.try_create("", &placed(&here)).await.expect("the namespace that they may locate");
        refused(user.try_create("", &placed(&there)).await);
        let mut unnamed = placed("");
        unnamed["metadata"] = json!({"generateName": here, "annotations": {"postern.dev/location": "/emea"}});
        refused(user.try_create("", &unnamed).await);
    }
}

fn located(to: &Value) -> Value {
    json!({"metadata": {"annotations": {"postern.dev/location": to}}})
}

fn refused(answer: Result<Value, String>) {
    let message = answer.expect_err("a move");
    assert!(message.contains("metadata.annotations[postern.dev/location]: you need the verb locate"), "{message}");
}
