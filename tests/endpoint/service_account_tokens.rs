//! F1-F3, F5: pods authenticate with the token of their ServiceAccount. The issuer and the reviews are those of a fake cluster;
//! the tests of the cluster use a real one.

use std::sync::Arc;

use jsonwebtoken::Header;
use postern::crypto::public_key::PublicKey;
use postern::oauth::client_auth::{Method, MethodSet};
use postern::oauth::client_record::{ClientRecord, ServiceAccount};
use postern::oauth::client_store::Lookup;
use postern::oauth::cluster_tokens::{ClusterIssuer, ReviewError};
use postern::oauth::denial_rule::DenialRule;
use serde_json::{Value, json};

use crate::assertions::{AUTHORITY, Key, TYPE, header};
use crate::http_client::Reply;
use crate::operations::audit;
use crate::server::{CLIENT_ID, GRANT, NOW, TestServer, claims, instant, record};

const CLUSTER: &str = "https://kubernetes.default.svc.cluster.local";
const BEARER: &str = "grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer";
const UID: &str = "5f0c3a52-9d55-4d0e-8b6a-0f1f2a6f5c1e";

/// A server that knows the issuer of a cluster, and a client that lists one ServiceAccount.
struct Scene {
    server: TestServer,
    key: Key,
}

impl Scene {
    async fn new() -> Self {
        let scene = Self { server: TestServer::start().await, key: Key::new("one") };
        scene.trust(&scene.key);
        scene.put(CLIENT_ID, &[("sync", None)]);
        scene
    }

    fn trust(&self, key: &Key) {
        *self.server.clients.cluster.lock().unwrap() = Some(Arc::new(issuer(key)));
    }

    fn put(&self, id: &str, accounts: &[(&str, Option<&str>)]) {
        let account = |(name, uid): &(&str, Option<&str>)| {
            Arc::new(ServiceAccount { name: (*name).into(), uid: uid.map(Box::from), authority: AUTHORITY.into() })
        };
        let service_accounts = accounts.iter().map(account).collect();
        let auth_methods = MethodSet::from_iter([Method::KubernetesServiceAccount]);
        let credential = &self.server.credential;
        let client = ClientRecord { client_id: id.into(), auth_methods, service_accounts, ..record(credential) };
        self.server.clients.set(id, Lookup::Live(Arc::new(client)));
    }

    fn review(&self, result: Result<(), ReviewError>) {
        *self.server.clients.review.lock().unwrap() = result;
    }

    /// The claims that Kubernetes writes into the token of a pod.
    fn claims(&self) -> Value {
        let now = instant(NOW).as_second();
        json!({
            "iss": CLUSTER, "sub": "system:serviceaccount:billing:sync", "aud": [self.server.issuer],
            "iat": now, "nbf": now, "exp": now + 3600, "jti": "a",
            "kubernetes.io": {
                "namespace": "billing",
                "node": {"name": "worker-1", "uid": "n"},
                "pod": {"name": "sync-7c9", "uid": "p"},
                "serviceaccount": {"name": "sync", "uid": UID},
                "warnafter": now + 3000,
            },
        })
    }

    fn with(&self, pointer: &str, value: Value) -> String {
        let mut claims = self.claims();
        *claims.pointer_mut(pointer).unwrap() = value;
        self.key.sign(&header(), &claims)
    }

    fn good(&self) -> String {
        self.key.sign(&header(), &self.claims())
    }

    async fn send(&self, token: &str) -> Reply {
        let body = format!("{GRANT}&client_assertion_type={TYPE}&client_assertion={token}");
        self.server.post(&[], &body).await
    }

    /// The rule of the audit line of a refusal, which is the same for both forms.
    async fn rule(&self, token: &str) -> String {
        let reply = self.send(token).await;
        assert_eq!(reply.error(), (401, "invalid_client".to_owned()), "{}", reply.text());
        let grant = self.server.post(&[], &format!("{BEARER}&assertion={token}")).await;
        assert_eq!(grant.error(), (400, "invalid_grant".to_owned()), "{}", grant.text());
        let (one, other) = (audit(&reply)["rule"].clone(), audit(&grant)["rule"].clone());
        assert_eq!(one, other);
        one.as_str().unwrap_or_default().to_owned()
    }
}

fn issuer(key: &Key) -> ClusterIssuer {
    ClusterIssuer { issuers: vec![CLUSTER.into()], keys: vec![PublicKey::from_jwk(&key.jwk).unwrap()] }
}

