//! G8: the JWT bearer grant with an assertion that the client signs, as in ZITADEL's JWT profile.

use std::sync::Arc;

use jsonwebtoken::{Algorithm, Header};
use postern::oauth::client_auth::{Method, MethodSet};
use postern::oauth::client_record::ClientRecord;
use postern::oauth::client_store::Lookup;
use serde_json::{Value, json};

use crate::assertions::{Key, header};
use crate::http_client::Reply;
use crate::operations::audit;
use crate::server::{CLIENT_ID, NOW, SUBJECT, TestServer, claims, instant, record};

const GRANT: &str = "grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer";

/// A server, and a client whose key has the id "one".
struct Scene {
    server: TestServer,
    key: Key,
}

impl Scene {
    async fn new() -> Self {
        let scene = Self { server: TestServer::start().await, key: Key::new("one") };
        scene.put(CLIENT_ID, &scene.key);
        scene
    }

    fn put(&self, id: &str, key: &Key) {
        let auth_methods = MethodSet::from_iter([Method::PrivateKeyJwt]);
        let keys = vec![key.public()];
        let client = ClientRecord { client_id: id.into(), auth_methods, keys, ..record(&self.server.credential) };
        self.server.clients.set(id, Lookup::Live(Arc::new(client)));
    }

    /// The claims that ZITADEL's clients send: the subject, a list of audiences, and no `jti`.
    fn profile(&self) -> Value {
        let now = instant(NOW).as_second();
        json!({"iss": SUBJECT, "sub": SUBJECT, "aud": [self.server.issuer], "iat": now, "exp": now + 3600})
    }

    fn with(&self, changes: &Value) -> String {
        let mut claims = self.profile();
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        self.key.sign(&header(), &claims)
    }

    async fn send(&self, assertion: &str) -> Reply {
        self.server.post(&[], &format!("{GRANT}&assertion={assertion}")).await
    }

    /// The rule of the audit line of a refusal.
    async fn rule(&self, assertion: &str) -> String {
        let reply = self.send(assertion).await;
        assert_eq!(reply.error(), (400, "invalid_grant".to_owned()), "{}", reply.text());
        audit(&reply)["rule"].as_str().unwrap_or_default().to_owned()
    }
}

#[tokio::test]
async fn g8_a_key_of_the_service_user_gets_a_token_and_the_log_names_grant_key_and_method() {
    let scene = Scene::new().await;
    let assertion = scene.with(&json!({}));
    let reply = scene.send(&assertion).await;
    let token = claims(&reply);
    assert_eq!((&token["sub"], &token["client_id"]), (&json!(SUBJECT), &json!(CLIENT_ID)));
    let line = audit(&reply);
    let grant = "urn:ietf:params:oauth:grant-type:jwt-bearer";
    assert_eq!(
        (&line["grant_type"], &line["method"], &line["key_id"]),
        (&json!(grant), &json!("private_key_jwt"), &json!("one"))
    );
    assert_eq!(scene.send(&assertion).await.status, 200, "without jti it may be used until it expires");
}

#[tokio::test]
async fn g8_the_assertion_may_name_the_client_and_the_form_may_repeat_it() {
    let scene = Scene::new().await;
    let of_client = scene.with(&json!({"iss": CLIENT_ID, "sub": CLIENT_ID}));
    assert_eq!(scene.send(&of_client).await.status, 200);
    let named = |assertion: &str, id: &str| format!("{GRANT}&assertion={assertion}&client_id={id}");
    for assertion in [&of_client, &scene.with(&json!({}))] {
        assert_eq!(scene.server.post(&[], &named(assertion, CLIENT_ID)).await.status, 200);
        let other = scene.server.post(&[], &named(assertion, "another")).await;
        assert_eq!(other.error(), (400, "invalid_grant".to_owned()));
    }
}

