//! A8, A9: client authentication by a signed assertion (`private_key_jwt`).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use postern::crypto::public_key::PublicKey;
use postern::http::state::RequestLimits;
use postern::oauth::client_auth::{Method, MethodSet};
use postern::oauth::client_record::{ClientKey, ClientRecord, Denial};
use postern::oauth::client_store::Lookup;
use postern::oauth::denial_rule::DenialRule;
use rcgen::KeyPair;
use serde_json::{Value, json};

use crate::http_client::Reply;
use crate::operations::audit;
use crate::server::{CLIENT_ID, FORM, GRANT, NOW, Options, TestServer, basic, claims, instant, object, record};

pub(crate) const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
pub(crate) const AUTHORITY: &str = "1f1f1f1f1f1f1f1f1f1f1f1f";

/// A key pair of a client.
pub(crate) struct Key {
    private: EncodingKey,
    pub(crate) jwk: Value,
}

impl Key {
    pub(crate) fn new(id: &str) -> Self {
        let pair = KeyPair::generate().unwrap();
        let private = EncodingKey::from_ec_der(&pair.serialize_der());
        let mut jwk = serde_json::to_value(Jwk::from_encoding_key(&private, Algorithm::ES256).unwrap()).unwrap();
        jwk["kid"] = id.into();
        Self { private, jwk }
    }

    pub(crate) fn public(&self) -> Arc<ClientKey> {
        Arc::new(ClientKey { key: PublicKey::from_jwk(&self.jwk).unwrap().into(), authority: AUTHORITY.into() })
    }

    pub(crate) fn sign(&self, header: &Header, claims: &Value) -> String {
        jsonwebtoken::encode(header, claims, &self.private).unwrap()
    }

    /// Signs any header, also one that no library writes.
    pub(crate) fn sign_text(&self, header: &str, claims: &str) -> String {
        let signed = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
        let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &self.private, Algorithm::ES256).unwrap();
        format!("{signed}.{signature}")
    }
}

/// A server, and a client with one key that may only authenticate with assertions.
struct Scene {
    server: TestServer,
    key: Key,
}

impl Scene {
    async fn new() -> Self {
        Self::with(Options::default()).await
    }

    async fn with(options: Options) -> Self {
        let server = TestServer::start_with(options).await;
        let scene = Self { server, key: Key::new("one") };
        scene.put(&[&scene.key]);
        scene
    }

    fn put(&self, keys: &[&Key]) {
        self.server.clients.put(self.client(keys));
    }

    fn client(&self, keys: &[&Key]) -> ClientRecord {
        let auth_methods = MethodSet::from_iter([Method::PrivateKeyJwt]);
        let keys = keys.iter().map(|key| key.public()).collect();
        ClientRecord { auth_methods, keys, ..record(&self.server.credential) }
    }

    /// The usual claims, with a new `jti`.
    fn claims(&self) -> Value {
        static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let now = instant(NOW).as_second();
        json!({
            "iss": CLIENT_ID, "sub": CLIENT_ID, "aud": self.server.issuer, "iat": now, "exp": now + 60,
            "jti": NEXT.fetch_add(1, Ordering::Relaxed).to_string(),
        })
    }

