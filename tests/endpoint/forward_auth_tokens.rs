//! U1: which tokens the forward-auth endpoint accepts.

use std::sync::Arc;

use postern::crypto::jwt;
use postern::crypto::signing::{self, SigningAlgorithm, SigningKey, TokenType};
use postern::oauth::client_record::{ClientRecord, Denial, Epoch, Removed, Tombstones};
use postern::oauth::client_store::Lookup;
use postern::oauth::denial_rule::DenialRule;
use serde_json::{Value, json};

use crate::forward_auth::{ANYONE, ask, bearer, challenges, rule};
use crate::server::{AUTHORITY, BILLING, CLIENT_ID, NOW, SUBJECT, TestServer, instant, key_set, object, record};

/// A token like ours, with some claims changed, signed by `key`.
fn token(server: &TestServer, key: &SigningKey, change: Value) -> String {
    let mut claims = json!({
        "iss": server.issuer, "sub": SUBJECT, "aud": BILLING, "client_id": CLIENT_ID, "iat": NOW, "exp": NOW + 60,
        "jti": "id", "scope": "invoices:read", "roles": ["billing.reader"], "planes": [], "postern_epoch": [3, 2],
        "location": "/", "postern_authority": AUTHORITY,
    });
    let Value::Object(change) = change else { panic!("an object") };
    claims.as_object_mut().unwrap().extend(change);
    format!("Bearer {}", jwt::access_token(key, TokenType::AccessToken, &claims).unwrap().sign(key).unwrap())
}

