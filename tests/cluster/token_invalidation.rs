//! Tokens end with the permissions that they represent, at every replica, and for no other reason.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Credential, TestNamespace, access_group, application, client_secret, eventually, service_user};

/// What is done to which object: a merge patch, or `null` to delete it.
type Row = (&'static str, &'static str, Value);

/// Each row has its group, service user, application and secret, all named after it.
fn that_end_tokens() -> Vec<Row> {
    let spec = |spec: Value| json!({"spec": spec});
    let less = json!([{"audience": "https://billing.example.com", "scopes": ["invoices:list"]}]);
    let more =
        json!([{"audience": "https://billing.example.com", "scopes": ["invoices:list", "invoices:read", "more"]}]);
    vec![
        ("the role permits less", "AccessGroup", spec(json!({"permissions": less}))),
        ("the role permits more", "AccessGroup", spec(json!({"permissions": more}))),
        ("the role has another name", "AccessGroup", spec(json!({"role": "billing.lister"}))),
        ("the role is of another plane", "AccessGroup", spec(json!({"plane": "Admin"}))),
        ("the group is elsewhere", "AccessGroup", spec(json!({"location": "/apac"}))),
        ("the group is closed to the namespace", "AccessGroup", spec(json!({"namespaces": {"selector": null}}))),
        ("the group is deleted", "AccessGroup", Value::Null),
        ("the service user leaves the group", "ServiceUser", spec(json!({"groups": []}))),
        ("the service user is elsewhere", "ServiceUser", spec(json!({"location": "/apac"}))),
        ("the service user is suspended", "ServiceUser", spec(json!({"suspend": true}))),
        ("the service user is deleted", "ServiceUser", Value::Null),
        ("the application acts for another", "Application", spec(json!({"serviceUserRef": {"name": "other"}}))),
        ("the application is narrowed", "Application", spec(json!({"restrictTo": {"scopes": ["invoices:read"]}}))),
        ("the application is suspended", "Application", spec(json!({"suspend": true}))),
        ("the application is deleted", "Application", Value::Null),
        ("the secret is narrowed", "ClientSecret", spec(json!({"restrictTo": {"scopes": ["invoices:read"]}}))),
        ("the secret is revoked", "ClientSecret", spec(json!({"revoke": true}))),
        ("the secret has expired", "ClientSecret", spec(json!({"expiresIn": "1s"}))),
        ("the secret is deleted", "ClientSecret", Value::Null),
    ]
}

/// Nothing of this is about authority.
fn that_do_not() -> Vec<Row> {
    let text = |kind| ("a text", kind, json!({"spec": {"description": "Another text."}}));
    let labels = |kind| ("a label", kind, json!({"metadata": {"labels": {"team": "billing"}}}));
    let lifetime = json!({"spec": {"token": {"lifetime": "5m"}}});
    let kinds = ["AccessGroup", "ServiceUser", "Application", "ClientSecret"];
    let mut rows: Vec<Row> = kinds.into_iter().flat_map(|kind| [text(kind), labels(kind)]).collect();
    rows.push(("another lifetime", "Application", lifetime));
    rows
}

#[tokio::test]
async fn every_change_of_their_authority_invalidates_issued_tokens() {
    let tenant = TestNamespace::new("ended-tokens").await;
    let api = tenant.api().await;
    tenant.apply(&service_user("other", &[])).await;
    for (number, (what, kind, patch)) in that_end_tokens().into_iter().enumerate() {
        let row = set(&tenant, &format!("row-{number}")).await;
        let token = tenant.token(&tenant.delivered(&row.secret).await, number % 2).await;
        tenant.wait_active(&api, &token, true).await;
        row.change(&tenant, kind, &patch).await;
        println!("{what}");
        tenant.wait_active(&api, &token, false).await;
    }
}

#[tokio::test]
async fn issued_tokens_stay_valid_after_a_change_of_anything_but_their_authority() {
    let tenant = TestNamespace::new("living-tokens").await;
    let api = tenant.api().await;
    let row = set(&tenant, "row").await;
    let epochs = async || {
        let epoch = async |kind: &str| tenant.get(kind, &row.secret).await["status"]["epoch"].clone();
        (epoch("ServiceUser").await, epoch("Application").await)
    };
    let token = tenant.token(&tenant.delivered(&row.secret).await, 0).await;
    let before = epochs().await;
    for (what, kind, patch) in that_do_not() {
        row.change(&tenant, kind, &patch).await;
        tenant.settled().await;
        assert_eq!(epochs().await, before, "{what} of the {kind}");
        tenant.wait_active(&api, &token, true).await;
    }
}

#[tokio::test]
async fn deleting_the_secret_invalidates_the_tokens_of_its_value_and_no_others() {
    let tenant = TestNamespace::new("leaked-tokens").await;
    let api = tenant.api().await;
    tenant.create_defaults().await;
    let (leaked, other) = (tenant.issue("leaked").await, tenant.issue("other").await);
    for losses in 1..3 {
        let leaked = tenant.delivered("leaked").await;
        let (token, beside) = (tenant.token(&leaked, 0).await, tenant.token(&other, 1).await);
        tenant.wait_active(&api, &token, true).await;
        tenant.wait_active(&api, &beside, true).await;
        tenant.delete("Secret", &tenant.namespace, "leaked").await;
        tenant.wait_active(&api, &token, false).await;
        tenant.wait_active(&api, &beside, true).await;
        tenant.wait_rejected(&leaked).await;
        tenant.ready("ClientSecret", "leaked").await;
        let healed = eventually("there is a new value", async || {
            let secret = tenant.find("Secret", &tenant.namespace, "leaked").await.ok_or("no Secret")?;
            Ok(Credential::delivered_in(&secret))
        })
        .await;
        tenant.wait_accepted(&healed).await;
        let after = tenant.token(&healed, 1).await;
        tenant.wait_active(&api, &after, true).await;
        tenant.wait_active(&api, &token, false).await;
        assert_eq!(tenant.get("ClientSecret", "leaked").await["status"]["losses"], losses);
    }
    tenant.wait_rejected(&leaked).await;
}

