//! X1, X2, X3: DPoP proofs at the token endpoint.

use std::sync::atomic::Ordering;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{EncodingKey, Header};
use postern::oauth::client_record::{ClientRecord, SenderConstraint, TokenFormat, TokenPolicy};
use serde_json::{Value, json};

use crate::http_client::Reply;
use crate::operations::audit;
use crate::proofs::{ProofKey, changed, claims};
use crate::server::{self, FORM, GRANT, NOW, Options, TestServer, record};

const PATH: &str = "/oauth2/token";

fn url(server: &TestServer, path: &str) -> String {
    format!("{}{path}", server.issuer)
}

/// A token request with these DPoP headers.
async fn ask(server: &TestServer, path: &str, proofs: &[&str]) -> Reply {
    let basic = server.credential.basic();
    let mut headers = vec![FORM, ("authorization", basic.as_str())];
    headers.extend(proofs.iter().map(|proof| ("dpop", *proof)));
    server.send("POST", path, &headers, GRANT).await
}

async fn is_accepted(server: &TestServer, proof: &str) -> bool {
    ask(server, PATH, &[proof]).await.status == 200
}

fn rule(reply: &Reply) -> String {
    audit(reply)["rule"].as_str().unwrap_or("none").to_owned()
}

fn constrained(server: &TestServer) -> ClientRecord {
    let record = record(&server.credential);
    let token = TokenPolicy { sender_constraint: SenderConstraint::Dpop, ..record.token.clone() };
    ClientRecord { token, ..record }
}

#[tokio::test]
async fn x1_a_proof_binds_the_token_to_its_key() {
    let (server, key) = (TestServer::start().await, ProofKey::new());
    let reply = ask(&server, PATH, &[&key.proof("POST", &url(&server, PATH))]).await;
    assert_eq!((reply.status, &reply.json()["token_type"]), (200, &json!("DPoP")), "{}", reply.text());
    assert_eq!(server::claims(&reply)["cnf"], json!({"jkt": key.thumbprint}), "J5: one member");
    assert_eq!(audit(&reply)["dpop_jkt"], json!(key.thumbprint));
    assert_eq!(reply.header("dpop-nonce"), None);
    let unbound = server.token("").await;
    assert_eq!(unbound.json()["token_type"], "Bearer");
    assert_eq!(server::claims(&unbound).get("cnf"), None);
}

#[tokio::test]
async fn x1_members_of_the_key_that_nothing_needs_are_ignored() {
    let (server, key) = (TestServer::start().await, ProofKey::new());
    let nested = json!([[{"a": 1}], vec![json!({}); 500]]);
    for members in
        [json!({"kid": "x".repeat(500), "x5c": nested}), json!({"key_ops": ["verify"], "kid": 7, "ext": nested})]
    {
        let header = changed(&key.header(), json!({"jwk": changed(&key.jwk, members)}));
        let reply = ask(&server, PATH, &[&key.sign(&header, &claims("POST", &url(&server, PATH)).to_string())]).await;
        assert_eq!(audit(&reply)["dpop_jkt"], json!(key.thumbprint), "{}", reply.text());
    }
}

