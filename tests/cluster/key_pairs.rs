//! Key pairs that Postern generates: delivered, accepted like a secret, and worthless when forged or copied.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use postern::crypto::key_pair::{self, KeyAlgorithm, KeyKind, KeyPair};
use serde_json::{Value, json};

use crate::harness::{Credential, TestNamespace, client_secret, ensure, eventually, service_user};
use crate::interop_clients::{AUDIENCE, command, installed, run_everywhere};

async fn tenant(name: &str) -> TestNamespace {
    let tenant = TestNamespace::new(name).await;
    tenant.create_defaults().await;
    tenant.allow_key_pairs().await;
    tenant
}

#[tokio::test]
async fn openid_client_and_authlib_get_a_token_with_a_delivered_key_pair() {
    let tenant = tenant("pair-clients").await;
    let credential = tenant.issue_key_pair("blue", json!({})).await;
    tenant.accepted(&credential).await;
    let subject = tenant.get("ServiceUser", "sync").await["metadata"]["uid"].clone();
    let folder = installed();
    let (node, python) = (Path::new("node").to_owned(), Path::new(&folder).join("venv/bin/python"));
    let openid_client = format!("{folder}/node/openid_client.js");
    let authlib = format!("{folder}/python/authlib_client.py");
    for (program, arguments) in
        [(&node, vec![openid_client.as_str(), "oauth2", "key"]), (&python, vec![authlib.as_str(), "key"])]
    {
        let answers = run_everywhere(&tenant, &credential, credential.key("ca.crt"), || {
            let mut client = command(program, &arguments);
            client.env("CLIENT_ID", credential.key("client-id"));
            client.env("PRIVATE_KEY", credential.key("private-key")).env("KEY_ID", credential.key("key-id"));
            client
        });
        for claims in answers {
            assert_eq!((&claims["sub"], &claims["aud"]), (&subject, &json!(AUDIENCE)), "{claims}");
        }
    }
}

/// The delivered key file works unchanged.
#[tokio::test]
async fn g8_zitadels_go_library_gets_a_token_with_the_delivered_key_file() {
    let tenant = tenant("pair-zitadel").await;
    let subject = tenant.get("ServiceUser", "sync").await["metadata"]["uid"].clone();
    let program = Path::new(&installed()).join("go-clients");
    for algorithm in ["ES256", "RS256", "EdDSA"] {
        let name = algorithm.to_lowercase();
        let credential = tenant.issue_key_pair(&name, json!({"algorithm": algorithm})).await;
        tenant.accepted(&credential).await;
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), credential.key("key.json")).expect("write the key file");
        for answer in run_everywhere(&tenant, &credential, credential.key("ca.crt"), || {
            let mut client = command(&program, &["profile"]);
            client.env("KEY_FILE", file.path()).env("SCOPES", "invoices:read");
            client
        }) {
            let token = answer["access_token"].as_str().expect("a token");
            let claims = token.split('.').nth(1).and_then(|claims| URL_SAFE_NO_PAD.decode(claims).ok());
            let claims: Value = serde_json::from_slice(&claims.expect("a JWT")).expect("claims");
            assert_eq!((&claims["sub"], &claims["aud"]), (&subject, &json!(AUDIENCE)), "{algorithm}");
        }
    }
}

#[tokio::test]
async fn each_algorithm_is_generated_delivered_in_every_form_and_accepted() {
    let tenant = tenant("algorithms").await;
    let subject = tenant.get("ServiceUser", "sync").await["metadata"]["uid"].clone();
    for (name, private_key, algorithm, bytes) in [
        ("default", json!({}), "ES256", 0),
        ("rs256", json!({"algorithm": "RS256"}), "RS256", 256),
        ("ps256", json!({"algorithm": "PS256", "bits": 3072}), "PS256", 384),
        ("eddsa", json!({"algorithm": "EdDSA"}), "EdDSA", 0),
    ] {
        let credential = tenant.issue_key_pair(name, private_key).await;
        let status = tenant.get("ClientSecret", name).await["status"].clone();
        let version = &status["versions"][0];
        let public = &version["publicKey"];
        assert_eq!(
            (&public["alg"], &public["kid"], &status["hint"]),
            (&json!(algorithm), &version["id"], &version["id"])
        );
        assert_eq!((&version["verifier"], credential.key("key-id")), (&Value::Null, version["id"].as_str().unwrap()));
        let mut jwk: Value = serde_json::from_str(credential.key("private-key.jwk")).expect("a JWK");
        for member in ["d", "p", "q", "dp", "dq", "qi"] {
            assert_eq!(jwk.as_object_mut().unwrap().remove(member).is_some(), member == "d" || bytes > 0, "{member}");
        }
        assert_eq!(jwk, *public);
        // 4 characters of base64url for 3 bytes.
        assert_eq!(public["n"].as_str().map_or(0, str::len), (bytes * 4_usize).div_ceil(3), "{public}");
        assert!(!credential.names().contains(&"client-secret"));
        if algorithm == "PS256" {
            assert!(!credential.names().contains(&"key.json"), "its readers sign with RS256");
        } else {
            let file: Value = serde_json::from_str(credential.key("key.json")).expect("a key file");
            assert_eq!((&file["type"], &file["keyId"]), (&json!("serviceaccount"), &version["id"]));
            assert_eq!((&file["userId"], file["clientId"].as_str()), (&subject, Some(credential.key("client-id"))));
            let label =
                if algorithm == "RS256" { "-----BEGIN RSA PRIVATE KEY-----" } else { "-----BEGIN PRIVATE KEY-----" };
            assert!(file["key"].as_str().unwrap().starts_with(label));
        }
        tenant.accepted(&credential).await;
    }
}

