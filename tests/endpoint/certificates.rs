//! A11, A12, A13: client authentication by a certificate (`tls_client_auth`, `self_signed_tls_client_auth`). X5: tokens that
//! are bound to one.
//!
//! The certificates have the form that cert-manager gives them: names in the extension subjectAltName, and the extended
//! key usage clientAuth.

mod binding;
mod forwarded;
mod header;
pub(crate) mod issued;
mod listener;

use std::fs;
use std::process::Command;
use std::sync::Arc;

use arc_swap::ArcSwap;
use postern::crypto::ca::Ca;
use postern::crypto::client_ca::ClientCas;
use postern::crypto::client_certificate::{CertificateId, Thumbprint};
use postern::http::tls::TlsCertificate;
use postern::oauth::client_auth::{Method, TrustedCas};
use postern::oauth::client_record::{ClientRecord, Denial, RegisteredCertificate};
use postern::oauth::client_store::Lookup;
use postern::oauth::denial_rule::DenialRule;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::http_client::{self, Reply};
use crate::operations::audit;
use crate::server::{CLIENT_ID, FORM, GRANT, Options, TestServer, claims, object, record};
use issued::{Issued, TestCa};

const AUTHORITY: &str = "2c2c2c2c2c2c2c2c2c2c2c2c";
const DNS: &str = "invoice-sync.billing.svc";
const SPIFFE: &str = "spiffe://example.com/ns/billing/sa/invoice-sync";

/// A server with both listeners, which trusts one CA of clients.
struct Scene {
    server: TestServer,
    server_ca: Ca,
    cas: TrustedCas,
    ca: TestCa,
}

impl Scene {
    async fn new() -> Self {
        Self::with(Options::default()).await
    }

    async fn with(options: Options) -> Self {
        let now = postern::clock::Clock::now(&postern::clock::SystemClock);
        let server_ca = Ca::generate(now).unwrap();
        let leaf = server_ca.sign_leaf(&["localhost".to_owned()], now).unwrap();
        let key = leaf.key_pem.expose_secret();
        let certificate = TlsCertificate::new(leaf.certificate.to_pem().as_bytes(), key.as_bytes()).unwrap();
        let ca = TestCa::new();
        let cas: TrustedCas = Arc::new(ArcSwap::from_pointee(ClientCas::from_pem(&ca.pem()).unwrap()));
        let server = TestServer::start_with(Options {
            tls: Some(certificate.server_config().unwrap()),
            mutual_tls: Some(certificate.mutual_server_config().unwrap()),
            client_cas: Arc::clone(&cas),
            ..options
        });
        Self { server: server.await, server_ca, cas, ca }
    }

    /// The client may use these methods, with certificates that these ids identify.
    fn register(&self, methods: &[Method], ids: &[CertificateId]) {
        self.server.clients.put(self.client(methods, ids));
    }

    fn client(&self, methods: &[Method], ids: &[CertificateId]) -> ClientRecord {
        let registered =
            |id: &CertificateId| Arc::new(RegisteredCertificate { id: id.clone(), authority: AUTHORITY.into() });
        ClientRecord {
            auth_methods: methods.iter().copied().collect(),
            certificates: ids.iter().map(registered).collect(),
            ..record(&self.server.credential)
        }
    }

    fn config(&self, certificate: Option<&Issued>, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.server_ca.certificate().der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
        let config = config.with_root_certificates(roots);
        match certificate {
            Some(issued) => config.with_client_auth_cert(issued.chain.clone(), issued.key()).unwrap(),
            None => config.with_no_client_auth(),
        }
    }

    async fn connect(&self, certificate: Option<&Issued>) -> TlsStream<TcpStream> {
        self.handshake(self.config(certificate, rustls::ALL_VERSIONS)).await.unwrap()
    }

    async fn handshake(&self, config: ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.server.mutual_addr).await.unwrap();
        TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), stream).await
    }

    /// The response to a form over a connection with this certificate.
    async fn post(&self, certificate: Option<&Issued>, headers: &[(&str, &str)], form: &str) -> Reply {
        let request = http_client::request("POST", "/oauth2/token", &[headers, &[FORM]].concat(), form.as_bytes());
        http_client::exchange(self.connect(certificate).await, &request).await
    }

    /// The response to a request whose only credential is this certificate.
    async fn token(&self, certificate: &Issued) -> Reply {
        self.post(Some(certificate), &[], &with_id()).await
    }

    /// The rule of the audit line of a refusal.
    async fn rule(&self, certificate: &Issued) -> String {
        rule_of(&self.token(certificate).await)
    }
}

