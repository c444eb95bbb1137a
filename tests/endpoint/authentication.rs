//! A: client authentication, and catching up before a refusal.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use postern::crypto::install_key::{HashCost, InstallKeys};
use postern::oauth::client_auth::{Method, MethodSet};
use postern::oauth::client_record::{ClientRecord, Denial, SecretVersion, Verification};
use postern::oauth::client_store::{CatchUpError, Lookup};
use postern::oauth::denial_rule::DenialRule;

use crate::http_client::Reply;
use crate::server::{
    CLIENT_ID, Credential, FORM, GRANT, NOW, TestServer, UID, basic, grant, instant, object, percent_encode_all,
    record, record_of,
};

async fn with_header(server: &TestServer, authorization: &str) -> Reply {
    server.post(&[("authorization", authorization)], GRANT).await
}

fn refused(reply: &Reply) -> bool {
    reply.error() == (401, "invalid_client".to_owned())
}

#[tokio::test]
async fn a1_basic_is_read_raw_and_form_encoded() {
    let server = TestServer::start().await;
    let value = &server.credential.value;
    let dashes = |text: &str| text.replace('-', "%2D").replace('_', "%5F");
    for pair in [
        format!("{CLIENT_ID}:{value}"),
        format!("{}:{}", dashes(CLIENT_ID), dashes(value)),
        format!("{}:{}", percent_encode_all(CLIENT_ID), percent_encode_all(value)),
        format!("{CLIENT_ID}:{}", percent_encode_all(value)),
    ] {
        assert_eq!(with_header(&server, &basic(&pair)).await.status, 200, "{pair}");
    }
}

#[tokio::test]
async fn a1_incomplete_or_unreadable_headers_are_failed_authentications() {
    let server = TestServer::start().await;
    for authorization in [
        "Basic",
        "Basic !!!",
        "Basic /w==",
        &basic(CLIENT_ID),
        &basic(&format!("{CLIENT_ID}:")),
        &basic(":x"),
        "Bearer x",
    ] {
        let reply = with_header(&server, authorization).await;
        assert!(refused(&reply), "{authorization}: {}", reply.text());
    }
}

#[tokio::test]
async fn a2_post_works_and_each_method_can_be_switched_off_for_a_client() {
    let server = TestServer::start().await;
    let body = format!("{GRANT}&client_id={CLIENT_ID}&client_secret={}", server.credential.value);
    let both = async || (server.post(&[], &body).await.status, server.token("").await.status);
    assert_eq!(both().await, (200, 200));
    let only = |method| {
        let auth_methods = MethodSet::from_iter([method]);
        server.clients.put(ClientRecord { auth_methods, ..record(&server.credential) });
    };
    only(Method::ClientSecretBasic);
    assert_eq!(both().await, (401, 200));
    only(Method::ClientSecretPost);
    assert_eq!(both().await, (200, 401));
}

#[tokio::test]
async fn a3_exactly_one_method_per_request() {
    let server = TestServer::start().await;
    let authorization = server.credential.basic();
    let secret = format!("client_secret={}", server.credential.value);
    let assertion = "client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer&client_assertion=x";
    for (headers, body) in [
        (vec![("authorization", authorization.as_str())], format!("{GRANT}&{secret}")),
        (vec![("authorization", authorization.as_str())], format!("{GRANT}&{assertion}")),
        (vec![], format!("{GRANT}&client_id={CLIENT_ID}&{secret}&{assertion}")),
        (vec![], format!("{GRANT}&{assertion}&client_assertion=y")),
        (vec![("authorization", authorization.as_str()); 2], GRANT.to_owned()),
        (vec![("authorization", authorization.as_str())], format!("{GRANT}&client_id=another")),
    ] {
        assert_eq!(server.post(&headers, &body).await.error(), (400, "invalid_request".to_owned()), "{body}");
    }
    let reply = server.token(&format!("client_id={CLIENT_ID}")).await;
    assert_eq!(reply.status, 200, "the same client_id in the body is fine");
}

