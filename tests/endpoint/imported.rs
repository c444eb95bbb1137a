//! Imported values: each verification costs a password hash, so the tests count hashes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use postern::crypto::install_key::HashCost;
use postern::oauth::client_record::{ClientRecord, Denial, SecretVersion, Verification};
use postern::oauth::client_store::Lookup;
use postern::oauth::denial_rule::DenialRule;
use postern::oauth::hash_pool::HashLimits;

use crate::authentication::hashes;
use crate::forward_auth::rule;
use crate::server::{
    CLIENT_ID, Credential, GRANT, NOW, Options, TestServer, UID, basic, grant, instant, object, record_of,
};

const WRONG: &str = "of-nobody-at-all-0123456789";
/// Values of two tenants.
const GREEDY: &str = "three-of-hearts-and-spades";
const HONEST: &str = "seven-of-diamonds-and-clubs";
/// Form-decoded, the value is a different text.
const WRONG_READ_TWICE: &str = "of%20nobody+at+all+0123456789";

fn imported(server: &TestServer, value: &str) -> Credential {
    let version = SecretVersion {
        id: format!("import-{value}"),
        verification: Verification::Imported(server.install.hash(value, UID, HashCost::Imported).unwrap().into()),
        accepted_until: None,
        memory: Arc::default(),
    };
    Credential { value: value.to_owned(), version: Arc::new(version) }
}

fn client(credentials: &[&Credential]) -> ClientRecord {
    record_of(grant(&[(crate::server::BILLING, "invoices:read", "billing.reader", "Operational")]), credentials)
}

async fn status(server: &TestServer, client_id: &str, value: &str) -> u16 {
    server.post(&[("authorization", &basic(&format!("{client_id}:{value}")))], GRANT).await.status
}

/// Hashes that a refusal costs.
async fn cost(server: &TestServer, client_id: &str, value: &str) -> u64 {
    let before = hashes(server);
    assert_eq!(status(server, client_id, value).await, 401);
    hashes(server) - before
}

#[tokio::test]
async fn a4_a_wrong_value_costs_the_same_for_a_client_with_one_imported_value_as_for_none_at_all() {
    let server = TestServer::start().await;
    server.clients.put(client(&[&imported(&server, "three-of-hearts-and-spades")]));
    for (value, readings) in [(WRONG, 1), (WRONG_READ_TWICE, 2)] {
        assert_eq!(cost(&server, "unknown", value).await, readings, "{value}");
        assert_eq!(cost(&server, CLIENT_ID, value).await, readings, "{value}");
        server.clients.put(client(&[&server.credential]));
        assert_eq!(cost(&server, CLIENT_ID, value).await, readings, "without any: {value}");
        server.clients.put(client(&[&imported(&server, "three-of-hearts-and-spades")]));
    }
}

#[tokio::test]
async fn a6_each_active_value_is_tried_once_and_an_expired_or_revoked_one_never() {
    let server = TestServer::start().await;
    let secrets: Vec<_> = ["first", "second", "revoked", "expired"]
        .map(|name| imported(&server, &format!("{name}-of-hearts-and-spades")))
        .into();
    let mut client = client(&secrets.iter().collect::<Vec<_>>());
    client.secrets[2].disabled =
        Some(Box::new(Denial { rule: DenialRule::Revoked, object: object("ClientSecret", "x") }));
    client.secrets[3].expires_at = Some(instant(NOW));
    server.clients.put(client);
    assert_eq!(
        cost(&server, CLIENT_ID, WRONG).await,
        2,
        "one for each that is in force, and nothing after catching up"
    );
    assert_eq!(cost(&server, CLIENT_ID, &secrets[2].value).await, 2, "nobody has used it here");
    assert_eq!(rule(), "UnknownSecret");
}