fn with_id() -> String {
    format!("{GRANT}&client_id={CLIENT_ID}")
}

fn rule_of(reply: &Reply) -> String {
    assert_eq!(reply.error(), (401, "invalid_client".to_owned()), "{}", reply.text());
    audit(reply)["rule"].as_str().unwrap_or_default().to_owned()
}

fn id(field: &str, value: &str) -> CertificateId {
    CertificateId::parse(field, value).unwrap()
}

fn thumbprint(issued: &Issued) -> CertificateId {
    CertificateId::Thumbprint(Thumbprint::of(&issued.chain[0]))
}

#[tokio::test]
async fn a11_a_certificate_of_a_trusted_ca_authenticates_by_dns_name_uri_and_subject() {
    let scene = Scene::new().await;
    let certificate = scene.ca.issue(&[DNS, SPIFFE], &["Example", "invoice-sync"], |_| {});
    for id in [
        id("sanDns", DNS),
        id("sanDns", "Invoice-Sync.BILLING.svc"),
        id("sanUri", SPIFFE),
        id("subjectDn", "CN=invoice-sync,O=Example"),
    ] {
        scene.register(&[Method::TlsClientAuth], &[self::id("sanDns", "other"), id.clone()]);
        let reply = scene.token(&certificate).await;
        assert_eq!(reply.status, 200, "{id}: {}", reply.text());
        let claims = claims(&reply);
        assert_eq!((&claims["client_id"], &claims["postern_authority"]), (&json!(CLIENT_ID), &json!(AUTHORITY)));
        let line = audit(&reply);
        let expected = Thumbprint::of(&certificate.chain[0]).to_string();
        assert_eq!((&line["method"], &line["certificate"]), (&json!("tls_client_auth"), &json!(expected)), "{line}");
        assert_eq!((&line["secret"], &line["key_id"]), (&Value::Null, &Value::Null), "{line}");
    }
}

#[tokio::test]
async fn a11_a_chain_with_an_intermediate_ca_and_a_certificate_without_extended_key_usage_are_accepted() {
    let scene = Scene::new().await;
    scene.register(&[Method::TlsClientAuth], &[id("sanDns", DNS)]);
    assert_eq!(scene.token(&scene.ca.intermediate().issue(&[DNS], &[], |_| {})).await.status, 200);
    let without = scene.ca.issue(&[DNS], &[], |params| params.extended_key_usages.clear());
    assert_eq!(scene.token(&without).await.status, 200);
}

#[tokio::test]
async fn a11_each_wrong_certificate_is_refused_by_its_own_rule_and_with_the_same_answer() {
    let scene = Scene::new().await;
    let issue = |names: &[&str], subject: &[&str]| scene.ca.issue(names, subject, |_| {});
    let years = |from, to| {
        scene.ca.issue(&[DNS], &[], |params| {
            params.not_before = rcgen::date_time_ymd(from, 1, 1);
            params.not_after = rcgen::date_time_ymd(to, 1, 1);
        })
    };
    let server_only = scene.ca.issue(&[DNS], &[], |params| {
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    });
    let entries = [id("sanDns", DNS), id("sanUri", SPIFFE), id("subjectDn", "CN=invoice-sync,O=Example")];
    scene.register(&[Method::TlsClientAuth], &entries);
    for (certificate, rule) in [
        (years(2020, 2021), "CertificateExpired"),
        (years(2030, 2031), "CertificateNotYetValid"),
        (TestCa::new().issue(&[DNS], &[], |_| {}), "CertificateUntrusted"),
        (Issued::self_signed(&[DNS]), "CertificateUntrusted"),
        (server_only, "CertificatePurpose"),
        (issue(&["other.billing.svc"], &[]), "CertificateUnknown"),
        (issue(&["*.billing.svc"], &[]), "CertificateUnknown"),
        (issue(&["invoice-sync.billing.svc.example.com"], &[]), "CertificateUnknown"),
        (issue(&[], &[DNS]), "CertificateUnknown"),
        (issue(&["spiffe://example.com/ns/billing/sa/Invoice-sync"], &[]), "CertificateUnknown"),
        (issue(&["spiffe://example.com/ns/billing/sa/invoice-sync/x"], &[]), "CertificateUnknown"),
        (issue(&[], &["invoice-sync", "Example"]), "CertificateUnknown"),
        (issue(&[], &["Example", "Invoice-Sync"]), "CertificateUnknown"),
    ] {
        assert_eq!(scene.rule(&certificate).await, rule);
    }
    let without = scene.post(None, &[], &with_id()).await;
    assert_eq!(rule_of(&without), "CertificateMissing");
    let unknown = scene.token(&issue(&["other.billing.svc"], &[])).await;
    assert!(without.header("www-authenticate").is_some());
    assert_eq!(without.body, unknown.body);
}

