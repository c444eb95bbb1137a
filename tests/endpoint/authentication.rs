//! A: client authentication, and catching up before a refusal.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use postern::crypto::install_key::HashCost;
use postern::oauth::client_auth::{Method, MethodSet};
use postern::oauth::client_record::{ClientRecord, Denial, SecretVersion};
use postern::oauth::client_store::{CatchUpError, Lookup};
use postern::oauth::denial_rule::DenialRule;

use crate::http_client::Reply;
use crate::server::{
    CLIENT_ID, Credential, FORM, GRANT, NOW, TestServer, basic, grant, instant, object, percent_encode_all, record,
    record_of,
};

async fn with_header(world: &TestServer, authorization: &str) -> Reply {
    world.post(&[("authorization", authorization)], GRANT).await
}

fn refused(reply: &Reply) -> bool {
    reply.error() == (401, "invalid_client".to_owned())
}

#[tokio::test]
async fn a1_basic_is_read_raw_and_form_encoded() {
    let world = TestServer::start().await;
    let value = &world.credential.value;
    let dashes = |text: &str| text.replace('-', "%2D").replace('_', "%5F");
    for pair in [
        format!("{CLIENT_ID}:{value}"),
        format!("{}:{}", dashes(CLIENT_ID), dashes(value)),
        format!("{}:{}", percent_encode_all(CLIENT_ID), percent_encode_all(value)),
        format!("{CLIENT_ID}:{}", percent_encode_all(value)),
    ] {
        assert_eq!(with_header(&world, &basic(&pair)).await.status, 200, "{pair}");
    }
}

#[tokio::test]
async fn a1_incomplete_or_unreadable_headers_are_failed_authentications() {
    let world = TestServer::start().await;
    for authorization in [
        "Basic",
        "Basic !!!",
        "Basic /w==",
        &basic(CLIENT_ID),
        &basic(&format!("{CLIENT_ID}:")),
        &basic(":x"),
        "Bearer x",
    ] {
        let reply = with_header(&world, authorization).await;
        assert!(refused(&reply), "{authorization}: {}", reply.text());
    }
}

#[tokio::test]
async fn a2_post_works_and_each_method_can_be_switched_off_for_a_client() {
    let world = TestServer::start().await;
    let body = format!("{GRANT}&client_id={CLIENT_ID}&client_secret={}", world.credential.value);
    let both = async || (world.post(&[], &body).await.status, world.token("").await.status);
    assert_eq!(both().await, (200, 200));
    let only = |method| {
        let auth_methods = MethodSet::from_iter([method]);
        world.clients.put(ClientRecord { auth_methods, ..record(&world.credential) });
    };
    only(Method::ClientSecretBasic);
    assert_eq!(both().await, (401, 200));
    only(Method::ClientSecretPost);
    assert_eq!(both().await, (200, 401));
}

#[tokio::test]
async fn a3_exactly_one_method_per_request() {
    let world = TestServer::start().await;
    let authorization = world.credential.basic();
    let secret = format!("client_secret={}", world.credential.value);
    let assertion = "client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer&client_assertion=x";
    for (headers, body) in [
        (vec![("authorization", authorization.as_str())], format!("{GRANT}&{secret}")),
        (vec![("authorization", authorization.as_str())], format!("{GRANT}&{assertion}")),
        (vec![], format!("{GRANT}&client_id={CLIENT_ID}&{secret}&{assertion}")),
        (vec![], format!("{GRANT}&{assertion}&client_assertion=y")),
        (vec![("authorization", authorization.as_str()); 2], GRANT.to_owned()),
        (vec![("authorization", authorization.as_str())], format!("{GRANT}&client_id=another")),
    ] {
        assert_eq!(world.post(&headers, &body).await.error(), (400, "invalid_request".to_owned()), "{body}");
    }
    let reply = world.token(&format!("client_id={CLIENT_ID}")).await;
    assert_eq!(reply.status, 200, "the same client_id in the body is fine");
}

