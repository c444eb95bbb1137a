//! Callers that flood the server: each gets its share, and other callers are served.

use std::time::Duration;

use bytes_of_http_2::{Frame, get, preface, settings};
use postern::http::server::{ServerLimits, Timeouts};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::http_client;
use crate::server::{FORM, GRANT, Options, TestServer};
use crate::tls::{Secured, secured};

/// Hand-written HTTP/2, because client libraries follow the protocol.
mod bytes_of_http_2 {
    pub(super) struct Frame {
        pub(super) kind: u8,
        pub(super) flags: u8,
        pub(super) stream: u32,
        pub(super) payload: Vec<u8>,
    }

    impl Frame {
        pub(super) fn bytes(&self) -> Vec<u8> {
            let length = u32::try_from(self.payload.len()).unwrap().to_be_bytes();
            [&length[1..], &[self.kind, self.flags], &self.stream.to_be_bytes(), &self.payload].concat()
        }
    }

    pub(super) fn preface() -> Vec<u8> {
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()
    }

    /// With this initial window (RFC 9113 §6.5.2).
    pub(super) fn settings(window: u32) -> Vec<u8> {
        let payload = [&[0, 4][..], &window.to_be_bytes()].concat();
        Frame { kind: 4, flags: 0, stream: 0, payload }.bytes()
    }

    /// `GET` of a path on a stream, as literals without Huffman (RFC 7541 §6.2.2).
    pub(super) fn get(stream: u32, path: &str) -> Vec<u8> {
        // :method GET, :scheme https, :path and :authority of the static table.
        let mut payload = vec![0x82, 0x87, 0x04, u8::try_from(path.len()).unwrap()];
        payload.extend(path.as_bytes());
        payload.extend([0x01, 1, b'p']);
        Frame { kind: 1, flags: 0x05, stream, payload }.bytes()
    }
}

/// Connects from this address of the loopback network.
pub(crate) async fn connect_from(server: &TestServer, source: [u8; 4]) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((std::net::Ipv4Addr::from(source), 0).into()).unwrap();
    socket.connect(server.addr).await.unwrap()
}

/// The answer to a token request from this address.
async fn token_from(server: &TestServer, source: [u8; 4]) -> http_client::Reply {
    let headers = [("authorization", &*server.credential.basic()), FORM];
    let request = http_client::request("POST", "/oauth2/token", &headers, GRANT.as_bytes());
    http_client::exchange(connect_from(server, source).await, &request).await
}

pub(crate) const ATTACKER: [u8; 4] = [127, 0, 0, 3];
pub(crate) const HONEST: [u8; 4] = [127, 0, 0, 2];

/// An HTTP/2 connection that has requested the keys this many times, and reads nothing of the responses.
async fn closed_window(secured: &Secured, requests: u32) -> impl tokio::io::AsyncRead + Unpin {
    let mut stream = secured.connect(&[&rustls::version::TLS13], &[b"h2"]).await;
    let asks = (0..requests).flat_map(|number| get(2 * number + 1, "/oauth2/jwks"));
    stream.write_all(&[preface(), settings(0), asks.collect()].concat()).await.unwrap();
    stream
}

#[tokio::test]
async fn an_http_2_connection_whose_window_does_not_move_is_closed() {
    let timeouts = Timeouts { response: Duration::from_millis(200), ..Timeouts::default() };
    let secured = secured(ServerLimits { timeouts, ..ServerLimits::default() }).await;
    let mut stream = closed_window(&secured, 1).await;
    let closed = tokio::time::timeout(Duration::from_secs(20), http_client::to_end(&mut stream)).await;
    assert!(!closed.unwrap().is_empty(), "the head of the answer");
}

