//! X5: tokens that are bound to the certificate of their client (RFC 8705 §3).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use postern::http::server::CertificateHeader;
use postern::oauth::client_record::{SenderConstraint, TokenFormat, TokenPolicy};

use super::header::{CLIENT_CERT, behind_proxy, byte_sequence};
use super::*;
use crate::forward_auth::{DPOP, challenges};
use crate::proofs::ProofKey;
use crate::server::SUBJECT;

const USERINFO: &str = "/oauth2/userinfo";

/// `x5t#S256` of a certificate, computed without Postern.
fn x5t(issued: &Issued) -> String {
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &issued.chain[0]);
    URL_SAFE_NO_PAD.encode(hash)
}

impl Scene {
    /// A client with a secret, whose tokens are bound like this.
    fn constrain(&self, sender_constraint: SenderConstraint, format: TokenFormat) {
        let client = record(&self.server.credential);
        let token = TokenPolicy { sender_constraint, format, ..client.token.clone() };
        self.server.clients.put(ClientRecord { token, ..client });
    }

    fn bind(&self) {
        self.constrain(SenderConstraint::MutualTls, TokenFormat::Jwt);
    }

    /// A token request with the secret of the client, over a connection with this certificate.
    async fn ask(&self, certificate: Option<&Issued>, headers: &[(&str, &str)]) -> Reply {
        let basic = self.server.credential.basic();
        let form = format!("{GRANT}&scope=openid+invoices:read");
        self.post(certificate, &[headers, &[("authorization", &basic)]].concat(), &form).await
    }

    /// A token that is bound to this certificate.
    async fn bound(&self, certificate: &Issued) -> String {
        let reply = self.ask(Some(certificate), &[]).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        access_token(&reply)
    }

    async fn get(&self, certificate: Option<&Issued>, target: &str, headers: &[(&str, &str)]) -> Reply {
        let request = http_client::request("GET", target, headers, b"");
        http_client::exchange(self.connect(certificate).await, &request).await
    }

    async fn userinfo(&self, certificate: Option<&Issued>, token: &str) -> Reply {
        self.get(certificate, USERINFO, &[("authorization", &format!("Bearer {token}"))]).await
    }
}

fn access_token(reply: &Reply) -> String {
    reply.json()["access_token"].as_str().expect("a token").to_owned()
}

/// The rule of a request without a token because of its binding.
fn binding_rule(reply: &Reply) -> String {
    assert_eq!(reply.error(), (400, "invalid_request".to_owned()), "{}", reply.text());
    let line = audit(reply);
    assert_eq!(line["object"], "Application billing/invoice-sync", "{line}");
    line["rule"].as_str().unwrap_or_default().to_owned()
}

