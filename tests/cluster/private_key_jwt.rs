//! Clients that authenticate with a key pair of their own, over the real socket, at every replica.

mod jwks_uri;

use std::path::Path;

use axum::body::Body;
use axum::http::{Request, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use postern::clock::{Clock as _, SystemClock};
use postern::crypto::random;
use rcgen::KeyPair;
use serde_json::{Value, json};

use crate::harness::{Credential, TestNamespace, access_group, application, client_secret, ensure, eventually, http};
use crate::interop_clients::{AUDIENCE, command, installed, run_everywhere};

const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

#[tokio::test]
async fn openid_client_oauth4webapi_and_authlib_get_a_token_with_a_private_key() {
    let client = Client::new("key-clients").await;
    let folder = installed();
    let script = format!("{folder}/node/openid_client.js");
    for kind in ["oauth2", "oidc"] {
        client.verified(|| command(Path::new("node"), &[script.as_str(), kind, "key"])).await;
    }
    let script = format!("{folder}/node/oauth4webapi.js");
    client.verified(|| command(Path::new("node"), &[script.as_str()])).await;
    let python = Path::new(&folder).join("venv/bin/python");
    let script = format!("{folder}/python/authlib_client.py");
    client.verified(|| command(&python, &[script.as_str(), "key"])).await;
}

#[tokio::test]
async fn requests_oauth2client_introspects_and_revokes_with_a_private_key() {
    let client = Client::new("key-revokes").await;
    let folder = installed();
    let python = Path::new(&folder).join("venv/bin/python");
    let script = format!("{folder}/python/requests_oauth2client_client.py");
    let permissions = json!([{"audience": AUDIENCE, "scopes": ["invoices:read", "introspect"]}]);
    let group = client.tenant.unique_name("readers");
    client.tenant.apply(&access_group(&group, json!({"permissions": permissions}))).await;
    client.accepted().await;
    for answer in client.run(|| command(&python, &[script.as_str(), "key"])) {
        let states = [&answer["before"]["active"], &answer["after"]["active"]];
        assert_eq!(states, [&json!(true), &json!(false)], "{answer}");
    }
}

#[tokio::test]
async fn an_assertion_that_one_replica_accepted_is_refused_by_the_others_within_seconds() {
    let client = Client::new("key-replay").await;
    client.accepted().await;
    let assertion = client.assertion(&json!({}));
    let [first, second] = [0, 1].map(|number| client.tenant.cluster.replicas[number].url.clone());
    assert_eq!(client.send(&first, &assertion).await.0, 200);
    assert_eq!(client.send(&first, &assertion).await.0, 401, "the same replica");
    // The second replica uses up what it accepts, so each attempt has a new assertion.
    eventually("the second replica knows what the first accepted", async || {
        let assertion = client.assertion(&json!({}));
        ensure(client.send(&first, &assertion).await.0 == 200, "the first replica refuses a new assertion")?;
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        ensure(client.send(&second, &assertion).await.0 == 401, "the second replica accepts it again")
    })
    .await;
}

#[tokio::test]
async fn a_removed_key_and_its_tokens_are_refused_and_a_bad_key_is_reported() {
    let client = Client::new("key-removed").await;
    client.accepted().await;
    let replica = client.tenant.cluster.replicas[0].url.clone();
    let (status, answer) = client.send(&replica, &client.assertion(&json!({}))).await;
    assert_eq!(status, 200, "{answer}");
    let api = client.tenant.api().await;
    let token = answer["access_token"].as_str().expect("a token").to_owned();
    client.tenant.wait_active(&api, &token, true).await;

    let mut off_the_curve = client.jwk.clone();
    off_the_curve["y"] = off_the_curve["x"].clone();
    client.apply(&[off_the_curve]).await;
    client.tenant.wait_active(&api, &token, false).await;
    eventually("the key is refused", async || {
        let (status, answer) = client.send(&replica, &client.assertion(&json!({}))).await;
        ensure(status == 401, answer)
    })
    .await;
    let condition = client.tenant.wait_condition("Application", "sync", "KeysResolved", "False", "KeyUnusable").await;
    let message = condition["message"].as_str().expect("a message");
    assert!(message.starts_with("spec.auth.jwks.keys[0] is not a point on its curve"), "{message}");
    client.apply(std::slice::from_ref(&client.jwk)).await;
    client.tenant.wait_condition("Application", "sync", "KeysResolved", "True", "Resolved").await;
    client.accepted().await;
}

/// A key pair and its public key.
fn key_pair(kid: &str) -> (KeyPair, Value) {
    let pair = KeyPair::generate().expect("a key pair");
    let coordinate = |range| URL_SAFE_NO_PAD.encode(&pair.public_key_raw()[range]);
    let jwk = json!({"kty": "EC", "crv": "P-256", "kid": kid, "x": coordinate(1..33), "y": coordinate(33..65)});
    (pair, jwk)
}

/// An Application with the public key of a key pair, and without any secret.
struct Client {
    tenant: TestNamespace,
    /// The delivered Secret of another Application, for the addresses in it.
    addresses: Credential,
    id: String,
    subject: Value,
    pem: String,
    private: EncodingKey,
    jwk: Value,
}

impl Client {
    async fn new(name: &str) -> Self {
        Self::of(TestNamespace::new(name).await).await
    }

    async fn of(tenant: TestNamespace) -> Self {
        tenant.create_defaults().await;
        tenant.apply(&application("addresses", "sync", json!({}))).await;
        tenant.apply(&client_secret("addresses", "addresses", json!({}))).await;
        tenant.ready("ClientSecret", "addresses").await;
        let addresses = tenant.delivered("addresses").await;
        let (pair, jwk) = key_pair("one");
        let subject = tenant.get("ServiceUser", "sync").await["metadata"]["uid"].clone();
        let private = EncodingKey::from_ec_der(&pair.serialize_der());
        let mut client =
            Self { tenant, addresses, id: String::new(), subject, pem: pair.serialize_pem(), private, jwk };
        client.apply(std::slice::from_ref(&client.jwk)).await;
        client.tenant.ready("Application", "sync").await;
        let application = client.tenant.get("Application", "sync").await;
        application["status"]["clientId"].as_str().expect("a client id").clone_into(&mut client.id);
        client
    }

    /// Signs with another key pair from now on.
    fn sign_with(&mut self, pair: &KeyPair, jwk: &Value) {
        self.private = EncodingKey::from_ec_der(&pair.serialize_der());
        (self.pem, self.jwk) = (pair.serialize_pem(), jwk.clone());
    }

    async fn apply(&self, keys: &[Value]) {
        let auth = json!({"methods": ["private_key_jwt"], "jwks": {"keys": keys}});
        self.tenant.apply(&application("sync", "sync", json!({"auth": auth}))).await;
    }

    fn assertion(&self, changes: &Value) -> String {
        let now = SystemClock.now().as_second();
        let mut claims = json!({
            "iss": self.id, "sub": self.id, "aud": self.addresses.key("issuer-uri"), "exp": now + 60,
            "jti": URL_SAFE_NO_PAD.encode(random::bytes::<16>()),
        });
        for (name, value) in changes.as_object().into_iter().flatten() {
            claims[name] = value.clone();
        }
        let kid = self.jwk["kid"].as_str().map(str::to_owned);
        let header = Header { kid, ..Header::new(Algorithm::ES256) };
        jsonwebtoken::encode(&header, &claims, &self.private).expect("an assertion")
    }

    /// Requests a token of this replica: status and answer.
    async fn send(&self, replica: &str, assertion: &str) -> (u16, Value) {
        self.send_form(replica, assertion, &[]).await
    }

    async fn send_form(&self, replica: &str, assertion: &str, more: &[(&str, &str)]) -> (u16, Value) {
        let form =
            [("grant_type", "client_credentials"), ("client_assertion_type", TYPE), ("client_assertion", assertion)];
        let form = form.iter().chain(more);
        let request = Request::post(format!("{replica}/oauth2/token"))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish()))
            .expect("a request");
        let answer = http::send(&self.tenant.connections, request).await.expect("an answer");
        (answer.status.as_u16(), serde_json::from_slice(&answer.body).unwrap_or_default())
    }

    /// Waits until every replica accepts the key.
    async fn accepted(&self) {
        eventually("every replica accepts the key", async || {
            for replica in &self.tenant.cluster.replicas {
                let (status, answer) = self.send(&replica.url, &self.assertion(&json!({}))).await;
                ensure(status == 200, answer)?;
            }
            Ok(())
        })
        .await;
    }

    async fn verified(&self, client: impl Fn() -> std::process::Command) {
        self.accepted().await;
        for claims in self.run(client) {
            assert_eq!((&claims["sub"], &claims["aud"]), (&self.subject, &json!(AUDIENCE)), "{claims}");
        }
    }

    /// Runs a client against every replica, and returns what it prints.
    fn run(&self, client: impl Fn() -> std::process::Command) -> Vec<Value> {
        let keys = [("CLIENT_ID", self.id.as_str()), ("PRIVATE_KEY", &self.pem), ("KEY_ID", "one")];
        run_everywhere(&self.tenant, &self.addresses, self.addresses.key("ca.crt"), || {
            let mut command = client();
            command.envs(keys);
            command
        })
    }
}
