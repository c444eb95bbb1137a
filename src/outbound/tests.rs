//! What a host, a name server and a URL can do against the client, over real sockets.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;

use super::test_server::{Answers, NAME, Reply, TestServer};
use super::{Client, Policy, RequestError, Response, SystemResolver};

const LOOPBACK: &[&[&str]] = &[&["127.0.0.1"]];

/// The result of a request by name that this server answers.
async fn outcome(server: &TestServer) -> Result<Response, RequestError> {
    let client = server.client(server.policy(), Answers::new(LOOPBACK));
    client.get(&server.url(NAME), None).await
}

#[tokio::test]
async fn a_response_is_read_with_its_etag_and_its_age() {
    let headers = "etag: \"one\"\r\ncache-control: public, Max-Age=120\r\nset-cookie: a=b\r\n";
    let server = TestServer::start(Reply::headers("200 OK", headers, "{}")).await;
    let client = server.client(server.policy(), Answers::new(LOOPBACK));
    let first = client.get(&server.url(NAME), None).await.unwrap();
    assert_eq!((first.body.as_deref(), first.max_age), (Some(&b"{}"[..]), Some(Duration::from_mins(2))));
    server.answer(Reply::headers("304 Not Modified", "", ""));
    let second = client.get(&server.url(NAME), first.etag.as_ref()).await.unwrap();
    assert_eq!(second.body, None);
    let requests = server.requests.lock().unwrap().join("").to_lowercase();
    assert!(
        requests.contains("get /jwks.json http/1.1\r\n") && requests.contains("if-none-match: \"one\"\r\n"),
        "{requests}"
    );
    assert!(requests.contains(&format!("host: {NAME}:{}\r\n", server.address.port())), "{requests}");
    assert!(!requests.contains("cookie") && !requests.contains("gzip"), "{requests}");
}

#[tokio::test]
async fn a9_a_redirect_is_not_followed() {
    for status in
        ["301 Moved Permanently", "302 Found", "303 See Other", "307 Temporary Redirect", "308 Permanent Redirect"]
    {
        let server = TestServer::start(Reply::headers(status, "location: https://127.0.0.1/\r\n", "")).await;
        let code = status[..3].parse().unwrap();
        assert_eq!(outcome(&server).await, Err(RequestError::Status(code)));
        assert_eq!(server.connections.load(Ordering::Relaxed), 1);
    }
}

#[tokio::test]
async fn a9_a_response_that_is_too_large_is_not_read_to_its_end() {
    let large = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", 10 * 1024 * 1024);
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffff\r\n";
    for reply in [
        Reply::Bytes([large.as_bytes(), &vec![b' '; 10 * 1024 * 1024]].concat()),
        Reply::Endless(chunked),
        // Until the end of the connection.
        Reply::Endless("HTTP/1.1 200 OK\r\n\r\n"),
        Reply::Endless("HTTP/1.1 200 OK\r\ncontent-length: 999999999999\r\n\r\n"),
    ] {
        let server = TestServer::start(reply).await;
        assert_eq!(outcome(&server).await, Err(RequestError::TooLarge));
    }
    let server = TestServer::start(Reply::Endless("HTTP/1.1 200 OK\r\nx: ")).await;
    assert!(matches!(outcome(&server).await, Err(RequestError::Malformed(_))), "endless headers");
}

#[tokio::test]
async fn a9_a_response_that_takes_too_long_is_abandoned() {
    let server = TestServer::start(Reply::Slow).await;
    assert_eq!(outcome(&server).await, Err(RequestError::TimedOut));
}

#[tokio::test]
async fn a9_a_compressed_response_is_not_decompressed() {
    let server = TestServer::start(Reply::headers("200 OK", "content-encoding: gzip\r\n", "\x1f?")).await;
    assert_eq!(outcome(&server).await.unwrap().body.as_deref(), Some(&b"\x1f?"[..]));
}