#[tokio::test]
async fn f1_the_token_of_a_pod_gets_an_access_token_in_both_forms_and_the_log_names_pod_and_node() {
    let scene = Scene::new().await;
    let token = scene.good();
    let as_grant = scene.server.post(&[], &format!("{BEARER}&assertion={token}")).await;
    for reply in [scene.send(&token).await, as_grant, scene.send(&token).await] {
        assert_eq!(claims(&reply)["client_id"], CLIENT_ID);
        let line = audit(&reply);
        assert_eq!(
            [&line["method"], &line["service_account"], &line["pod"], &line["node"], &line["key_id"]],
            [
                &json!("kubernetes_service_account"),
                &json!("system:serviceaccount:billing:sync"),
                &json!("sync-7c9"),
                &json!("worker-1"),
                &Value::Null
            ],
        );
    }
}

#[tokio::test]
async fn f2_each_token_that_is_not_for_this_client_is_refused_by_its_own_rule() {
    let scene = Scene::new().await;
    let now = instant(NOW).as_second();
    let issuer = scene.server.issuer.clone();
    let named = |namespace: &str, name: &str| {
        let mut claims = scene.claims();
        claims["sub"] = format!("system:serviceaccount:{namespace}:{name}").into();
        claims["kubernetes.io"]["namespace"] = namespace.into();
        claims["kubernetes.io"]["serviceaccount"]["name"] = name.into();
        scene.key.sign(&header(), &claims)
    };
    for (token, rule) in [
        (Key::new("one").sign(&header(), &scene.claims()), "AssertionSignature"),
        (scene.key.sign(&Header { kid: Some("two".to_owned()), ..header() }, &scene.claims()), "AssertionKeyUnknown"),
        (scene.with("/aud", json!([CLUSTER])), "AssertionAudience"),
        (scene.with("/aud", json!([issuer, CLUSTER])), "AssertionAudience"),
        (scene.with("/aud", json!([format!("{issuer}/")])), "AssertionAudience"),
        (scene.with("/aud", json!([])), "AssertionAudience"),
        (scene.with("/aud", Value::Null), "AssertionAudience"),
        (scene.with("/exp", json!(now)), "AssertionExpired"),
        (scene.with("/exp", Value::Null), "AssertionWithoutExpiry"),
        (scene.with("/exp", json!(now + 365 * 24 * 3600)), "AssertionTooLong"),
        (scene.with("/nbf", json!(now + 90)), "AssertionNotYetValid"),
        (scene.with("/sub", json!("system:serviceaccount:billing:other")), "AssertionMalformed"),
        (scene.with("/sub", json!(CLIENT_ID)), "AssertionMalformed"),
        (scene.with("/kubernetes.io", Value::Null), "AssertionMalformed"),
        (scene.with("/iss", json!("other")), "AssertionIssuer"),
        (named("billing", "other"), "UnknownClient"),
        (named("payments", "sync"), "UnknownClient"),
    ] {
        assert_eq!(scene.rule(&token).await, rule, "{token:.300}");
    }
    assert_eq!(scene.send(&scene.good()).await.status, 200);
    let of_client =
        |token: &str| format!("{GRANT}&client_assertion_type={TYPE}&client_assertion={token}&client_id={CLIENT_ID}");
    for (token, rule) in [
        (named("billing", "other"), "ServiceAccountNotListed"),
        (named("payments", "sync"), "ServiceAccountNotListed"),
        (named("billing", "default"), "ServiceAccountDefault"),
    ] {
        let reply = scene.server.post(&[], &of_client(&token)).await;
        assert_eq!((reply.status, audit(&reply)["rule"].as_str()), (401, Some(rule)), "{rule}");
    }
}

#[tokio::test]
async fn f5_an_account_that_was_created_again_is_refused_where_the_uid_is_given() {
    let scene = Scene::new().await;
    scene.put(CLIENT_ID, &[("sync", Some(UID))]);
    assert_eq!(scene.send(&scene.good()).await.status, 200);
    let again = scene.with("/kubernetes.io/serviceaccount/uid", json!("another"));
    assert_eq!(scene.rule(&again).await, "ServiceAccountRecreated");
}

