//! What a client is granted does not depend on the method by which it authenticates, and no method widens it. The networks of
//! the Application apply to every method and to every endpoint.

use std::sync::Arc;

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::Strategy as _;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use postern::crypto::client_ca::ClientCas;
use postern::crypto::client_certificate::{CertificateId, ClientCertificate};
use postern::crypto::public_key::PublicKey;
use postern::http::server::CertificateHeader;
use postern::oauth::client_record::{
    ClientRecord, Grant, RegisteredCertificate, ScopePolicy, ServiceAccount, TokenPolicy, TrustedIssuer,
};
use postern::oauth::cluster_tokens::{ClusterIssuer, ReviewError};
use postern::oauth::denial_rule::DenialRule;

use crate::assertions::{AUTHORITY, Key, TYPE, header};
use crate::certificates::issued::{Issued, TestCa};
use crate::http_client::Reply;
use crate::key_pairs::{self, Pair};
use crate::operations::audit;
use crate::secret_purposes::behind_proxies;
use crate::server::{BILLING, CLIENT_ID, FORM, LEDGER, NOW, Options, TestServer, claims, grant, instant, record_of};

const CLUSTER: &str = "https://kubernetes.default.svc.cluster.local";
const PARTNER: &str = "https://partner.example.com";
const BEARER: &str = "grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer";
const CREDENTIALS: &str = "grant_type=client_credentials";
/// Generated grants and requests.
const CASES: usize = 64;
const SCOPES: [&str; 4] = ["read", "write", "list", "delete"];

#[tokio::test]
async fn the_grant_of_a_client_is_the_same_for_every_method() {
    let certificates = Certificates::new();
    let server = certificates.behind_a_proxy().await;
    let (key, pair) = (key_of_client_and_cluster(&server), Pair::new());
    let version = Arc::new(pair.version(&pair.mac(&server.install, |_| ())));
    let mut runner = TestRunner::default();
    let held = proptest::collection::btree_set((0..2_usize, 0..4_usize), 0..6);
    let asked = (proptest::collection::btree_set(0..4_usize, 0..3), proptest::option::of(0..3_usize));
    let cases = (held, asked, proptest::bool::ANY);
    for case in 0..CASES {
        let (held, (scopes, audience), narrows) = cases.new_tree(&mut runner).unwrap().current();
        let permits: Vec<_> = held
            .iter()
            .map(|(audience, scope)| ([BILLING, LEDGER][*audience], SCOPES[*scope], "reader", "Operational"))
            .collect();
        let mut client = client(&server, &key, grant(&permits), narrows);
        client.secrets[0].versions.push(Arc::clone(&version));
        client.certificates = certificates.registered();
        server.clients.put(client);
        let scopes: Vec<&str> = scopes.iter().map(|scope| SCOPES[*scope]).collect();
        let resource = audience.map_or("", |audience| [BILLING, LEDGER, "https://other.example.com"][audience]);
        let request = format!("&scope={}&resource={resource}", scopes.join("+"));
        let mut replies = with_every_method(&server, &key, case, &request).await;
        let pair = pair.sign(&server.issuer, Some(key_pairs::ID));
        let body = format!("{CREDENTIALS}&client_assertion_type={TYPE}&client_assertion={pair}{request}");
        replies.push(("private_key_jwt with a generated key pair", server.post(&[], &body).await));
        replies.extend(certificates.authenticate(&server, &request).await);
        let answers: Vec<_> = replies.iter().map(|(method, reply)| (method, granted(reply))).collect();
        let (_, expected) = &answers[0];
        for (method, answer) in &answers {
            assert_eq!(answer, expected, "{method}: {permits:?} {request}");
        }
        for scope in expected["scope"].as_str().unwrap_or_default().split_whitespace() {
            assert!(
                permits.iter().any(|(_, held, ..)| *held == scope),
                "{scope} is not granted: {permits:?} {request}"
            );
        }
    }
}

