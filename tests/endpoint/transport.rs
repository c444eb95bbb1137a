//! T: transport and form.

use std::sync::atomic::Ordering;
use std::time::Duration;

use postern::http::server::{ServerLimits, Timeouts};
use postern::http::state::RequestLimits;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::http_client;
use crate::server::{BILLING, FORM, GRANT, NOW, Options, TestServer};

const TOKEN_PATHS: [&str; 4] = ["/oauth2/token", "/oauth/v2/token", "/Auth/OAuth/Token", "/auth/oauth/token"];

#[tokio::test]
async fn t1_only_post_is_allowed_at_every_alias() {
    let server = TestServer::start().await;
    for path in TOKEN_PATHS {
        for method in ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            let reply = server.send(method, path, &[], "").await;
            assert_eq!((reply.status, reply.header("allow")), (405, Some("POST")), "{method} {path}");
        }
        let authorization = server.credential.basic();
        let reply = server.send("POST", path, &[("authorization", &authorization), FORM], GRANT).await;
        assert_eq!(reply.status, 200, "{path}");
    }
}

#[tokio::test]
async fn t2_the_media_type_is_compared_without_case_and_parameters() {
    let server = TestServer::start().await;
    let authorization = server.credential.basic();
    for content_type in [
        "application/x-www-form-urlencoded;charset=UTF-8",
        "Application/X-WWW-Form-Urlencoded ; charset=utf-8",
        "application/x-www-form-urlencoded",
    ] {
        let headers = [("authorization", authorization.as_str()), ("content-type", content_type)];
        assert_eq!(server.send("POST", "/oauth2/token", &headers, GRANT).await.status, 200, "{content_type}");
    }
}

#[tokio::test]
async fn t2_other_media_types_are_refused() {
    let server = TestServer::start().await;
    let authorization = server.credential.basic();
    for content_type in ["application/json", "multipart/form-data; boundary=x", "text/plain", ""] {
        let headers = [("authorization", authorization.as_str()), ("content-type", content_type)];
        let reply = server.send("POST", "/oauth2/token", &headers, GRANT).await;
        assert_eq!(reply.error(), (400, "invalid_request".to_owned()), "{content_type}");
    }
    let reply = server.send("POST", "/oauth2/token", &[("authorization", &authorization)], GRANT).await;
    assert_eq!(reply.error(), (400, "invalid_request".to_owned()), "no content type");
}

#[tokio::test]
async fn t3_a_raw_space_in_a_value_is_tolerated() {
    let server = TestServer::start().await;
    let reply = server.token("scope=invoices:read invoices:list").await;
    assert_eq!((reply.status, reply.json()["scope"].as_str()), (200, Some("invoices:read invoices:list")));
}

#[tokio::test]
async fn t3_a_body_that_is_not_utf8_is_refused() {
    let server = TestServer::start().await;
    assert_eq!(server.token("x=%FF").await.error(), (400, "invalid_request".to_owned()));
}

#[tokio::test]
async fn t4_a_repeated_parameter_is_refused() {
    let server = TestServer::start().await;
    for parameters in
        ["grant_type=client_credentials", "scope=a&scope=a", "colour=blue&colour=red", "audience=a&audience=b"]
    {
        assert_eq!(server.token(parameters).await.error(), (400, "invalid_request".to_owned()), "{parameters}");
    }
    let reply = server.token(&format!("resource={BILLING}&resource={BILLING}")).await;
    assert_eq!(reply.status, 200, "resource may be repeated (RFC 8707)");
}

#[tokio::test]
async fn t5_empty_parameters_are_absent_and_unknown_ones_ignored() {
    let server = TestServer::start().await;
    assert_eq!(server.token("scope=&resource=&audience=&colour=blue").await.status, 200);
}

#[tokio::test]
async fn t6_names_and_grant_types_are_case_sensitive_and_the_scheme_is_not() {
    let server = TestServer::start().await;
    let authorization = server.credential.basic().replacen("Basic", "bASIC", 1);
    let post = async |body: &str| server.post(&[("authorization", &authorization)], body).await;
    assert_eq!(post(GRANT).await.status, 200);
    assert_eq!(post("Grant_Type=client_credentials").await.error(), (400, "invalid_request".to_owned()));
    assert_eq!(post("grant_type=Client_Credentials").await.error(), (400, "unsupported_grant_type".to_owned()));
}

