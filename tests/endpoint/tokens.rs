//! J and K: tokens and the keys that sign them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use base64::Engine as _;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use postern::crypto::keyset;
use postern::crypto::opaque;
use postern::crypto::signing::{self, SigningAlgorithm, SigningKey, TokenType};
use serde_json::{Value, json};

use crate::forward_auth::ask;
use crate::http_client::Reply;
use crate::introspection::introspect;
use crate::operations::audit;
use crate::server::{
    AUTHORITY, BILLING, CLIENT_ID, FORM, LEDGER, NOW, Options, SUBJECT, TestServer, claims, instant, jose_header,
    record, record_of_two,
};

/// Verifies a token like a resource server: with a third-party library and the published keys.
async fn verify(server: &TestServer, reply: &Reply) -> Value {
    let keys: JwkSet = serde_json::from_slice(&server.get("/oauth2/jwks").await.body).unwrap();
    let header = jose_header(reply);
    let key = keys.find(header["kid"].as_str().unwrap()).expect("the key is published");
    let mut validation = Validation::new(header["alg"].as_str().unwrap().parse::<Algorithm>().unwrap());
    validation.set_audience(&[BILLING]);
    validation.set_issuer(&[&server.issuer]);
    // The clock of the test is fixed.
    validation.validate_exp = false;
    let token = reply.json()["access_token"].as_str().unwrap().to_owned();
    jsonwebtoken::decode::<Value>(&token, &DecodingKey::from_jwk(key).unwrap(), &validation).unwrap().claims
}

#[tokio::test]
async fn j1_header_and_claims_are_those_of_rfc_9068_and_the_signature_verifies() {
    let server = TestServer::start().await;
    for (algorithm, name) in [(SigningAlgorithm::Es256, "ES256"), (SigningAlgorithm::Rs256, "RS256")] {
        let mut client = record(&server.credential);
        client.token.signing_algorithm = algorithm;
        server.clients.put(client);
        let reply = server.token("").await;
        let header = jose_header(&reply);
        assert_eq!((&header["typ"], &header["alg"]), (&json!("at+jwt"), &json!(name)));
        let claims = verify(&server, &reply).await;
        assert_eq!(claims["iss"], server.issuer);
        assert_eq!((&claims["iat"], &claims["exp"]), (&json!(NOW), &json!(NOW + 900)));
        assert_eq!((&claims["aud"], &claims["sub"]), (&json!(BILLING), &json!(SUBJECT)));
        assert_eq!(claims["client_id"], CLIENT_ID);
        assert!(claims["jti"].is_string());
    }
}

#[tokio::test]
async fn k5_every_algorithm_that_signs_is_in_the_metadata_and_its_tokens_verify() {
    let server = TestServer::start().await;
    let listed = async || {
        let metadata = server.get("/.well-known/oauth-authorization-server").await.json();
        metadata["id_token_signing_alg_values_supported"].clone()
    };
    assert_eq!(listed().await, json!(["ES256", "RS256"]));
    let key = |algorithm| Arc::new(SigningKey::from_pkcs8(algorithm, &signing::generate(algorithm).unwrap()).unwrap());
    let keys: Vec<_> = SigningAlgorithm::ALL.iter().copied().map(key).collect();
    server.keys.signing.store(Some(Arc::new(keyset::JwkSet::new(keys))));
    assert_eq!(listed().await, json!(["ES256", "RS256", "PS256", "EdDSA"]));
    for (algorithm, name) in [(SigningAlgorithm::Ps256, "PS256"), (SigningAlgorithm::EdDsa, "EdDSA")] {
        let mut client = record(&server.credential);
        client.token.signing_algorithm = algorithm;
        server.clients.put(client);
        let reply = server.token("").await;
        assert_eq!(jose_header(&reply)["alg"], name);
        assert_eq!(verify(&server, &reply).await["sub"], SUBJECT);
    }
}

#[tokio::test]
async fn j1_a_token_of_type_jwt_differs_only_in_its_header_and_is_accepted_everywhere() {
    let server = TestServer::start().await;
    let mut client = record(&server.credential);
    client.token.jwt_type = TokenType::Jwt;
    server.clients.put(client);
    let reply = server.token("scope=invoices:read openid").await;
    assert_eq!(jose_header(&reply)["typ"], "JWT");
    assert_eq!(verify(&server, &reply).await["client_id"], CLIENT_ID);
    let token = reply.json()["access_token"].as_str().unwrap().to_owned();
    let (basic, bearer) = (server.credential.basic(), format!("Bearer {token}"));
    let is_active = async || introspect(&server, &basic, &format!("token={token}")).await.json()["active"].clone();
    assert_eq!(is_active().await, true);
    assert_eq!(ask(&server, &format!("/auth?audience={BILLING}"), &bearer).await.status, 200);
    assert_eq!(ask(&server, "/oauth2/userinfo", &bearer).await.json()["sub"], SUBJECT);
    let form = format!("token={token}");
    server.send("POST", "/oauth2/revoke", &[("authorization", &basic), FORM], &form).await;
    assert_eq!(is_active().await, false, "it was revoked");
}

