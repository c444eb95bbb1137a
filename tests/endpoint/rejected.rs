//! Requests that no handler gets (RFC 9112): each gets a response with the reason, an id and an audit line.

use std::time::Duration;

use postern::http::server::ServerLimits;
use postern::http::state::RequestLimits;
use rustls::version::TLS13;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::server::{FORM, GRANT, Options, TestServer};
use crate::tls::secured;
use crate::{captured_logs, http_client};

const LIMIT: usize = 16 * 1024;

/// Checks that the response is `no-store`, and that the audit line with its id has this rule.
fn check(what: &str, reply: &http_client::Reply, status: u16, rule: &str) {
    assert_eq!(reply.status, status, "{what}: {}", reply.text());
    assert_eq!(reply.header("cache-control"), Some("no-store"), "{what}");
    assert_eq!(reply.header("content-type"), Some("application/json"), "{what}");
    assert!(reply.json()["error_description"].is_string(), "{what}");
    assert_eq!(reply.header("content-length").map(str::to_owned), Some(reply.body.len().to_string()), "{what}");
    assert!(reply.header("date").is_some(), "{what}");
    let id = reply.header("x-request-id").unwrap_or_else(|| panic!("{what}: no id"));
    let (text, id) = (captured_logs::text(), format!("\"request_id\":\"{id}\""));
    let lines: Vec<_> = text.lines().filter(|line| line.contains(&id)).collect();
    assert_eq!(lines.len(), 1, "{what}: {lines:?}");
    for field in
        ["postern::audit", "\"outcome\":\"rejected\"", "\"source\":\"127.0.0.1\"", &format!("\"rule\":\"{rule}\"")]
    {
        assert!(lines[0].contains(field), "{what}: {field}: {}", lines[0]);
    }
}

#[tokio::test]
async fn the_fault_of_a_request_is_reported_in_its_response_and_in_an_audit_line() {
    let server = TestServer::start().await;
    let long = format!("GET /oauth2/jwks HTTP/1.1\r\nhost: p\r\nx: {}\r\n\r\n", "a".repeat(LIMIT));
    let many = format!("GET /oauth2/jwks HTTP/1.1\r\nhost: p\r\n{}\r\n", "x: y\r\n".repeat(100));
    let chunked =
        |codings| format!("POST /oauth2/token HTTP/1.1\r\nhost: p\r\ntransfer-encoding: {codings}\r\n\r\n0\r\n\r\n");
    for (what, request, status, rule) in [
        ("no host", "GET /oauth2/jwks HTTP/1.1\r\nconnection: close\r\n\r\n".to_owned(), 400, "Host"),
        ("two hosts", "GET /oauth2/jwks HTTP/1.1\r\nhost: p\r\nhost: p\r\n\r\n".to_owned(), 400, "Host"),
        ("no name", "GET /oauth2/jwks HTTP/1.1\r\nhost: a b\r\n\r\n".to_owned(), 400, "Host"),
        ("no name in HTTP/1.0", "GET /oauth2/jwks HTTP/1.0\r\nhost: a/b\r\n\r\n".to_owned(), 400, "Host"),
        ("another coding", chunked("gzip, chunked"), 501, "TransferEncoding"),
        ("chunks twice", chunked("chunked, chunked"), 400, "TransferEncoding"),
        ("a last coding that is not chunked", chunked("chunked, gzip"), 400, "MalformedHead"),
        ("no request", "nonsense\r\n\r\n".to_owned(), 400, "MalformedHead"),
        ("another version", "GET / HTTP/9.9\r\n\r\n".to_owned(), 400, "MalformedHead"),
        ("a header without a colon", "GET / HTTP/1.1\r\nhost\r\n\r\n".to_owned(), 400, "MalformedHead"),
        (
            "a length that is none",
            "POST / HTTP/1.1\r\nhost: p\r\ncontent-length: -1\r\n\r\n".to_owned(),
            400,
            "MalformedHead",
        ),
        ("a long head", long, 431, "HeadTooLarge"),
        ("many headers", many, 431, "HeadTooLarge"),
    ] {
        // The connection ends, although the client does not request that.
        check(what, &http_client::send(server.addr, request.as_bytes()).await, status, rule);
    }
    let send = async |method: &str, path: &str| server.send(method, path, &[], "").await;
    check("method", &send("GET", "/oauth2/token").await, 405, "HttpMethod");
    check("method", &send("DELETE", "/oauth2/userinfo").await, 405, "HttpMethod");
    check("path", &send("GET", "/nothing").await, 404, "UnknownPath");
}

#[tokio::test]
async fn a_request_that_hyper_cannot_parse_is_answered_over_tls_after_earlier_responses() {
    let secured = secured(ServerLimits::default()).await;
    let mut stream = secured.connect(&[&TLS13], &[b"http/1.1"]).await;
    stream.write_all(b"GET /oauth2/jwks HTTP/1.1\r\nhost: p\r\n\r\n").await.unwrap();
    assert_eq!(http_client::one(&mut stream).await.status, 200);
    stream.write_all(b"nonsense\r\n\r\n").await.unwrap();
    check("over TLS", &http_client::one(&mut stream).await, 400, "MalformedHead");
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0, "ended with close_notify");
}

/// A request whose head has exactly this many bytes.
fn head_of(length: usize) -> Vec<u8> {
    let head = |filler: usize| {
        format!("GET /oauth2/jwks HTTP/1.1\r\nhost: p\r\nconnection: close\r\nx: {}\r\n\r\n", "a".repeat(filler))
    };
    head(length - head(0).len()).into_bytes()
}

