//! Audiences, roles and introspection have owners: an author of groups cannot give what belongs to another API.

use serde_json::{Value, json};

use crate::harness::{TestNamespace, User, access_group};

const EDITOR: &str = "postern-accessgroup-editor";

/// Users who may write every AccessGroup, and own nothing.
async fn editors(tenant: &TestNamespace) -> [User<'_>; 2] {
    let right = ("create", "postern.dev", "accessgroups");
    let [person, account] = User::of_both_sorts(tenant, "owner").await;
    [person.with_role_everywhere(EDITOR, right).await, account.with_role_everywhere(EDITOR, right).await]
}

#[tokio::test]
async fn a_new_group_needs_the_owner_of_each_audience_of_introspection_and_of_the_role() {
    let tenant = TestNamespace::new("owned").await;
    for user in editors(&tenant).await {
        let [billing, ledger, role] =
            ["billing", "ledger", "reader"].map(|name| tenant.unique_name(&format!("{}/{name}", user.name)));
        let permissions = json!([
            {"audience": billing, "scopes": ["read", "introspect"]},
            {"audience": ledger, "scopes": ["read"]},
        ]);
        let group = access_group(&tenant.unique_name("group"), json!({"role": role, "permissions": permissions}));
        user.may("grant", "postern.dev", "roles", &["another", &role]).await;
        user.may("introspect", "postern.dev", "audiences", &[&billing]).await;
        for answer in [user.try_create("", &group).await, user.try_apply("", &group).await] {
            lacks(answer, "permit", &billing);
        }
        user.may("permit", "postern.dev", "audiences", &[&billing]).await;
        lacks(user.try_create("", &group).await, "permit", &ledger);
        user.may("permit", "postern.dev", "audiences", &[&billing, &ledger]).await;
        user.try_create("", &group).await.expect("what they own");

        user.may("introspect", "postern.dev", "audiences", &[&ledger]).await;
        lacks(user.try_create("", &group).await, "introspect", &billing);
        user.may("introspect", "postern.dev", "audiences", &[&billing]).await;
        user.may("grant", "postern.dev", "roles", &["another"]).await;
        lacks(user.try_create("", &group).await, "grant", &role);
        user.may("grant", "postern.dev", "roles", &[]).await;
        user.create("", &group).await.expect("what they own");
        user.delete("AccessGroup", "", &tenant.unique_name("group")).await;
    }
}

/// The attack: the owner of one API widens a group, which service users already have, to another API.
#[tokio::test]
async fn an_editor_of_groups_cannot_widen_a_group_beyond_the_audiences_and_roles_they_own() {
    let tenant = TestNamespace::new("widened").await;
    let (own, other) = (tenant.unique_name("own"), tenant.unique_name("other"));
    let (role, other_role) = (tenant.unique_name("role"), tenant.unique_name("other-role"));
    let name = tenant.unique_name("group");
    let permits = |own_scopes: &[&str], other_scopes: &[&str]| {
        let all = [(&own, own_scopes), (&other, other_scopes)];
        let some = all.iter().filter(|(_, scopes)| !scopes.is_empty());
        json!(some.map(|(audience, scopes)| json!({"audience": audience, "scopes": scopes})).collect::<Vec<_>>())
    };
    let before = permits(&["read"], &["read"]);
    for user in editors(&tenant).await {
        let group = json!({"role": role, "location": "/emea", "permissions": before});
        tenant.apply(&access_group(&name, group)).await;
        user.may("permit", "postern.dev", "audiences", &[&own]).await;
        user.may("introspect", "postern.dev", "audiences", &[&own]).await;
        let change = async |spec: Value| user.merge("AccessGroup", "", &name, json!({"spec": spec})).await;
        let third = tenant.unique_name("third");
        let mut with_third = permits(&["read"], &["read"]);
        with_third.as_array_mut().unwrap().push(json!({"audience": third, "scopes": ["read"]}));
        let refused = [
            (json!({"permissions": with_third}), "permit", &third),
            (json!({"permissions": permits(&["read"], &["read", "write"])}), "permit", &other),
            (json!({"permissions": permits(&["read"], &["write"])}), "permit", &other),
            (json!({"permissions": permits(&["read"], &["read", "introspect"])}), "introspect", &other),
            (json!({"role": other_role}), "grant", &other_role),
            (json!({"plane": "Admin"}), "grant", &role),
            (json!({"location": "/"}), "grant", &role),
            (json!({"location": "/apac"}), "grant", &role),
            (json!({"location": "/emea/billing"}), "grant", &role),
            (json!({"reach": "Subtree"}), "grant", &role),
        ];
        for (spec, verb, on) in refused {
            lacks(change(spec).await, verb, on);
        }
        change(json!({"permissions": permits(&["read", "write", "introspect"], &["read"])})).await.expect("their own");
        user.may("grant", "postern.dev", "roles", &[&role, &other_role]).await;
        change(json!({"role": other_role, "plane": "Admin", "location": "/apac"})).await.expect("their own roles");
        // One that was taken away is new again.
        change(json!({"permissions": permits(&["read"], &[])})).await.expect("less");
        lacks(change(json!({"permissions": before})).await, "permit", &other);
        user.delete("AccessGroup", "", &name).await;
    }
}