#[tokio::test]
async fn j1_no_two_tokens_have_one_id() {
    let server = TestServer::start().await;
    let mut ids = BTreeSet::new();
    for _ in 0..20 {
        let claims = server.claims("").await;
        ids.insert(claims["jti"].as_str().unwrap().to_owned());
    }
    assert_eq!(ids.len(), 20);
    assert!(ids.iter().all(|id| id.len() == 22), "128 bits in base64url");
}

#[tokio::test]
async fn j2_scope_roles_and_planes_match_the_grant() {
    let server = TestServer::start().await;
    let claims = server.claims("scope=invoices:read").await;
    assert_eq!(claims["scope"], "invoices:read");
    assert_eq!(claims["roles"], json!(["billing.reader"]), "not the role behind the other scope");
    assert_eq!(claims["planes"], json!(["Operational"]));
    let mut both = record_of_two(&server.credential);
    both.token.multiple_audiences = true;
    server.clients.put(both);
    let claims = server.claims(&format!("resource={BILLING}&resource={LEDGER}&scope=read")).await;
    assert_eq!(claims["roles"], json!(["billing.reader", "ledger.admin"]));
    assert_eq!(claims["planes"], json!(["Admin", "Operational"]));
}

#[tokio::test]
async fn j3_the_subject_is_the_service_user_and_the_client_the_application() {
    let server = TestServer::start().await;
    let claims = server.claims("").await;
    assert_eq!((claims["sub"].as_str(), claims["client_id"].as_str()), (Some(SUBJECT), Some(CLIENT_ID)));
}

#[tokio::test]
async fn j4_a_token_outlives_neither_its_secret_nor_the_version() {
    let server = TestServer::start().await;
    let with_ends = |expires: Option<i64>, accepted: Option<i64>| {
        let mut client = record(&server.credential);
        client.secrets[0].expires_at = expires.map(|seconds| instant(NOW + seconds));
        let known = &server.credential.version;
        client.secrets[0].versions = vec![Arc::new(postern::oauth::client_record::SecretVersion {
            id: known.id.clone(),
            verification: known.verification.clone(),
            accepted_until: accepted.map(|seconds| instant(NOW + seconds)),
            memory: Arc::default(),
        })];
        server.clients.put(client);
    };
    for (expires, accepted, lifetime) in [
        (None, None, 900),
        (Some(100), None, 100),
        (None, Some(60), 60),
        (Some(100), Some(60), 60),
        (Some(5000), None, 900),
    ] {
        with_ends(expires, accepted);
        let reply = server.token("").await;
        assert_eq!(reply.json()["expires_in"], lifetime);
        assert_eq!(claims(&reply)["exp"], NOW + lifetime);
    }
}

#[tokio::test]
async fn j6_the_epochs_are_in_a_private_claim_and_nothing_unasked_is() {
    let server = TestServer::start().await;
    let claims = server.claims("").await;
    assert_eq!(claims["postern_epoch"], json!([3, 2]));
    let mut members: Vec<&str> = claims.as_object().unwrap().keys().map(String::as_str).collect();
    members.sort_unstable();
    let of_rfc_9068 = ["aud", "client_id", "exp", "iat", "iss", "jti", "roles", "scope", "sub"];
    let private = ["location", "planes", "postern_authority", "postern_epoch"];
    let mut expected = [&of_rfc_9068[..], &private].concat();
    expected.sort_unstable();
    assert_eq!(members, expected);
}

#[tokio::test]
async fn the_creator_of_the_service_user_is_always_in_the_audit_log_and_a_claim_only_if_configured() {
    for wanted in [false, true] {
        let server = TestServer::start_with(Options { created_by_claim: wanted, ..Options::default() }).await;
        let reply = server.token("scope=openid").await;
        let who = if wanted { json!("jane") } else { json!(null) };
        assert_eq!(claims(&reply)["created_by"], who);
        assert_eq!(audit(&reply)["created_by"], "jane");
        let token = reply.json()["access_token"].as_str().unwrap().to_owned();
        let authorization = server.credential.basic();
        let told = introspect(&server, &authorization, &format!("token={token}")).await;
        assert_eq!(told.json()["created_by"], who);
        let told = ask(&server, "/oauth2/userinfo", &format!("Bearer {token}")).await;
        assert_eq!(told.json(), json!({"sub": SUBJECT}));
    }
}

#[tokio::test]
async fn a_token_of_a_time_when_the_creator_was_a_claim_is_introspected_without_it() {
    let server = TestServer::start().await;
    let claims = json!({
        "iss": server.issuer, "sub": SUBJECT, "aud": BILLING, "client_id": CLIENT_ID, "iat": NOW, "exp": NOW + 900,
        "jti": "x", "scope": "invoices:read", "roles": [], "planes": [], "location": "/", "created_by": "jane",
        "postern_epoch": [3, 2], "postern_authority": AUTHORITY,
    });
    let token = opaque::seal(server.keys.tokens.load().as_ref().unwrap(), claims.to_string().as_bytes()).unwrap();
    let told = introspect(&server, &server.credential.basic(), &format!("token={token}")).await.json();
    assert_eq!((&told["active"], &told["created_by"]), (&json!(true), &json!(null)), "{told}");
}