#[tokio::test]
async fn the_limit_of_a_head_is_exact_however_it_arrives() {
    let server = TestServer::start().await;
    for piece in [1000, LIMIT, 2 * LIMIT] {
        for (length, status) in [(LIMIT, 200), (LIMIT + 1, 431)] {
            let mut stream = TcpStream::connect(server.addr).await.unwrap();
            stream.set_nodelay(true).unwrap();
            for piece in head_of(length).chunks(piece) {
                let _ = stream.write_all(piece).await;
                tokio::task::yield_now().await;
            }
            let reply = http_client::exchange(stream, b"").await;
            assert_eq!(reply.status, status, "{length} bytes in pieces of {piece}");
        }
    }
    let headers = |number: usize| {
        format!("GET /oauth2/jwks HTTP/1.1\r\nhost: p\r\nconnection: close\r\n{}\r\n", "x: y\r\n".repeat(number - 2))
    };
    for (number, status) in [(100, 200), (101, 431)] {
        assert_eq!(http_client::send(server.addr, headers(number).as_bytes()).await.status, status, "{number} headers");
    }
}

/// Writes everything before it reads.
async fn write_then_read(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &[u8]) -> http_client::Reply {
    stream.write_all(request).await.expect("everything is read");
    stream.flush().await.unwrap();
    // A reset is detected now.
    tokio::time::sleep(Duration::from_millis(50)).await;
    http_client::one(&mut stream).await
}

#[tokio::test]
async fn t10_a_client_that_writes_everything_before_it_reads_gets_its_answer() {
    let secured = secured(ServerLimits::default()).await;
    let server = TestServer::start().await;
    let post = |path: &str, headers: &str, body: &str| {
        format!("POST {path} HTTP/1.1\r\nhost: p\r\n{headers}\r\n\r\n{body}").into_bytes()
    };
    let (form, body) = (format!("{}: {}", FORM.0, FORM.1), "a".repeat(900_000));
    let length = format!("content-length: {}", body.len());
    let chunks = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    for (what, request, status) in [
        ("too long", post("/oauth2/token", &format!("{form}\r\n{length}"), &body), 413),
        ("too long, in chunks", post("/oauth2/token", &format!("{form}\r\ntransfer-encoding: chunked"), &chunks), 413),
        ("no form", post("/oauth2/token", &length, &body), 400),
        ("no such path", post("/nothing", &length, &body), 404),
        ("no host", post("/oauth2/token", &format!("host: q\r\n{length}"), &body), 400),
        ("a head that is none", [b"nonsense\r\n\r\n", body.as_bytes()].concat(), 400),
        ("a head that is too long", [b"GET / HTTP/1.1\r\nhost: p\r\nx: ", body.as_bytes(), b"\r\n\r\n"].concat(), 431),
    ] {
        for _ in 0..3 {
            let plain = write_then_read(TcpStream::connect(server.addr).await.unwrap(), &request).await;
            assert_eq!(plain.status, status, "{what}");
            let stream = secured.connect(&[&TLS13], &[b"http/1.1"]).await;
            assert_eq!(write_then_read(stream, &request).await.status, status, "{what}, over TLS");
        }
    }
}

#[tokio::test]
async fn a_connection_is_reused_after_a_discarded_body_and_closed_after_an_endless_one() {
    let request = RequestLimits { body_bytes: 1000, ..RequestLimits::default() };
    let server = TestServer::start_with(Options { request, ..Options::default() }).await;
    let post = |length: usize| {
        format!("POST /oauth2/token HTTP/1.1\r\nhost: p\r\n{}: {}\r\ncontent-length: {length}\r\n\r\n", FORM.0, FORM.1)
    };
    let mut stream = TcpStream::connect(server.addr).await.unwrap();
    stream.write_all(format!("{}{}", post(5000), "a".repeat(5000)).as_bytes()).await.unwrap();
    assert_eq!(http_client::one(&mut stream).await.status, 413);
    stream.write_all(format!("{}{GRANT}", post(GRANT.len())).as_bytes()).await.unwrap();
    assert_eq!(http_client::one(&mut stream).await.status, 401, "the next request");

    // 32 MiB. The server reads 1 MiB, and the kernel buffers some.
    stream.write_all(post(32 << 20).as_bytes()).await.unwrap();
    assert_eq!(http_client::one(&mut stream).await.status, 413, "at once");
    let piece = vec![b'a'; 64 * 1024];
    let mut written = 0;
    while stream.write_all(&piece).await.is_ok() {
        written += piece.len();
        assert!(written < 16 << 20, "all of it is read");
    }
}

#[tokio::test]
async fn a_client_that_stops_sending_a_discarded_body_is_disconnected() {
    let server = TestServer::start().await;
    let mut stream = TcpStream::connect(server.addr).await.unwrap();
    let head = "POST /nothing HTTP/1.1\r\nhost: p\r\ncontent-length: 100\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(http_client::one(&mut stream).await.status, 404);
    let closed = tokio::time::timeout(Duration::from_secs(8), http_client::to_end(&mut stream)).await;
    assert_eq!(closed.expect("two seconds of silence are enough"), b"");
}

#[tokio::test]
async fn a_client_that_waits_for_a_continue_gets_the_refusal_without_one() {
    let server = TestServer::start().await;
    let mut stream = TcpStream::connect(server.addr).await.unwrap();
    let head = format!(
        "POST /oauth2/token HTTP/1.1\r\nhost: p\r\n{}: {}\r\nexpect: 100-continue\r\ncontent-length: 900000\r\n\r\n",
        FORM.0, FORM.1
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let all =
        tokio::time::timeout(Duration::from_secs(5), http_client::to_end(&mut stream)).await.expect("ended at once");
    let text = String::from_utf8_lossy(&all);
    assert!(text.starts_with("HTTP/1.1 413 ") && !text.contains("100 Continue"), "{text}");
}