#[tokio::test]
async fn g8_each_forged_assertion_is_refused_by_its_own_rule() {
    let scene = Scene::new().await;
    let now = instant(NOW).as_second();
    let other_kid = Header { kid: Some("two".to_owned()), ..header() };
    for (assertion, rule) in [
        (Key::new("one").sign(&header(), &scene.profile()), "AssertionSignature"),
        // The key identifies the client of a subject.
        (scene.key.sign(&other_kid, &scene.profile()), "UnknownClient"),
        (scene.key.sign(&Header::new(Algorithm::ES256), &scene.profile()), "UnknownClient"),
        (scene.with(&json!({"iss": "another"})), "AssertionIssuer"),
        (scene.with(&json!({"iss": "another", "sub": "another"})), "UnknownClient"),
        (scene.with(&json!({"iss": CLIENT_ID})), "AssertionIssuer"),
        (scene.with(&json!({"aud": ["https://other.example.com"]})), "AssertionAudience"),
        (scene.with(&json!({"aud": []})), "AssertionAudience"),
        (scene.with(&json!({"aud": [[scene.server.issuer]]})), "AssertionAudience"),
        (scene.with(&json!({"aud": [scene.server.issuer, 7]})), "AssertionAudience"),
        (scene.with(&json!({"aud": vec![scene.server.issuer.as_str(); 17]})), "AssertionAudience"),
        (scene.with(&json!({"exp": now + 2 * 3600})), "AssertionTooLong"),
        (scene.with(&json!({"exp": now - 60})), "AssertionExpired"),
        (scene.with(&json!({"exp": null})), "AssertionWithoutExpiry"),
        (scene.with(&json!({"iat": now + 90})), "AssertionNotYetValid"),
        (scene.with(&json!({"jti": ""})), "AssertionWithoutId"),
        ("nonsense".to_owned(), "AssertionMalformed"),
    ] {
        assert_eq!(scene.rule(&assertion).await, rule, "{assertion:.300}");
    }
}

#[tokio::test]
async fn g8_an_assertion_with_jti_is_accepted_once() {
    let scene = Scene::new().await;
    let assertion = scene.with(&json!({"jti": "one"}));
    assert_eq!(scene.send(&assertion).await.status, 200);
    assert_eq!(scene.rule(&assertion).await, "AssertionReplayed");
}

/// An assertion for several servers is accepted as a grant, never as client authentication.
#[tokio::test]
async fn g8_the_audience_may_be_a_list_only_in_a_grant() {
    let scene = Scene::new().await;
    let several = scene.with(&json!({
        "iss": CLIENT_ID, "sub": CLIENT_ID, "jti": "a", "aud": ["https://other.example.com", scene.server.issuer],
    }));
    let authentication = format!(
        "grant_type=client_credentials&client_assertion_type={}&client_assertion={several}",
        crate::assertions::TYPE
    );
    let reply = scene.server.post(&[], &authentication).await;
    assert_eq!((reply.status, &audit(&reply)["rule"]), (401, &json!("AssertionAudience")));
    assert_eq!(scene.send(&several).await.status, 200);
}

#[tokio::test]
async fn g8_two_applications_with_the_same_key_id_need_the_client_id() {
    let scene = Scene::new().await;
    scene.put("second", &Key::new("one"));
    let assertion = scene.with(&json!({}));
    assert_eq!(scene.rule(&assertion).await, "AssertionClientAmbiguous");
    let named = format!("{GRANT}&assertion={assertion}&client_id={CLIENT_ID}");
    assert_eq!(scene.server.post(&[], &named).await.status, 200);
    let other = format!("{GRANT}&assertion={assertion}&client_id=second");
    assert_eq!(scene.server.post(&[], &other).await.error(), (400, "invalid_grant".to_owned()));
}

#[tokio::test]
async fn g8_the_assertion_is_the_only_method_of_its_request_and_must_be_there() {
    let scene = Scene::new().await;
    let assertion = scene.with(&json!({}));
    let basic = scene.server.credential.basic();
    let invalid_request = (400, "invalid_request".to_owned());
    let body = format!("{GRANT}&assertion={assertion}");
    assert_eq!(scene.server.post(&[("authorization", &basic)], &body).await.error(), invalid_request);
    for other in ["client_secret=x", "client_assertion=x", "client_assertion_type=x"] {
        assert_eq!(scene.server.post(&[], &format!("{body}&{other}")).await.error(), invalid_request, "{other}");
    }
    assert_eq!(scene.server.post(&[("authorization", &basic)], GRANT).await.error(), invalid_request);
    // An assertion is no secret of the other grant, and the other way round.
    let other_grant = format!("grant_type=client_credentials&assertion={assertion}");
    assert_eq!(scene.server.post(&[], &other_grant).await.error(), (401, "invalid_client".to_owned()));
}

#[tokio::test]
async fn g8_the_methods_of_the_application_apply() {
    let scene = Scene::new().await;
    let auth_methods = MethodSet::from_iter([Method::ClientSecretBasic]);
    let client = ClientRecord { auth_methods, keys: vec![scene.key.public()], ..record(&scene.server.credential) };
    scene.server.clients.put(client);
    assert_eq!(scene.rule(&scene.with(&json!({}))).await, "MethodNotAllowed");
}

#[tokio::test]
async fn g8_the_grant_is_refused_like_any_other_when_it_asks_for_too_much() {
    let scene = Scene::new().await;
    let body = format!("{GRANT}&assertion={}&scope=everything", scene.with(&json!({})));
    assert_eq!(scene.server.post(&[], &body).await.error(), (400, "invalid_scope".to_owned()));
}