#[tokio::test]
async fn no_method_works_from_outside_of_the_networks_of_the_application() {
    let server = TestServer::start().await;
    let key = key_of_client_and_cluster(&server);
    let permits = grant(&[(BILLING, "read", "reader", "Operational")]);
    let from = |networks: &[&str]| ClientRecord {
        networks: Some(networks.iter().map(|network| network.parse().unwrap()).collect()),
        ..client(&server, &key, Arc::clone(&permits), false)
    };
    server.clients.put(from(&["192.0.2.0/24", "::/0"]));
    let wrong = server.token_with(&server.credential(), "").await;
    for (method, reply) in with_every_method(&server, &key, 0, "").await {
        let is_grant = method.starts_with("JWT bearer grant");
        let error = if is_grant { (400, "invalid_grant") } else { (401, "invalid_client") };
        assert_eq!(reply.error(), (error.0, error.1.to_owned()), "{method}");
        assert!(is_grant || reply.body == wrong.body, "{method}: the same as for a wrong credential");
        let line = audit(&reply);
        assert_eq!((line["rule"].as_str(), line["source"].as_str()), (Some("NetworkNotAllowed"), Some("127.0.0.1")));
        assert_eq!(line["object"], "Application billing/invoice-sync", "{method}");
    }
    // What was refused is not used up: the same assertions work from inside.
    server.clients.put(from(&["192.0.2.0/24", "127.0.0.0/8"]));
    for (method, reply) in with_every_method(&server, &key, 0, "").await {
        assert_eq!(reply.status, 200, "{method}: {}", reply.text());
    }
}

#[tokio::test]
async fn the_networks_of_the_application_and_of_the_secret_both_apply() {
    let server = TestServer::start().await;
    let key = Key::new("one");
    for (application, secret, object) in [
        ("127.0.0.0/8", "127.0.0.1/32", None),
        ("127.0.0.0/8", "192.0.2.0/24", Some("ClientSecret billing/invoice-sync-0")),
        ("192.0.2.0/24", "127.0.0.0/8", Some("Application billing/invoice-sync")),
        ("192.0.2.0/24", "192.0.2.0/24", Some("Application billing/invoice-sync")),
    ] {
        let mut client = client(&server, &key, grant(&[(BILLING, "read", "reader", "Operational")]), false);
        client.networks = Some([application.parse().unwrap()].into());
        client.secrets[0].networks = Some([secret.parse().unwrap()].into());
        server.clients.put(client);
        let reply = server.token("").await;
        let refused = (reply.status != 200).then(|| audit(&reply)["object"].as_str().map(str::to_owned)).flatten();
        assert_eq!(refused.as_deref(), object, "{application} {secret}");
    }
}

#[tokio::test]
async fn the_networks_of_the_application_apply_at_every_endpoint_to_the_address_of_the_client() {
    let server = behind_proxies().await;
    let permits = grant(&[(BILLING, "read", "reader", "Operational")]);
    let networks = Some(["192.0.2.0/24".parse().unwrap()].into());
    server.clients.put(ClientRecord { networks, ..client(&server, &Key::new("one"), permits, false) });
    let authorization = server.credential.basic();
    for (method, path, body) in [
        ("POST", "/oauth2/token", CREDENTIALS),
        ("POST", "/oauth2/introspect", "token=none"),
        ("POST", "/oauth2/revoke", "token=none"),
        ("GET", "/auth?anyone=true", ""),
        ("GET", "/manage/v1/application", ""),
    ] {
        for (source, status) in [("192.0.2.1", 200), ("198.51.100.1", 401), ("nonsense", 401)] {
            let headers = [("authorization", authorization.as_str()), ("x-forwarded-for", source), FORM];
            let reply = server.send(method, path, &headers, body).await;
            assert_eq!(reply.status, status, "{method} {path} from {source}: {}", reply.text());
        }
    }
}