#[tokio::test]
async fn a11_a_wildcard_of_a_certificate_is_no_name_of_another_client() {
    let scene = Scene::new().await;
    scene.register(&[Method::TlsClientAuth], &[id("sanDns", "*.billing.svc")]);
    assert_eq!(scene.rule(&scene.ca.issue(&[DNS], &[], |_| {})).await, "CertificateUnknown");
}

#[tokio::test]
async fn a11_the_certificate_of_another_client_and_of_no_client_is_refused_alike() {
    let scene = Scene::new().await;
    let certificate = scene.ca.issue(&[DNS], &[], |_| {});
    let other = scene.client(&[Method::TlsClientAuth], &[id("sanDns", DNS)]);
    scene.server.clients.set("other", Lookup::Live(Arc::new(ClientRecord { client_id: "other".into(), ..other })));
    scene.register(&[Method::TlsClientAuth], &[id("sanDns", "mine.billing.svc")]);
    let of_another = scene.token(&certificate).await;
    let of_none = scene.post(Some(&certificate), &[], &format!("{GRANT}&client_id=nobody")).await;
    assert_eq!(
        (rule_of(&of_another), rule_of(&of_none)),
        ("CertificateUnknown".to_owned(), "UnknownClient".to_owned())
    );
    assert_eq!(of_another.body, of_none.body);
    let own = scene.post(Some(&certificate), &[], &format!("{GRANT}&client_id=other")).await;
    assert_eq!(own.status, 200, "{}", own.text());
}

#[tokio::test]
async fn a11_a_request_without_client_id_is_refused() {
    let scene = Scene::new().await;
    scene.register(&[Method::TlsClientAuth], &[id("sanDns", DNS)]);
    let certificate = scene.ca.issue(&[DNS], &[], |_| {});
    assert_eq!(rule_of(&scene.post(Some(&certificate), &[], GRANT).await), "NoCredentials");
}

#[tokio::test]
async fn a11_replaced_cas_refuse_the_old_ca_also_on_an_open_connection() {
    let scene = Scene::new().await;
    scene.register(&[Method::TlsClientAuth], &[id("sanDns", DNS)]);
    let (certificate, new_ca) = (scene.ca.issue(&[DNS], &[], |_| {}), TestCa::new());
    let mut stream = scene.connect(Some(&certificate)).await;
    let request = http_client::request("POST", "/oauth2/token", &[FORM], with_id().as_bytes());
    let request = String::from_utf8(request).unwrap().replace("connection: close\r\n", "");
    let mut send = async || {
        tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await.unwrap();
        http_client::one(&mut stream).await
    };
    assert_eq!(send().await.status, 200);
    scene.cas.store(Arc::new(ClientCas::from_pem(&new_ca.pem()).unwrap()));
    assert_eq!(rule_of(&send().await), "CertificateUntrusted");
    assert_eq!(scene.token(&new_ca.issue(&[DNS], &[], |_| {})).await.status, 200);
    scene.cas.store(Arc::default());
    assert_eq!(rule_of(&send().await), "CertificateUntrusted", "there is no CA");
}