#[tokio::test]
async fn t7_parameters_in_the_query_are_refused_even_if_the_body_is_valid() {
    let server = TestServer::start().await;
    let headers = [("authorization", &*server.credential.basic()), FORM];
    for query in ["client_secret=x", "scope=invoices:read", "grant_type=client_credentials", "access_token=x"] {
        let reply = server.send("POST", &format!("/oauth2/token?{query}"), &headers, GRANT).await;
        assert_eq!(reply.error(), (400, "invalid_request".to_owned()), "{query}");
    }
    assert_eq!(server.send("POST", "/oauth2/token?", &headers, GRANT).await.status, 200);
}

#[tokio::test]
async fn t8_the_grant_type_must_be_there_and_known() {
    let server = TestServer::start().await;
    let headers = [("authorization", &*server.credential.basic())];
    assert_eq!(server.post(&headers, "scope=a").await.error(), (400, "invalid_request".to_owned()));
    for unknown in ["password", "refresh_token", "authorization_code", "urn:ietf:params:oauth:grant-type:saml2-bearer"]
    {
        let reply = server.post(&headers, &format!("grant_type={unknown}")).await;
        assert_eq!(reply.error(), (400, "unsupported_grant_type".to_owned()), "{unknown}");
    }
}

#[tokio::test]
async fn t10_a_long_body_gives_413_announced_or_not() {
    let request = RequestLimits { body_bytes: 1000, ..RequestLimits::default() };
    let server = TestServer::start_with(Options { request, ..Options::default() }).await;
    assert_eq!(server.token(&format!("x={}", "a".repeat(1000))).await.error(), (413, "invalid_request".to_owned()));
    assert_eq!(server.token(&format!("x={}", "a".repeat(900))).await.status, 200);

    let chunk = format!("3e8\r\n{}\r\n", "a".repeat(1000));
    let head = "POST /oauth2/token HTTP/1.1\r\nhost: p\r\ncontent-type: application/x-www-form-urlencoded\r\n\
                connection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    let reply = http_client::send(server.addr, format!("{head}{chunk}{chunk}0\r\n\r\n").as_bytes()).await;
    assert_eq!(reply.error(), (413, "invalid_request".to_owned()));
}

#[tokio::test]
async fn t10_unfinished_long_bodies_use_bounded_memory_and_no_slot_of_short_ones() {
    // At most two bodies of this length may be read at the same time.
    let request = RequestLimits { large_bodies: 2, ..RequestLimits::default() };
    let server = TestServer::start_with(Options { request, ..Options::default() }).await;
    let body = format!("{GRANT}&x={}", "a".repeat(8000));
    let authorization = server.credential.basic();
    let whole =
        http_client::request("POST", "/oauth2/token", &[("authorization", &authorization), FORM], body.as_bytes());
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(server.addr).await.unwrap();
        stream.write_all(&whole[..whole.len() - 1]).await.unwrap();
        open.push(stream);
    }
    let refused = async {
        loop {
            let reply = http_client::send(server.addr, &whole).await;
            if reply.status != 200 {
                break reply;
            }
        }
    };
    let reply = tokio::time::timeout(Duration::from_secs(5), refused).await.expect("there is no place for a third");
    assert_eq!(reply.error(), (503, "temporarily_unavailable".to_owned()));
    assert!(reply.header("retry-after").is_some());
    assert_eq!(server.token("").await.status, 200, "a short one needs none");
    for mut stream in open {
        stream.write_all(&whole[whole.len() - 1..]).await.unwrap();
        assert_eq!(http_client::one(&mut stream).await.status, 200, "what has a place keeps it");
    }
    assert_eq!(http_client::send(server.addr, &whole).await.status, 200);
}