#[tokio::test]
async fn what_is_delivered_for_a_key_pair_is_no_shared_secret() {
    let tenant = tenant("no-secret").await;
    let credential = tenant.issue_key_pair("blue", json!({})).await;
    tenant.accepted(&credential).await;
    for text in [credential.key("private-key"), credential.key("key-id"), credential.key("private-key.jwk")] {
        let form = [("client_id", credential.key("client-id")), ("client_secret", text)];
        let url = format!("{}/oauth2/token", tenant.cluster.replicas[0].url);
        let (status, _) = Credential::anonymous_post(&tenant.connections, &url, &form).await;
        assert!(status.is_client_error(), "{status}");
    }
}

#[tokio::test]
async fn a_copied_public_key_verifies_nothing_for_another_object() {
    let tenant = tenant("copied").await;
    let (blue, green) =
        (tenant.issue_key_pair("blue", json!({})).await, tenant.issue_key_pair("green", json!({})).await);
    tenant.accepted(&blue).await;
    let versions = async |name: &str| tenant.get("ClientSecret", name).await["status"]["versions"].clone();
    let (of_blue, of_green) = (versions("blue").await[0].clone(), versions("green").await[0].clone());
    tenant.apply(&client_secret("blue", "sync", json!({"type": "PrivateKey", "revoke": true}))).await;
    tenant.wait_rejected(&blue).await;
    put(&tenant, "green", &json!([of_green, of_blue])).await;
    rejected(&tenant, &blue).await;
    tenant.accepted(&green).await;
}

#[tokio::test]
async fn a_forged_public_key_in_status_verifies_nothing() {
    let tenant = tenant("forged").await;
    let credential = tenant.issue_key_pair("blue", json!({})).await;
    tenant.accepted(&credential).await;
    let genuine = tenant.get("ClientSecret", "blue").await["status"]["versions"][0].clone();
    let pem = key_pair::generate(KeyKind::P256).expect("a key pair");
    let pair = KeyPair::parse(pem.expose_secret(), KeyAlgorithm::Es256).expect("a key pair");
    let id = genuine["id"].as_str().expect("an id");
    let mut forged = genuine.clone();
    forged["id"] = "FORGED00".into();
    forged["publicKey"] = pair.public_jwk("FORGED00");
    put(&tenant, "blue", &json!([genuine, forged])).await;
    for key_id in ["FORGED00", id] {
        let assertion = credential.with_key_id(key_id).assertion(pem.expose_secret(), Algorithm::ES256);
        let form =
            [("client_assertion_type", postern::oauth::client_auth::ASSERTION_TYPE), ("client_assertion", &assertion)];
        for replica in &tenant.cluster.replicas {
            let (status, answer) =
                Credential::anonymous_post(&tenant.connections, &format!("{}/oauth2/token", replica.url), &form).await;
            assert_eq!((status.as_u16(), &answer["error"]), (401, &json!("invalid_client")), "{answer}");
        }
    }
    tenant.accepted(&credential).await;
    // A replaced key of the newest version verifies nothing either, until the pair is replaced.
    let mut replaced = genuine.clone();
    replaced["publicKey"] = pair.public_jwk(id);
    put(&tenant, "blue", &json!([replaced])).await;
    tenant.wait_rejected(&credential).await;
    let assertion = credential.assertion(pem.expose_secret(), Algorithm::ES256);
    let form =
        [("client_assertion_type", postern::oauth::client_auth::ASSERTION_TYPE), ("client_assertion", &assertion)];
    for replica in &tenant.cluster.replicas {
        let url = format!("{}/oauth2/token", replica.url);
        let (status, answer) = Credential::anonymous_post(&tenant.connections, &url, &form).await;
        assert_eq!((status.as_u16(), &answer["error"]), (401, &json!("invalid_client")), "{answer}");
    }
    tenant.delete("Secret", &tenant.namespace, "blue").await;
    eventually("another key pair is delivered", async || {
        let now = tenant.find("Secret", &tenant.namespace, "blue").await.ok_or("there is none".to_owned())?;
        let now = Credential::delivered_in(&now);
        ensure(now.key("key-id") != id, now.key("key-id"))
    })
    .await;
    tenant.ready("ClientSecret", "blue").await;
    tenant.accepted(&tenant.delivered("blue").await).await;
}