#[tokio::test]
async fn k1_the_key_set_contains_public_keys_with_use_alg_and_kid() {
    let server = TestServer::start().await;
    let reply = server.get("/oauth2/jwks").await;
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/jwk-set+json")));
    let keys = reply.json()["keys"].as_array().unwrap().clone();
    assert_eq!(keys.iter().map(|key| key["kty"].as_str().unwrap()).collect::<Vec<_>>(), ["EC", "RSA"]);
    for key in &keys {
        assert_eq!(key["use"], "sig");
        let jwk: jsonwebtoken::jwk::Jwk = serde_json::from_value(key.clone()).unwrap();
        let thumbprint = jwk.thumbprint(jsonwebtoken::jwk::ThumbprintHash::SHA256);
        assert_eq!(key["kid"], thumbprint.unwrap(), "RFC 7638");
        for private in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
            assert!(key.get(private).is_none(), "{private}");
        }
    }
}

#[tokio::test]
async fn k2_the_key_set_is_cacheable_and_revalidates() {
    let server = TestServer::start().await;
    let reply = server.get("/oauth2/jwks").await;
    assert_eq!(reply.header("cache-control"), Some("public, max-age=300"));
    let etag = reply.header("etag").unwrap().to_owned();
    for known in [etag.clone(), format!("W/{etag}"), format!("\"other\", {etag}"), "*".to_owned()] {
        let again = server.send("GET", "/oauth2/jwks", &[("if-none-match", &known)], "").await;
        assert_eq!((again.status, again.body.len(), again.header("etag")), (304, 0, Some(etag.as_str())), "{known}");
    }
    let other = server.send("GET", "/oauth2/jwks", &[("if-none-match", "\"other\"")], "").await;
    assert_eq!((other.status, other.body == reply.body), (200, true));
    assert_eq!(server.send("HEAD", "/oauth2/jwks", &[], "").await.status, 200);
    let post = server.send("POST", "/oauth2/jwks", &[], "x").await;
    assert_eq!((post.status, post.header("allow")), (405, Some("GET, HEAD")));
}

#[tokio::test]
async fn k2_a_new_key_changes_the_document_and_its_tag_immediately() {
    let server = TestServer::start().await;
    let before = server.get("/oauth2/jwks").await;
    let pkcs8 = signing::generate(SigningAlgorithm::Es256).unwrap();
    let key = Arc::new(SigningKey::from_pkcs8(SigningAlgorithm::Es256, &pkcs8).unwrap());
    server.keys.signing.store(Some(Arc::new(keyset::JwkSet::new([Arc::clone(&key)]))));
    let after = server.get("/oauth2/jwks").await;
    assert_ne!(before.header("etag"), after.header("etag"));
    assert_eq!(jose_header(&server.token("").await)["kid"], key.kid());
}

#[tokio::test]
async fn k5_the_metadata_names_the_algorithms_that_sign() {
    let server = TestServer::start().await;
    let algorithms = async || {
        server.get("/.well-known/openid-configuration").await.json()["id_token_signing_alg_values_supported"].clone()
    };
    assert_eq!(algorithms().await, json!(["ES256", "RS256"]));
    let pkcs8 = signing::generate(SigningAlgorithm::Es256).unwrap();
    let key = Arc::new(SigningKey::from_pkcs8(SigningAlgorithm::Es256, &pkcs8).unwrap());
    server.keys.signing.store(Some(Arc::new(keyset::JwkSet::new([key]))));
    assert_eq!(algorithms().await, json!(["ES256"]));
}

#[tokio::test]
async fn k6_no_document_metric_or_debug_output_shows_a_private_key() {
    let server = TestServer::start().await;
    let pkcs8 = signing::generate(SigningAlgorithm::Es256).unwrap();
    let key = Arc::new(SigningKey::from_pkcs8(SigningAlgorithm::Es256, &pkcs8).unwrap());
    server.keys.signing.store(Some(Arc::new(keyset::JwkSet::new([key]))));
    // The private scalar follows the header of the inner ECPrivateKey (RFC 5915): SEQUENCE, version 1, OCTET STRING 32.
    let at = pkcs8.windows(5).position(|window| window == [2, 1, 1, 4, 32]).expect("an EC key") + 5;
    let scalar = &pkcs8[at..at + 32];
    let shown = [
        server.get("/oauth2/jwks").await.text(),
        server.get("/.well-known/openid-configuration").await.text(),
        server.token("").await.text(),
        server.metrics_text(),
        format!("{:?}", server.keys),
    ];
    let encoded = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(scalar);
    for text in &shown {
        assert!(!text.contains(&encoded) && !text.contains(&format!("{scalar:?}")), "{text}");
    }
}

#[tokio::test]
async fn time_moves_on_for_each_request() {
    let server = TestServer::start().await;
    assert_eq!(server.claims("").await["iat"], NOW);
    server.clock.store(NOW + 7, Ordering::Relaxed);
    assert_eq!(server.claims("").await["iat"], NOW + 7);
}