#[tokio::test]
async fn a_use_of_each_method_is_recorded_and_a_refused_one_is_not() {
    let server = TestServer::start().await;
    let key = key_of_client_and_cluster(&server);
    let permits = grant(&[(BILLING, "read", "reader", "Operational")]);
    let record = client(&server, &key, Arc::clone(&permits), false);
    let memory = Arc::clone(&record.method_uses);
    let used = || memory.last_uses().map(|(method, at)| (method.name(), at.as_second())).collect::<Vec<_>>();
    let networks = Some(["192.0.2.0/24".parse().unwrap()].into());
    let method_uses = Arc::clone(&memory);
    server.clients.put(ClientRecord { networks, method_uses, ..client(&server, &key, permits, false) });
    with_every_method(&server, &key, 0, "").await;
    server.clients.put(record);
    assert_eq!(server.token_with(&server.credential(), "").await.status, 401);
    // The signature is right, and the API server no longer knows the pod.
    *server.clients.review.lock().unwrap() = Err(ReviewError::Rejected(DenialRule::PodDeleted));
    let token = account_token(&server, &key);
    assert_eq!(server.post(&[], &format!("{BEARER}&assertion={token}")).await.status, 400);
    assert_eq!(used(), []);

    *server.clients.review.lock().unwrap() = Ok(());
    with_every_method(&server, &key, 0, "&scope=none").await;
    let methods =
        ["client_secret_basic", "client_secret_post", "private_key_jwt", "kubernetes_service_account", "federated_jwt"];
    assert_eq!(used(), methods.map(|method| (method, instant(NOW).as_second())), "also if it has no permission");
    // A replay is no use.
    server.clock.fetch_add(5, std::sync::atomic::Ordering::Relaxed);
    let replayed = signed(&server, &key, 0);
    let body = format!("{CREDENTIALS}&client_assertion_type={TYPE}&client_assertion={replayed}");
    assert_eq!(server.post(&[], &body).await.status, 401);
    assert_eq!(server.token("").await.status, 200);
    let seconds: Vec<_> = used().into_iter().map(|(_, second)| second - instant(NOW).as_second()).collect();
    assert_eq!(seconds, [5, 0, 0, 0, 0]);
}

/// The key with which the client and the cluster sign.
fn key_of_client_and_cluster(server: &TestServer) -> Key {
    let key = Key::new("one");
    let keys = vec![PublicKey::from_jwk(&key.jwk).unwrap()];
    *server.clients.cluster.lock().unwrap() = Some(Arc::new(ClusterIssuer { issuers: vec![CLUSTER.into()], keys }));
    key
}

/// The certificates of a client: one of a CA, and one that it has signed itself.
struct Certificates {
    ca: TestCa,
    issued: Issued,
    own: Issued,
}

impl Certificates {
    fn new() -> Self {
        let ca = TestCa::new();
        let issued = ca.issue(&["sync.billing.svc"], &[], |_| {});
        Self { ca, issued, own: Issued::self_signed(&["sync"]) }
    }

    /// A server that reads certificates from the header of a proxy.
    async fn behind_a_proxy(&self) -> TestServer {
        TestServer::start_with(Options {
            certificate_header: Some(CertificateHeader::ClientCert),
            trusted_proxies: vec!["127.0.0.0/8".parse().unwrap()],
            client_cas: Arc::new(ArcSwap::from_pointee(ClientCas::from_pem(&self.ca.pem()).unwrap())),
            ..Options::default()
        })
        .await
    }

    fn registered(&self) -> Vec<Arc<RegisteredCertificate>> {
        let thumbprint = ClientCertificate::new(self.own.chain.clone()).unwrap().thumbprint().to_string();
        let entry = |field, value: &str| {
            let id = CertificateId::parse(field, value).unwrap();
            Arc::new(RegisteredCertificate { id, authority: AUTHORITY.into() })
        };
        vec![entry("sanDns", "sync.billing.svc"), entry("thumbprintSha256", &thumbprint)]
    }

    async fn authenticate(&self, server: &TestServer, request: &str) -> Vec<(&'static str, Reply)> {
        let body = format!("{CREDENTIALS}&client_id={CLIENT_ID}{request}");
        let mut replies = Vec::new();
        for (method, certificate) in [("tls_client_auth", &self.issued), ("self_signed_tls_client_auth", &self.own)] {
            let header = format!(":{}:", STANDARD.encode(&certificate.chain[0]));
            let reply = server.post(&[("client-cert", &header)], &body).await;
            assert!(reply.status != 200 || audit(&reply)["method"] == method);
            replies.push((method, reply));
        }
        replies
    }
}