async fn refused(server: &TestServer, authorization: &str, expected: &str) {
    let reply = ask(server, ANYONE, authorization).await;
    assert_eq!(reply.error(), (401, "invalid_token".to_owned()), "{expected}");
    assert_eq!(challenges(&reply), [r#"Bearer realm="postern", error="invalid_token""#]);
    assert_eq!(rule(), expected);
}

#[tokio::test]
async fn u1_a_token_that_postern_signed_is_refused_if_it_is_expired_or_its_claims_do_not_match() {
    let server = TestServer::start().await;
    let set = key_set();
    let ours = set.signing_key(SigningAlgorithm::Rs256).unwrap();
    assert_eq!(ask(&server, ANYONE, &token(&server, ours, json!({}))).await.status, 200);
    for (change, expected) in [
        (json!({"exp": NOW}), "TokenExpired"),
        (json!({"exp": -1}), "TokenExpired"),
        (json!({"iss": "https://elsewhere.example.com"}), "OtherIssuer"),
        (json!({"postern_epoch": [2, 2]}), "AuthorityChanged"),
        (json!({"postern_epoch": [3, 1]}), "AuthorityChanged"),
        (json!({"postern_epoch": [4, 2], "iat": NOW - 120}), "UnknownAuthority"),
        (json!({"postern_epoch": [3, 3], "iat": NOW - 120}), "UnknownAuthority"),
        (json!({"postern_authority": "6e1b"}), "UnknownAuthority"),
        (json!({"client_id": "another"}), "UnknownClient"),
        (json!({"exp": null}), "MalformedClaims"),
        (json!({"aud": 7}), "MalformedClaims"),
    ] {
        refused(&server, &token(&server, ours, change), expected).await;
    }
}

#[tokio::test]
async fn a_young_token_of_a_newer_epoch_proves_that_the_replica_is_stale() {
    let server = TestServer::start().await;
    let set = key_set();
    let ours = set.signing_key(SigningAlgorithm::Rs256).unwrap();
    for epoch in [[4, 2], [3, 3], [4, 3]] {
        let token = token(&server, ours, json!({"postern_epoch": epoch, "iat": NOW - 119}));
        let reply = ask(&server, ANYONE, &token).await;
        assert_eq!(reply.error(), (503, "temporarily_unavailable".to_owned()), "{epoch:?}");
        assert_eq!(reply.header("retry-after"), Some("1"));
    }
}

#[tokio::test]
async fn former_permissions_are_distinguished_from_those_that_the_replica_has_not_seen() {
    let server = TestServer::start().await;
    let set = key_set();
    let ours = set.signing_key(SigningAlgorithm::Rs256).unwrap();
    let epoch = Epoch { service_user: 4, application: 2 };
    let lost = Removed { authorities: vec![AUTHORITY], epoch };
    let past = Tombstones::default().next(&lost, |_| false, instant(NOW), instant(0));
    let before_the_change = instant(NOW - 1);
    let after_the_change = instant(NOW + 1);
    for (what, changed_at, is_behind, past, change, expected) in [
        ("it came back", before_the_change, false, past.clone(), json!({}), "AuthorityChanged"),
        ("newer, and lost again", before_the_change, false, past, json!({"postern_epoch": [4, 2]}), "AuthorityChanged"),
        (
            "old",
            after_the_change,
            false,
            Tombstones::default(),
            json!({"postern_authority": "6e1b"}),
            "AuthorityChanged",
        ),
        (
            "numbered, not seen",
            after_the_change,
            true,
            Tombstones::default(),
            json!({"postern_authority": "6e1b"}),
            "UnknownAuthority",
        ),
        (
            "of an application created again",
            before_the_change,
            false,
            Tombstones::default(),
            json!({"postern_authority": "6e1b", "postern_epoch": [3, 1]}),
            "UnknownAuthority",
        ),
        (
            "of an old epoch",
            after_the_change,
            false,
            Tombstones::default(),
            json!({"postern_authority": "6e1b", "postern_epoch": [3, 1]}),
            "AuthorityChanged",
        ),
    ] {
        server.clients.put(ClientRecord {
            authority_changed_at: changed_at,
            is_stale: is_behind,
            past,
            ..record(&server.credential)
        });
        refused(&server, &token(&server, ours, change), expected).await;
        assert_eq!(rule(), expected, "{what}");
    }
}

#[tokio::test]
async fn u1_a_token_that_no_key_of_postern_signed_is_refused() {
    let server = TestServer::start().await;
    let pkcs8 = signing::generate(SigningAlgorithm::Es256).unwrap();
    let foreign = SigningKey::from_pkcs8(SigningAlgorithm::Es256, &pkcs8).unwrap();
    refused(&server, &token(&server, &foreign, json!({})), "UnknownKey").await;
    for nonsense in ["Bearer", "Bearer ", "Bearer x", "Bearer ..", "Bearer a.b.c", "bearer eyJhbGciOiJub25lIn0.e30."] {
        refused(&server, nonsense, "UnknownKey").await;
    }
    let good = bearer(&server, "").await;
    refused(&server, &good[..good.len() - 1], "WrongSignature").await;
    refused(&server, &format!("{good}A"), "WrongSignature").await;
    let (signed, signature) = good.rsplit_once('.').unwrap();
    refused(&server, signed, "WrongSignature").await;
    refused(&server, &format!("{signed}A.{signature}"), "WrongSignature").await;
    server.keys.signing.store(Some(Arc::new(postern::crypto::keyset::JwkSet::new([Arc::new(foreign)]))));
    refused(&server, &good, "UnknownKey").await;
}

/// RFC 8725 §3.1: the algorithm and the type in the header are never trusted.
#[tokio::test]
async fn u1_the_header_of_a_token_decides_nothing() {
    let server = TestServer::start().await;
    let set = key_set();
    let ours = set.signing_key(SigningAlgorithm::Es256).unwrap();
    let good = token(&server, ours, json!({}));
    let claims = good.split('.').nth(1).unwrap();
    let kid = ours.kid();
    let rsa = set.signing_key(SigningAlgorithm::Rs256).unwrap();
    for (header, key) in [
        (json!({"typ": "at+jwt", "alg": "none", "kid": kid}), ours),
        (json!({"typ": "at+jwt", "alg": "HS256", "kid": kid}), ours),
        (json!({"typ": "at+jwt", "alg": "RS256", "kid": kid}), rsa),
        (json!({"typ": "at+jwt", "alg": "ES256", "kid": rsa.kid()}), ours),
        (json!({"typ": "token-introspection+jwt", "alg": "ES256", "kid": kid}), ours),
        (json!({"alg": "ES256", "kid": kid}), ours),
        (json!({"typ": "at+jwt", "alg": "ES256"}), ours),
        (json!({"typ": "at+jwt", "alg": "ES256", "kid": kid, "crit": ["exp"]}), ours),
        (json!({"typ": "at+jwt", "alg": "ES256", "kid": kid, "jwk": {}}), ours),
    ] {
        let signed = format!("{}.{claims}", base64url(header.to_string().as_bytes()));
        let signature = base64url(&key.sign(signed.as_bytes()).unwrap());
        refused(&server, &format!("Bearer {signed}.{signature}"), "UnknownKey").await;
    }
}

fn base64url(bytes: &[u8]) -> String {
    base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, bytes)
}

#[tokio::test]
async fn a_token_becomes_invalid_when_its_client_is_disabled_or_its_authority_changes() {
    let server = TestServer::start().await;
    let token = bearer(&server, "").await;
    let raised = ClientRecord { epoch: Epoch { service_user: 3, application: 3 }, ..record(&server.credential) };
    server.clients.put(raised);
    refused(&server, &token, "AuthorityChanged").await;
    let suspended = Denial { rule: DenialRule::Suspended, object: object("Application", "invoice-sync") };
    server.clients.set(CLIENT_ID, Lookup::Disabled(Arc::new(suspended)));
    refused(&server, &token, "Suspended").await;
    server.clients.set(CLIENT_ID, Lookup::Unknown);
    refused(&server, &token, "UnknownClient").await;
}