/// The rule of a token that is not accepted.
fn token_rule(reply: &Reply) -> String {
    assert_eq!(reply.error(), (401, "invalid_token".to_owned()), "{}", reply.text());
    assert_eq!(challenges(reply), [r#"Bearer realm="postern", error="invalid_token""#]);
    audit(reply)["rule"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn x5_a_token_is_bound_to_the_certificate_of_its_request_whatever_authenticates_the_client() {
    let scene = Scene::new().await;
    scene.bind();
    // The chain of a certificate that only binds does not matter.
    let expired = scene.ca.issue(&[DNS], &[], |params| params.not_after = rcgen::date_time_ymd(2021, 1, 1));
    for certificate in [Issued::self_signed(&["any"]), scene.ca.issue(&[DNS], &[], |_| {}), expired] {
        let reply = scene.ask(Some(&certificate), &[]).await;
        assert_eq!((reply.status, &reply.json()["token_type"]), (200, &json!("Bearer")), "{}", reply.text());
        let expected = x5t(&certificate);
        assert_eq!(claims(&reply)["cnf"], json!({"x5t#S256": expected}), "J5: one member");
        let line = audit(&reply);
        assert_eq!((&line["x5t_s256"], &line["dpop_jkt"]), (&json!(expected), &Value::Null), "{line}");
        assert_eq!(line["method"], "client_secret_basic");
    }
    let certificate = scene.ca.issue(&[DNS], &[], |_| {});
    let client = scene.client(&[Method::TlsClientAuth], &[id("sanDns", DNS)]);
    let token = TokenPolicy { sender_constraint: SenderConstraint::MutualTls, ..client.token.clone() };
    scene.server.clients.put(ClientRecord { token, ..client });
    let reply = scene.token(&certificate).await;
    assert_eq!(claims(&reply)["cnf"], json!({"x5t#S256": x5t(&certificate)}), "{}", reply.text());
}

#[tokio::test]
async fn x5_introspection_names_the_certificate_of_jwt_and_opaque_tokens() {
    let scene = Scene::new().await;
    let certificate = Issued::self_signed(&["any"]);
    for format in [TokenFormat::Jwt, TokenFormat::Opaque { idle: None }] {
        scene.constrain(SenderConstraint::MutualTls, format);
        let token = scene.bound(&certificate).await;
        assert_eq!(token.starts_with("pat_"), format != TokenFormat::Jwt);
        // Its caller is an API, which has another certificate, or none.
        let basic = scene.server.credential.basic();
        let headers = [FORM, ("authorization", basic.as_str())];
        let form = format!("token={token}");
        let request = http_client::request("POST", "/oauth2/introspect", &headers, form.as_bytes());
        let seen = http_client::exchange(scene.connect(None).await, &request).await.json();
        assert_eq!((&seen["active"], &seen["token_type"]), (&json!(true), &json!("Bearer")), "{seen}");
        assert_eq!(seen["cnf"], json!({"x5t#S256": x5t(&certificate)}), "{seen}");
        assert_eq!(scene.userinfo(Some(&certificate), &token).await.status, 200);
        assert_eq!(token_rule(&scene.userinfo(None, &token).await), "TokenCertificateMissing");
    }
}

#[tokio::test]
async fn x5_a_client_that_must_bind_its_tokens_gets_none_without_a_certificate() {
    let scene = Scene::new().await;
    scene.bind();
    let reply = scene.ask(None, &[]).await;
    assert_eq!(binding_rule(&reply), "BindingCertificateMissing");
    let description = reply.json()["error_description"].as_str().expect("a description").to_owned();
    assert!(description.contains("senderConstraint") && description.contains("mtls_endpoint_aliases"), "{description}");
    // The main listener asks for no certificate, also for one that the client has.
    let config = Arc::new(scene.config(Some(&Issued::self_signed(&["any"])), rustls::ALL_VERSIONS));
    let stream = TcpStream::connect(scene.server.addr).await.unwrap();
    let stream = TlsConnector::from(config).connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap();
    let basic = scene.server.credential.basic();
    let headers = [FORM, ("authorization", basic.as_str())];
    let request = http_client::request("POST", "/oauth2/token", &headers, GRANT.as_bytes());
    assert_eq!(binding_rule(&http_client::exchange(stream, &request).await), "BindingCertificateMissing");
    // A caller that is not the client learns nothing about its tokens.
    let wrong = crate::server::basic(&format!("{CLIENT_ID}:wrong-secret-of-some-length"));
    rule_of(&scene.post(None, &[("authorization", &wrong)], GRANT).await);
}

#[tokio::test]
async fn x5_a_header_that_names_no_single_certificate_binds_no_token() {
    let (scene, certificate) = behind_proxy(Some(CertificateHeader::ClientCert), "127.0.0.0/8").await;
    scene.bind();
    let (own, other) = (byte_sequence(&certificate), byte_sequence(&Issued::self_signed(&["other"])));
    for named in [&[(CLIENT_CERT, "nonsense")][..], &[(CLIENT_CERT, &*own), (CLIENT_CERT, &*other)]] {
        assert_eq!(binding_rule(&scene.ask(None, named).await), "CertificateMalformed", "{named:?}");
    }
    let reply = scene.ask(Some(&Issued::self_signed(&["proxy"])), &[(CLIENT_CERT, &own)]).await;
    assert_eq!(claims(&reply)["cnf"], json!({"x5t#S256": x5t(&certificate)}), "not that of the proxy");
}

#[tokio::test]
async fn x5_a_certificate_binds_no_token_of_an_application_that_does_not_ask_for_it() {
    let scene = Scene::new().await;
    let (certificate, key) = (scene.ca.issue(&[DNS], &[], |_| {}), ProofKey::new());
    scene.register(&[Method::TlsClientAuth], &[id("sanDns", DNS)]);
    let reply = scene.token(&certificate).await;
    assert_eq!(claims(&reply).get("cnf"), None, "it only authenticates");
    assert_eq!(scene.userinfo(None, &access_token(&scene.ask_openid(&certificate).await)).await.status, 200);
    scene.constrain(SenderConstraint::Dpop, TokenFormat::Jwt);
    let proof = key.proof("POST", &format!("{}/oauth2/token", scene.server.issuer));
    let reply = scene.ask(Some(&certificate), &[("dpop", &proof)]).await;
    assert_eq!(
        (&claims(&reply)["cnf"], &reply.json()["token_type"]),
        (&json!({"jkt": key.thumbprint}), &json!("DPoP"))
    );
    assert_eq!(scene.ask(Some(&certificate), &[]).await.error(), (400, "invalid_dpop_proof".to_owned()));
}

impl Scene {
    /// A token request whose only credential is this certificate, for a token that userinfo accepts.
    async fn ask_openid(&self, certificate: &Issued) -> Reply {
        self.post(Some(certificate), &[], &format!("{}&scope=openid+invoices:read", with_id())).await
    }
}

#[tokio::test]
async fn x5_a_certificate_and_a_proof_bind_no_token_together() {
    let scene = Scene::new().await;
    let (certificate, key) = (Issued::self_signed(&["any"]), ProofKey::new());
    let proof = key.proof("POST", &format!("{}/oauth2/token", scene.server.issuer));
    scene.bind();
    for certificate in [Some(&certificate), None] {
        let reply = scene.ask(certificate, &[("dpop", &proof)]).await;
        assert_eq!(binding_rule(&reply), "BindingProofUnexpected");
    }
    scene.constrain(SenderConstraint::None, TokenFormat::Jwt);
    let reply = scene.ask(Some(&certificate), &[("dpop", &proof)]).await;
    assert_eq!(claims(&reply)["cnf"], json!({"jkt": key.thumbprint}), "a refused request uses no proof up");
}

#[tokio::test]
async fn x5_userinfo_accepts_a_bound_token_only_with_its_certificate() {
    let scene = Scene::new().await;
    scene.bind();
    let (certificate, other) = (Issued::self_signed(&["any"]), scene.ca.issue(&[DNS], &[], |_| {}));
    let token = scene.bound(&certificate).await;
    for _ in 0..2 {
        let reply = scene.userinfo(Some(&certificate), &token).await;
        assert_eq!((reply.status, &reply.json()["sub"]), (200, &json!(SUBJECT)), "{}", reply.text());
    }
    assert_eq!(token_rule(&scene.userinfo(None, &token).await), "TokenCertificateMissing");
    let reply = scene.userinfo(Some(&other), &token).await;
    assert_eq!(token_rule(&reply), "TokenOtherCertificate");
    let line = audit(&reply);
    let presented = Thumbprint::of(&other.chain[0]).to_string();
    assert_eq!((&line["certificate"], &line["x5t_s256"]), (&json!(presented), &json!(x5t(&certificate))), "{line}");
    // The same key in another certificate is another certificate.
    assert_eq!(token_rule(&scene.userinfo(Some(&certificate.renewed()), &token).await), "TokenOtherCertificate");
}

#[tokio::test]
async fn x5_a_bound_token_is_no_dpop_token_and_a_dpop_token_needs_its_proof_besides_a_certificate() {
    let scene = Scene::new().await;
    let (certificate, key) = (Issued::self_signed(&["any"]), ProofKey::new());
    scene.bind();
    let token = scene.bound(&certificate).await;
    let url = format!("{}{USERINFO}", scene.server.issuer);
    let proof = key.token_proof("GET", &url, &token);
    let headers = [("authorization", &*format!("DPoP {token}")), ("dpop", &proof)];
    let reply = scene.get(Some(&certificate), USERINFO, &headers).await;
    assert_eq!((reply.error(), &audit(&reply)["rule"]), ((401, "invalid_token".to_owned()), &json!("TokenUnbound")));
    assert_eq!(challenges(&reply), [format!(r#"{DPOP}, error="invalid_token""#)]);

    scene.constrain(SenderConstraint::Dpop, TokenFormat::Jwt);
    let proof = key.proof("POST", &format!("{}/oauth2/token", scene.server.issuer));
    let token = access_token(&scene.ask(Some(&certificate), &[("dpop", &proof)]).await);
    let reply = scene.userinfo(Some(&certificate), &token).await;
    assert_eq!((reply.error(), &audit(&reply)["rule"]), ((401, "invalid_token".to_owned()), &json!("TokenBound")));
}

#[tokio::test]
async fn x1_the_url_of_a_proof_is_the_one_for_certificates_where_that_was_called() {
    let scene = Scene::new().await;
    let (certificate, key) = (Issued::self_signed(&["any"]), ProofKey::new());
    let own = scene.server.issuer.strip_prefix("http://").unwrap().to_owned();
    let basic = scene.server.credential.basic();
    let ask = async |host: &str, path: &str, url: &str| {
        let headers = [FORM, ("authorization", basic.as_str()), ("dpop", &key.proof("POST", url))];
        let form = format!("{GRANT}&scope=openid");
        let request = http_client::request("POST", path, &headers, form.as_bytes());
        let request = String::from_utf8(request).unwrap().replacen("host: postern", &format!("host: {host}"), 1);
        let reply = http_client::exchange(scene.connect(Some(&certificate)).await, request.as_bytes()).await;
        let rule = audit(&reply)["rule"].as_str().unwrap_or("none").to_owned();
        (rule, reply)
    };
    let (mtls, issuer) = ("https://mtls.example.com", scene.server.issuer.as_str());
    for (host, path, url, expected) in [
        ("mtls.example.com", "/oauth2/token", format!("{mtls}/oauth2/token"), "none"),
        ("MTLS.example.com:443", "/oauth2/token", format!("{mtls}/oauth2/token"), "none"),
        ("mtls.example.com", "/oauth/v2/token", format!("{mtls}/oauth/v2/token"), "none"),
        ("mtls.example.com", "/oauth/v2/token", format!("{mtls}/oauth2/token"), "ProofUrl"),
        ("mtls.example.com", "/oauth2/token", format!("{issuer}/oauth2/token"), "ProofUrl"),
        ("mtls.example.com:8444", "/oauth2/token", format!("{mtls}/oauth2/token"), "ProofUrl"),
        ("other.example.com", "/oauth2/token", "https://other.example.com/oauth2/token".to_owned(), "ProofUrl"),
        (&own, "/oauth2/token", format!("{mtls}/oauth2/token"), "ProofUrl"),
        (&own, "/oauth2/token", format!("{issuer}/oauth2/token"), "none"),
        // A proxy may replace the host of a request to the issuer.
        ("postern", "/oauth2/token", format!("{issuer}/oauth2/token"), "none"),
    ] {
        assert_eq!(ask(host, path, &url).await.0, expected, "{host}{path} with a proof for {url}");
    }
    let (_, reply) = ask("mtls.example.com", "/oauth2/token", &format!("{mtls}/oauth2/token")).await;
    let token = access_token(&reply);
    let headers = [
        ("authorization", &*format!("DPoP {token}")),
        ("dpop", &key.token_proof("GET", &format!("{mtls}{USERINFO}"), &token)),
    ];
    let request = String::from_utf8(http_client::request("GET", USERINFO, &headers, b"")).unwrap();
    let request = request.replacen("host: postern", "host: mtls.example.com", 1);
    let reply = http_client::exchange(scene.connect(None).await, request.as_bytes()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}
