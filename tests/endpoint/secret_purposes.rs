//! The purposes and the source networks of a secret: both are checked after its value.

use postern::crypto::install_key::HashCost;
use postern::oauth::client_record::{ClientRecord, SecretVersion, Usages, Verification};
use postern::oauth::client_store::Lookup;

use crate::captured_logs;
use crate::server::{CLIENT_ID, Credential, FORM, GRANT, Options, TestServer, UID, basic, record};

pub(crate) const DIRECT: Usages = Usages { token: false, direct: true, manage: false };
pub(crate) const TOKEN: Usages = Usages { token: true, direct: false, manage: false };

/// The client of the test, with its only secret changed.
pub(crate) fn with_secret(server: &TestServer, uses: Usages, networks: Option<&[&str]>) -> ClientRecord {
    let mut client = record(&server.credential);
    client.secrets[0].usages = uses;
    client.secrets[0].networks = networks.map(|all| all.iter().map(|network| network.parse().unwrap()).collect());
    client
}

pub(crate) async fn behind_proxies() -> TestServer {
    let trusted_proxies = vec!["127.0.0.0/8".parse().unwrap(), "10.0.0.0/8".parse().unwrap()];
    TestServer::start_with(Options { trusted_proxies, ..Options::default() }).await
}

#[tokio::test]
async fn a_forbidden_use_is_disclosed_for_a_correct_secret_and_not_for_a_wrong_one() {
    let server = TestServer::start().await;
    server.clients.put(with_secret(&server, DIRECT, None));
    let reply = server.token("").await;
    assert_eq!(reply.error(), (400, "unauthorized_client".to_owned()));
    assert_eq!(reply.header("www-authenticate"), None);
    assert!(captured_logs::text().contains(r#""rule":"UseNotAllowed""#));

    let stranger = server.credential();
    assert_eq!(server.token_with(&stranger, "").await.error(), (401, "invalid_client".to_owned()));
    let mut expired = with_secret(&server, DIRECT, None);
    expired.secrets[0].expires_at = Some(crate::server::instant(crate::server::NOW));
    server.clients.put(expired);
    assert_eq!(server.token("").await.error(), (401, "invalid_client".to_owned()), "expired comes first");

    server.clients.put(with_secret(&server, TOKEN, None));
    assert_eq!(server.token("").await.status, 200);
}

#[tokio::test]
async fn a_use_that_was_added_a_moment_ago_works_after_catching_up() {
    let server = TestServer::start().await;
    server.clients.put(with_secret(&server, DIRECT, None));
    let added = with_secret(&server, Usages::ALL, None);
    server.clients.upcoming(CLIENT_ID, Lookup::Live(std::sync::Arc::new(added)));
    assert_eq!(server.token("").await.status, 200);
}

#[tokio::test]
async fn a_forbidden_use_is_disclosed_whichever_encoding_of_basic_is_used() {
    let server = TestServer::start().await;
    let value = "imported%20value+of+thirty-two";
    let version = SecretVersion {
        id: "imported".to_owned(),
        verification: Verification::Imported(server.install.hash(value, UID, HashCost::Imported).unwrap().into()),
        accepted_until: None,
        memory: std::sync::Arc::default(),
    };
    let imported = Credential { value: value.to_owned(), version: std::sync::Arc::new(version) };
    let mut client = record(&imported);
    client.secrets[0].usages = DIRECT;
    server.clients.put(client);
    for sent in [value.to_owned(), crate::server::percent_encode_all(value)] {
        let reply = server.post(&[("authorization", &basic(&format!("{CLIENT_ID}:{sent}")))], GRANT).await;
        assert_eq!(reply.error(), (400, "unauthorized_client".to_owned()), "{sent}");
    }
}

#[tokio::test]
async fn a4_a_secret_works_from_its_networks_and_is_refused_as_wrong_from_others() {
    let server = TestServer::start().await;
    for (networks, status) in [
        (&["127.0.0.0/8"][..], 200),
        (&["10.0.0.0/8", "127.0.0.1/32"], 200),
        (&["0.0.0.0/0"], 200),
        (&["10.0.0.0/8"], 401),
        (&["::/0"], 401),
    ] {
        server.clients.put(with_secret(&server, Usages::ALL, Some(networks)));
        let reply = server.token("").await;
        assert_eq!(reply.status, status, "{networks:?}");
        if status == 401 {
            assert_eq!(reply.error().1, "invalid_client");
            let wrong = server.token_with(&server.credential(), "").await;
            assert_eq!(wrong.body, reply.body);
        }
    }
    assert!(captured_logs::text().contains(r#""rule":"NetworkNotAllowed""#));
    server.clients.put(with_secret(&server, DIRECT, Some(&["10.0.0.0/8"])));
    assert_eq!(server.token("").await.error().1, "invalid_client", "from elsewhere not even the use is told");
}

#[tokio::test]
async fn q2_only_a_trusted_proxy_can_set_the_source_address_of_a_request() {
    let forwarded = |address: &'static str| [("x-forwarded-for", address), FORM];
    let ask = async |server: &TestServer, address: &'static str| {
        let authorization = server.credential.basic();
        let headers = [&[("authorization", authorization.as_str())], &forwarded(address)[..]].concat();
        server.send("POST", "/oauth2/token", &headers, GRANT).await.status
    };
    let direct = TestServer::start().await;
    direct.clients.put(with_secret(&direct, Usages::ALL, Some(&["192.0.2.0/24"])));
    assert_eq!(ask(&direct, "192.0.2.1").await, 401, "anybody can write a header");

    let proxied = behind_proxies().await;
    proxied.clients.put(with_secret(&proxied, Usages::ALL, Some(&["192.0.2.0/24"])));
    for (address, status) in [
        ("192.0.2.1", 200),
        ("192.0.2.1, 10.0.0.7", 200),
        ("198.51.100.1, 192.0.2.1", 200),
        ("192.0.2.1, 198.51.100.1", 401),
        ("nonsense", 401),
        ("192.0.2.1, nonsense", 401),
    ] {
        assert_eq!(ask(&proxied, address).await, status, "{address}");
    }
    assert!(captured_logs::text().contains(r#""source":"198.51.100.1""#), "the log shows the address that was used");
    proxied.clients.put(record(&proxied.credential));
    assert_eq!(ask(&proxied, "nonsense").await, 200, "who is bound to no network may come from anywhere");
}