#[tokio::test]
async fn a12_a_registered_certificate_of_any_issuer_authenticates_by_its_thumbprint() {
    let scene = Scene::new().await;
    let certificates =
        [Issued::self_signed(&[DNS]), scene.ca.issue(&[], &[], |_| {}), TestCa::new().issue(&[], &[], |_| {})];
    for certificate in certificates {
        scene.register(&[Method::SelfSignedTlsClientAuth], &[thumbprint(&certificate)]);
        let reply = scene.token(&certificate).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(audit(&reply)["method"], "self_signed_tls_client_auth");
    }
}

#[tokio::test]
async fn a12_another_or_an_expired_certificate_is_refused() {
    let scene = Scene::new().await;
    let (registered, other) = (Issued::self_signed(&[DNS]), Issued::self_signed(&[DNS]));
    scene.register(&[Method::SelfSignedTlsClientAuth], &[thumbprint(&registered), id("sanDns", DNS)]);
    assert_eq!(scene.rule(&other).await, "CertificateUnknown");
    assert_eq!(
        scene.rule(&scene.ca.issue(&[DNS], &[], |_| {})).await,
        "CertificateUnknown",
        "names are for the other method"
    );
    let expired = scene.ca.issue(&[DNS], &[], |params| params.not_after = rcgen::date_time_ymd(2021, 1, 1));
    scene.register(&[Method::SelfSignedTlsClientAuth], &[thumbprint(&expired)]);
    assert_eq!(scene.rule(&expired).await, "CertificateExpired");
    scene.register(&[Method::TlsClientAuth], &[thumbprint(&registered), id("sanDns", DNS)]);
    assert_eq!(scene.rule(&registered).await, "CertificateUntrusted", "thumbprints are for the other method");
}

#[tokio::test]
async fn a3_a_certificate_counts_only_for_a_client_that_is_registered_for_it() {
    let scene = Scene::new().await;
    let (certificate, basic) = (scene.ca.issue(&[DNS], &[], |_| {}), scene.server.credential.basic());
    let foreign = Issued::self_signed(&["other"]);
    let secrets = [Method::ClientSecretBasic, Method::ClientSecretPost];
    scene.register(&secrets, &[id("sanDns", DNS)]);
    assert_eq!(scene.rule(&certificate).await, "CertificateNotRegistered");
    assert_eq!(rule_of(&scene.post(None, &[], &with_id()).await), "NoCredentials");
    for certificate in [&certificate, &foreign] {
        let reply = scene.post(Some(certificate), &[("authorization", &basic)], GRANT).await;
        assert_eq!((reply.status, &audit(&reply)["method"]), (200, &json!("client_secret_basic")));
        assert_eq!(audit(&reply)["certificate"], Value::Null);
    }
    // A client of both methods proves what it presents as its credential, and a wrong secret is not helped by a
    // certificate.
    scene.register(&[Method::TlsClientAuth, Method::ClientSecretBasic], &[id("sanDns", DNS)]);
    let reply = scene.post(Some(&certificate), &[("authorization", &basic)], GRANT).await;
    assert_eq!((reply.status, &audit(&reply)["method"]), (200, &json!("client_secret_basic")));
    let wrong = crate::server::basic(&format!("{CLIENT_ID}:wrong-secret-of-some-length"));
    assert_eq!(scene.post(Some(&certificate), &[("authorization", &wrong)], GRANT).await.status, 401);
    // A secret of a client that is registered only for certificates stays refused.
    scene.register(&[Method::TlsClientAuth], &[id("sanDns", DNS)]);
    assert_eq!(scene.post(Some(&certificate), &[("authorization", &basic)], GRANT).await.status, 401);
}

#[tokio::test]
async fn a11_the_rules_of_every_method_apply_to_certificates() {
    let scene = Scene::new().await;
    let certificate = scene.ca.issue(&[DNS], &[], |_| {});
    let denial = Denial { rule: DenialRule::Suspended, object: object("Application", "invoice-sync") };
    scene.server.clients.set(CLIENT_ID, Lookup::Disabled(Arc::new(denial)));
    assert_eq!(scene.rule(&certificate).await, "Suspended");
    for (method, id) in
        [(Method::TlsClientAuth, id("sanDns", DNS)), (Method::SelfSignedTlsClientAuth, thumbprint(&certificate))]
    {
        for (network, is_accepted) in [("192.0.2.0/24", false), ("127.0.0.0/8", true)] {
            let networks = Some([network.parse().unwrap()].into());
            let client = scene.client(&[method], std::slice::from_ref(&id));
            scene.server.clients.put(ClientRecord { networks, ..client });
            if is_accepted {
                assert_eq!(scene.token(&certificate).await.status, 200, "{method:?}");
            } else {
                assert_eq!(scene.rule(&certificate).await, "NetworkNotAllowed", "{method:?}");
            }
        }
    }
}

