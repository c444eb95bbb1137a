//! What ends a token ends it for its bearer, too: at forward authentication and at userinfo, at every replica.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use serde_json::{Value, json};

use crate::harness::{Credential, TestNamespace, application, client_secret, ensure, eventually, http};

/// Where a bearer shows its token.
const DOORS: [&str; 2] = ["auth?audience=https://billing.example.com", "oauth2/userinfo"];

#[tokio::test]
async fn a_token_that_was_revoked_or_lost_its_permissions_is_refused_everywhere() {
    let tenant = TestNamespace::new("bearers").await;
    tenant.create_defaults().await;
    for format in ["JWT", "Opaque"] {
        for end in [End::Revoked, End::Narrowed, End::SecretRevoked, End::UserSuspended] {
            let name = format!("{format}-{end:?}").to_lowercase();
            let token_settings = json!({"format": format});
            tenant.apply(&application(&name, "sync", json!({"token": token_settings}))).await;
            tenant.apply(&client_secret(&name, &name, json!({}))).await;
            tenant.ready("ClientSecret", &name).await;
            let credential = tenant.delivered(&name).await;
            let token = token(&tenant, &credential).await;
            assert_eq!(token.starts_with("pat_"), format == "Opaque");
            passes(&tenant, &token, 200).await;
            end.happens(&tenant, &name, &credential, &token).await;
            println!("{name}");
            passes(&tenant, &token, 401).await;
            if matches!(end, End::UserSuspended) {
                let back = json!({"spec": {"suspend": false}});
                tenant.merge("ServiceUser", &tenant.namespace, "sync", back).await.unwrap();
                eventually("the client is let in again", async || {
                    let answers = tenant.ask_everywhere(&credential, &[]).await;
                    ensure(answers.iter().all(|answer| answer.status == 200), format_args!("{answers:?}"))
                })
                .await;
                passes(&tenant, &token, 401).await;
            }
        }
    }
}

#[tokio::test]
async fn a_passed_check_is_a_use_of_a_token_and_a_token_idle_for_too_long_is_refused_everywhere() {
    let tenant = TestNamespace::new("idle-bearers").await;
    tenant.create_defaults().await;
    tenant.apply(&application("sync", "sync", json!({"token": {"format": "Opaque", "idleTimeout": "1m"}}))).await;
    let credential = tenant.issue("blue").await;
    let (used, idle) = (token(&tenant, &credential).await, token(&tenant, &credential).await);
    for (replica, door) in DOORS.into_iter().enumerate() {
        let before = ends(&tenant, &credential, &used).await;
        eventually(format_args!("every replica hears that {door} was passed at replica {replica}"), async || {
            assert_eq!(ask(&tenant, replica, door, &used).await, StatusCode::OK);
            let now = ends(&tenant, &credential, &used).await;
            ensure(now.iter().all(|end| *end > before[0].max(before[1])), format_args!("{before:?} {now:?}"))
        })
        .await;
    }
    // It is not touched again, not even by a read, before it expires.
    tokio::time::sleep(Duration::from_secs(30)).await;
    tenant.wait_active(&credential, &idle, false).await;
    passes(&tenant, &idle, 401).await;
}

/// What happens to a token, or to the permissions that it represents.
#[derive(Clone, Copy, Debug)]
enum End {
    Revoked,
    Narrowed,
    SecretRevoked,
    UserSuspended,
}

impl End {
    /// All objects but the service user have the name.
    async fn happens(self, tenant: &TestNamespace, name: &str, credential: &Credential, token: &str) {
        let (kind, spec) = match self {
            Self::Revoked => {
                let url = format!("{}/oauth2/revoke", tenant.cluster.issuer());
                let (status, _) = credential.post(&tenant.connections, &url, &[("token", token)]).await;
                assert_eq!(status, StatusCode::OK);
                return;
            }
            Self::Narrowed => ("Application", json!({"restrictTo": {"scopes": ["invoices:read"]}})),
            Self::SecretRevoked => ("ClientSecret", json!({"revoke": true})),
            Self::UserSuspended => ("ServiceUser", json!({"suspend": true})),
        };
        let name = if kind == "ServiceUser" { "sync" } else { name };
        tenant.merge(kind, &tenant.namespace, name, json!({"spec": spec})).await.unwrap();
    }
}

/// A token with which its bearer may ask both doors.
async fn token(tenant: &TestNamespace, credential: &Credential) -> String {
    let form = [("scope", "openid invoices:list")];
    eventually("a token is granted", async || {
        let answer = credential.ask(&tenant.connections, tenant.cluster.issuer(), &form).await?;
        ensure(answer.status == 200, &answer.body)?;
        Ok(answer.token().to_owned())
    })
    .await
}

/// Waits until every replica answers so at both doors.
async fn passes(tenant: &TestNamespace, token: &str, expected: u16) {
    for replica in 0..tenant.cluster.replicas.len() {
        for door in DOORS {
            eventually(format_args!("replica {replica} answers {expected} at {door}"), async || {
                let status = ask(tenant, replica, door, token).await;
                ensure(status == expected, status)
            })
            .await;
        }
    }
}

async fn ask(tenant: &TestNamespace, replica: usize, door: &str, token: &str) -> StatusCode {
    let request = Request::get(format!("{}/{door}", tenant.cluster.replicas[replica].url))
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .body(Body::empty())
        .unwrap();
    http::send(&tenant.connections, request).await.expect("an answer").status
}

/// When the token ends at each replica, without using it.
async fn ends(tenant: &TestNamespace, credential: &Credential, token: &str) -> Vec<i64> {
    let said = tenant.introspected(credential, token).await;
    said.iter().map(|answer: &Value| answer["exp"].as_i64().unwrap_or_else(|| panic!("{answer}"))).collect()
}