/// A client that may use every method.
fn client(server: &TestServer, key: &Key, grant: Arc<Grant>, narrows: bool) -> ClientRecord {
    let client = record_of(grant, &[&server.credential]);
    let issuer = TrustedIssuer {
        issuer: PARTNER.into(),
        subject: "pipeline".into(),
        audience: None,
        keys: [PublicKey::from_jwk(&key.jwk).unwrap().into()].into(),
        authority: AUTHORITY.into(),
    };
    let account = ServiceAccount { name: "sync".into(), uid: None, authority: AUTHORITY.into() };
    let scope_policy = if narrows { ScopePolicy::Narrow } else { ScopePolicy::Reject };
    ClientRecord {
        keys: vec![key.public()],
        service_accounts: vec![Arc::new(account)],
        issuers: vec![Arc::new(issuer)],
        token: TokenPolicy { scope_policy, ..client.token.clone() },
        ..client
    }
}

/// The answers to the same request, each with its method.
async fn with_every_method(server: &TestServer, key: &Key, case: usize, request: &str) -> Vec<(&'static str, Reply)> {
    let secret = &server.credential.value;
    let [assertion, account, partner] =
        [signed(server, key, case), account_token(server, key), partner_token(server, key)];
    let as_client =
        |token: &str| format!("{CREDENTIALS}&client_assertion_type={TYPE}&client_assertion={token}{request}");
    let as_grant = |token: &str| format!("{BEARER}&assertion={token}{request}");
    let basic = server.credential.basic();
    let mut answers = vec![(
        "client_secret_basic",
        server.post(&[("authorization", &basic)], &format!("{CREDENTIALS}{request}")).await,
    )];
    for (method, body) in [
        ("client_secret_post", format!("{CREDENTIALS}&client_id={CLIENT_ID}&client_secret={secret}{request}")),
        ("private_key_jwt", as_client(&assertion)),
        ("JWT bearer grant", as_grant(&signed(server, key, case + CASES))),
        ("kubernetes_service_account", as_client(&account)),
        ("JWT bearer grant with a ServiceAccount token", as_grant(&account)),
        ("federated_jwt", format!("{}&client_id={CLIENT_ID}", as_client(&partner))),
        ("JWT bearer grant of another issuer", format!("{}&client_id={CLIENT_ID}", as_grant(&partner))),
    ] {
        answers.push((method, server.post(&[], &body).await));
    }
    answers
}

/// What a token permits, or the error.
fn granted(reply: &Reply) -> Value {
    if reply.status != 200 {
        return json!({"error": reply.error().1});
    }
    let claims = claims(reply);
    json!({
        "scope": claims["scope"], "aud": claims["aud"], "roles": claims["roles"], "planes": claims["planes"],
        "sub": claims["sub"], "client_id": claims["client_id"],
    })
}

fn signed(server: &TestServer, key: &Key, id: usize) -> String {
    let now = instant(NOW).as_second();
    let claims = json!({
        "iss": CLIENT_ID, "sub": CLIENT_ID, "aud": server.issuer, "exp": now + 60, "jti": id.to_string(),
    });
    key.sign(&header(), &claims)
}

fn partner_token(server: &TestServer, key: &Key) -> String {
    let now = instant(NOW).as_second();
    let claims = json!({"iss": PARTNER, "sub": "pipeline", "aud": server.issuer, "iat": now, "exp": now + 300});
    key.sign(&header(), &claims)
}

fn account_token(server: &TestServer, key: &Key) -> String {
    let now = instant(NOW).as_second();
    let claims = json!({
        "iss": CLUSTER, "sub": "system:serviceaccount:billing:sync", "aud": [server.issuer], "exp": now + 3600,
        "kubernetes.io": {"namespace": "billing", "serviceaccount": {"name": "sync", "uid": "u"}},
    });
    key.sign(&header(), &claims)
}
