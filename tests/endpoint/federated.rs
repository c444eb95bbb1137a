//! F4, G9: clients authenticate with the tokens of other issuers. The keys are those that would have been fetched.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use jsonwebtoken::Header;
use postern::crypto::public_key::PublicKey;
use postern::oauth::client_auth::{Method, MethodSet};
use postern::oauth::client_record::{ClientRecord, TrustedIssuer};
use postern::oauth::client_store::Lookup;
use serde_json::{Value, json};

use crate::assertions::{AUTHORITY, Key, TYPE, header};
use crate::http_client::Reply;
use crate::operations::audit;
use crate::server::{CLIENT_ID, GRANT, NOW, TestServer, claims, instant, record};

const ISSUER: &str = "https://token.actions.example.com";
const SUBJECT: &str = "repo:acme/invoices:ref:refs/heads/main";
const BEARER: &str = "grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer";

/// A server, and a client that trusts one subject of an issuer with one key.
struct Scene {
    server: TestServer,
    key: Key,
}

impl Scene {
    async fn new() -> Self {
        let scene = Self { server: TestServer::start().await, key: Key::new("one") };
        scene.put(&[scene.entry(SUBJECT, None)]);
        scene
    }

    fn entry(&self, subject: &str, audience: Option<&str>) -> Arc<TrustedIssuer> {
        entry(ISSUER, &[&self.key], subject, audience)
    }

    fn put(&self, entries: &[Arc<TrustedIssuer>]) {
        self.server.clients.put(self.client(entries));
    }

    fn client(&self, entries: &[Arc<TrustedIssuer>]) -> ClientRecord {
        let auth_methods = MethodSet::from_iter([Method::FederatedJwt]);
        ClientRecord { auth_methods, issuers: entries.to_vec(), ..record(&self.server.credential) }
    }

    fn claims(&self) -> Value {
        let now = instant(NOW).as_second();
        json!({"iss": ISSUER, "sub": SUBJECT, "aud": self.server.issuer, "iat": now, "nbf": now, "exp": now + 300})
    }

    fn with(&self, name: &str, value: Value) -> String {
        let mut claims = self.claims();
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value,
        }
        self.key.sign(&header(), &claims)
    }

    fn good(&self) -> String {
        self.key.sign(&header(), &self.claims())
    }

    async fn send(&self, token: &str) -> Reply {
        let form = format!("{GRANT}&client_id={CLIENT_ID}&client_assertion_type={TYPE}&client_assertion={token}");
        self.server.post(&[], &form).await
    }

    async fn grant(&self, token: &str) -> Reply {
        self.server.post(&[], &format!("{BEARER}&client_id={CLIENT_ID}&assertion={token}")).await
    }

    /// The rule of the audit line of a refusal, which is the same for both forms.
    async fn rule(&self, token: &str) -> String {
        let [reply, grant] = [self.send(token).await, self.grant(token).await];
        assert_eq!(reply.error(), (401, "invalid_client".to_owned()), "{}", reply.text());
        assert_eq!(grant.error(), (400, "invalid_grant".to_owned()), "{}", grant.text());
        let (one, other) = (audit(&reply)["rule"].clone(), audit(&grant)["rule"].clone());
        assert_eq!(one, other);
        one.as_str().unwrap_or_default().to_owned()
    }
}

fn entry(issuer: &str, keys: &[&Key], subject: &str, audience: Option<&str>) -> Arc<TrustedIssuer> {
    let key = |key: &&Key| Arc::new(PublicKey::from_jwk(&key.jwk).unwrap());
    Arc::new(TrustedIssuer {
        issuer: issuer.into(),
        subject: subject.into(),
        audience: audience.map(Box::from),
        keys: keys.iter().map(key).collect(),
        authority: AUTHORITY.into(),
    })
}

#[tokio::test]
async fn g9_a_token_of_a_trusted_issuer_gets_an_access_token_in_both_forms_and_the_log_names_its_subject() {
    let scene = Scene::new().await;
    let token = scene.good();
    for reply in [scene.send(&token).await, scene.grant(&token).await, scene.send(&token).await] {
        assert_eq!(claims(&reply)["client_id"], CLIENT_ID);
        let line = audit(&reply);
        assert_eq!(
            [&line["method"], &line["token_issuer"], &line["token_subject"], &line["key_id"]],
            [&json!("federated_jwt"), &json!(ISSUER), &json!(SUBJECT), &Value::Null],
        );
    }
    let only = scene.with("aud", json!([scene.server.issuer]));
    assert_eq!(scene.send(&only).await.status, 200, "a list of one audience");
    let without_key_id = scene.key.sign(&Header { kid: None, ..header() }, &scene.claims());
    assert_eq!(scene.send(&without_key_id).await.status, 200);
}