#[tokio::test]
async fn a4_every_failed_authentication_gives_the_same_answer_and_costs_one_hash() {
    let world = TestServer::start().await;
    let stranger = world.credential();
    let retired = |credential: &Credential| {
        let version = SecretVersion {
            id: credential.version.id.clone(),
            verifier: credential.version.verifier.clone(),
            imported: false,
            accepted_until: Some(instant(NOW)),
            memory: Arc::default(),
        };
        Credential { value: credential.value.clone(), version: Arc::new(version) }
    };
    let (revoked, expired, old) = (world.credential(), world.credential(), retired(&world.credential()));
    let nothing = grant(&[]);
    let mut client = record_of(nothing, &[&world.credential, &revoked, &expired, &old]);
    client.secrets[1].disabled =
        Some(Box::new(Denial { rule: DenialRule::Revoked, object: object("ClientSecret", "x") }));
    client.secrets[2].expires_at = Some(instant(NOW));
    world.clients.put(client);
    let suspended = Denial { rule: DenialRule::Suspended, object: object("Application", "x") };
    world.clients.set("suspended", Lookup::Disabled(Arc::new(suspended)));

    let id = &world.credential.version.id;
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
        let _ = with_header(&world, &basic(&format!("{client}:{value}"))).await;
        let before = hashes(&world);
        let reply = with_header(&world, &basic(&format!("{client}:{value}"))).await;
        assert_eq!(hashes(&world) - before, 1, "{what}");
        let mut headers = reply.headers.clone();
        headers.retain(|(name, _)| name != "x-request-id" && name != "date");
        answers.push((reply.status, headers, reply.body));
    }
    assert_eq!(answers[0].0, 401);
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
}

/// The random part of one value with another version id, and the matching checksum.
fn reforge(value: &str, id: &str) -> String {
    let covered = format!("pst_{id}{}", &value[12..56]);
    let mut rest = crc32fast::hash(covered.as_bytes());
    let mut digits = [b'0'; 6];
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"[rest as usize % 62];
        rest /= 62;
    }
    format!("{covered}{}", String::from_utf8(digits.to_vec()).unwrap())
}