#[tokio::test]
async fn x1_each_forged_proof_is_refused_by_its_own_rule() {
    let (server, key, other) = (TestServer::start().await, ProofKey::new(), ProofKey::new());
    let usual = claims("POST", &url(&server, PATH));
    let with = |changes: Value| key.with(&usual, changes);
    let headed = |changes: Value| key.sign(&changed(&key.header(), changes), &usual.to_string());
    let good = with(json!({}));
    let parts: Vec<&str> = good.split('.').collect();
    let unsigned = |header: Value| format!("{}.{}.", URL_SAFE_NO_PAD.encode(header.to_string()), parts[1]);
    let x = URL_SAFE_NO_PAD.decode(key.jwk["x"].as_str().unwrap()).unwrap();
    let hmac_header: Header = serde_json::from_value(json!({"alg": "HS256", "typ": "dpop+jwt"})).unwrap();
    let hmac = jsonwebtoken::encode(&hmac_header, &usual, &EncodingKey::from_secret(&x)).unwrap();
    let private = changed(&key.jwk, json!({"d": key.jwk["x"]}));
    let off_the_curve = changed(&key.jwk, json!({"y": key.jwk["x"]}));
    let repeated = format!(r#"{{"jti":"x",{}"#, &usual.to_string()[1..]);
    for (proof, rule_of_proof) in [
        (headed(json!({"typ": null})), "ProofType"),
        (headed(json!({"typ": "JWT"})), "ProofType"),
        (headed(json!({"typ": "at+jwt"})), "ProofType"),
        (unsigned(json!({"typ": "dpop+jwt", "alg": "none", "jwk": key.jwk})), "ProofAlgorithm"),
        (hmac, "ProofAlgorithm"),
        (headed(json!({"alg": "ES384"})), "ProofAlgorithm"),
        (headed(json!({"alg": "EdDSA"})), "ProofKey"),
        (headed(json!({"crit": ["exp"]})), "ProofCritical"),
        (headed(json!({"jwk": null})), "ProofKey"),
        (headed(json!({"jwk": private})), "ProofKey"),
        (headed(json!({"jwk": {"kty": "oct", "k": "AAAA"}})), "ProofKey"),
        (headed(json!({"jwk": off_the_curve})), "ProofKey"),
        (headed(json!({"jwk": "x"})), "ProofKey"),
        (headed(json!({"jwk": null, "jku": "https://thief.example.com/jwks.json"})), "ProofKey"),
        (headed(json!({"jwk": other.jwk})), "ProofSignature"),
        (format!("{}.{}.{}", parts[0], parts[1], URL_SAFE_NO_PAD.encode([0; 64])), "ProofSignature"),
        (with(json!({"jti": null})), "ProofClaims"),
        (with(json!({"htm": null})), "ProofClaims"),
        (with(json!({"htu": null})), "ProofClaims"),
        (with(json!({"iat": null})), "ProofClaims"),
        (with(json!({"iat": "now"})), "ProofClaims"),
        (key.sign(&key.header(), &repeated), "ProofClaims"),
        (with(json!({"jti": ""})), "ProofId"),
        (with(json!({"jti": "x".repeat(257)})), "ProofId"),
        (with(json!({"htm": "GET"})), "ProofMethod"),
        (with(json!({"htm": "post"})), "ProofMethod"),
        (with(json!({"htu": url(&server, "/oauth2/userinfo")})), "ProofUrl"),
        (with(json!({"htu": url(&server, "/oauth/v2/token")})), "ProofUrl"),
        (with(json!({"htu": format!("https://thief.example.com{PATH}")})), "ProofUrl"),
        (with(json!({"htu": PATH})), "ProofUrl"),
        (with(json!({"iat": NOW - 61})), "ProofExpired"),
        (with(json!({"iat": NOW - 3600})), "ProofExpired"),
        (with(json!({"iat": -1e300})), "ProofExpired"),
        (with(json!({"iat": NOW + 62})), "ProofNotYetValid"),
        (with(json!({"iat": NOW + 3600})), "ProofNotYetValid"),
        (with(json!({"iat": 1e300})), "ProofNotYetValid"),
        (format!("{}.a.b.c.d", parts[0]), "ProofMalformed"),
        ("nonsense".to_owned(), "ProofMalformed"),
        ("A".repeat(9_000), "ProofMalformed"),
        (key.sign(&json!(["dpop+jwt"]), &usual.to_string()), "ProofMalformed"),
    ] {
        let reply = ask(&server, PATH, &[&proof]).await;
        assert_eq!(reply.error(), (400, "invalid_dpop_proof".to_owned()), "{rule_of_proof}: {proof:.300}");
        assert_eq!(rule(&reply), rule_of_proof, "{proof:.300}");
    }
    let two = ask(&server, PATH, &[&good, &good]).await;
    assert_eq!((two.error(), rule(&two)), ((400, "invalid_dpop_proof".to_owned()), "ProofRepeated".to_owned()));
    assert_eq!(ask(&server, PATH, &[&"A".repeat(65_536)]).await.status, 431);
    assert!(is_accepted(&server, &good).await, "a refused proof uses nothing up");
    let again = ask(&server, PATH, &[&good]).await;
    assert_eq!((again.error(), rule(&again)), ((400, "invalid_dpop_proof".to_owned()), "ProofReplayed".to_owned()));
}

#[tokio::test]
async fn x1_clocks_may_differ_a_little_and_the_query_of_the_url_is_ignored() {
    let (server, key) = (TestServer::start().await, ProofKey::new());
    let here = url(&server, PATH);
    for changes in [
        json!({"iat": NOW - 10}),
        json!({"iat": NOW + 10}),
        json!({"iat": NOW - 59}),
        json!({"iat": NOW + 60}),
        json!({"iat": 0.5 + 1_795_312_800_f64}),
        json!({"htu": format!("{here}?a=b#c")}),
        json!({"htu": here.replacen("http://127.0.0.1", "HTTP://127.0.0.1", 1)}),
        json!({"nonce": "of another server"}),
        json!({"ath": "of no token"}),
    ] {
        assert!(is_accepted(&server, &key.with(&claims("POST", &here), changes.clone())).await, "{changes}");
    }
}

#[tokio::test]
async fn x1_the_url_of_a_proof_is_the_external_one_of_the_alias_that_was_called() {
    let options = Options { issuer_path: "/a", ..Options::default() };
    let (server, key) = (TestServer::start_with(options).await, ProofKey::new());
    let aliases = [PATH, "/oauth/v2/token", "/Auth/OAuth/Token", "/auth/oauth/token"];
    for called in aliases {
        for named in aliases {
            let expected = if called == named { "none" } else { "ProofUrl" };
            // A proxy may strip the path of the issuer; the client sees it.
            for path in [format!("/a{called}"), called.to_owned()] {
                let reply = ask(&server, &path, &[&key.proof("POST", &url(&server, named))]).await;
                assert_eq!(rule(&reply), expected, "{path} with a proof for {named}");
            }
        }
    }
    let stripped = key.proof("POST", &url(&server, PATH).replacen("/a/", "/", 1));
    assert_eq!(rule(&ask(&server, PATH, &[&stripped]).await), "ProofUrl");
}

#[tokio::test]
async fn x1_an_opaque_token_is_bound_too() {
    let (server, key) = (TestServer::start().await, ProofKey::new());
    let client = record(&server.credential);
    let token = TokenPolicy { format: TokenFormat::Opaque { idle: None }, ..client.token.clone() };
    server.clients.put(ClientRecord { token, ..client });
    let reply = ask(&server, PATH, &[&key.proof("POST", &url(&server, PATH))]).await;
    let token = reply.json()["access_token"].as_str().unwrap().to_owned();
    assert!(token.starts_with("pat_") && reply.json()["token_type"] == "DPoP");
    let basic = server.credential.basic();
    let headers = [FORM, ("authorization", basic.as_str())];
    let seen = server.send("POST", "/oauth2/introspect", &headers, &format!("token={token}")).await.json();
    assert_eq!((&seen["token_type"], &seen["cnf"]), (&json!("DPoP"), &json!({"jkt": key.thumbprint})), "{seen}");
    let unbound = server.token("").await.json()["access_token"].as_str().unwrap().to_owned();
    let seen = server.send("POST", "/oauth2/introspect", &headers, &format!("token={unbound}")).await.json();
    assert_eq!((&seen["token_type"], seen.get("cnf")), (&json!("Bearer"), None), "{seen}");
}

#[tokio::test]
async fn x3_a_client_that_must_bind_its_tokens_gets_none_without_a_proof() {
    let (server, key) = (TestServer::start().await, ProofKey::new());
    server.clients.put(constrained(&server));
    let reply = server.token("").await;
    assert_eq!((reply.error(), rule(&reply)), ((400, "invalid_dpop_proof".to_owned()), "ProofMissing".to_owned()));
    assert_eq!(audit(&reply)["object"], "Application billing/invoice-sync");
    assert!(is_accepted(&server, &key.proof("POST", &url(&server, PATH))).await);
}

/// Otherwise anybody could make the endpoint check signatures.
#[tokio::test]
async fn x1_the_client_authenticates_before_the_signature_is_checked_and_a_failure_uses_no_proof_up() {
    let (server, key) = (TestServer::start().await, ProofKey::new());
    let proof = key.proof("POST", &url(&server, PATH));
    let forged = format!("{}.{}", proof.rsplit_once('.').unwrap().0, URL_SAFE_NO_PAD.encode([0; 64]));
    let wrong = server::basic(&format!("{}:wrong", server::CLIENT_ID));
    for proof in [&forged, &proof] {
        let reply = server.post(&[("authorization", &wrong), ("dpop", proof)], GRANT).await;
        assert_eq!(reply.error(), (401, "invalid_client".to_owned()));
    }
    assert!(is_accepted(&server, &proof).await);
}

#[tokio::test]
async fn x2_a_client_without_a_valid_nonce_gets_one_and_repeats_its_request() {
    let options = Options { dpop_nonce_required: true, ..Options::default() };
    let (server, key) = (TestServer::start_with(options).await, ProofKey::new());
    let here = url(&server, PATH);
    let refused = async |changes: Value, expected: &str| {
        let reply = ask(&server, PATH, &[&key.with(&claims("POST", &here), changes)]).await;
        assert_eq!((reply.error(), rule(&reply)), ((400, "use_dpop_nonce".to_owned()), expected.to_owned()));
        reply.header("dpop-nonce").expect("a nonce").to_owned()
    };
    let nonce = refused(json!({}), "ProofNonceMissing").await;
    let with_nonce = |nonce: &str| key.with(&claims("POST", &here), json!({"nonce": nonce}));
    let reply = ask(&server, PATH, &[&with_nonce(&nonce)]).await;
    assert_eq!((reply.status, reply.header("dpop-nonce")), (200, Some(nonce.as_str())));
    assert!(is_accepted(&server, &with_nonce(&nonce)).await, "a nonce is used more than once");
    let forged = format!("{}AAAAAAAAAAAAAAAAAAAAAA", &nonce[..10]);
    for unknown in ["", "nonsense", &forged] {
        refused(json!({"nonce": unknown}), "ProofNonceUnknown").await;
    }
    server.clock.store(NOW + 120, Ordering::Relaxed);
    let next = refused(json!({"nonce": nonce, "iat": NOW + 120}), "ProofNonceExpired").await;
    assert_ne!(next, nonce);
    let proof = key.with(&claims("POST", &here), json!({"nonce": next, "iat": NOW + 120}));
    assert!(is_accepted(&server, &proof).await);
    assert_eq!(server.token("").await.header("dpop-nonce"), None, "for proofs only");
}

#[tokio::test]
async fn x2_a_proof_of_the_future_is_remembered_for_as_long_as_it_is_accepted() {
    let (server, key) = (TestServer::start().await, ProofKey::new());
    let proof = key.with(&claims("POST", &url(&server, PATH)), json!({"iat": NOW + 60}));
    assert!(is_accepted(&server, &proof).await);
    for (later, expected) in [(60, "ProofReplayed"), (119, "ProofReplayed"), (120, "ProofExpired")] {
        server.clock.store(NOW + later, Ordering::Relaxed);
        assert_eq!(rule(&ask(&server, PATH, &[&proof]).await), expected, "{later}");
    }
}