#[tokio::test]
async fn a_revoked_imported_value_is_recognised_by_a_replica_that_verified_it_before() {
    let server = TestServer::start().await;
    let secret = imported(&server, "three-of-hearts-and-spades");
    server.clients.put(client(&[&secret]));
    assert_eq!(status(&server, CLIENT_ID, &secret.value).await, 200);
    let mut revoked = client(&[&secret]);
    revoked.secrets[0].disabled =
        Some(Box::new(Denial { rule: DenialRule::Revoked, object: object("ClientSecret", "x") }));
    server.clients.put(revoked);
    assert_eq!(cost(&server, CLIENT_ID, &secret.value).await, 1);
    assert_eq!(rule(), "Revoked");
    let again = imported(&server, &secret.value);
    let mut both = client(&[&secret, &again]);
    both.secrets[0].disabled =
        Some(Box::new(Denial { rule: DenialRule::Revoked, object: object("ClientSecret", "x") }));
    server.clients.put(both);
    assert_eq!(status(&server, CLIENT_ID, &secret.value).await, 200, "brought again, it is good again");
}

#[tokio::test]
async fn a6_a_cached_value_is_found_before_any_other_is_hashed() {
    let server = TestServer::start().await;
    let secrets = ["first", "second"].map(|name| imported(&server, &format!("{name}-of-hearts-and-spades")));
    server.clients.put(client(&secrets.each_ref()));
    for hashed in [2, 0, 0] {
        let before = hashes(&server);
        assert_eq!(status(&server, CLIENT_ID, &secrets[1].value).await, 200);
        assert_eq!(hashes(&server) - before, hashed);
    }
}

#[tokio::test]
async fn a6_a_cached_value_with_two_readings_needs_no_hash() {
    let server = TestServer::start().await;
    // As sent by clients that do not encode Basic credentials.
    let secret = imported(&server, "3@rn0i+0y5j%2BB8_n:~/=");
    server.clients.put(client(&[&secret]));
    for hashed in [2, 0, 0] {
        let before = hashes(&server);
        assert_eq!(status(&server, CLIENT_ID, &secret.value).await, 200);
        assert_eq!(hashes(&server) - before, hashed);
    }
}

#[tokio::test]
async fn a6_a_flood_of_wrong_values_in_one_namespace_fails_no_first_use_in_another() {
    // One hash at a time, and a queue that the flood would fill; no request times out.
    let wait = Duration::from_mins(1);
    let hash = HashLimits { concurrent: 2, waiting: 8, waiting_imported: 50, wait, ..HashLimits::default() };
    let server = Arc::new(TestServer::start_with(Options { hash, ..Options::default() }).await);
    let id = |number: usize| format!("7b1f3a52-9d55-4d0e-8b6a-{number:012}");
    for number in 0..80 {
        let (namespace, value) = if number < 72 { ("greedy", GREEDY) } else { ("honest", HONEST) };
        let credential = imported(&server, value);
        let mut client = client(&[&credential]);
        client.client_id = id(number).into();
        client.secrets[0].uid[0] = u8::try_from(number).unwrap();
        client.secrets[0].object.namespace = namespace.into();
        // For its current UID.
        let verifier = server.install.hash(value, client.secrets[0].uid, HashCost::Imported).unwrap();
        let version = SecretVersion {
            verification: Verification::Imported(verifier.into()),
            memory: Arc::default(),
            ..parts(&credential)
        };
        client.secrets[0].versions = vec![Arc::new(version)];
        server.clients.set(&id(number), Lookup::Live(Arc::new(client)));
    }
    let stop = Arc::new(AtomicBool::new(false));
    let refused = Arc::new(AtomicUsize::new(0));
    let flood: Vec<_> = (0..72)
        .map(|number| {
            let (server, stop, refused) = (Arc::clone(&server), Arc::clone(&stop), Arc::clone(&refused));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    if status(&server, &id(number), WRONG).await == 503 {
                        refused.fetch_add(1, Ordering::Relaxed);
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                }
            })
        })
        .collect();
    while refused.load(Ordering::Relaxed) < 20 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let first_uses = (72..80).map(|number| {
        let server = Arc::clone(&server);
        async move { status(&server, &id(number), HONEST).await }
    });
    assert_eq!(futures::future::join_all(first_uses).await, [200; 8]);
    stop.store(true, Ordering::Relaxed);
    futures::future::join_all(flood).await;
}

fn parts(credential: &Credential) -> SecretVersion {
    let version = &credential.version;
    SecretVersion {
        id: version.id.clone(),
        verification: version.verification.clone(),
        accepted_until: None,
        memory: Arc::default(),
    }
}
