//! What a token may carry: requested ∩ ClientSecret ∩ Application ∩ ServiceUser, on the way from YAML to claims.

use serde_json::{Value, json};

use crate::harness::{TestNamespace, access_group, application, client_secret, service_user};

const BILLING: &str = "https://billing.example.com";
const LEDGER: &str = "https://ledger.example.com";

/// What it is about; `restrictTo` of the Application and of the ClientSecret; further fields of the Application's
/// `token`; the request; the answer.
type Row = (&'static str, Value, Value, Value, &'static [(&'static str, &'static str)], Result<Grant, &'static str>);
/// Scope, audience and roles of the token.
type Grant = (&'static str, &'static str, &'static [&'static str]);

const ALL: &[&str] = &["billing.reader", "ledger.writer"];

/// Of the service user: `billing.reader` may list and read invoices at the billing API; `ledger.writer` may read and
/// write entries at the ledger API and read invoices at the billing API.
#[rustfmt::skip]
fn table() -> Vec<Row> {
    let none = || json!({});
    vec![
        ("one audience, all scopes", none(), none(), none(), &[("audience", LEDGER)], Ok(("entries:read entries:write", LEDGER, &["ledger.writer"]))),
        ("both roles permit at it", none(), none(), none(), &[("audience", BILLING)], Ok(("invoices:list invoices:read", BILLING, ALL))),
        ("resource is the same", none(), none(), none(), &[("resource", LEDGER)], Ok(("entries:read entries:write", LEDGER, &["ledger.writer"]))),
        ("several audiences and no choice", none(), none(), none(), &[], Err("400 invalid_target")),
        ("a default audience", none(), none(), json!({"defaultAudience": BILLING}), &[], Ok(("invoices:list invoices:read", BILLING, ALL))),
        ("default scopes", none(), none(), json!({"defaultAudience": BILLING, "defaultScopes": ["invoices:read"]}), &[], Ok(("invoices:read", BILLING, ALL))),
        ("a scope that is held", none(), none(), none(), &[("audience", LEDGER), ("scope", "entries:read")], Ok(("entries:read", LEDGER, &["ledger.writer"]))),
        ("a scope of the other audience", none(), none(), none(), &[("audience", LEDGER), ("scope", "invoices:read")], Err("400 invalid_scope")),
        ("a scope beside one that is held", none(), none(), none(), &[("audience", LEDGER), ("scope", "entries:read admin")], Err("400 invalid_scope")),
        ("the same, narrowed", none(), none(), json!({"scopePolicy": "Narrow"}), &[("audience", LEDGER), ("scope", "entries:read admin")], Ok(("entries:read", LEDGER, &["ledger.writer"]))),
        ("an audience that is not held", none(), none(), none(), &[("audience", "https://evil.example.com")], Err("400 invalid_target")),
        ("Application: one role", json!({"roles": ["billing.reader"]}), none(), none(), &[], Ok(("invoices:list invoices:read", BILLING, &["billing.reader"]))),
        ("Application: one audience", json!({"audiences": [LEDGER]}), none(), none(), &[], Ok(("entries:read entries:write", LEDGER, &["ledger.writer"]))),
        ("Application: one scope", json!({"scopes": ["invoices:list"]}), none(), none(), &[], Ok(("invoices:list", BILLING, &["billing.reader"]))),
        ("Application: nothing", json!({"scopes": []}), none(), none(), &[], Err("400 invalid_scope")),
        ("Application: what is not held widens nothing", json!({"scopes": ["entries:read", "admin"]}), none(), none(), &[("scope", "admin")], Err("400 invalid_scope")),
        ("ClientSecret: one audience", none(), json!({"audiences": [LEDGER]}), none(), &[], Ok(("entries:read entries:write", LEDGER, &["ledger.writer"]))),
        ("ClientSecret: one role", none(), json!({"roles": ["ledger.writer"]}), none(), &[("audience", BILLING)], Ok(("invoices:read", BILLING, &["ledger.writer"]))),
        ("ClientSecret: nothing", none(), json!({"audiences": []}), none(), &[], Err("400 invalid_scope")),
        ("both levels", json!({"audiences": [BILLING]}), json!({"scopes": ["invoices:read"]}), none(), &[], Ok(("invoices:read", BILLING, ALL))),
        ("both levels, nothing in common", json!({"audiences": [BILLING]}), json!({"audiences": [LEDGER]}), none(), &[("audience", LEDGER)], Err("400 invalid_scope")),
        ("a lower level widens nothing", json!({"scopes": ["invoices:read"]}), json!({"scopes": ["invoices:read", "entries:read"]}), none(), &[("scope", "entries:read")], Err("400 invalid_scope")),
    ]
}

