//! The management endpoint: a client reads its own state, and nothing of other clients.

use std::num::NonZeroU32;
use std::sync::Arc;

use postern::crypto::install_key::HashCost;
use postern::oauth::client_record::{Denial, SecretVersion, Usages, Verification};
use postern::oauth::client_store::{CatchUpError, RecordError};
use postern::oauth::denial_rule::DenialRule;
use serde_json::json;

use crate::captured_logs;
use crate::operations::audit;
use crate::secret_purposes::{DIRECT, with_secret};
use crate::server::{
    BILLING, CLIENT_ID, Credential, FORM, NOW, SUBJECT, TestServer, UID, basic, grant, instant, object, record,
    record_of,
};

const PATHS: [&str; 2] = ["/manage/v1/application", "/manage/v1/secrets"];
const MANAGE: Usages = Usages { token: false, direct: false, manage: true };

#[tokio::test]
async fn a_client_reads_its_own_application() {
    let server = TestServer::start().await;
    server.clients.put(with_secret(&server, MANAGE, None));
    let reply = server.send("GET", PATHS[0], &[("authorization", &server.credential.basic())], "").await;
    assert_eq!((reply.status, reply.header("cache-control")), (200, Some("no-store")));
    let mut expected = json!({
        "namespace": "billing", "name": "invoice-sync", "clientId": CLIENT_ID, "subject": SUBJECT,
        "auth": {"methods": [
            "client_secret_basic", "client_secret_post", "private_key_jwt", "kubernetes_service_account", "federated_jwt",
            "tls_client_auth", "self_signed_tls_client_auth",
        ]},
        "token": {"lifetimeSeconds": 900, "signingAlgorithm": "ES256"},
        "permissions": [{
            "audience": BILLING, "scopes": ["invoices:list", "invoices:read"],
            "roles": ["billing.lister", "billing.reader"],
        }],
    });
    assert_eq!(reply.json(), expected);
    let mut client = with_secret(&server, MANAGE, None);
    client.networks = Some(["127.0.0.0/8".parse().unwrap()].into());
    server.clients.put(client);
    expected["auth"]["networks"] = json!(["127.0.0.0/8"]);
    let reply = server.send("GET", PATHS[0], &[("authorization", &server.credential.basic())], "").await;
    assert_eq!(reply.json(), expected);
}

#[tokio::test]
async fn a_client_reads_the_metadata_of_its_secrets_and_never_a_value() {
    let server = TestServer::start().await;
    let (second, old) = (server.credential(), server.credential());
    let mut client = record_of(grant(&[(BILLING, "read", "reader", "Operational")]), &[&server.credential, &second]);
    client.secrets[0].networks = Some(Box::new(["127.0.0.0/8".parse().unwrap()]));
    client.secrets[0].expires_at = Some(instant(NOW + 60));
    client.secrets[0].versions.push(ending(&old, NOW + 10));
    client.secrets[1].usages = DIRECT;
    client.secrets[1].disabled =
        Some(Box::new(Denial { rule: DenialRule::Revoked, object: object("ClientSecret", "x") }));
    client.secrets[1].versions = vec![ending(&second, NOW)];
    server.clients.put(client);

    let reply = server.send("GET", PATHS[1], &[("authorization", &server.credential.basic())], "").await;
    let permissions = json!([{"audience": BILLING, "scopes": ["read"], "roles": ["reader"]}]);
    let version = |credential: &Credential, state: &str, end: Option<i64>| {
        let id = &credential.version.id;
        let mut version = json!({"id": id, "hint": format!("pst_{}", &id[..4]), "state": state});
        if let Some(end) = end {
            version["retiresAt"] = instant(end).to_string().into();
        }
        version
    };
    let expected = json!({"secrets": [
        {
            "name": "invoice-sync-0", "inUseHere": true, "usages": ["Token", "Direct", "Manage"],
            "networks": ["127.0.0.0/8"], "expiresAt": instant(NOW + 60).to_string(), "permissions": permissions,
            "versions": [version(&server.credential, "Active", None), version(&old, "Retiring", Some(NOW + 10))],
        },
        {
            "name": "invoice-sync-1", "inUseHere": false, "refused": "Revoked", "usages": ["Direct"],
            "permissions": permissions, "versions": [version(&second, "Retired", Some(NOW))],
        },
    ]});
    assert_eq!(reply.json(), expected);
    for credential in [&server.credential, &old, &second] {
        assert!(!reply.text().contains(&**credential.version.verification.verifier().unwrap()));
    }
}

fn ending(credential: &Credential, end: i64) -> Arc<SecretVersion> {
    Arc::new(SecretVersion {
        id: credential.version.id.clone(),
        verification: credential.version.verification.clone(),
        accepted_until: Some(instant(end)),
        memory: Arc::default(),
    })
}