#[tokio::test]
async fn a_token_issued_before_a_suspension_stays_invalid_after_it() {
    let tenant = TestNamespace::new("suspended-tokens").await;
    let api = tenant.api().await;
    for (number, kind) in ["ServiceUser", "Application"].into_iter().enumerate() {
        let row = set(&tenant, &format!("row-{number}")).await;
        let credential = tenant.delivered(&row.secret).await;
        let before = tenant.token(&credential, number).await;
        tenant.wait_active(&api, &before, true).await;
        row.change(&tenant, kind, &json!({"spec": {"suspend": true}})).await;
        tenant.switched_off(kind, &row.secret, "Suspended", "Suspended").await;
        tenant.wait_active(&api, &before, false).await;
        row.change(&tenant, kind, &json!({"spec": {"suspend": false}})).await;
        tenant.ready(kind, &row.secret).await;
        tenant.wait_accepted(&credential).await;
        tenant.wait_condition("Application", &row.secret, "Propagated", "True", "Served").await;
        let after = tenant.token(&credential, number).await;
        tenant.wait_active(&api, &after, true).await;
        let inactive = json!({"active": false});
        assert_eq!(tenant.introspected(&api, &before).await, [inactive.clone(), inactive], "of a suspended {kind}");
    }
}

#[tokio::test]
async fn tokens_become_invalid_when_the_namespace_moves_or_is_no_longer_admitted() {
    let tenant = TestNamespace::new("moving").await;
    let api = tenant.api().await;
    let row = set(&tenant, "row").await;
    tenant
        .merge("Namespace", "", &tenant.namespace, json!({"metadata": {"labels": {"team": "billing"}}}))
        .await
        .unwrap();
    let admitted = json!({"spec": {"namespaces": {"selector": {"matchLabels": {"team": "billing"}}}}});
    tenant.merge("AccessGroup", "", &row.group, admitted).await.unwrap();
    tenant.ready("ServiceUser", &row.secret).await;
    let credential = tenant.delivered(&row.secret).await;
    for metadata in [
        json!({"annotations": {"postern.dev/location": "/apac"}}),
        json!({"annotations": {"postern.dev/location": null}, "labels": {"team": "ledger"}}),
    ] {
        let token = tenant.token(&credential, 0).await;
        tenant.merge("Namespace", "", &tenant.namespace, json!({"metadata": metadata})).await.unwrap();
        // The API that looks is of this namespace too.
        let elsewhere =
            json!({"metadata": {"annotations": {"postern.dev/location": null}, "labels": {"team": "ledger"}}});
        tenant.answers_everywhere(&credential, &[], "400 invalid_scope").await;
        tenant.merge("Namespace", "", &tenant.namespace, elsewhere).await.unwrap();
        tenant.wait_active(&api, &token, false).await;
        // A return in the second of the loss keeps the tokens of that second, if no epoch was incremented between.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let back = json!({"metadata": {"labels": {"team": "billing"}}});
        tenant.merge("Namespace", "", &tenant.namespace, back).await.unwrap();
        tenant.wait_accepted(&credential).await;
        tenant.wait_active(&api, &token, false).await;
    }
}

#[tokio::test]
async fn a_forged_epoch_invalidates_no_token_and_a_change_of_authority_still_does() {
    let tenant = TestNamespace::new("forged-epoch").await;
    let api = tenant.api().await;
    let row = set(&tenant, "row").await;
    let credential = tenant.delivered(&row.secret).await;
    tenant.wait_accepted(&credential).await;
    for epoch in [i64::MAX, i64::MAX - 1, i64::MIN] {
        for kind in ["ServiceUser", "Application"] {
            let forged = json!({"status": {"epoch": epoch}});
            tenant.merge_status(kind, &tenant.namespace, &row.secret, forged).await.unwrap();
        }
        tenant.settled().await;
        for replica in 0..tenant.cluster.replicas.len() {
            let token = tenant.token(&credential, replica).await;
            tenant.wait_active(&api, &token, true).await;
        }
    }
    let tokens = [tenant.token(&credential, 0).await, tenant.token(&credential, 1).await];
    row.change(&tenant, "ServiceUser", &json!({"spec": {"groups": []}})).await;
    for token in &tokens {
        tenant.wait_active(&api, token, false).await;
    }
}

/// The objects of one row.
struct Chain {
    group: String,
    secret: String,
}

async fn set(tenant: &TestNamespace, name: &str) -> Chain {
    let group = tenant.unique_name(name);
    tenant.apply(&access_group(&group, json!({}))).await;
    tenant.apply(&service_user(name, &[&group])).await;
    tenant.apply(&application(name, name, json!({}))).await;
    tenant.apply(&client_secret(name, name, json!({}))).await;
    tenant.ready("ServiceUser", name).await;
    tenant.ready("ClientSecret", name).await;
    Chain { group, secret: name.to_owned() }
}

impl Chain {
    async fn change(&self, tenant: &TestNamespace, kind: &str, patch: &Value) {
        let (namespace, name) = match kind {
            "AccessGroup" => ("", &self.group),
            _ => (tenant.namespace.as_str(), &self.secret),
        };
        if patch.is_null() {
            tenant.delete(kind, namespace, name).await;
        } else {
            tenant.merge(kind, namespace, name, patch.clone()).await.unwrap();
        }
    }
}