#[tokio::test]
async fn g9_without_a_key_id_no_more_than_four_keys_of_the_issuer_are_tried() {
    let scene = Scene::new().await;
    let keys: Vec<Key> = (1..=5).map(|number| Key::new(&number.to_string())).collect();
    scene.put(&[entry(ISSUER, &keys.iter().collect::<Vec<_>>(), SUBJECT, None)]);
    let sign =
        |key: &Key, kid: Option<&str>| key.sign(&Header { kid: kid.map(str::to_owned), ..header() }, &scene.claims());
    assert_eq!(scene.send(&sign(&keys[3], None)).await.status, 200, "the fourth");
    assert_eq!(scene.rule(&sign(&keys[4], None)).await, "AssertionSignature", "the fifth");
    assert_eq!(scene.send(&sign(&keys[4], Some("5"))).await.status, 200, "with its id");
}

#[tokio::test]
async fn g9_each_token_that_the_application_does_not_list_is_refused_by_its_own_rule() {
    let scene = Scene::new().await;
    let (now, issuer) = (instant(NOW).as_second(), scene.server.issuer.clone());
    for (token, rule) in [
        (Key::new("one").sign(&header(), &scene.claims()), "AssertionSignature"),
        (scene.key.sign(&Header { kid: Some("two".to_owned()), ..header() }, &scene.claims()), "AssertionKeyUnknown"),
        (scene.with("iss", json!("https://other.example.com")), "IssuerNotListed"),
        (scene.with("iss", json!(format!("{ISSUER}/"))), "IssuerNotListed"),
        (scene.with("iss", json!("https://TOKEN.actions.example.com")), "IssuerNotListed"),
        (scene.with("sub", json!("repo:acme/invoices:ref:refs/heads/other")), "SubjectNotListed"),
        (scene.with("sub", json!(format!("{SUBJECT} "))), "SubjectNotListed"),
        (scene.with("sub", json!("")), "SubjectNotListed"),
        (scene.with("sub", Value::Null), "SubjectNotListed"),
        (scene.with("sub", json!(7)), "AssertionMalformed"),
        (scene.with("aud", json!("https://other.example.com")), "AssertionAudience"),
        (scene.with("aud", json!(format!("{issuer}/"))), "AssertionAudience"),
        (scene.with("aud", json!([issuer, "https://other.example.com"])), "AssertionAudience"),
        (scene.with("aud", json!([])), "AssertionAudience"),
        (scene.with("aud", Value::Null), "AssertionAudience"),
        (scene.with("exp", json!(now)), "AssertionExpired"),
        (scene.with("exp", Value::Null), "AssertionWithoutExpiry"),
        (scene.with("exp", json!("soon")), "AssertionMalformed"),
        (scene.with("exp", json!(now + 25 * 3600)), "AssertionTooLong"),
        (scene.with("iat", json!(now + 90)), "AssertionNotYetValid"),
        (scene.with("nbf", json!(now + 90)), "AssertionNotYetValid"),
        (scene.with("iat", json!(now - 25 * 3600)), "AssertionTooOld"),
        (scene.with("iat", Value::Null), "AssertionTooOld"),
    ] {
        assert_eq!(scene.rule(&token).await, rule, "{token:.300}");
    }
    assert_eq!(scene.send(&scene.good()).await.status, 200);
}

#[tokio::test]
async fn f4_each_entry_has_its_own_audience_and_its_own_issuer() {
    let scene = Scene::new().await;
    let other = Key::new("one");
    let api = "api://partner";
    let partner = "https://partner.example.com";
    scene.put(&[scene.entry(SUBJECT, None), scene.entry("b", Some(api)), entry(partner, &[&other], "c", None)]);
    let sign = |key: &Key, changed: Value| {
        let mut claims = scene.claims();
        claims.as_object_mut().unwrap().extend(changed.as_object().unwrap().clone());
        key.sign(&header(), &claims)
    };
    for good in [
        scene.good(),
        sign(&scene.key, json!({"sub": "b", "aud": api})),
        sign(&other, json!({"iss": partner, "sub": "c"})),
    ] {
        assert_eq!(scene.send(&good).await.status, 200);
    }
    for (token, rule) in [
        (sign(&scene.key, json!({"sub": "b"})), "AssertionAudience"),
        (sign(&scene.key, json!({"aud": api})), "AssertionAudience"),
        // Nobody signs for another issuer.
        (sign(&scene.key, json!({"iss": partner, "sub": "c"})), "AssertionSignature"),
        (sign(&other, json!({})), "AssertionSignature"),
        (sign(&other, json!({"iss": partner})), "SubjectNotListed"),
        (sign(&scene.key, json!({"sub": "c"})), "SubjectNotListed"),
    ] {
        assert_eq!(scene.rule(&token).await, rule, "{token:.300}");
    }
}