#[tokio::test]
async fn a4_every_failed_authentication_gives_the_same_answer_and_costs_one_hash() {
    let server = TestServer::start().await;
    let stranger = server.credential();
    let retired = |credential: &Credential| {
        let version = SecretVersion {
            id: credential.version.id.clone(),
            verification: credential.version.verification.clone(),
            accepted_until: Some(instant(NOW)),
            memory: Arc::default(),
        };
        Credential { value: credential.value.clone(), version: Arc::new(version) }
    };
    let (revoked, expired, old) = (server.credential(), server.credential(), retired(&server.credential()));
    let nothing = grant(&[]);
    let mut client = record_of(nothing, &[&server.credential, &revoked, &expired, &old]);
    client.secrets[1].disabled =
        Some(Box::new(Denial { rule: DenialRule::Revoked, object: object("ClientSecret", "x") }));
    client.secrets[2].expires_at = Some(instant(NOW));
    server.clients.put(client);
    let suspended = Denial { rule: DenialRule::Suspended, object: object("Application", "x") };
    server.clients.set("suspended", Lookup::Disabled(Arc::new(suspended)));

    let id = &server.credential.version.id;
    // The correct id, another value: the random part of another secret with our version id, and a matching checksum.
    let wrong = reforge(&stranger.value, id);
    let mut answers = Vec::new();
    for (what, client, value) in [
        ("unknown client", "unknown", stranger.value.as_str()),
        ("suspended client", "suspended", stranger.value.as_str()),
        ("unknown secret", CLIENT_ID, stranger.value.as_str()),
        ("wrong secret", CLIENT_ID, wrong.as_str()),
        ("revoked secret", CLIENT_ID, revoked.value.as_str()),
        ("expired secret", CLIENT_ID, expired.value.as_str()),
        ("retired version", CLIENT_ID, old.value.as_str()),
    ] {
        // Twice: the first time the correct value is hashed, later its digest is known.
        let _ = with_header(&server, &basic(&format!("{client}:{value}"))).await;
        let before = hashes(&server);
        let reply = with_header(&server, &basic(&format!("{client}:{value}"))).await;
        assert_eq!(hashes(&server) - before, 1, "{what}");
        let mut headers = reply.headers.clone();
        headers.retain(|(name, _)| name != "x-request-id" && name != "date");
        answers.push((reply.status, headers, reply.body));
    }
    assert_eq!(answers[0].0, 401);
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
}

/// The random part of one value with another version id, and the matching checksum.
pub(crate) fn reforge(value: &str, id: &str) -> String {
    let covered = format!("pst_{id}{}", &value[12..56]);
    let mut rest = crc32fast::hash(covered.as_bytes());
    let mut digits = [b'0'; 6];
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"[rest as usize % 62];
        rest /= 62;
    }
    format!("{covered}{}", String::from_utf8(digits.to_vec()).unwrap())
}

