//! Lock-out of a client after wrong secrets, over real connections.

use std::sync::atomic::Ordering;

use postern::crypto::install_key::HashCost;
use postern::oauth::client_record::{ClientRecord, SecretVersion, Verification};
use postern::oauth::lockout::{Lock, LockoutScope, Published};

use crate::authentication::hashes;
use crate::captured_logs;
use crate::http_client::Reply;
use crate::secret_purposes::behind_proxies;
use crate::server::{CLIENT_ID, Credential, FORM, GRANT, NOW, TestServer, UID, basic, instant, record, record_of};

const HOUR: i64 = 3_600;

async fn ask(server: &TestServer, from: &str, secret: &str) -> Reply {
    let authorization = basic(&format!("{CLIENT_ID}:{secret}"));
    server.post(&[("authorization", &authorization), ("x-forwarded-for", from)], GRANT).await
}

/// Whether the correct secret gets a token from this address.
async fn is_accepted(server: &TestServer, from: &str) -> bool {
    let reply = ask(server, from, &server.credential.value).await;
    assert!(matches!(reply.status, 200 | 401), "{}", reply.status);
    reply.status == 200
}

/// So many distinct wrong secrets from this address, each refused alike.
async fn guess(server: &TestServer, from: &str, values: std::ops::Range<u32>) {
    for value in values {
        // Its checksum is wrong, so it costs no hash.
        let reply = ask(server, from, &format!("pst_a-wrong-value-{value}")).await;
        assert_eq!(reply.error(), (401, "invalid_client".to_owned()), "{value}");
    }
}

async fn server_with(change: impl FnOnce(&mut ClientRecord)) -> TestServer {
    let server = behind_proxies().await;
    let mut client = record(&server.credential);
    change(&mut client);
    server.clients.put(client);
    server
}

fn set_clock(server: &TestServer, seconds: i64) {
    server.clock.store(NOW + seconds, Ordering::Relaxed);
}

#[tokio::test]
async fn q1_five_wrong_secrets_lock_the_network_of_the_caller_for_an_hour() {
    let server = server_with(|_| {}).await;
    guess(&server, "192.0.2.1", 0..4).await;
    assert!(is_accepted(&server, "192.0.2.9").await, "a success does not reset the count");
    guess(&server, "192.0.2.2", 4..5).await;
    assert!(!is_accepted(&server, "192.0.2.9").await);
    assert!(captured_logs::text().contains(r#""rule":"Locked""#));
    assert!(is_accepted(&server, "198.51.100.1").await, "another network");
    set_clock(&server, HOUR - 1);
    assert!(!is_accepted(&server, "192.0.2.9").await);
    set_clock(&server, HOUR);
    assert!(is_accepted(&server, "192.0.2.9").await);
}

#[tokio::test]
async fn q1_a_locked_client_gets_the_answer_of_a_wrong_secret_and_no_hash_is_computed() {
    let server = server_with(|_| {}).await;
    guess(&server, "192.0.2.1", 0..4).await;
    let wrong = ask(&server, "192.0.2.1", "a-wrong-value-of-some-length").await;
    // Neither the right value, of which the hash is known and of which it is not, nor a wrong one.
    let other = server.credential();
    let before = hashes(&server);
    for secret in [&server.credential.value, &other.value, "another-wrong-value-of-some-length"] {
        let locked = ask(&server, "192.0.2.1", secret).await;
        assert_eq!((locked.status, &locked.body), (wrong.status, &wrong.body));
        assert_eq!(locked.header("www-authenticate"), wrong.header("www-authenticate"));
        let names = |reply: &Reply| reply.headers.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&locked), names(&wrong));
    }
    assert_eq!(hashes(&server), before);
}

#[tokio::test]
async fn q1_every_form_of_a_wrong_secret_counts() {
    let server = server_with(|_| {}).await;
    let valid = server.credential.value.clone();
    let mistyped = format!("{}{}", &valid[..valid.len() - 1], if valid.ends_with('x') { 'y' } else { 'x' });
    let unknown_version = server.credential().value;
    let forms =
        [mistyped, unknown_version, "an-imported-value-nobody-has".to_owned(), "short".to_owned(), "%00%2B".to_owned()];
    for (number, secret) in forms.iter().enumerate() {
        assert!(is_accepted(&server, "192.0.2.1").await, "after {number}");
        assert_eq!(ask(&server, "192.0.2.1", secret).await.status, 401);
    }
    assert!(!is_accepted(&server, "192.0.2.1").await);
}