#[tokio::test]
async fn a9_an_address_that_is_not_allowed_is_never_dialled_in_any_form() {
    let server = TestServer::start(Reply::ok("{}")).await;
    let closed = Policy { private_networks: Vec::new(), ..server.policy() };
    for address in ["127.0.0.1", "::ffff:127.0.0.1", "0.0.0.0", "::", "::ffff:0.0.0.0", "64:ff9b::127.0.0.1"] {
        let addresses: &[&[&'static str]] = &[&[address]];
        let client = server.client(closed.clone(), Answers::new(addresses));
        assert_eq!(client.get(&server.url(NAME), None).await, Err(RequestError::NoAddress(None)), "{address}");
    }
    // A literal of the list is checked too.
    for literal in ["127.0.0.1", "2130706433", "0x7f000001", "0177.0.0.1", "127.1"] {
        let client = server.client(closed.clone(), SystemResolver);
        assert_eq!(client.get(&server.url(literal), None).await, Err(RequestError::NoAddress(None)), "{literal}");
        let client = server.client(server.policy(), SystemResolver);
        assert!(client.get(&server.url(literal), None).await.is_ok(), "{literal}: allowed by the operator");
    }
    assert_eq!(server.connections.load(Ordering::Relaxed), 5, "only those that the operator allows");
}

/// DNS rebinding: the name server gives another answer after the check.
#[tokio::test]
async fn a9_the_checked_address_is_the_one_that_is_dialled() {
    let server = TestServer::start(Reply::ok("{}")).await;
    // Only 127.0.0.1 is allowed; the server would be reached at every address of this machine's loopback network.
    let policy = Policy { private_networks: vec!["127.0.0.1/32".parse().unwrap()], ..server.policy() };
    let answers = Answers::new(&[&["127.0.0.1"], &["127.0.0.2"]]);
    let client = server.client(policy.clone(), answers.clone());
    assert!(client.get(&server.url(NAME), None).await.is_ok());
    assert_eq!(answers.asked.load(Ordering::Relaxed), 1, "one request resolves the name once");
    assert_eq!(client.get(&server.url(NAME), None).await, Err(RequestError::NoAddress(None)), "the next request");
    assert_eq!(server.connections.load(Ordering::Relaxed), 1);
    let client = server.client(policy, Answers::new(&[&["127.0.0.2", "127.0.0.1"]]));
    assert!(client.get(&server.url(NAME), None).await.is_ok(), "an address that is allowed is dialled");
}

#[tokio::test]
async fn a9_only_a_trusted_certificate_of_the_host_is_accepted() {
    let server = TestServer::start(Reply::ok("{}")).await;
    let refused = |result| matches!(result, Err(RequestError::Unreachable(_)));
    let (to, roots) = watch::channel(None);
    let client = Client::new(server.policy(), Arc::new(Answers::new(LOOPBACK)), roots);
    assert!(refused(client.get(&server.url(NAME), None).await), "its CA is not trusted");
    to.send_replace(Some(Arc::clone(&server.ca)));
    assert!(client.get(&server.url(NAME), None).await.is_ok(), "the file of the operator has changed");
    to.send_replace(None);
    assert!(refused(client.get(&server.url(NAME), None).await));
    let other = format!("other.example.com:{}", server.address.port());
    let policy = Policy { hosts: vec![other.parse().unwrap()], ..server.policy() };
    let client = server.client(policy, Anything);
    assert!(refused(client.get(&server.url("other.example.com"), None).await), "the certificate of another host");
    assert!(server.requests.lock().unwrap().len() == 1, "a host that is not trusted receives no request");
}

/// What a tenant reads does not depend on what the operator's network answers.
#[tokio::test]
async fn a9_the_message_does_not_reveal_what_an_address_is() {
    let server = TestServer::start(Reply::ok("{}")).await;
    let message = async |policy: Policy, resolver: Answers| {
        let client = server.client(policy, resolver);
        client.get(&server.url(NAME), None).await.unwrap_err().to_string()
    };
    let closed = Policy { private_networks: Vec::new(), ..server.policy() };
    let of_address = async |addresses: &[&'static str]| message(closed.clone(), Answers::new(&[addresses])).await;
    let messages = [
        of_address(&[]).await,
        of_address(&["10.0.0.1"]).await,
        of_address(&["127.0.0.1"]).await,
        of_address(&["169.254.169.254"]).await,
        of_address(&["fe80::1"]).await,
    ];
    assert!(messages.iter().all(|message| *message == messages[0]), "{messages:?}");
    server.answer(Reply::Closed);
    let broken = message(server.policy(), Answers::new(LOOPBACK)).await;
    let port_closed = message(server.policy(), Answers::new(&[&["127.0.0.9"]])).await;
    assert_eq!(broken, port_closed);
}

struct Anything;

impl super::Resolve for Anything {
    fn resolve(
        &self,
        _: String,
        port: u16,
    ) -> futures::future::BoxFuture<'static, std::io::Result<Vec<std::net::SocketAddr>>> {
        Box::pin(async move { Ok(vec![std::net::SocketAddr::from(([127, 0, 0, 1], port))]) })
    }
}