#[tokio::test]
async fn f3_what_the_api_server_rejects_is_refused_although_the_signature_is_right() {
    let scene = Scene::new().await;
    for rule in [DenialRule::PodDeleted, DenialRule::ServiceAccountDeleted, DenialRule::ServiceAccountTokenRejected] {
        scene.review(Err(ReviewError::Rejected(rule)));
        assert_eq!(scene.rule(&scene.good()).await, rule.name());
    }
    scene.review(Err(ReviewError::Unavailable));
    assert_eq!(scene.send(&scene.good()).await.status, 503);
    scene.review(Ok(()));
    assert_eq!(scene.send(&scene.good()).await.status, 200);
}

#[tokio::test]
async fn f2_an_account_of_several_applications_needs_the_client_id() {
    let scene = Scene::new().await;
    scene.put("second", &[("sync", None)]);
    assert_eq!(scene.rule(&scene.good()).await, "AssertionClientAmbiguous");
    for id in [CLIENT_ID, "second"] {
        let reply = scene.server.post(&[], &format!("{BEARER}&assertion={}&client_id={id}", scene.good())).await;
        assert_eq!(claims(&reply)["client_id"], id);
    }
}

#[tokio::test]
async fn f1_a_new_key_of_the_cluster_is_read_when_a_token_needs_it() {
    let scene = Scene::new().await;
    let new = Key::new("new");
    let token = new.sign(&Header { kid: Some("new".to_owned()), ..header() }, &scene.claims());
    assert_eq!(scene.rule(&token).await, "AssertionKeyUnknown");
    *scene.server.clients.upcoming_cluster.lock().unwrap() = Some(Arc::new(issuer(&new)));
    assert_eq!(scene.send(&token).await.status, 200);
}

#[tokio::test]
async fn a_token_with_an_earlier_issuer_of_the_cluster_is_accepted() {
    let scene = Scene::new().await;
    let put = |issuers: &[&str]| {
        let issuers = issuers.iter().map(|issuer| Box::from(*issuer)).collect();
        let cluster = ClusterIssuer { issuers, ..issuer(&scene.key) };
        *scene.server.clients.cluster.lock().unwrap() = Some(Arc::new(cluster));
    };
    put(&["https://new.example.com", CLUSTER]);
    assert_eq!(scene.send(&scene.good()).await.status, 200);
    assert_eq!(scene.send(&scene.with("/iss", json!("https://new.example.com"))).await.status, 200);
    put(&["https://new.example.com"]);
    assert_ne!(scene.send(&scene.good()).await.status, 200);
}

#[tokio::test]
async fn f1_until_the_issuer_of_the_cluster_is_known_the_client_is_asked_to_retry() {
    let scene = Scene::new().await;
    *scene.server.clients.cluster.lock().unwrap() = None;
    let reply = scene.send(&scene.good()).await;
    assert_eq!(reply.error(), (503, "temporarily_unavailable".to_owned()));
}

#[tokio::test]
async fn f1_an_access_token_does_not_outlive_the_token_of_the_pod() {
    let scene = Scene::new().await;
    let now = instant(NOW).as_second();
    let reply = scene.send(&scene.with("/exp", json!(now + 120))).await;
    assert_eq!((reply.json()["expires_in"].clone(), claims(&reply)["exp"].clone()), (json!(120), json!(now + 120)));
}

#[tokio::test]
async fn f1_an_access_token_ends_with_the_entry_of_its_account() {
    let scene = Scene::new().await;
    let reply = scene.send(&scene.good()).await;
    let token = format!("Bearer {}", reply.json()["access_token"].as_str().unwrap());
    let ask = async || scene.server.send("GET", "/auth?anyone=true", &[("authorization", &token)], "").await.status;
    assert_eq!(ask().await, 200);
    scene.put(CLIENT_ID, &[]);
    assert_eq!(ask().await, 401);
}

#[tokio::test]
async fn f2_the_methods_of_the_application_apply() {
    let scene = Scene::new().await;
    let auth_methods = MethodSet::from_iter([Method::PrivateKeyJwt]);
    let Lookup::Live(client) = postern::oauth::client_store::ClientStore::lookup(&*scene.server.clients, CLIENT_ID)
    else {
        panic!("no client")
    };
    let service_accounts = client.service_accounts.clone();
    scene.server.clients.put(ClientRecord { auth_methods, service_accounts, ..record(&scene.server.credential) });
    assert_eq!(scene.rule(&scene.good()).await, "MethodNotAllowed");
}