#[tokio::test]
async fn g9_the_client_must_be_named_and_must_be_the_one_that_trusts_the_issuer() {
    let scene = Scene::new().await;
    let token = scene.good();
    let unnamed = format!("{GRANT}&client_assertion_type={TYPE}&client_assertion={token}");
    for form in [unnamed, format!("{BEARER}&assertion={token}")] {
        let reply = scene.server.post(&[], &form).await;
        assert_eq!(reply.error(), (400, "invalid_request".to_owned()));
        assert!(reply.text().contains("client_id is missing"), "{}", reply.text());
    }
    let second = ClientRecord { client_id: "second".into(), issuers: Vec::new(), ..scene.client(&[]) };
    scene.server.clients.set("second", Lookup::Live(Arc::new(second)));
    for (id, rule) in [("second", "IssuerNotListed"), ("nobody", "UnknownClient")] {
        let form = format!("{GRANT}&client_id={id}&client_assertion_type={TYPE}&client_assertion={token}");
        let reply = scene.server.post(&[], &form).await;
        assert_eq!((reply.status, audit(&reply)["rule"].as_str()), (401, Some(rule)));
    }
    let methods = MethodSet::from_iter([Method::PrivateKeyJwt, Method::KubernetesServiceAccount]);
    let client = scene.client(&[scene.entry(SUBJECT, None)]);
    scene.server.clients.put(ClientRecord { auth_methods: methods, ..client });
    assert_eq!(scene.rule(&token).await, "MethodNotAllowed");
}

#[tokio::test]
async fn f4_without_keys_of_the_issuer_the_client_is_asked_to_retry_until_they_were_fetched() {
    let scene = Scene::new().await;
    scene.put(&[entry(ISSUER, &[], SUBJECT, None)]);
    scene.server.clients.lacks_keys.store(true, Ordering::Relaxed);
    let reply = scene.send(&scene.good()).await;
    assert_eq!(reply.error(), (503, "temporarily_unavailable".to_owned()));
    scene.server.clients.lacks_keys.store(false, Ordering::Relaxed);
    assert_eq!(scene.rule(&scene.good()).await, "AssertionKeyUnknown");
    scene.server.clients.upcoming(CLIENT_ID, Lookup::Live(Arc::new(scene.client(&[scene.entry(SUBJECT, None)]))));
    assert_eq!(scene.send(&scene.good()).await.status, 200, "after catching up");
}

#[tokio::test]
async fn g9_an_access_token_does_not_outlive_the_token_and_ends_with_the_entry() {
    let scene = Scene::new().await;
    let now = instant(NOW).as_second();
    let reply = scene.send(&scene.with("exp", json!(now + 120))).await;
    assert_eq!((reply.json()["expires_in"].clone(), claims(&reply)["exp"].clone()), (json!(120), json!(now + 120)));
    let token = format!("Bearer {}", reply.json()["access_token"].as_str().unwrap());
    let ask = async || scene.server.send("GET", "/auth?anyone=true", &[("authorization", &token)], "").await.status;
    assert_eq!(ask().await, 200);
    scene.put(&[]);
    assert_eq!(ask().await, 401);
}

#[tokio::test]
async fn a_token_of_another_cluster_is_accepted_before_the_issuer_of_this_cluster_is_known() {
    let scene = Scene::new().await;
    let subject = "system:serviceaccount:billing:sync";
    assert!(scene.server.clients.cluster.lock().unwrap().is_none());
    scene.put(&[scene.entry(subject, None)]);
    let token = scene.with("sub", json!(subject));
    for reply in [scene.send(&token).await, scene.grant(&token).await] {
        assert_eq!(claims(&reply)["client_id"], CLIENT_ID);
    }
    let mut other = scene.claims();
    (other["sub"], other["iss"]) = (subject.into(), "https://other.example.com".into());
    let reply = scene.send(&scene.key.sign(&header(), &other)).await;
    assert_eq!(reply.status, 503, "it may be a token of this cluster");
    let without_client = format!("{BEARER}&assertion={token}");
    assert_eq!(scene.server.post(&[], &without_client).await.status, 503, "no client lists the issuer");
}