#[tokio::test]
async fn a_key_pair_rotates_is_delivered_once_and_revoked_like_a_secret() {
    let tenant = tenant("lifecycle").await;
    let spec = |more: Value| {
        let mut spec = json!({"type": "PrivateKey"});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        client_secret("blue", "sync", spec)
    };
    let first = tenant.issue_key_pair("blue", json!({})).await;
    tenant.accepted(&first).await;
    tenant.apply(&spec(json!({"rotation": {"trigger": "now", "overlap": "10s"}}))).await;
    let second = eventually("the next key pair is delivered", async || {
        let now = tenant.delivered("blue").await;
        if now.key("key-id") == first.key("key-id") { Err("the first".to_owned()) } else { Ok(now) }
    })
    .await;
    tenant.accepted(&second).await;
    tenant.wait_rejected(&first).await;
    tenant.apply(&spec(json!({"delivery": {"mode": "Once", "ttl": "1s"}}))).await;
    tenant.wait_condition("ClientSecret", "blue", "Delivered", "False", "Removed").await;
    assert!(tenant.find("Secret", &tenant.namespace, "blue").await.is_none());
    tenant.accepted(&second).await;
    tenant.apply(&spec(json!({"delivery": {"mode": "Once", "ttl": "1s"}, "revoke": true}))).await;
    tenant.wait_rejected(&second).await;
}

#[tokio::test]
async fn an_expired_key_pair_is_rejected_and_a_lost_one_is_replaced() {
    let tenant = tenant("ends").await;
    let blue = tenant.issue_key_pair("blue", json!({"algorithm": "RS256"})).await;
    tenant.accepted(&blue).await;
    tenant.delete("Secret", &tenant.namespace, "blue").await;
    tenant.wait_rejected(&blue).await;
    tenant.ready("ClientSecret", "blue").await;
    let blue = tenant.delivered("blue").await;
    tenant.accepted(&blue).await;
    tenant.apply(&client_secret("blue", "sync", json!({"type": "PrivateKey", "expiresIn": "1s"}))).await;
    tenant.wait_not_ready("ClientSecret", "blue", "Expired").await;
    tenant.wait_rejected(&blue).await;
}

#[tokio::test]
async fn a_changed_entry_is_repaired_and_the_key_file_follows_the_service_user() {
    let tenant = tenant("repair").await;
    let blue = tenant.issue_key_pair("blue", json!({})).await;
    for key in ["private-key.jwk", "key.json", "key-id"] {
        let damage = json!({"stringData": {key: "damaged"}});
        tenant.merge("Secret", &tenant.namespace, "blue", damage).await.expect("a change");
        eventually("it is repaired", async || {
            let now = tenant.delivered("blue").await;
            ensure(now == blue, now.key(key))
        })
        .await;
    }
    let group = tenant.unique_name("readers");
    tenant.apply(&service_user("other", &[&group])).await;
    tenant.ready("ServiceUser", "other").await;
    let other = tenant.get("ServiceUser", "other").await["metadata"]["uid"].clone();
    let spec = json!({"serviceUserRef": {"name": "other"}});
    tenant.merge("Application", &tenant.namespace, "sync", json!({"spec": spec})).await.expect("a change");
    eventually("the key file names the other service user", async || {
        let now = tenant.delivered("blue").await;
        let file: Value = serde_json::from_str(now.key("key.json")).map_err(|error| error.to_string())?;
        ensure(file["userId"] == other && now.key("key-id") == blue.key("key-id"), &file["userId"])
    })
    .await;
}

#[tokio::test]
async fn a_key_pair_of_an_application_without_its_method_is_reported() {
    let tenant = TestNamespace::new("no-method").await;
    tenant.create_defaults().await;
    tenant.apply(&client_secret("blue", "sync", json!({"type": "PrivateKey"}))).await;
    let message = tenant.wait_not_ready("ClientSecret", "blue", "MethodNotAllowed").await;
    assert!(message.contains("add private_key_jwt to spec.auth.methods"), "{message}");
    let blue = tenant.delivered("blue").await;
    tenant.wait_rejected(&blue).await;
    tenant.allow_key_pairs().await;
    tenant.ready("ClientSecret", "blue").await;
    tenant.accepted(&blue).await;
}

/// Writes versions into a status, as the administrator of the cluster.
async fn put(tenant: &TestNamespace, name: &str, versions: &Value) {
    let status = json!({"status": {"versions": versions}});
    tenant.merge_status("ClientSecret", &tenant.namespace, name, status).await.expect("a status");
}

/// Every replica refuses it, also after it has received all changes.
async fn rejected(tenant: &TestNamespace, credential: &Credential) {
    for _ in 0..2 {
        for answer in tenant.ask_everywhere(credential, &[]).await {
            assert_eq!(answer.claims().err().as_deref(), Some("401 invalid_client"));
        }
        tenant.settled().await;
    }
}
