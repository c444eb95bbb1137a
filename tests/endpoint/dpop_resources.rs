//! X4: tokens that are bound to a key, at userinfo and forward authentication.

use postern::crypto::jwt;
use postern::crypto::signing::{SigningAlgorithm, TokenType};
use serde_json::{Value, json};

use crate::forward_auth::{ANYONE, DPOP, bearer, challenges, rule};
use crate::http_client::Reply;
use crate::operations::audit;
use crate::proofs::{ProofKey, ath, changed, claims};
use crate::server::{AUTHORITY, BILLING, CLIENT_ID, FORM, GRANT, NOW, Options, SUBJECT, TestServer, key_set};

const USERINFO: &str = "/oauth2/userinfo";
const API: &str = "https://api.example.com/invoices";

/// The headers of a proxy that asks about `GET /invoices`.
const ORIGINAL: [(&str, &str); 4] = [
    ("x-forwarded-method", "GET"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-host", "api.example.com"),
    ("x-forwarded-uri", "/invoices?page=2"),
];

struct Scene {
    server: TestServer,
    key: ProofKey,
    /// A token that is bound to the key.
    token: String,
}

impl Scene {
    async fn new() -> Self {
        Self::with(Options::default()).await
    }

    async fn with(options: Options) -> Self {
        let (server, key) = (TestServer::start_with(options).await, ProofKey::new());
        let url = format!("{}/oauth2/token", server.issuer);
        let mut proof = key.proof("POST", &url);
        let basic = server.credential.basic();
        let ask = async |proof: &str| {
            let headers = [("authorization", basic.as_str()), ("dpop", proof)];
            server.post(&headers, &format!("{GRANT}&scope=openid+invoices:read")).await
        };
        let mut reply = ask(&proof).await;
        if let Some(nonce) = reply.header("dpop-nonce").filter(|_| reply.status != 200) {
            proof = key.with(&claims("POST", &url), json!({"nonce": nonce}));
            reply = ask(&proof).await;
        }
        let token = reply.json()["access_token"].as_str().expect("a token").to_owned();
        Self { server, key, token }
    }

    fn userinfo_url(&self) -> String {
        format!("{}{USERINFO}", self.server.issuer)
    }

    /// A request to userinfo with the token.
    async fn userinfo(&self, scheme: &str, proofs: &[&str]) -> Reply {
        self.send(USERINFO, &format!("{scheme} {}", self.token), proofs, &[]).await
    }

    /// A question of a proxy.
    async fn forward(&self, proofs: &[&str], original: &[(&str, &str)]) -> Reply {
        self.send(ANYONE, &format!("DPoP {}", self.token), proofs, original).await
    }

    async fn send(&self, target: &str, authorization: &str, proofs: &[&str], more: &[(&str, &str)]) -> Reply {
        let mut headers = vec![("authorization", authorization)];
        headers.extend(proofs.iter().map(|proof| ("dpop", *proof)));
        headers.extend(more);
        self.server.send("GET", target, &headers, "").await
    }

    /// A proof for userinfo, with some claims changed.
    fn proof(&self, changes: Value) -> String {
        let usual = changed(&claims("GET", &self.userinfo_url()), json!({"ath": ath(&self.token)}));
        self.key.with(&usual, changes)
    }
}

#[tokio::test]
async fn x4_a_bound_token_is_accepted_with_a_proof_of_its_key_and_once() {
    let scene = Scene::new().await;
    let proof = scene.proof(json!({}));
    let reply = scene.userinfo("DPoP", &[&proof]).await;
    assert_eq!((reply.status, &reply.json()["sub"]), (200, &json!(SUBJECT)), "{}", reply.text());
    assert_eq!(audit(&reply)["dpop_jkt"], json!(scene.key.thumbprint));
    let again = scene.userinfo("dpop", &[&proof]).await;
    assert_eq!((again.error(), rule()), ((401, "invalid_dpop_proof".to_owned()), "ProofReplayed".to_owned()));
    let post = scene.key.token_proof("POST", &scene.userinfo_url(), &scene.token);
    let headers = [FORM, ("authorization", &format!("DPoP {}", scene.token)), ("dpop", &post)];
    assert_eq!(scene.server.send("POST", USERINFO, &headers, "").await.status, 200);
}

#[tokio::test]
async fn x4_each_forged_proof_for_a_token_is_refused_by_its_own_rule() {
    let scene = Scene::new().await;
    let thief = ProofKey::new();
    let good = scene.proof(json!({}));
    let stolen = thief.token_proof("GET", &scene.userinfo_url(), &scene.token);
    let forged = thief.sign(&scene.key.header(), &claims("GET", &scene.userinfo_url()).to_string());
    let with_ath = json!({"ath": ath(&scene.token)});
    let forged_with_ath =
        thief.sign(&scene.key.header(), &changed(&claims("GET", &scene.userinfo_url()), with_ath).to_string());
    for (proofs, code, expected) in [
        (vec![], "invalid_dpop_proof", "ProofMissing"),
        (vec![good.clone(), good.clone()], "invalid_dpop_proof", "ProofRepeated"),
        (vec![scene.proof(json!({"ath": null}))], "invalid_dpop_proof", "ProofTokenHash"),
        (vec![scene.proof(json!({"ath": ath("another")}))], "invalid_dpop_proof", "ProofTokenHash"),
        (vec![scene.proof(json!({"htm": "POST"}))], "invalid_dpop_proof", "ProofMethod"),
        (vec![scene.proof(json!({"htu": API}))], "invalid_dpop_proof", "ProofUrl"),
        (vec![scene.proof(json!({"iat": NOW - 120}))], "invalid_dpop_proof", "ProofExpired"),
        (vec![scene.proof(json!({"iat": NOW + 120}))], "invalid_dpop_proof", "ProofNotYetValid"),
        (vec![forged], "invalid_dpop_proof", "ProofTokenHash"),
        (vec![forged_with_ath], "invalid_dpop_proof", "ProofSignature"),
        (vec![stolen], "invalid_token", "ProofOtherKey"),
        (vec!["x".to_owned()], "invalid_dpop_proof", "ProofMalformed"),
    ] {
        let proofs: Vec<&str> = proofs.iter().map(String::as_str).collect();
        let reply = scene.userinfo("DPoP", &proofs).await;
        assert_eq!((reply.error(), rule()), ((401, code.to_owned()), expected.to_owned()));
        assert_eq!(challenges(&reply), [format!(r#"{DPOP}, error="{code}""#)]);
    }
    assert_eq!(scene.userinfo("DPoP", &[&good]).await.status, 200, "a refused proof uses nothing up");
}

#[tokio::test]
async fn x4_the_scheme_and_the_binding_of_a_token_belong_together() {
    let scene = Scene::new().await;
    for target in [USERINFO, ANYONE] {
        for proofs in [vec![], vec![scene.proof(json!({}))]] {
            let proofs: Vec<&str> = proofs.iter().map(String::as_str).collect();
            let reply = scene.send(target, &format!("Bearer {}", scene.token), &proofs, &[]).await;
            assert_eq!((reply.error(), rule()), ((401, "invalid_token".to_owned()), "TokenBound".to_owned()));
            assert_eq!(challenges(&reply), [r#"Bearer realm="postern", error="invalid_token""#, DPOP]);
        }
    }
    let unbound = bearer(&scene.server, "scope=openid").await.replacen("Bearer ", "", 1);
    let proof = scene.key.token_proof("GET", &scene.userinfo_url(), &unbound);
    let reply = scene.send(USERINFO, &format!("DPoP {unbound}"), &[&proof], &[]).await;
    assert_eq!((reply.error(), rule()), ((401, "invalid_token".to_owned()), "TokenUnbound".to_owned()));
}

#[tokio::test]
async fn x4_a_proof_at_forward_authentication_is_for_the_original_request() {
    let scene = Scene::new().await;
    let proof = |url: &str| scene.key.token_proof("GET", url, &scene.token);
    let reply = scene.forward(&[&proof(API)], &ORIGINAL).await;
    assert_eq!((reply.status, reply.header("x-postern-subject")), (200, Some(SUBJECT)), "{}", reply.text());
    for (name, value, expected) in [
        ("x-forwarded-method", "DELETE", "ProofMethod"),
        ("x-forwarded-host", "other.example.com", "ProofUrl"),
        ("x-forwarded-uri", "/invoices/7", "ProofUrl"),
        ("x-forwarded-proto", "http", "ProofUrl"),
    ] {
        let original = ORIGINAL.map(|header| if header.0 == name { (name, value) } else { header });
        let reply = scene.forward(&[&proof(API)], &original).await;
        assert_eq!((reply.error(), rule()), ((401, "invalid_dpop_proof".to_owned()), expected.to_owned()));
    }
    let own = proof(&format!("{}/auth", scene.server.issuer));
    assert_eq!(scene.forward(&[&own], &ORIGINAL).await.status, 401, "not for the question of the proxy");
    for missing in 0..ORIGINAL.len() {
        let mut original = ORIGINAL.to_vec();
        original.remove(missing);
        let reply = scene.forward(&[&proof(API)], &original).await;
        assert_eq!((reply.error(), rule()), ((400, "invalid_request".to_owned()), "InvalidRequest".to_owned()));
        assert!(audit(&reply)["detail"].as_str().unwrap().contains("X-Forwarded-Method"));
    }
    let without_proof = scene.forward(&[], &[]).await;
    assert_eq!((without_proof.status, rule()), (401, "ProofMissing".to_owned()));
}

#[tokio::test]
async fn x4_a_proxy_that_copies_the_original_request_sends_its_scheme_besides() {
    let scene = Scene::new().await;
    // The test client names this host in each request.
    let proof = || scene.key.token_proof("GET", "https://postern/invoices", &scene.token);
    let (require, proto) = (("x-postern-require-anyone", "true"), ("x-forwarded-proto", "https"));
    let token = format!("DPoP {}", scene.token);
    let ask = async |target: &str, headers: &[(&str, &str)]| scene.send(target, &token, &[&proof()], headers).await;
    assert_eq!(ask("/auth/request/invoices?page=2", &[require, proto]).await.status, 200);
    let forged = [require, proto, ("x-forwarded-uri", "/invoices"), ("x-forwarded-host", "postern")];
    let reply = ask("/auth/request/other", &forged).await;
    assert_eq!((reply.status, rule()), (401, "ProofUrl".to_owned()), "these headers may be those of the client");
    assert_eq!(ask("/auth/request/invoices", &[require]).await.error(), (400, "invalid_request".to_owned()));
}

#[tokio::test]
async fn x4_resources_ask_for_a_nonce_too() {
    let scene = Scene::with(Options { dpop_nonce_required: true, ..Options::default() }).await;
    let reply = scene.userinfo("DPoP", &[&scene.proof(json!({}))]).await;
    assert_eq!((reply.error(), rule()), ((401, "use_dpop_nonce".to_owned()), "ProofNonceMissing".to_owned()));
    assert_eq!(challenges(&reply), [format!(r#"{DPOP}, error="use_dpop_nonce""#)]);
    let nonce = reply.header("dpop-nonce").unwrap();
    let reply = scene.userinfo("DPoP", &[&scene.proof(json!({"nonce": nonce}))]).await;
    assert_eq!((reply.status, reply.header("dpop-nonce")), (200, Some(nonce)));
    let forwarded = scene.forward(&[&scene.proof(json!({"htu": API}))], &ORIGINAL).await;
    assert_eq!((forwarded.error(), forwarded.header("dpop-nonce")), ((401, "use_dpop_nonce".to_owned()), Some(nonce)));
}

#[tokio::test]
async fn x4_a_request_without_credentials_learns_the_schemes() {
    let server = TestServer::start().await;
    assert_eq!(challenges(&server.get(USERINFO).await), [r#"Bearer realm="postern""#, DPOP]);
    let basic = r#"Basic realm="postern", charset="UTF-8""#;
    assert_eq!(challenges(&server.get(ANYONE).await), [basic, r#"Bearer realm="postern""#, DPOP]);
}

/// No token of Postern has such a `cnf`; one that a future version issues is not taken for a bearer token.
#[tokio::test]
async fn j5_a_token_with_another_confirmation_is_refused() {
    let server = TestServer::start().await;
    let set = key_set();
    let ours = set.signing_key(SigningAlgorithm::Es256).unwrap();
    for cnf in [json!({}), json!({"kid": "x"}), json!({"jkt": "x", "kid": "x"}), json!("x")] {
        let claims = json!({
            "iss": server.issuer, "sub": SUBJECT, "aud": BILLING, "client_id": CLIENT_ID, "iat": NOW, "exp": NOW + 60,
            "jti": "id", "scope": "openid", "roles": [], "planes": [], "postern_epoch": [3, 2], "location": "/",
            "postern_authority": AUTHORITY, "cnf": cnf,
        });
        let token = jwt::access_token(ours, TokenType::AccessToken, &claims).unwrap().sign(ours).unwrap();
        let reply = server.send("GET", USERINFO, &[("authorization", &format!("Bearer {token}"))], "").await;
        assert_eq!((reply.status, rule()), (401, "MalformedClaims".to_owned()), "{cnf}");
    }
}