#[tokio::test]
async fn no_other_credential_can_read_the_self_service_endpoints() {
    let server = TestServer::start().await;
    let token = server.token("").await.json()["access_token"].as_str().unwrap().to_owned();
    let (stranger, basic) = (server.credential().basic(), server.credential.basic());
    let challenge = Some(r#"Basic realm="postern", charset="UTF-8""#);
    for path in PATHS {
        for (authorization, body) in [("", ""), (&*format!("Bearer {token}"), "")] {
            let reply = server.send("GET", path, &[("authorization", authorization)], "").await;
            assert_eq!((reply.status, reply.header("www-authenticate"), reply.text().as_str()), (401, challenge, body));
        }
        let reply = server.send("GET", path, &[("authorization", &stranger)], "").await;
        assert_eq!((reply.error(), reply.header("www-authenticate")), ((401, "invalid_client".to_owned()), challenge));
        let query = format!("{path}?client_secret={}", server.credential.value);
        let reply = server.send("GET", &query, &[("authorization", &basic)], "").await;
        assert_eq!(reply.error(), (400, "invalid_request".to_owned()));
        let reply = server.send("GET", path, &[("authorization", basic.as_str()); 2], "").await;
        assert_eq!(reply.error(), (400, "invalid_request".to_owned()));
        let reply = server.send("POST", path, &[("authorization", &basic)], "").await;
        assert_eq!((reply.status, reply.header("allow")), (405, Some("GET, HEAD")));
        server.clients.put(with_secret(&server, DIRECT, None));
        let reply = server.send("GET", path, &[("authorization", &basic)], "").await;
        assert_eq!((reply.error(), reply.header("www-authenticate")), ((403, "unauthorized_client".to_owned()), None));
        server.clients.put(record(&server.credential));
    }
    assert!(captured_logs::text().contains(r#""rule":"UseNotAllowed""#));
    let text = server.metrics_text();
    assert!(
        text.contains(r#"postern_http_requests_total{endpoint="management",outcome="unauthorized_client"} 2"#),
        "{text}"
    );
}

#[tokio::test]
async fn a_bearer_requests_the_rotation_of_the_secret_that_it_presents_and_of_no_other() {
    let server = TestServer::start().await;
    let second = server.credential();
    let mut client = record_of(grant(&[(BILLING, "read", "reader", "Operational")]), &[&server.credential, &second]);
    client.secrets[1].usages = DIRECT;
    server.clients.put(client);
    let ask = async |credential: &Credential| {
        server.send("POST", "/manage/v1/rotate", &[("authorization", &credential.basic())], "").await
    };
    let reply = ask(&server.credential).await;
    assert_eq!(reply.status, 202);
    let version = server.credential.version.id.clone();
    assert_eq!(reply.json(), json!({"name": "invoice-sync-0", "version": version}));
    assert_eq!(*server.clients.rotations.lock().unwrap(), [("invoice-sync-0".to_owned(), version)]);

    assert_eq!(ask(&second).await.status, 403, "not for managing");
    assert_eq!(server.send("POST", "/manage/v1/rotate", &[], "").await.status, 401);
    assert_eq!(server.send("GET", "/manage/v1/rotate", &[], "").await.status, 405);
    *server.clients.catch_up.lock().unwrap() = Err(postern::oauth::client_store::CatchUpError::Behind);
    let reply = ask(&server.credential).await;
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")), "not recorded, so not promised");
    assert_eq!(server.clients.rotations.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_value_that_has_a_successor_or_is_imported_requests_no_rotation() {
    let server = TestServer::start().await;
    let (old, imported) = (server.credential(), server.credential());
    let mut client = record_of(grant(&[(BILLING, "read", "reader", "Operational")]), &[&server.credential, &imported]);
    client.secrets[0].versions.push(ending(&old, NOW + 600));
    let verifier = server.install.hash("three-of-hearts-and-spades", UID, HashCost::Imported).unwrap();
    client.secrets[1].versions = vec![Arc::new(SecretVersion {
        id: "imported".to_owned(),
        verification: Verification::Imported(verifier.into()),
        accepted_until: None,
        memory: Arc::default(),
    })];
    server.clients.put(client);
    for authorization in [old.basic(), basic(&format!("{CLIENT_ID}:three-of-hearts-and-spades"))] {
        let reply = server.send("POST", "/manage/v1/rotate", &[("authorization", &authorization)], "").await;
        assert_eq!(reply.status, 202, "{}", reply.text());
    }
    assert!(server.clients.rotations.lock().unwrap().is_empty(), "and the API server is not asked");
    let retired = ending(&old, NOW);
    let mut client = record_of(grant(&[(BILLING, "read", "reader", "Operational")]), &[&server.credential]);
    client.secrets[0].versions.push(retired);
    server.clients.put(client);
    let reply = server.send("POST", "/manage/v1/rotate", &[("authorization", &old.basic())], "").await;
    assert_eq!(reply.status, 401, "a value that is not accepted any more asks for nothing either");
    assert!(server.clients.rotations.lock().unwrap().is_empty());
}

#[tokio::test]
async fn r6_a_client_that_exceeds_a_write_limit_gets_a_retry_after() {
    let server = TestServer::start().await;
    let authorization = server.credential.basic();
    let body = format!("token={}", server.token("").await.json()["access_token"].as_str().unwrap());
    *server.clients.catch_up.lock().unwrap() = Err(CatchUpError::Behind);
    for (reason, status, seconds, outcome) in [
        (RecordError::TooOften(NonZeroU32::new(42).unwrap()), 429, "42", "rate_limited"),
        (RecordError::NoRoom, 503, "60", "unavailable"),
        (RecordError::Behind, 503, "1", "unavailable"),
    ] {
        *server.clients.unrecorded.lock().unwrap() = Some(reason);
        let headers = [("authorization", authorization.as_str())];
        let rotation = server.send("POST", "/manage/v1/rotate", &headers, "").await;
        let revocation = server.send("POST", "/oauth2/revoke", &[headers[0], FORM], &body).await;
        for reply in [rotation, revocation] {
            assert_eq!(reply.error(), (status, "temporarily_unavailable".to_owned()), "{reason:?}");
            assert_eq!(reply.header("retry-after"), Some(seconds), "{reason:?}");
            assert_eq!(audit(&reply)["outcome"], outcome);
        }
    }
}
