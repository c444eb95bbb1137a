//! X1-X4: tokens that are bound to a key, with clients and APIs that others wrote.

use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use axum::body::Body;
use axum::http::{Request, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use postern::clock::{Clock as _, SystemClock};
use postern::crypto::random;
use rcgen::KeyPair;
use serde_json::{Value, json};

use crate::harness::{Cluster, Credential, TestNamespace, application, http};
use crate::interop_clients::{AUDIENCE, command, installed, run_everywhere};

#[tokio::test]
async fn x2_openid_client_and_requests_oauth2client_bind_their_tokens_with_nonces_of_any_replica() {
    let cluster = Cluster::dedicated_with(2, &["--dpop-nonce-required"]);
    cluster.start().await;
    let tenant = TestNamespace::on(cluster.clone(), "dpop", json!({})).await;
    tenant.create_defaults().await;
    let constrained = json!({"token": {"senderConstraint": "DPoP"}});
    tenant.apply(&application("sync", "sync", constrained)).await;
    let credential = tenant.issue("blue").await;
    tenant.answers_everywhere(&credential, &[], "400 invalid_dpop_proof").await;
    let subject = tenant.get("ServiceUser", "sync").await["metadata"]["uid"].clone();
    let folder = installed();
    let replicas = cluster.replicas.iter().map(|replica| replica.url.as_str()).collect::<Vec<_>>().join(" ");
    let run = |program: &Path, script: &str| {
        run_everywhere(&tenant, &credential, credential.key("ca.crt"), || {
            let mut client = command(program, &[script]);
            client.env("CLIENT_ID", credential.key("client-id")).env("CLIENT_SECRET", credential.key("client-secret"));
            client.env("REPLICAS", &replicas);
            client
        })
    };

    for answer in run(Path::new("node"), &format!("{folder}/node/dpop.js")) {
        assert_eq!((&answer["type"], &answer["user"]["sub"]), (&json!("dpop"), &subject), "{answer}");
        assert_eq!(answer["attempts"], json!([400, 200, 200]), "the nonce of one replica is valid at the other");
        assert_eq!(answer["asBearer"], 401);
        let api = &answer["api"];
        assert_eq!((&api["proof"]["sub"], &api["proof"]["cnf"]["jkt"]), (&subject, &answer["jkt"]), "{answer}");
        for refused in ["none", "bearer", "thief"] {
            assert!(api[refused].is_string(), "{refused}: {answer}");
        }
    }
    let python = Path::new(&folder).join("venv/bin/python");
    for answer in run(&python, &format!("{folder}/python/dpop_client.py")) {
        assert_eq!((&answer["type"], &answer["user"]["sub"]), (&json!("DPoP"), &subject), "{answer}");
        assert_eq!(answer["attempts"], json!([400, 200]), "{answer}");
        let claims = &answer["claims"];
        assert_eq!((&claims["cnf"]["jkt"], &claims["aud"]), (&answer["jkt"], &json!(AUDIENCE)), "{answer}");
        assert_eq!(answer["unbound"], "invalid_dpop_proof", "{answer}");
    }
}

#[tokio::test]
async fn x3_tokens_end_at_every_replica_when_their_client_must_bind_them() {
    let tenant = TestNamespace::new("dpop-change").await;
    tenant.create_defaults().await;
    let credential = tenant.issue("blue").await;
    let api = tenant.api().await;
    tenant.accepted(&api).await;
    let token = tenant.token_with(&credential, "openid invoices:read").await;
    tenant.wait_active(&api, &token, true).await;
    let userinfo = async |replica: &str| {
        let request = Request::get(format!("{replica}/oauth2/userinfo"))
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .body(Body::empty())
            .expect("a request");
        http::send(&tenant.connections, request).await.expect("an answer").status.as_u16()
    };
    assert_eq!(userinfo(&tenant.cluster.replicas[0].url).await, 200);

    tenant.apply(&application("sync", "sync", json!({"token": {"senderConstraint": "DPoP"}}))).await;
    tenant.wait_active(&api, &token, false).await;
    for replica in &tenant.cluster.replicas {
        assert_eq!(userinfo(&replica.url).await, 401);
    }
    tenant.answers_everywhere(&credential, &[], "400 invalid_dpop_proof").await;
}

/// A key pair of a client.
pub struct ProofKey(EncodingKey);

impl ProofKey {
    pub fn new() -> Self {
        Self(EncodingKey::from_ec_der(&KeyPair::generate().expect("a key pair").serialize_der()))
    }

    /// A proof for a request, with this access token if there is one.
    pub fn proof(&self, method: &str, url: &str, token: Option<&str>) -> String {
        let jwk = Jwk::from_encoding_key(&self.0, Algorithm::ES256).expect("a public key");
        let header = Header { typ: Some("dpop+jwt".to_owned()), jwk: Some(jwk), ..Header::new(Algorithm::ES256) };
        let mut claims = json!({
            "jti": URL_SAFE_NO_PAD.encode(random::bytes::<16>()), "htm": method, "htu": url,
            "iat": SystemClock.now().as_second(),
        });
        if let Some(token) = token {
            claims["ath"] = URL_SAFE_NO_PAD.encode(digest(&SHA256, token.as_bytes())).into();
        }
        jsonwebtoken::encode(&header, &claims, &self.0).expect("a proof")
    }

    /// A token that is bound to the key, with one scope.
    pub async fn token(&self, tenant: &TestNamespace, credential: &Credential, scope: &str) -> String {
        let url = format!("{}/oauth2/token", tenant.cluster.issuer());
        let request = Request::post(format!("{}/oauth2/token", tenant.cluster.replicas[0].url))
            .header(header::AUTHORIZATION, credential.authorization())
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header("dpop", self.proof("POST", &url, None))
            .body(Body::from(format!("grant_type=client_credentials&scope={scope}")))
            .expect("a request");
        let answer = http::send(&tenant.connections, request).await.expect("an answer");
        let answer: Value = serde_json::from_slice(&answer.body).expect("JSON");
        assert_eq!(answer["token_type"], "DPoP", "{answer}");
        answer["access_token"].as_str().expect("a token").to_owned()
    }
}