#[tokio::test]
async fn authority_only_narrows() {
    let tenant = TestNamespace::new("authority").await;
    let (reader, writer) = (tenant.unique_name("reader"), tenant.unique_name("writer"));
    tenant.apply(&access_group(&reader, json!({}))).await;
    let permissions = json!([
        {"audience": LEDGER, "scopes": ["entries:read", "entries:write"]},
        {"audience": BILLING, "scopes": ["invoices:read"]},
    ]);
    tenant.apply(&access_group(&writer, json!({"role": "ledger.writer", "permissions": permissions}))).await;
    tenant.apply(&service_user("sync", &[&reader, &writer])).await;
    tenant.ready("ServiceUser", "sync").await;
    let mut wrong = Vec::new();
    for (number, (what, of_application, of_secret, token, request, expected)) in table().into_iter().enumerate() {
        let name = format!("row-{number}");
        tenant.apply(&application(&name, "sync", json!({"restrictTo": of_application, "token": token}))).await;
        tenant.apply(&client_secret(&name, &name, json!({"restrictTo": of_secret}))).await;
        tenant.ready("ClientSecret", &name).await;
        let credential = tenant.delivered(&name).await;
        for answer in tenant.ask_settled(&credential, request, expected.err()).await {
            let got = answer.claims().map(|claims| json!([claims["scope"], claims["aud"], claims["roles"]]));
            let expected =
                expected.map(|(scope, audience, roles)| json!([scope, audience, roles])).map_err(str::to_owned);
            if got != expected {
                wrong.push(format!("{what}: expected {expected:?}, got {got:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn several_audiences_in_one_token_only_where_the_application_allows_it() {
    let tenant = TestNamespace::new("audiences").await;
    let group = tenant.unique_name("readers");
    let both = json!([{"audience": BILLING, "scopes": ["read"]}, {"audience": LEDGER, "scopes": ["read", "write"]}]);
    tenant.apply(&access_group(&group, json!({"permissions": both}))).await;
    tenant.apply(&service_user("sync", &[&group])).await;
    let request = [("resource", BILLING), ("resource", LEDGER)];
    for allowed in [false, true] {
        let name = format!("allowed-{allowed}");
        tenant.apply(&application(&name, "sync", json!({"token": {"multipleAudiences": allowed}}))).await;
        tenant.apply(&client_secret(&name, &name, json!({}))).await;
        tenant.ready("ServiceUser", "sync").await;
        tenant.ready("ClientSecret", &name).await;
        let credential = tenant.delivered(&name).await;
        let refusal = (!allowed).then_some("400 invalid_target");
        for answer in tenant.ask_settled(&credential, &request, refusal).await {
            let got = answer.claims().map(|claims| json!([claims["scope"], claims["aud"]]));
            let expected =
                if allowed { Ok(json!(["read", [BILLING, LEDGER]])) } else { Err("400 invalid_target".to_owned()) };
            assert_eq!(got, expected);
        }
    }
}

#[tokio::test]
async fn a_restriction_to_a_permission_that_is_not_granted_is_reported() {
    let tenant = TestNamespace::new("narrowed").await;
    tenant.create_defaults().await;
    tenant
        .apply(&application("sync", "sync", json!({"restrictTo": {"scopes": ["invoices:read", "invoices:shred"]}})))
        .await;
    let condition =
        tenant.wait_condition("Application", "sync", "RestrictionsResolved", "False", "PermissionNotGranted").await;
    assert!(condition["message"].as_str().unwrap().contains("invoices:shred"), "{condition}");
    let status = tenant.get("Application", "sync").await["status"].clone();
    assert_eq!(status["permissions"], json!([{"audience": BILLING, "scopes": ["invoices:read"]}]));
}

#[tokio::test]
async fn only_the_methods_that_an_application_allows_authenticate_it() {
    let tenant = TestNamespace::new("methods").await;
    tenant.create_defaults().await;
    tenant.apply(&application("post", "sync", json!({"auth": {"methods": ["client_secret_post"]}}))).await;
    tenant.apply(&client_secret("post", "post", json!({}))).await;
    tenant.ready("ClientSecret", "post").await;
    let credential = tenant.delivered("post").await;
    tenant.wait_rejected(&credential).await;
    tenant.apply(&application("post", "sync", json!({"auth": {"methods": ["client_secret_basic"]}}))).await;
    tenant.wait_accepted(&credential).await;
}

#[tokio::test]
async fn a_restriction_beyond_the_application_is_reported_and_resolves_with_a_change_of_the_group() {
    let tenant = TestNamespace::new("not-held").await;
    tenant.create_defaults().await;
    let restriction = json!({"restrictTo": {"scopes": ["invoices:read", "invoices:write"]}});
    tenant.apply(&client_secret("blue", "sync", restriction)).await;
    let told =
        tenant.wait_condition("ClientSecret", "blue", "RestrictionsResolved", "False", "PermissionNotGranted").await;
    assert!(told["message"].as_str().unwrap().contains("scopes: invoices:write"), "{told}");
    tenant.ready("ClientSecret", "blue").await;
    let more = json!([{"audience": "https://billing.example.com", "scopes": ["invoices:read", "invoices:write"]}]);
    tenant.apply(&access_group(&tenant.unique_name("readers"), json!({"permissions": more}))).await;
    tenant.wait_condition("ClientSecret", "blue", "RestrictionsResolved", "True", "RestrictionsResolved").await;
    let before = tenant.writes().await;
    assert_eq!(tenant.writes().await, before, "settled");
}
