//! A user who adds an AccessGroup to a ServiceUser needs the verb `bind` on it.

use serde_json::{Value, json};

use crate::harness::{TestNamespace, User, service_user};

#[tokio::test]
async fn a_user_or_service_account_that_adds_a_group_needs_the_verb_bind_on_it() {
    let tenant = TestNamespace::new("bind").await;
    let (held, other) = (tenant.unique_name("held"), tenant.unique_name("other"));
    for user in User::of_both_sorts(&tenant, "author").await {
        let user = user.edits().await;
        let sync = |groups: &[&str]| service_user("sync", groups);
        refused(user.create(&tenant.namespace, &sync(&[&held])).await, &[&held], &held);
        user.create(&tenant.namespace, &sync(&[])).await.expect("a service user that holds nothing");

        refused(user.merge("ServiceUser", &tenant.namespace, "sync", groups(&[&held])).await, &[&held], &held);
        may_bind(&user, &[&held]).await;
        user.merge("ServiceUser", &tenant.namespace, "sync", groups(&[&held])).await.expect("a group that they hold");

        let both = [held.as_str(), &other];
        refused(user.merge("ServiceUser", &tenant.namespace, "sync", groups(&both)).await, &[&other], &other);
        refused(user.try_apply(&tenant.namespace, &sync(&both)).await, &[&other], &other);
        user.delete("ServiceUser", &tenant.namespace, "sync").await;
        refused(user.create(&tenant.namespace, &sync(&both)).await, &both, &other);
        may_bind(&user, &both).await;
        user.create(&tenant.namespace, &sync(&both)).await.expect("groups that they hold");
        user.delete("ServiceUser", &tenant.namespace, "sync").await;
    }
}

#[tokio::test]
async fn existing_groups_may_be_kept_reordered_and_removed_without_the_verb_bind() {
    let tenant = TestNamespace::new("bound").await;
    let (first, second) = (tenant.unique_name("first"), tenant.unique_name("second"));
    for user in User::of_both_sorts(&tenant, "editor").await {
        let user = user.edits().await;
        tenant.create(&tenant.namespace, &service_user("sync", &[&first, &second])).await.unwrap();
        let change =
            async |spec: Value| user.merge("ServiceUser", &tenant.namespace, "sync", json!({"spec": spec})).await;
        change(json!({"displayName": "Sync"})).await.expect("a change of something else");
        change(json!({"groups": [second, first]})).await.expect("another order");
        user.apply(&tenant.namespace, &service_user("sync", &[&first, &second])).await;
        change(json!({"groups": [first]})).await.expect("one group less");
        refused(change(json!({"groups": [first, second]})).await, &[&second], &second);
        change(json!({"groups": null})).await.expect("no group");
        refused(change(json!({"groups": [first]})).await, &[&first], &first);
        user.delete("ServiceUser", &tenant.namespace, "sync").await;
    }
}

#[tokio::test]
async fn every_one_of_the_most_groups_that_a_service_user_can_have_is_checked() {
    let tenant = TestNamespace::new("most").await;
    // As many and as long as they may be: the API server ends a policy that takes it too long.
    let names: Vec<String> = (0..64).map(|number| format!("{number:02}{}", "g".repeat(251))).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    // At the edges of the parts in which they are checked.
    for missing in [0, 21, 22, 43, 44, 63] {
        let user = User::person(&tenant, &format!("author-{missing}")).await.edits().await;
        let adds = async |groups: &[&str]| user.try_create(&tenant.namespace, &service_user("sync", groups)).await;
        let mut held = names.clone();
        held.remove(missing);
        may_bind(&user, &held).await;
        adds(&held).await.expect("groups with the verb bind");
        let refusal = adds(&names).await.expect_err("a group without the verb bind");
        assert!(refusal.contains("spec.groups: you need the verb bind on each AccessGroup"), "{missing}: {refusal}");
        may_bind(&user, &names).await;
        adds(&names).await.expect("all groups, granted by name");
    }
    let user = User::person(&tenant, "author-of-all").await.edits().await;
    may_bind(&user, &[]).await;
    user.try_create(&tenant.namespace, &service_user("sync", &names)).await.expect("all groups, granted without names");
}

async fn may_bind(user: &User<'_>, names: &[&str]) {
    user.may("bind", "postern.dev", "accessgroups", names).await;
}

fn groups(names: &[&str]) -> Value {
    json!({"spec": {"groups": names}})
}

/// Refused for the lack of `bind` on `lacking`, with a message that names all groups that were added.
fn refused(answer: Result<Value, String>, added: &[&str], lacking: &str) {
    let message = answer.expect_err("adding a group that one does not hold");
    let said = format!("spec.groups: to add {} you need the verb bind", added.join(", "));
    assert!(message.contains(&said) && message.contains(&format!("you lack it on {lacking};")), "{message}");
}