    fn with_claim(&self, name: &str, value: Value) -> String {
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

    async fn send(&self, assertion: &str) -> Reply {
        self.server.post(&[], &body(assertion)).await
    }

    async fn is_accepted(&self, assertion: &str) -> bool {
        self.send(assertion).await.status == 200
    }

    /// The rule of the audit line of a refusal.
    async fn rule(&self, assertion: &str) -> String {
        let reply = self.send(assertion).await;
        assert_eq!(reply.error(), (401, "invalid_client".to_owned()), "{}", reply.text());
        audit(&reply)["rule"].as_str().unwrap_or_default().to_owned()
    }
}

pub(crate) fn header() -> Header {
    Header { kid: Some("one".to_owned()), ..Header::new(Algorithm::ES256) }
}

fn body(assertion: &str) -> String {
    format!("{GRANT}&client_assertion_type={TYPE}&client_assertion={assertion}")
}

#[tokio::test]
async fn a8_an_assertion_authenticates_its_client_and_the_log_names_key_and_method() {
    let scene = Scene::new().await;
    let reply = scene.send(&scene.good()).await;
    assert_eq!(claims(&reply)["client_id"], CLIENT_ID);
    let line = audit(&reply);
    assert_eq!((&line["method"], &line["key_id"]), (&json!("private_key_jwt"), &json!("one")), "{line}");
    assert_eq!(line["secret"], Value::Null, "{line}");
    let with_id = format!("{}&client_id={CLIENT_ID}", body(&scene.good()));
    assert_eq!(scene.server.post(&[], &with_id).await.status, 200);
}

#[tokio::test]
async fn a8_each_forged_assertion_is_refused_by_its_own_rule() {
    let scene = Scene::new().await;
    let now = instant(NOW).as_second();
    let (good, usual) = (scene.good(), scene.claims());
    let text = |header: &str| scene.key.sign_text(header, &usual.to_string());
    let public = URL_SAFE_NO_PAD.decode(scene.key.jwk["x"].as_str().unwrap()).unwrap();
    let hmac =
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &usual, &EncodingKey::from_secret(&public)).unwrap();
    let parts: Vec<&str> = good.split('.').collect();
    let unsigned = format!("{}.{}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#), parts[1]);
    let another = Key::new("one");
    let other_kid = Header { kid: Some("two".to_owned()), ..header() };
    let repeated = format!(r#"{{"iss":"x",{}"#, &usual.to_string()[1..]);
    let with = |name: &str, value: Value| scene.with_claim(name, value);
    for (assertion, rule) in [
        (unsigned, "AssertionAlgorithm"),
        (hmac, "AssertionAlgorithm"),
        (scene.key.sign(&other_kid, &usual), "AssertionKeyUnknown"),
        (another.sign(&header(), &usual), "AssertionSignature"),
        (format!("{}.{}.{}", parts[0], parts[1], URL_SAFE_NO_PAD.encode([0; 64])), "AssertionSignature"),
        (with("sub", "another".into()), "AssertionIssuer"),
        (with("iss", "another".into()), "AssertionIssuer"),
        (with("iss", Value::Null), "AssertionIssuer"),
        (with("sub", Value::Null), "AssertionIssuer"),
        (with("exp", Value::Null), "AssertionWithoutExpiry"),
        (with("exp", json!(1e300)), "AssertionTooLong"),
        (with("exp", json!(now + 2 * 3600)), "AssertionTooLong"),
        (with("exp", json!(-1)), "AssertionExpired"),
        (with("exp", json!(now - 11)), "AssertionExpired"),
        (with("exp", "soon".into()), "AssertionMalformed"),
        (with("exp", (now + 60).to_string().into()), "AssertionMalformed"),
        (with("iat", json!(now + 90)), "AssertionNotYetValid"),
        (with("nbf", json!(now + 90)), "AssertionNotYetValid"),
        (with("aud", json!([scene.server.issuer])), "AssertionAudience"),
        (with("aud", format!("{}/", scene.server.issuer).into()), "AssertionAudience"),
        (with("aud", format!("{}/oauth2/token", scene.server.issuer).into()), "AssertionAudience"),
        (with("aud", Value::Null), "AssertionAudience"),
        (with("aud", json!({"aud": scene.server.issuer})), "AssertionAudience"),
        (with("aud", vec![json!({"": 0}); 5_000].into()), "AssertionAudience"),
        (with("jti", Value::Null), "AssertionWithoutId"),
        (with("jti", "".into()), "AssertionWithoutId"),
        (with("jti", "x".repeat(257).into()), "AssertionWithoutId"),
        (text(r#"{"alg":"ES256","kid":"one","crit":["exp"]}"#), "AssertionCritical"),
        (text(r#"{"alg":"RS256","kid":"one"}"#), "AssertionMalformed"),
        (text(r#"{"alg":"EdDSA","kid":"one"}"#), "AssertionKeyUnknown"),
        (text(r#"{"alg":"ES256","alg":"ES256","kid":"one"}"#), "AssertionMalformed"),
        (scene.key.sign_text(r#"{"alg":"ES256","kid":"one"}"#, &repeated), "AssertionMalformed"),
        (scene.key.sign_text(r#"{"alg":"ES256","kid":"one","cty":"JWT"}"#, &good), "AssertionMalformed"),
        (format!("{}.a.b.c.d", parts[0]), "AssertionMalformed"),
        ("nonsense".to_owned(), "AssertionMalformed"),
        ("A".repeat(60_000), "AssertionMalformed"),
    ] {
        assert_eq!(scene.rule(&assertion).await, rule, "{assertion:.300}");
    }
    assert!(scene.is_accepted(&good).await, "a refused assertion uses nothing up");
}

/// Anybody can put a key of their own into the header.
#[tokio::test]
async fn a8_keys_in_the_header_are_ignored() {
    let scene = Scene::new().await;
    let thief = Key::new("one");
    let header = |key: &Key| {
        json!({
            "alg": "ES256", "kid": "one", "jwk": key.jwk, "jku": "https://thief.example.com/jwks.json",
            "x5u": "https://thief.example.com/x5u.pem", "x5c": ["AAAA"],
        })
        .to_string()
    };
    let forged = thief.sign_text(&header(&thief), &scene.claims().to_string());
    assert_eq!(scene.rule(&forged).await, "AssertionSignature");
    let good = scene.key.sign_text(&header(&thief), &scene.claims().to_string());
    assert!(scene.is_accepted(&good).await);
}

#[tokio::test]
async fn a8_an_assertion_is_accepted_once_and_clients_do_not_share_ids() {
    let scene = Scene::new().await;
    let good = scene.good();
    assert!(scene.is_accepted(&good).await);
    assert_eq!(scene.rule(&good).await, "AssertionReplayed");
    let mut resigned = scene.claims();
    resigned["jti"] = "shared".into();
    assert!(scene.is_accepted(&scene.key.sign(&header(), &resigned)).await);
    resigned["iat"] = (instant(NOW).as_second() - 1).into();
    assert_eq!(scene.rule(&scene.key.sign(&header(), &resigned)).await, "AssertionReplayed");
    let other = ClientRecord { client_id: "other".into(), ..scene.client(&[&scene.key]) };
    scene.server.clients.set("other", Lookup::Live(Arc::new(other)));
    (resigned["iss"], resigned["sub"]) = ("other".into(), "other".into());
    assert!(scene.is_accepted(&scene.key.sign(&header(), &resigned)).await);
}

#[tokio::test]
async fn a8_clocks_may_differ_a_little() {
    let scene = Scene::new().await;
    let now = instant(NOW).as_second();
    for (name, value) in [
        ("exp", json!(now - 9)),
        ("exp", json!(now + 3600)),
        ("exp", serde_json::from_str(&format!("{now}.5")).unwrap()),
        ("iat", json!(now + 59)),
        ("nbf", json!(now + 59)),
        ("iat", Value::Null),
    ] {
        assert!(scene.is_accepted(&scene.with_claim(name, value.clone())).await, "{name}: {value}");
    }
}

#[tokio::test]
async fn a8_the_operator_admits_the_url_of_the_token_endpoint_as_audience() {
    const URL: &str = "https://postern.example.com/oauth2/token";
    let scene = Scene::with(Options { assertion_audiences: vec![URL], ..Options::default() }).await;
    assert!(scene.is_accepted(&scene.with_claim("aud", URL.into())).await);
    assert!(scene.is_accepted(&scene.good()).await);
    assert_eq!(scene.rule(&scene.with_claim("aud", format!("{URL}/").into())).await, "AssertionAudience");
}

#[tokio::test]
async fn a9_every_key_of_the_client_works_and_none_of_another_client() {
    let scene = Scene::new().await;
    let (second, unnamed) = (Key::new("two"), Key::new("three"));
    scene.put(&[&scene.key, &second, &unnamed]);
    for (key, id) in [(&scene.key, "one"), (&second, "two"), (&unnamed, "three")] {
        let named = Header { kid: Some(id.to_owned()), ..header() };
        assert!(scene.is_accepted(&key.sign(&named, &scene.claims())).await, "{id}");
        assert!(scene.is_accepted(&key.sign(&Header::new(Algorithm::ES256), &scene.claims())).await, "no kid");
    }
    scene.put(&[&second]);
    assert_eq!(scene.rule(&scene.good()).await, "AssertionKeyUnknown");
}

/// Otherwise anyone could cause twenty checks with each assertion, and learn how many keys a client has.
#[tokio::test]
async fn a9_without_a_key_id_no_more_than_four_keys_of_the_algorithm_are_tried() {
    let scene = Scene::new().await;
    let keys: Vec<Key> = (1..=5).map(|number| Key::new(&number.to_string())).collect();
    let x = "WGZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmY";
    let ed25519 = PublicKey::from_jwk(&json!({"kty": "OKP", "crv": "Ed25519", "x": x})).unwrap();
    let ed25519 = Arc::new(ClientKey { key: ed25519.into(), authority: AUTHORITY.into() });
    let mut client = scene.client(&keys.iter().collect::<Vec<_>>());
    client.keys.splice(..0, vec![ed25519; 5]);
    scene.server.clients.put(client);
    let sign = |key: &Key, kid: Option<&str>| {
        key.sign(&Header { kid: kid.map(str::to_owned), ..Header::new(Algorithm::ES256) }, &scene.claims())
    };
    assert!(scene.is_accepted(&sign(&keys[3], None)).await, "the fourth");
    assert_eq!(scene.rule(&sign(&keys[4], None)).await, "AssertionSignature", "the fifth");
    assert!(scene.is_accepted(&sign(&keys[4], Some("5"))).await, "with its id");
}

#[tokio::test]
async fn a9_keys_with_the_id_of_the_assertion_are_tried_before_keys_without_an_id() {
    let scene = Scene::new().await;
    let unnamed: Vec<Key> = (0..4)
        .map(|_| {
            let mut key = Key::new("");
            key.jwk.as_object_mut().unwrap().remove("kid");
            key
        })
        .collect();
    let all: Vec<&Key> = unnamed.iter().chain([&scene.key]).collect();
    scene.put(&all);
    assert!(scene.is_accepted(&scene.good()).await);
    assert!(scene.is_accepted(&unnamed[2].sign(&header(), &scene.claims())).await, "the third without an id");
    assert_eq!(scene.rule(&unnamed[3].sign(&header(), &scene.claims())).await, "AssertionSignature");
}

#[tokio::test]
async fn a9_a_key_that_the_replica_has_not_received_yet_is_accepted_after_catching_up() {
    let scene = Scene::new().await;
    let new = Key::new("new");
    let known = Lookup::Live(Arc::new(scene.client(&[&scene.key, &new])));
    scene.server.clients.upcoming(CLIENT_ID, known);
    let named = Header { kid: Some("new".to_owned()), ..header() };
    assert!(scene.is_accepted(&new.sign(&named, &scene.claims())).await);
}

#[tokio::test]
async fn a9_a_replica_that_has_not_fetched_the_keys_yet_refuses_neither_assertions_nor_tokens() {
    let scene = Scene::new().await;
    let assertion = format!("{}&scope=openid", body(&scene.good()));
    let token = format!("Bearer {}", scene.server.post(&[], &assertion).await.json()["access_token"].as_str().unwrap());
    let userinfo =
        async || scene.server.send("GET", "/oauth2/userinfo", &[("authorization", token.as_str())], "").await.status;
    assert_eq!(userinfo().await, 200);
    scene.put(&[]);
    for (lacks_keys, of_client, of_token) in [(true, 503, 503), (false, 401, 401)] {
        scene.server.clients.lacks_keys.store(lacks_keys, Ordering::Relaxed);
        assert_eq!((scene.send(&scene.good()).await.status, userinfo().await), (of_client, of_token));
    }
    scene.put(&[&scene.key]);
    scene.server.clients.lacks_keys.store(true, Ordering::Relaxed);
    assert!(scene.is_accepted(&scene.good()).await, "the keys that it has");
}

#[tokio::test]
async fn a8_the_rules_of_every_method_apply_and_a_secret_is_never_checked() {
    let scene = Scene::new().await;
    let secret = basic(&format!("{CLIENT_ID}:{}", scene.server.credential.value));
    let reply = scene.server.post(&[("authorization", &secret)], GRANT).await;
    assert_eq!((reply.status, &audit(&reply)["rule"]), (401, &json!("SecretsNotAllowed")));
    for (method, path, body) in [
        ("POST", "/oauth2/introspect", "token=none"),
        ("POST", "/oauth2/revoke", "token=none"),
        ("GET", "/auth?anyone=true", ""),
        ("GET", "/manage/v1/application", ""),
    ] {
        let reply = scene.server.send(method, path, &[("authorization", &secret), FORM], body).await;
        assert_eq!((reply.status, &audit(&reply)["rule"]), (401, &json!("SecretsNotAllowed")), "{path}");
    }
    let secrets_only = MethodSet::from_iter([Method::ClientSecretBasic]);
    scene.server.clients.put(ClientRecord { auth_methods: secrets_only, ..scene.client(&[&scene.key]) });
    assert_eq!(scene.rule(&scene.good()).await, "MethodNotAllowed");
    let denial = Denial { rule: DenialRule::Suspended, object: object("Application", "invoice-sync") };
    scene.server.clients.set(CLIENT_ID, Lookup::Disabled(Arc::new(denial)));
    assert_eq!(scene.rule(&scene.good()).await, "Suspended");
    scene.server.clients.set(CLIENT_ID, Lookup::Unknown);
    assert_eq!(scene.rule(&scene.good()).await, "UnknownClient");
}

/// What an assertion is decoded into takes several times its length, for as long as the API server takes.
#[tokio::test]
async fn t10_a_long_assertion_keeps_its_slot_while_its_client_is_looked_up() {
    let request = RequestLimits { large_bodies: 1, ..RequestLimits::default() };
    let scene = Scene::with(Options { request, ..Options::default() }).await;
    let long = body(&scene.with_claim("padding", "x".repeat(8_000).into()));
    scene.server.clients.set(CLIENT_ID, Lookup::Unknown);
    let clients = &scene.server.clients;
    let answers = clients.may_ask.acquire().await.unwrap();
    let check_others = async {
        while clients.asking.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        let refused = tokio::time::timeout(Duration::from_secs(10), scene.server.post(&[], &long)).await;
        let refused = refused.expect("it does not wait for the API server");
        assert_eq!(refused.error(), (503, "temporarily_unavailable".to_owned()));
        assert_eq!(scene.rule("short").await, "AssertionMalformed", "a short one needs none");
        drop(answers);
    };
    let (reply, ()) = tokio::join!(scene.server.post(&[], &long), check_others);
    assert_eq!(reply.error(), (401, "invalid_client".to_owned()));
    assert_eq!(scene.rule(&scene.with_claim("padding", "x".repeat(8_000).into())).await, "UnknownClient");
}

#[tokio::test]
async fn a3_an_assertion_is_the_only_method_of_its_request() {
    let scene = Scene::new().await;
    let secret = basic(&format!("{CLIENT_ID}:{}", scene.server.credential.value));
    let invalid_request = (400, "invalid_request".to_owned());
    let good = body(&scene.good());
    assert_eq!(scene.server.post(&[("authorization", &secret)], &good).await.error(), invalid_request);
    assert_eq!(scene.server.post(&[], &format!("{good}&client_secret=x&client_id=y")).await.error(), invalid_request);
    assert_eq!(scene.server.post(&[], &format!("{good}&client_assertion=x")).await.error(), invalid_request);
    let invalid_client = (401, "invalid_client".to_owned());
    let other_type = good.replace("jwt-bearer", "saml2-bearer");
    assert_eq!(scene.server.post(&[], &other_type).await.error(), invalid_client);
    assert_eq!(scene.server.post(&[], &format!("{good}&client_id=another")).await.error(), invalid_client);
    let without = format!("{GRANT}&client_assertion_type={TYPE}");
    assert_eq!(scene.server.post(&[], &without).await.error(), invalid_client);
    assert!(scene.server.post(&[], &good).await.status == 200, "none of these used the assertion up");
}

#[tokio::test]
async fn a8_a_token_ends_with_the_key_that_it_was_issued_for() {
    let scene = Scene::new().await;
    let reply = scene.send(&scene.good()).await;
    let token = format!("Bearer {}", reply.json()["access_token"].as_str().unwrap());
    let ask = async || scene.server.send("GET", "/auth?anyone=true", &[("authorization", &token)], "").await.status;
    assert_eq!(ask().await, 200);
    scene.put(&[]);
    assert_eq!(ask().await, 401);
}
