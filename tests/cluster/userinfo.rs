//! Scopes that are no permissions: which API a token is for, and what it may disclose about its bearer.

use axum::body::Body;
use axum::http::{Request, header};
use serde_json::{Value, json};

use crate::harness::{Credential, TestNamespace, access_group, application, http, object};

const BILLING: &str = "https://billing.example.com";
const LEDGER: &str = "https://ledger.example.com";

#[tokio::test]
async fn a_scope_names_the_api_at_every_replica_as_a_parameter_does() {
    let (tenant, credential) = set("audience-scopes").await;
    for (form, expected) in [
        (vec![("scope", "read"), ("resource", LEDGER)], Ok(LEDGER)),
        (vec![("scope", "read"), ("audience", LEDGER)], Ok(LEDGER)),
        (vec![("scope", "read urn:postern:aud:https://ledger.example.com")], Ok(LEDGER)),
        (vec![("scope", "read urn:zitadel:iam:org:project:id:https://ledger.example.com:aud")], Ok(LEDGER)),
        (vec![("scope", "urn:postern:aud:https://billing.example.com read")], Ok(BILLING)),
        (vec![("scope", "read")], Err("400 invalid_target")),
        (vec![("scope", "read urn:postern:aud:https://elsewhere.example.com")], Err("400 invalid_target")),
    ] {
        for answer in tenant.ask_everywhere(&credential, &form).await {
            let audience_and_scope = answer.claims().map(|claims| (claims["aud"].clone(), claims["scope"].clone()));
            let expected = expected.map(|audience| (json!(audience), json!("read"))).map_err(str::to_owned);
            assert_eq!(audience_and_scope, expected, "{form:?}");
        }
    }
}

#[tokio::test]
async fn a_token_has_the_requested_identity_claims_and_userinfo_returns_them_at_every_replica() {
    let (tenant, credential) = set("userinfo").await;
    let sub = tenant.get("ServiceUser", "sync").await["metadata"]["uid"].clone();
    let username = format!("{}/sync", tenant.namespace);
    for (scope, told) in [
        ("openid", json!({})),
        ("openid profile", json!({"name": "Invoice sync", "preferred_username": username})),
        ("openid email read", json!({"email": "sync@example.com", "email_verified": false})),
    ] {
        for answer in tenant.ask_everywhere(&credential, &[("scope", scope), ("resource", BILLING)]).await {
            let claims = answer.claims().unwrap_or_else(|refusal| panic!("{scope}: {refusal}"));
            assert_eq!(claims["scope"], scope);
            for claim in ["name", "preferred_username", "email", "email_verified"] {
                assert_eq!(claims[claim], told[claim], "{claim} of a token with {scope}");
            }
            let mut expected = told.clone();
            expected["sub"] = sub.clone();
            // A token of one replica, at each of them.
            for replica in &tenant.cluster.replicas {
                assert_eq!(userinfo(&tenant, &replica.url, answer.token()).await, (200, expected.clone()), "{scope}");
            }
        }
    }
    let without_openid = tenant.ask_everywhere(&credential, &[("scope", "email read"), ("resource", BILLING)]).await;
    let (status, said) = userinfo(&tenant, tenant.cluster.issuer(), without_openid[0].token()).await;
    assert_eq!((status, &said["error"]), (403, &json!("insufficient_scope")));
}

/// A service user with a name and an address, who may read at two APIs.
async fn set(name: &str) -> (TestNamespace, Credential) {
    let tenant = TestNamespace::new(name).await;
    let permissions = [BILLING, LEDGER].map(|audience| json!({"audience": audience, "scopes": ["read"]}));
    let group = tenant.unique_name("readers");
    tenant.apply(&access_group(&group, json!({"permissions": permissions}))).await;
    let user = json!({
        "location": "/emea/billing", "groups": [group], "displayName": "Invoice sync", "email": "sync@example.com",
    });
    tenant.apply(&object("ServiceUser", "sync", user)).await;
    tenant.apply(&application("sync", "sync", json!({}))).await;
    let credential = tenant.issue("blue").await;
    tenant.ask_settled(&credential, &[("scope", "read"), ("resource", BILLING)], None).await;
    (tenant, credential)
}

async fn userinfo(tenant: &TestNamespace, replica: &str, token: &str) -> (u16, Value) {
    let request = Request::get(format!("{replica}/oauth2/userinfo"))
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .body(Body::empty())
        .unwrap();
    let answer = http::send(&tenant.connections, request).await.expect("an answer");
    (answer.status.as_u16(), serde_json::from_slice(&answer.body).unwrap_or_default())
}