#[tokio::test]
async fn responses_that_are_not_read_keep_their_slots() {
    let secured = secured(ServerLimits { requests: 8, ..ServerLimits::default() }).await;
    let stream = closed_window(&secured, 30).await;
    let server = &secured.server;
    let keys = async || {
        let stream = secured.connect(&[&rustls::version::TLS13], &[b"http/1.1"]).await;
        http_client::exchange(stream, &http_client::request("GET", "/oauth2/jwks", &[], b"")).await.status
    };
    let refused = async {
        while keys().await != 503 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), refused).await.expect("its share of the places is used");
    let headers = [("authorization", &*server.credential.basic()), FORM];
    let token = http_client::request("POST", "/oauth2/token", &headers, GRANT.as_bytes());
    let tokens = secured.connect(&[&rustls::version::TLS13], &[b"http/1.1"]).await;
    assert_eq!(http_client::exchange(tokens, &token).await.status, 200, "documents have places of their own");
    drop(stream);
    let released = async {
        while keys().await != 200 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), released).await.expect("given back with the connection");
}

#[tokio::test]
async fn no_more_than_16_kib_of_a_handshake_are_read() {
    let secured = secured(ServerLimits::default()).await;
    let mut stream = TcpStream::connect(secured.server.addr).await.unwrap();
    // A ClientHello that declares 60,000 bytes, in records of 4,000.
    let record =
        |payload: &[u8]| [&[22, 3, 1], &u16::try_from(payload.len()).unwrap().to_be_bytes()[..], payload].concat();
    let mut hello = vec![1, 0, 0xea, 0x60];
    hello.resize(4_000, 7);
    let hello = [record(&hello), record(&[7; 4_000]).repeat(13)].concat();
    let _ = stream.write_all(&hello).await;
    let closed = tokio::time::timeout(Duration::from_secs(5), http_client::to_end(&mut stream)).await;
    assert_eq!(closed.expect("ended at once, not by the timeout of the handshake"), b"");
}

#[tokio::test]
async fn an_upload_in_records_of_any_size_is_read_within_the_allowance() {
    let secured = secured(ServerLimits::default()).await;
    let server = &secured.server;
    let body = format!("{GRANT}&x={}", "a".repeat(60_000));
    let headers = [("authorization", &*server.credential.basic()), FORM];
    let request = http_client::request("POST", "/oauth2/token", &headers, body.as_bytes());
    for size in [1, 500, 20_000, request.len()] {
        let mut stream = secured.connect(&[&rustls::version::TLS13], &[b"http/1.1"]).await;
        for piece in request.chunks(size).take(2_000) {
            stream.write_all(piece).await.unwrap();
        }
        let rest = request.get(size * 2_000..).unwrap_or_default();
        assert_eq!(http_client::exchange(stream, rest).await.status, 200, "records of {size}");
    }
}

#[tokio::test]
async fn requests_that_wait_for_their_body_use_no_slot_of_requests_that_are_processed() {
    let server = TestServer::start_with(Options {
        server: ServerLimits { requests: 16, ..ServerLimits::default() },
        ..Options::default()
    })
    .await;
    let whole = http_client::request("POST", "/oauth2/token", &[FORM], GRANT.as_bytes());
    let mut slow = Vec::new();
    let refused = loop {
        let mut stream = connect_from(&server, ATTACKER).await;
        stream.write_all(&whole[..whole.len() - 1]).await.unwrap();
        let answer = tokio::time::timeout(Duration::from_millis(100), http_client::one(&mut stream)).await;
        match answer {
            Ok(reply) => break reply,
            Err(_) => slow.push(stream),
        }
        assert!(slow.len() < 16, "one source never gets all places");
    };
    assert_eq!((refused.error(), slow.len()), ((503, "temporarily_unavailable".to_owned()), 12));
    assert_eq!(
        server.get(crate::forward_auth::ANYONE).await.status,
        401,
        "what needs no body is served, also to the same source"
    );
    assert_eq!(token_from(&server, HONEST).await.status, 200);
}

#[tokio::test]
async fn idle_connections_of_one_source_block_no_other_source() {
    let server = ServerLimits { connections: 20, arrivals: 20, ..ServerLimits::default() };
    let server = TestServer::start_with(Options { server, ..Options::default() }).await;
    let mut idle = Vec::new();
    for _ in 0..60 {
        idle.push(connect_from(&server, ATTACKER).await);
    }
    for _ in 0..5 {
        assert_eq!(token_from(&server, HONEST).await.status, 200);
    }
    // At most three quarters of the established slots, and of the arriving slots. The rest is closed.
    let mut open = 0;
    for stream in &mut idle {
        let read = tokio::time::timeout(Duration::from_millis(20), stream.read(&mut [0])).await;
        open += usize::from(read.is_err());
    }
    assert!(open <= 30, "{open}");
}