#[tokio::test]
async fn q1_what_is_no_guess_does_not_count() {
    let server = server_with(|client| {
        // The right value of a version that was replaced.
        let mut retired = SecretVersion { accepted_until: Some(instant(NOW - 1)), ..version_of(client) };
        retired.id.clone_from(&client.secrets[0].versions[0].id);
        client.secrets[0].versions = vec![retired.into()];
    })
    .await;
    for _ in 0..10 {
        // The same wrong value again, the retired value, an unknown client, and an assertion.
        guess(&server, "192.0.2.1", 7..8).await;
        assert_eq!(ask(&server, "192.0.2.1", &server.credential.value).await.status, 401);
        let stranger = basic("unknown:a-wrong-value-of-some-length");
        assert_eq!(
            server.post(&[("authorization", &stranger), ("x-forwarded-for", "192.0.2.1")], GRANT).await.status,
            401
        );
        let assertion = format!(
            "{GRANT}&client_id={CLIENT_ID}&client_assertion=a.b.c&client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        );
        assert_eq!(server.post(&[("x-forwarded-for", "192.0.2.1")], &assertion).await.status, 401);
    }
    server.clients.put(record(&server.credential));
    assert!(is_accepted(&server, "192.0.2.1").await);
    // A right value that may not be used for this, or from here.
    server.clients.put({
        let mut client = record(&server.credential);
        client.secrets[0].networks = Some(["10.0.0.0/8".parse().unwrap()].into());
        client
    });
    for _ in 0..10 {
        assert!(!is_accepted(&server, "192.0.2.1").await);
    }
    server.clients.put(record(&server.credential));
    assert!(is_accepted(&server, "192.0.2.1").await);
}

fn version_of(client: &ClientRecord) -> SecretVersion {
    let version = &client.secrets[0].versions[0];
    SecretVersion {
        id: version.id.clone(),
        verification: version.verification.clone(),
        accepted_until: version.accepted_until,
        memory: version.memory.clone(),
    }
}

#[tokio::test]
async fn q1_a_request_with_two_readings_is_one_attempt() {
    let server = server_with(|_| {}).await;
    for number in 0..4 {
        // Form-decoded, it is another text.
        assert_eq!(ask(&server, "192.0.2.1", &format!("of%20nobody+at+all+{number}23456789")).await.status, 401);
    }
    assert!(is_accepted(&server, "192.0.2.1").await);
}

#[tokio::test]
async fn q1_every_endpoint_that_checks_a_secret_counts_and_refuses() {
    let endpoints: [(&str, &str, &str); 5] = [
        ("POST", "/oauth2/token", GRANT),
        ("POST", "/oauth2/introspect", "token=x"),
        ("POST", "/oauth2/revoke", "token=x"),
        ("GET", "/auth?audience=https://billing.example.com", ""),
        ("GET", "/manage/v1/application", ""),
    ];
    for (method, path, body) in endpoints {
        let server = server_with(|_| {}).await;
        let send = async |secret: &str| {
            let authorization = basic(&format!("{CLIENT_ID}:{secret}"));
            let mut headers = vec![("authorization", authorization.as_str()), ("x-forwarded-for", "192.0.2.1")];
            headers.extend((method == "POST").then_some(FORM));
            server.send(method, path, &headers, body).await.status
        };
        assert_ne!(send(&server.credential.value).await, 401, "{path}");
        for value in 0..5 {
            assert_eq!(send(&format!("a-wrong-value-of-some-length-{value}")).await, 401, "{path}");
        }
        assert_eq!(send(&server.credential.value).await, 401, "{path} refuses");
        assert!(!is_accepted(&server, "192.0.2.1").await, "{path} counts");
        assert!(is_accepted(&server, "198.51.100.1").await, "{path}");
    }
}

#[tokio::test]
async fn q1_an_imported_value_is_locked_like_a_generated_one() {
    let server = behind_proxies().await;
    let value = "three-of-hearts-and-spades";
    let version = SecretVersion {
        id: "imported".to_owned(),
        verification: Verification::Imported(server.install.hash(value, UID, HashCost::Imported).unwrap().into()),
        accepted_until: None,
        memory: std::sync::Arc::default(),
    };
    let credential = Credential { value: value.to_owned(), version: version.into() };
    server.clients.put(record_of(crate::server::grant(&[]), &[&credential]));
    guess(&server, "192.0.2.1", 0..5).await;
    let before = hashes(&server);
    assert_eq!(ask(&server, "192.0.2.1", value).await.status, 401);
    assert_eq!(hashes(&server), before);
}

#[tokio::test]
async fn q1_the_scope_client_locks_all_callers_and_disabled_locks_nobody() {
    let server = server_with(|client| client.lockout.policy.scope = LockoutScope::Client).await;
    for network in 0..5 {
        assert!(is_accepted(&server, "192.0.2.1").await);
        guess(&server, &format!("198.51.{network}.1"), network..network + 1).await;
    }
    assert!(!is_accepted(&server, "192.0.2.1").await);

    let server = server_with(|client| client.lockout.policy.is_enabled = false).await;
    guess(&server, "192.0.2.1", 0..50).await;
    assert!(is_accepted(&server, "192.0.2.1").await);
}

#[tokio::test]
async fn q1_a_lock_of_another_replica_is_honoured_and_ends_when_the_owner_unlocks() {
    let server = server_with(|_| {}).await;
    let lock = Lock { network: None, at: instant(NOW), until: instant(NOW + HOUR), unlock: "".into() };
    let client = record(&server.credential).lockout.client;
    let other = Published { attempts: Vec::new(), locks: vec![(client, lock)] };
    server.clients.lockouts.receive("other", Some(other));
    assert!(!is_accepted(&server, "192.0.2.1").await);
    let mut unlocked = record(&server.credential);
    unlocked.lockout.policy.unlock = "digest".into();
    server.clients.put(unlocked);
    assert!(is_accepted(&server, "192.0.2.1").await);
}

/// An attacker has only the client id.
#[tokio::test]
async fn q1_an_attacker_locks_its_own_networks_and_not_the_owner() {
    let server = server_with(|_| {}).await;
    for network in 0..100 {
        guess(&server, &format!("198.51.{network}.1"), 0..6).await;
        assert!(is_accepted(&server, "192.0.2.1").await);
    }
    // Its issued tokens, and other methods, are not affected by a lock.
    let token = ask(&server, "192.0.2.1", &server.credential.value).await.json()["access_token"].take();
    guess(&server, "192.0.2.1", 0..5).await;
    assert!(!is_accepted(&server, "192.0.2.1").await);
    let bearer = format!("Bearer {}", token.as_str().unwrap());
    assert_eq!(
        server
            .send("GET", "/auth?audience=https://billing.example.com", &[("authorization", &bearer)], "")
            .await
            .status,
        200
    );
}
