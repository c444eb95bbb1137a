//! U: use of bearer tokens, and what a service user may read about itself.

use serde_json::{Value, json};

use crate::forward_auth::{DPOP, ask, bearer, challenges};
use crate::server::{FORM, SUBJECT, TestServer};

#[tokio::test]
async fn u2_userinfo_returns_the_requested_identity_claims_of_a_service_user() {
    let server = TestServer::start().await;
    let (sub, name) = (json!(SUBJECT), json!("Invoice sync"));
    let (username, email) = (json!("billing/invoice-sync"), json!("invoice-sync@example.com"));
    for (scope, expected) in [
        ("openid", json!({"sub": sub})),
        ("openid+profile", json!({"sub": sub, "name": name, "preferred_username": username})),
        ("openid+email+invoices:read", json!({"sub": sub, "email": email, "email_verified": false})),
    ] {
        let token = bearer(&server, &format!("scope={scope}")).await;
        for method in ["GET", "POST"] {
            let reply = server.send(method, "/oauth2/userinfo", &[("authorization", &token)], "").await;
            assert_eq!((reply.status, reply.json()), (200, expected.clone()), "{method} {scope}");
            assert_eq!(reply.header("cache-control"), Some("no-store"));
        }
        let claims = server.claims(&format!("scope={scope}")).await;
        for claim in ["name", "preferred_username", "email", "email_verified"] {
            assert_eq!(claims.get(claim), expected.get(claim), "J6: {claim} of a token with {scope}");
        }
        assert_eq!(claims["scope"], scope.replace('+', " "));
    }
}

#[tokio::test]
async fn openid_is_never_required_and_its_claims_are_absent_unless_requested() {
    let server = TestServer::start().await;
    let reply = server.token("scope=invoices:read").await;
    assert_eq!(reply.json()["scope"], "invoices:read");
    assert_eq!(server.token("").await.json()["scope"], "invoices:list invoices:read");
    assert_eq!(reply.json().get("id_token"), None, "U3");
    let claims = server.claims("").await;
    assert!(["name", "preferred_username", "email", "email_verified"].iter().all(|claim| claims.get(*claim).is_none()));
}

#[tokio::test]
async fn u1_the_header_is_the_only_place_for_a_token() {
    let server = TestServer::start().await;
    let token = bearer(&server, "scope=openid").await;
    let bare = token.strip_prefix("Bearer ").unwrap();
    let nothing = server.get("/oauth2/userinfo").await;
    assert_eq!((nothing.status, nothing.text()), (401, String::new()), "no error code where nothing was sent");
    assert_eq!(challenges(&nothing), [r#"Bearer realm="postern""#, DPOP]);
    let form = server.send("POST", "/oauth2/userinfo", &[FORM], &format!("access_token={bare}")).await;
    assert_eq!(form.status, 401);
    let query = server.get(&format!("/oauth2/userinfo?access_token={bare}")).await;
    assert_eq!(query.error(), (400, "invalid_request".to_owned()));
    assert_eq!(challenges(&query), [r#"Bearer realm="postern", error="invalid_request""#]);
    let basic = ask(&server, "/oauth2/userinfo", &server.credential.basic()).await;
    assert_eq!((basic.status, challenges(&basic)), (401, vec![r#"Bearer realm="postern""#, DPOP]));
    let wrong = ask(&server, "/oauth2/userinfo", "Bearer x").await;
    assert_eq!(wrong.error(), (401, "invalid_token".to_owned()));
    assert_eq!(challenges(&wrong), [r#"Bearer realm="postern", error="invalid_token""#]);
    let without_openid = ask(&server, "/oauth2/userinfo", &bearer(&server, "scope=email").await).await;
    assert_eq!(without_openid.error(), (403, "insufficient_scope".to_owned()));
    assert_eq!(challenges(&without_openid), [r#"Bearer realm="postern", error="insufficient_scope", scope="openid""#]);
    assert_eq!(server.send("DELETE", "/oauth2/userinfo", &[], "").await.status, 405);
}

#[tokio::test]
async fn an_audience_named_by_a_scope_gives_the_same_answer_as_one_named_by_resource() {
    let server = TestServer::start().await;
    server.clients.put(crate::server::record_of_two(&server.credential));
    let told = async |parameters: &str| {
        let reply = server.token(parameters).await;
        assert_eq!(reply.status, 200, "{parameters}: {}", reply.text());
        let mut claims: Value = crate::server::claims(&reply);
        claims.as_object_mut().unwrap().remove("jti");
        (reply.json()["scope"].clone(), claims)
    };
    let named = told("scope=read&resource=https://ledger.example.com").await;
    for parameters in [
        "scope=read&audience=https://ledger.example.com",
        "scope=read+urn:postern:aud:https://ledger.example.com",
        "scope=urn:zitadel:iam:org:project:id:https://ledger.example.com:aud+read",
    ] {
        assert_eq!(told(parameters).await, named, "{parameters}");
    }
    let not_held = server.token("scope=read+urn:postern:aud:https://elsewhere.example.com").await;
    assert_eq!(not_held.error(), (400, "invalid_target".to_owned()));
    let several = "scope=read+urn:postern:aud:https://ledger.example.com+urn:postern:aud:https://billing.example.com";
    assert_eq!(server.token(several).await.error(), (400, "invalid_target".to_owned()));
}