#[tokio::test]
async fn a_client_that_resets_all_its_requests_is_disconnected() {
    let secured = secured(ServerLimits::default()).await;
    // Requests that wait: calls to the API server are blocked.
    let permit = secured.server.clients.may_ask.acquire().await.unwrap();
    let mut stream = secured.connect(&[&rustls::version::TLS13], &[b"h2"]).await;
    stream.write_all(&[preface(), settings(65_535)].concat()).await.unwrap();
    let (mut reads, mut writes) = tokio::io::split(stream);
    let floods = tokio::spawn(async move {
        for number in 0..10_000 {
            let stream = 2 * number + 1;
            let reset = Frame { kind: 3, flags: 0, stream, payload: vec![0, 0, 0, 8] };
            let pair = [post(stream), reset.bytes()].concat();
            if writes.write_all(&pair).await.is_err() {
                return number;
            }
            tokio::task::yield_now().await;
        }
        10_000
    });
    let closed = tokio::time::timeout(Duration::from_secs(20), http_client::to_end(&mut reads)).await;
    assert!(closed.is_ok(), "it is ended");
    assert!(floods.await.unwrap() < 10_000);
    drop(permit);
}

/// A form that has not arrived.
fn post(stream: u32) -> Vec<u8> {
    let path = "/oauth2/token";
    let mut payload = vec![0x83, 0x87, 0x04, u8::try_from(path.len()).unwrap()];
    payload.extend(path.as_bytes());
    payload.extend([0x01, 1, b'p']);
    let content_type = FORM.1;
    payload.extend([0x0f, 0x10, u8::try_from(content_type.len()).unwrap()]);
    payload.extend(content_type.as_bytes());
    Frame { kind: 1, flags: 0x04, stream, payload }.bytes()
}

#[tokio::test]
async fn an_endless_header_block_closes_the_connection() {
    let secured = secured(ServerLimits::default()).await;
    let mut stream = secured.connect(&[&rustls::version::TLS13], &[b"h2"]).await;
    let headers = Frame { kind: 1, flags: 0, stream: 1, payload: vec![0x82] };
    let more = Frame { kind: 9, flags: 0, stream: 1, payload: vec![0x82; 1_000] };
    let endless = [preface(), settings(65_535), headers.bytes(), more.bytes().repeat(100)].concat();
    let _ = stream.write_all(&endless).await;
    let closed = tokio::time::timeout(Duration::from_secs(5), http_client::to_end(&mut stream)).await;
    assert!(closed.is_ok(), "ended at once");
    let again = secured.connect(&[&rustls::version::TLS13], &[b"http/1.1"]).await;
    assert_eq!(http_client::exchange(again, &http_client::request("GET", "/oauth2/jwks", &[], b"")).await.status, 200);
}

#[tokio::test]
async fn a_slow_reader_is_disconnected() {
    let timeouts = Timeouts { response: Duration::from_millis(300), ..Timeouts::default() };
    let server = TestServer::start_with(Options {
        server: ServerLimits { timeouts, ..ServerLimits::default() },
        ..Options::default()
    })
    .await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut slow = socket.connect(server.addr).await.unwrap();
    let (mut reads, mut writes) = slow.split();
    let asks =
        async { while writes.write_all(&b"GET /oauth2/jwks HTTP/1.1\r\nhost: p\r\n\r\n".repeat(100)).await.is_ok() {} };
    // A byte from time to time: the write always makes progress.
    let trickle = async {
        while reads.read(&mut [0; 16]).await.is_ok_and(|read| read > 0) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(20), async { tokio::join!(asks, trickle) }).await;
    assert!(ended.is_ok(), "it is ended");
}