#[tokio::test]
async fn a11_a_replica_that_does_not_know_an_entry_yet_catches_up_first() {
    let scene = Scene::new().await;
    let certificate = scene.ca.issue(&[DNS], &[], |_| {});
    for methods in [&[Method::TlsClientAuth][..], &[Method::ClientSecretBasic]] {
        scene.register(methods, &[]);
        let next = scene.client(&[Method::TlsClientAuth], &[id("sanDns", DNS)]);
        scene.server.clients.upcoming(CLIENT_ID, Lookup::Live(Arc::new(next)));
        assert_eq!(scene.token(&certificate).await.status, 200);
    }
}

#[tokio::test]
async fn a11_introspection_and_revocation_accept_certificates() {
    let scene = Scene::new().await;
    scene.register(&[Method::TlsClientAuth], &[id("sanDns", DNS)]);
    let certificate = scene.ca.issue(&[DNS], &[], |_| {});
    let token = scene.token(&certificate).await.json()["access_token"].as_str().unwrap().to_owned();
    let form = format!("token={token}&client_id={CLIENT_ID}");
    let send = async |path: &str| {
        let request = http_client::request("POST", path, &[FORM], form.as_bytes());
        http_client::exchange(scene.connect(Some(&certificate)).await, &request).await
    };
    assert_eq!(send("/oauth2/introspect").await.json()["active"], true);
    assert_eq!(send("/oauth2/revoke").await.status, 200);
    assert_eq!(send("/oauth2/introspect").await.json()["active"], false);
}

#[tokio::test]
async fn a12_tokens_end_when_the_entry_is_removed() {
    let scene = Scene::new().await;
    let certificate = Issued::self_signed(&[]);
    scene.register(&[Method::SelfSignedTlsClientAuth], &[thumbprint(&certificate)]);
    let token = scene.token(&certificate).await.json()["access_token"].as_str().unwrap().to_owned();
    let basic = scene.server.credential.basic();
    let is_active = async || {
        let headers = [("authorization", &*basic), FORM];
        let request = http_client::request("POST", "/oauth2/introspect", &headers, format!("token={token}").as_bytes());
        http_client::exchange(scene.connect(None).await, &request).await.json()["active"] == true
    };
    let methods = [Method::SelfSignedTlsClientAuth, Method::ClientSecretBasic];
    scene.register(&methods, &[thumbprint(&certificate)]);
    assert!(is_active().await);
    let mut without = scene.client(&methods, &[]);
    without.authority_changed_at = crate::server::instant(crate::server::NOW + 1);
    scene.server.clients.put(without);
    assert!(!is_active().await);
}

#[test]
fn a11_curl_authenticates_with_a_certificate() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let scene = runtime.block_on(Scene::new());
    scene.register(&[Method::TlsClientAuth], &[id("sanDns", DNS)]);
    let certificate = scene.ca.issue(&[DNS], &[], |_| {});
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.into_os_string().into_string().unwrap()
    };
    let (cert, key) = (write("tls.crt", &certificate.pem()), write("tls.key", &certificate.key.serialize_pem()));
    let ca = write("ca.crt", &scene.server_ca.certificate().to_pem());
    let url = format!("https://localhost:{}/oauth2/token", scene.server.mutual_addr.port());
    let curl = |arguments: &[&str]| {
        let mut command = Command::new("curl");
        command
            .args(["--silent", "--show-error", "--ipv4", "--cacert", &ca, "--data", &with_id(), &url])
            .args(arguments);
        serde_json::from_slice::<Value>(&command.output().unwrap().stdout).unwrap()
    };
    assert_eq!(curl(&["--cert", &cert, "--key", &key])["token_type"], "Bearer");
    assert_eq!(curl(&[])["error"], "invalid_client");
}