pub(crate) fn hashes(server: &TestServer) -> u64 {
    let text = server.metrics_text();
    let line = text.lines().find(|line| line.starts_with("postern_secret_hash_duration_seconds_count")).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a5_each_of_several_live_secrets_works() {
    let server = TestServer::start().await;
    let credentials: Vec<Credential> = (0..20).map(|_| server.credential()).collect();
    let held = grant(&[(crate::server::BILLING, "invoices:read", "billing.reader", "Operational")]);
    let record = record_of(held, &credentials.iter().collect::<Vec<_>>());
    let names: Vec<String> = record.secrets.iter().map(|secret| secret.object.name.to_string()).collect();
    server.clients.put(record);
    for (credential, name) in credentials.iter().zip(&names) {
        let reply = server.token_with(credential, "").await;
        assert_eq!(reply.status, 200);
        assert!(!reply.text().contains(&credential.version.id), "which one matched is not told");
        let claims = crate::server::claims(&reply).to_string();
        assert!(!claims.contains(&credential.version.id) && !claims.contains(name), "nor to the API: {claims}");
    }
}

#[tokio::test]
async fn a6_a_correct_secret_is_hashed_once_per_process() {
    let server = TestServer::start().await;
    for _ in 0..5 {
        assert_eq!(server.token("").await.status, 200);
    }
    assert_eq!(hashes(&server), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a6_a_flood_of_wrong_secrets_does_not_starve_a_valid_client() {
    let server = Arc::new(TestServer::start().await);
    let is_over = Arc::new(AtomicBool::new(false));
    let flood: Vec<_> = (0..64)
        .map(|_| {
            let (server, bad, is_over) = (Arc::clone(&server), server.credential(), Arc::clone(&is_over));
            tokio::spawn(async move {
                let header = basic(&format!("unknown:{}", bad.value));
                let mut answers = 0;
                while !is_over.load(Ordering::Relaxed) {
                    let status = with_header(&server, &header).await.status;
                    assert!(matches!(status, 401 | 503), "{status}");
                    answers += 1;
                }
                answers
            })
        })
        .collect();
    for _ in 0..50 {
        // A value that was not presented before: its hash waits with all the others.
        let good = server.credential();
        server.clients.put(record(&good));
        assert_eq!(with_header(&server, &good.basic()).await.status, 200);
    }
    is_over.store(true, Ordering::Relaxed);
    for answers in flood {
        assert!(answers.await.unwrap() > 0, "it was no flood");
    }
}

#[tokio::test]
async fn a6_a_verifier_copied_from_another_object_or_made_without_the_install_key_verifies_nothing() {
    let server = TestServer::start().await;
    let mut copied = record(&server.credential);
    copied.secrets[0].uid = [6; 16];
    server.clients.put(copied);
    assert!(refused(&server.token("").await), "copied");
    let foreign = postern::crypto::install_key::InstallKeys::generate().unwrap();
    let version = SecretVersion {
        id: server.credential.version.id.clone(),
        verification: Verification::Generated(
            foreign.hash(&server.credential.value, crate::server::UID, HashCost::Generated).unwrap().into(),
        ),
        accepted_until: None,
        memory: Arc::default(),
    };
    let forged = Credential { value: server.credential.value.clone(), version: Arc::new(version) };
    server.clients.put(record(&forged));
    assert!(refused(&server.token("").await), "forged");
}

#[tokio::test]
async fn a7_a_wrong_checksum_is_refused_before_any_hash_and_any_lookup() {
    let server = TestServer::start().await;
    let mut value = server.credential.value.clone();
    let last = if value.ends_with('x') { 'y' } else { 'x' };
    value.pop();
    value.push(last);
    for wrong in [value.as_str(), "hunter2", "pst_", "pst_aaaaaaaa_short"] {
        assert!(refused(&with_header(&server, &basic(&format!("{CLIENT_ID}:{wrong}"))).await));
    }
    assert_eq!((hashes(&server), server.clients.catch_ups.load(Ordering::Relaxed)), (0, 0));
}

#[tokio::test]
async fn a14_a_client_without_a_secret_gets_nothing() {
    let server = TestServer::start().await;
    for body in [GRANT.to_owned(), format!("{GRANT}&client_id={CLIENT_ID}")] {
        assert!(refused(&server.post(&[], &body).await), "{body}");
    }
}

#[tokio::test]
async fn a_secret_is_accepted_until_its_last_whole_second() {
    let server = TestServer::start().await;
    let with_end = |seconds| {
        let mut client = record(&server.credential);
        client.secrets[0].expires_at = Some(instant(NOW + seconds));
        server.clients.put(client);
    };
    with_end(1);
    assert_eq!(server.token("").await.json()["expires_in"], 1);
    with_end(0);
    assert!(refused(&server.token("").await));
}

#[tokio::test]
async fn a_credential_that_is_not_known_yet_works_after_catching_up() {
    let server = TestServer::start().await;
    let new = server.credential();
    let both = record_of(Arc::clone(&record(&new).grant), &[&server.credential, &new]);
    server.clients.upcoming(CLIENT_ID, Lookup::Live(Arc::new(both)));
    assert_eq!(server.token_with(&new, "").await.status, 200);
    assert_eq!(server.clients.catch_ups.load(Ordering::Relaxed), 1);
    assert_eq!(server.token("").await.status, 200);
    assert_eq!(server.clients.catch_ups.load(Ordering::Relaxed), 1, "a known credential asks nobody");
}

#[tokio::test]
async fn a_client_that_was_enabled_again_works_after_catching_up() {
    let server = TestServer::start().await;
    let suspended = Denial { rule: DenialRule::Suspended, object: object("Application", "invoice-sync") };
    server.clients.set(CLIENT_ID, Lookup::Disabled(Arc::new(suspended)));
    server.clients.upcoming(CLIENT_ID, Lookup::Live(Arc::new(record(&server.credential))));
    assert_eq!(server.token("").await.status, 200);
}

#[tokio::test]
async fn a_replica_that_cannot_catch_up_never_answers_invalid_client() {
    let server = TestServer::start().await;
    let unknown = server.credential();
    for (error, status) in [(CatchUpError::Behind, 503), (CatchUpError::RateLimited, 429)] {
        *server.clients.catch_up.lock().unwrap() = Err(error);
        let reply = server.token_with(&unknown, "").await;
        assert_eq!(reply.error(), (status, "temporarily_unavailable".to_owned()));
        assert!(reply.header("retry-after").is_some());
    }
    let wrong = reforge(&unknown.value, &server.credential.version.id);
    let reply = with_header(&server, &basic(&format!("{CLIENT_ID}:{wrong}"))).await;
    assert!(refused(&reply), "a wrong value of a known version needs no catching up");
}

#[tokio::test]
async fn a_form_content_type_is_checked_before_credentials() {
    let server = TestServer::start().await;
    let reply = server.send("POST", "/oauth2/token", &[("content-type", "text/plain")], "x").await;
    assert_eq!(reply.status, 400);
    let reply = server.send("POST", "/oauth2/token", &[FORM], GRANT).await;
    assert_eq!(reply.status, 401);
}

#[tokio::test]
async fn a_verifier_that_has_moved_to_another_install_key_is_seen_before_a_refusal() {
    let server = TestServer::start().await;
    let keys = InstallKeys::generate().unwrap();
    let verifier = keys.hash(&server.credential.value, UID, HashCost::Generated).unwrap();
    let mut moved = record(&server.credential);
    let version = Arc::clone(&moved.secrets[0].versions[0]);
    moved.secrets[0].versions = vec![Arc::new(SecretVersion {
        id: version.id.clone(),
        verification: Verification::Generated(verifier.into()),
        accepted_until: version.accepted_until,
        memory: Arc::default(),
    })];
    server.keys.install.store(Some(Arc::new(keys)));
    server.clients.upcoming(CLIENT_ID, Lookup::Live(Arc::new(moved)));
    assert_eq!(server.token("").await.status, 200);
    assert_eq!(server.clients.catch_ups.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_replica_that_may_lack_an_install_key_answers_503_instead_of_invalid_client() {
    let server = TestServer::start().await;
    server.keys.install.store(Some(Arc::new(InstallKeys::generate().unwrap())));
    for (age, status) in [(15, 401), (16, 503)] {
        server.keys.install_confirmed.set(jiff::Timestamp::from_second(NOW - age).unwrap());
        assert_eq!(server.token("").await.status, status, "{age} s after the keys were read");
    }
}