#[tokio::test]
async fn existing_permissions_of_a_group_may_be_kept_reordered_and_removed_without_any_verb() {
    let tenant = TestNamespace::new("narrowing").await;
    let name = tenant.unique_name("group");
    for user in editors(&tenant).await {
        let (one, two) = (tenant.unique_name("one"), tenant.unique_name("two"));
        let permissions = json!([
            {"audience": one, "scopes": ["read", "introspect", "write"]},
            {"audience": two, "scopes": ["read", "write"]},
        ]);
        let group = json!({"plane": "Admin", "location": "/emea", "reach": "Subtree", "permissions": permissions});
        let group = access_group(&name, group);
        tenant.apply(&group).await;
        user.apply("", &group).await;
        let narrower = [
            json!({"displayName": "Group", "description": "Another text"}),
            json!({"namespaces": {"names": ["billing"]}}),
            json!({"permissions": [permissions[1], permissions[0]]}),
            json!({"permissions": [{"audience": two, "scopes": ["write"]}, {"audience": one, "scopes": ["introspect", "read"]}]}),
            json!({"permissions": [{"audience": one, "scopes": ["read"]}]}),
            json!({"plane": "Operational"}),
            json!({"location": "/emea/billing"}),
            json!({"reach": "Location"}),
            json!({"namespaces": null}),
        ];
        for spec in narrower {
            let patched = user.merge("AccessGroup", "", &name, json!({"spec": spec})).await;
            patched.unwrap_or_else(|refusal| panic!("{spec}: {refusal}"));
        }
        // A neighbour of the location is not below it.
        tenant.merge("AccessGroup", "", &name, json!({"spec": {"reach": "Subtree"}})).await.unwrap();
        for location in ["/emea/billing-west", "/emea"] {
            let moved = user.merge("AccessGroup", "", &name, json!({"spec": {"location": location}})).await;
            lacks(moved, "grant", "billing.reader");
        }
        user.delete("AccessGroup", "", &name).await;
    }
}

#[tokio::test]
async fn every_one_of_the_most_audiences_that_a_group_can_have_is_checked() {
    let tenant = TestNamespace::new("most-audiences").await;
    // As many and as long as they may be: the API server ends a policy that takes it too long.
    let audiences: Vec<String> = (0..64).map(|number| format!("{number:02}{}", "a".repeat(254))).collect();
    let audiences: Vec<&str> = audiences.iter().map(String::as_str).collect();
    let scopes: Vec<String> = (0..62).map(|number| format!("{number:02}{}", "s".repeat(38))).collect();
    let group = |further: &[&str]| {
        let scopes: Vec<&str> = scopes.iter().map(String::as_str).chain(further.iter().copied()).collect();
        let permission = |audience: &&str| json!({"audience": audience, "scopes": scopes});
        let permissions: Vec<Value> = audiences.iter().map(permission).collect();
        access_group(&tenant.unique_name("group"), json!({"permissions": permissions}))
    };
    let new = group(&["introspect"]);
    // At the edges of the parts in which they are checked.
    for (number, missing) in [0, 21, 22, 43, 44, 63].into_iter().enumerate() {
        let user = User::person(&tenant, &format!("owner-{missing}")).await;
        let user = user.with_role_everywhere(EDITOR, ("create", "postern.dev", "accessgroups")).await;
        user.may("grant", "postern.dev", "roles", &[]).await;
        let [verb, other] = if number % 2 == 0 { ["permit", "introspect"] } else { ["introspect", "permit"] };
        let mut held = audiences.clone();
        held.remove(missing);
        user.may(verb, "postern.dev", "audiences", &held).await;
        user.may(other, "postern.dev", "audiences", &audiences).await;
        let refusal = user.try_create("", &new).await.expect_err("an audience of another owner");
        assert!(refusal.contains(&format!("you need the verb {verb} on the audience")), "{missing}: {refusal}");
        user.may(verb, "postern.dev", "audiences", &audiences).await;
        user.try_create("", &new).await.expect("all of them, owned by name");
    }
    // The most to compare: the last scope of each is new.
    tenant.apply(&group(&["introspect"])).await;
    let user = User::person(&tenant, "owner-of-all").await;
    let user = user.with_role_everywhere(EDITOR, ("create", "postern.dev", "accessgroups")).await;
    let widened = group(&["introspect", "new"]);
    let refusal = user.try_apply("", &widened).await.expect_err("scopes at audiences of another owner");
    assert!(refusal.contains("you need the verb permit on the audience"), "{refusal}");
    user.may("permit", "postern.dev", "audiences", &[]).await;
    user.apply("", &widened).await;
}

/// Refused for the lack of `verb` on `on`.
fn lacks(answer: Result<Value, String>, verb: &str, on: &str) {
    let message = answer.expect_err("what they do not own");
    let on = if verb == "grant" { format!("on the role {on} ") } else { format!("you lack it on {on};") };
    assert!(message.contains(&format!("you need the verb {verb} on the ")) && message.contains(&on), "{message}");
}