pub(crate) fn hashes(world: &TestServer) -> u64 {
    let text = world.metrics_text();
    let line = text.lines().find(|line| line.starts_with("postern_secret_hash_duration_seconds_count")).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a5_each_of_several_live_secrets_works() {
    let world = TestServer::start().await;
    let credentials: Vec<Credential> = (0..20).map(|_| world.credential()).collect();
    let held = grant(&[(crate::server::BILLING, "invoices:read", "billing.reader", "Operational")]);
    let record = record_of(held, &credentials.iter().collect::<Vec<_>>());
    let names: Vec<String> = record.secrets.iter().map(|secret| secret.object.name.to_string()).collect();
    world.clients.put(record);
    for (credential, name) in credentials.iter().zip(&names) {
        let reply = world.token_with(credential, "").await;
        assert_eq!(reply.status, 200);
        assert!(!reply.text().contains(&credential.version.id), "which one matched is not told");
        let claims = crate::server::claims(&reply).to_string();
        assert!(!claims.contains(&credential.version.id) && !claims.contains(name), "nor to the API: {claims}");
    }
}

#[tokio::test]
async fn a6_a_right_secret_is_hashed_once_per_process() {
    let world = TestServer::start().await;
    for _ in 0..5 {
        assert_eq!(world.token("").await.status, 200);
    }
    assert_eq!(hashes(&world), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a6_a_flood_of_bad_secrets_does_not_starve_a_good_client() {
    let world = Arc::new(TestServer::start().await);
    let is_over = Arc::new(AtomicBool::new(false));
    let flood: Vec<_> = (0..64)
        .map(|_| {
            let (world, bad, is_over) = (Arc::clone(&world), world.credential(), Arc::clone(&is_over));
            tokio::spawn(async move {
                let header = basic(&format!("unknown:{}", bad.value));
                let mut answers = 0;
                while !is_over.load(Ordering::Relaxed) {
                    let status = with_header(&world, &header).await.status;
                    assert!(matches!(status, 401 | 503), "{status}");
                    answers += 1;
                }
                answers
            })
        })
        .collect();
    for _ in 0..50 {
        // A value that was not presented before: its hash waits with all the others.
        let good = world.credential();
        world.clients.put(record(&good));
        assert_eq!(with_header(&world, &good.basic()).await.status, 200);
    }
    is_over.store(true, Ordering::Relaxed);
    for answers in flood {
        assert!(answers.await.unwrap() > 0, "it was no flood");
    }
}

#[tokio::test]
async fn a6_a_verifier_copied_from_another_object_or_made_without_the_install_key_verifies_nothing() {
    let world = TestServer::start().await;
    let mut copied = record(&world.credential);
    copied.secrets[0].uid = [6; 16];
    world.clients.put(copied);
    assert!(refused(&world.token("").await), "copied");
    let foreign = postern::crypto::install_key::InstallKeys::generate().unwrap();
    let version = SecretVersion {
        id: world.credential.version.id.clone(),
        verifier: foreign.hash(&world.credential.value, crate::server::UID, HashCost::Generated).unwrap().into(),
        imported: false,
        accepted_until: None,
        memory: Arc::default(),
    };
    let forged = Credential { value: world.credential.value.clone(), version: Arc::new(version) };
    world.clients.put(record(&forged));
    assert!(refused(&world.token("").await), "forged");
}

#[tokio::test]
async fn a7_a_wrong_checksum_is_refused_before_any_hash_and_any_lookup() {
    let world = TestServer::start().await;
    let mut value = world.credential.value.clone();
    let last = if value.ends_with('x') { 'y' } else { 'x' };
    value.pop();
    value.push(last);
    for wrong in [value.as_str(), "hunter2", "pst_", "pst_aaaaaaaa_short"] {
        assert!(refused(&with_header(&world, &basic(&format!("{CLIENT_ID}:{wrong}"))).await));
    }
    assert_eq!((hashes(&world), world.clients.catch_ups.load(Ordering::Relaxed)), (0, 0));
}

#[tokio::test]
async fn a14_a_client_without_a_secret_gets_nothing() {
    let world = TestServer::start().await;
    for body in [GRANT.to_owned(), format!("{GRANT}&client_id={CLIENT_ID}")] {
        assert!(refused(&world.post(&[], &body).await), "{body}");
    }
}

#[tokio::test]
async fn a_secret_is_accepted_until_its_last_whole_second() {
    let world = TestServer::start().await;
    let with_end = |seconds| {
        let mut client = record(&world.credential);
        client.secrets[0].expires_at = Some(instant(NOW + seconds));
        world.clients.put(client);
    };
    with_end(1);
    assert_eq!(world.token("").await.json()["expires_in"], 1);
    with_end(0);
    assert!(refused(&world.token("").await));
}

#[tokio::test]
async fn a_credential_that_is_not_known_yet_works_after_catching_up() {
    let world = TestServer::start().await;
    let new = world.credential();
    let both = record_of(Arc::clone(&record(&new).grant), &[&world.credential, &new]);
    world.clients.upcoming(CLIENT_ID, Lookup::Live(Arc::new(both)));
    assert_eq!(world.token_with(&new, "").await.status, 200);
    assert_eq!(world.clients.catch_ups.load(Ordering::Relaxed), 1);
    assert_eq!(world.token("").await.status, 200);
    assert_eq!(world.clients.catch_ups.load(Ordering::Relaxed), 1, "a known credential asks nobody");
}

#[tokio::test]
async fn a_client_that_was_opened_again_works_after_catching_up() {
    let world = TestServer::start().await;
    let suspended = Denial { rule: DenialRule::Suspended, object: object("Application", "invoice-sync") };
    world.clients.set(CLIENT_ID, Lookup::Disabled(Arc::new(suspended)));
    world.clients.upcoming(CLIENT_ID, Lookup::Live(Arc::new(record(&world.credential))));
    assert_eq!(world.token("").await.status, 200);
}

#[tokio::test]
async fn a_replica_that_cannot_catch_up_never_says_invalid_client() {
    let world = TestServer::start().await;
    let unknown = world.credential();
    for (error, status) in [(CatchUpError::Behind, 503), (CatchUpError::RateLimited, 429)] {
        *world.clients.catch_up.lock().unwrap() = Err(error);
        let reply = world.token_with(&unknown, "").await;
        assert_eq!(reply.error(), (status, "temporarily_unavailable".to_owned()));
        assert!(reply.header("retry-after").is_some());
    }
    let wrong = reforge(&unknown.value, &world.credential.version.id);
    let reply = with_header(&world, &basic(&format!("{CLIENT_ID}:{wrong}"))).await;
    assert!(refused(&reply), "a wrong value of a known version needs no catching up");
}

#[tokio::test]
async fn a_form_content_type_is_checked_before_credentials() {
    let world = TestServer::start().await;
    let reply = world.send("POST", "/oauth2/token", &[("content-type", "text/plain")], "x").await;
    assert_eq!(reply.status, 400);
    let reply = world.send("POST", "/oauth2/token", &[FORM], GRANT).await;
    assert_eq!(reply.status, 401);
}