#[tokio::test]
async fn a_request_is_decided_at_the_time_at_which_its_body_is_complete() {
    let server = TestServer::start().await;
    let authorization = server.credential.basic();
    let headers = [("authorization", authorization.as_str()), FORM];
    let whole = http_client::request("POST", "/oauth2/token", &headers, GRANT.as_bytes());
    let mut slow = TcpStream::connect(server.addr).await.unwrap();
    slow.write_all(&whole[..whole.len() - 1]).await.unwrap();
    // It is being read when other requests have been answered.
    assert_eq!(server.token("").await.status, 200);
    server.clock.fetch_add(9, Ordering::Relaxed);
    slow.write_all(&whole[whole.len() - 1..]).await.unwrap();
    let claims = crate::server::claims(&http_client::one(&mut slow).await);
    assert_eq!(claims["iat"], NOW + 9);
}

#[tokio::test]
async fn t10_a_body_that_does_not_arrive_gives_408() {
    let request = RequestLimits { body_read: Duration::from_millis(50), ..RequestLimits::default() };
    let server = TestServer::start_with(Options { request, ..Options::default() }).await;
    let whole = http_client::request("POST", "/oauth2/token", &[FORM], GRANT.as_bytes());
    let reply = http_client::send(server.addr, &whole[..whole.len() - 1]).await;
    assert_eq!(reply.error(), (408, "invalid_request".to_owned()));
}

#[tokio::test]
async fn t10_a_long_head_gives_431_and_a_slow_one_closes_the_connection() {
    let timeouts = Timeouts { header_read: Duration::from_millis(50), ..Timeouts::default() };
    let server = ServerLimits { header_bytes: 8192, timeouts, ..ServerLimits::default() };
    let server = TestServer::start_with(Options { server, ..Options::default() }).await;
    let long = "a".repeat(10_000);
    assert_eq!(server.send("GET", "/oauth2/jwks", &[("x-long", &long)], "").await.status, 431);
    let mut slow = TcpStream::connect(server.addr).await.unwrap();
    slow.write_all(b"GET /oauth2/jwks HTTP/1.1\r\nhost:").await.unwrap();
    // hyper's own default is 30 seconds; this value is ours.
    let closed = tokio::time::timeout(Duration::from_secs(20), http_client::to_end(&mut slow)).await;
    assert_eq!(closed.unwrap(), b"", "closed without an answer");
    assert_eq!(server.get("/oauth2/jwks").await.status, 200, "others are served");
}

/// Sends two requests on one connection. The first delay is the time between them, the second is the time between the
/// start and the end of the second request. Returns the number of responses.
async fn two_requests(server: &TestServer, idle: Duration, slow: Duration) -> usize {
    let keys = b"GET /oauth2/jwks HTTP/1.1\r\nhost: p\r\n\r\n";
    let mut stream = TcpStream::connect(server.addr).await.unwrap();
    stream.write_all(keys).await.unwrap();
    assert_eq!(http_client::one(&mut stream).await.status, 200);
    tokio::time::sleep(idle).await;
    let (first, rest) = keys.split_at(9);
    let _ = stream.write_all(first).await;
    tokio::time::sleep(slow).await;
    let _ = stream.write_all(rest).await;
    let mut received = vec![0; 15];
    match tokio::time::timeout(Duration::from_secs(20), stream.read_exact(&mut received)).await.unwrap() {
        Ok(_) => 1 + usize::from(received == b"HTTP/1.1 200 OK"),
        Err(_) => 1,
    }
}

#[tokio::test]
async fn t10_a_connection_may_be_idle_for_longer_than_the_head_of_a_request_may_take() {
    let (short, long) = (Duration::from_millis(200), Duration::from_secs(2));
    let start = async |header_read, idle| {
        let timeouts = Timeouts { header_read, idle, ..Timeouts::default() };
        let server = ServerLimits { timeouts, ..ServerLimits::default() };
        TestServer::start_with(Options { server, ..Options::default() }).await
    };
    let patient = start(short, Duration::from_mins(10)).await;
    assert_eq!(two_requests(&patient, long, Duration::ZERO).await, 2, "idle for ten times the time of a head");
    assert_eq!(two_requests(&patient, Duration::ZERO, long).await, 1, "a slow head ends the connection");
    let impatient = start(Duration::from_mins(10), short).await;
    assert_eq!(two_requests(&impatient, long, Duration::ZERO).await, 1, "idle for too long");
    assert_eq!(two_requests(&impatient, Duration::ZERO, long).await, 2, "a head that has begun is awaited");
}

#[tokio::test]
async fn t10_at_the_connection_limit_an_idle_connection_is_closed_and_one_in_use_is_not() {
    let server = ServerLimits { connections: 1, ..ServerLimits::default() };
    let server = TestServer::start_with(Options { server, ..Options::default() }).await;
    let keys = b"GET /oauth2/jwks HTTP/1.1\r\nhost: p\r\n\r\n";
    let mut idle = TcpStream::connect(server.addr).await.unwrap();
    idle.write_all(keys).await.unwrap();
    assert_eq!(http_client::one(&mut idle).await.status, 200);

    let headers = [("authorization", &*server.credential.basic()), FORM];
    let whole = http_client::request("POST", "/oauth2/token", &headers, GRANT.as_bytes());
    let (first, last) = whole.split_at(whole.len() - 1);
    let mut used = TcpStream::connect(server.addr).await.unwrap();
    used.write_all(first).await.unwrap();
    assert_eq!(http_client::to_end(&mut idle).await, b"", "it made room");

    let mut next = TcpStream::connect(server.addr).await.unwrap();
    next.write_all(keys).await.unwrap();
    let waits = tokio::time::timeout(Duration::from_millis(400), http_client::one(&mut next)).await;
    assert!(waits.is_err(), "there is no place while the other one is in use");
    used.write_all(last).await.unwrap();
    assert_eq!(http_client::one(&mut used).await.status, 200);
    assert_eq!(http_client::one(&mut next).await.status, 200);
}

#[tokio::test]
async fn t10_a_client_that_reads_nothing_is_disconnected() {
    let timeouts = Timeouts { response: Duration::from_millis(50), ..Timeouts::default() };
    let server = ServerLimits { connections: 1, timeouts, ..ServerLimits::default() };
    let server = TestServer::start_with(Options { server, ..Options::default() }).await;
    let mut deaf = TcpStream::connect(server.addr).await.unwrap();
    let asks = tokio::spawn(async move {
        // Until the kernel's buffer of responses is full, and the server no longer reads requests.
        while deaf.write_all(&b"GET /oauth2/jwks HTTP/1.1\r\nhost: p\r\n\r\n".repeat(100)).await.is_ok() {}
    });
    let next = tokio::time::timeout(Duration::from_secs(20), server.get("/oauth2/jwks")).await;
    assert_eq!(next.expect("the next one has its place").status, 200);
    asks.await.unwrap();
}

#[tokio::test]
async fn t10_broken_requests_are_answered_and_never_stop_the_server() {
    let server = TestServer::start().await;
    for bytes in [
        &b"nonsense\r\n\r\n"[..],
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /oauth2/token HTTP/1.1\r\nhost: p\r\ncontent-length: -1\r\n\r\n",
        b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\r\n\r\n",
    ] {
        assert_eq!(http_client::send(server.addr, bytes).await.status, 400);
    }
    assert_eq!(server.token("").await.status, 200);
}

#[tokio::test]
async fn t11_there_are_no_cors_headers_and_no_cookies() {
    let server = TestServer::start().await;
    let origin = ("origin", "https://evil.example.com");
    let authorization = server.credential.basic();
    let preflight = [origin, ("access-control-request-method", "POST")];
    for reply in [
        server.send("OPTIONS", "/oauth2/token", &preflight, "").await,
        server.post(&[origin, ("authorization", &authorization)], GRANT).await,
        server.post(&[origin], GRANT).await,
    ] {
        let unwanted = |name: &str| name.starts_with("access-control-") || name == "set-cookie";
        assert!(reply.headers.iter().all(|(name, _)| !unwanted(name)), "{:?}", reply.headers);
    }
}

#[tokio::test]
async fn other_paths_are_not_found() {
    let server = TestServer::start().await;
    for path in ["/", "/oauth2", "/oauth2/token/", "/OAUTH2/TOKEN", "/oauth2/../oauth2/token", "/metrics", "/livez"] {
        let reply = server.get(path).await;
        assert_eq!(reply.error(), (404, "not_found".to_owned()), "{path}");
    }
}
