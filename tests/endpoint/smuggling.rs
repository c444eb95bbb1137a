//! Request smuggling: a proxy and this server must agree on where a request ends.
//!
//! Each request below hides a second one after an ending that parsers read in different ways (RFC 9112 §11.2). One
//! response, followed by the end of the connection, is the only safe result.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::http_client;
use crate::server::TestServer;

const FORM: &str = "content-type: application/x-www-form-urlencoded";
const HIDDEN: &str = "GET /oauth2/jwks HTTP/1.1\r\nhost: postern\r\n\r\n";

/// The number of responses on a connection before the server closed it.
async fn answers(server: &TestServer, bytes: &[u8]) -> (usize, String) {
    let mut stream = TcpStream::connect(server.addr).await.unwrap();
    let _ = stream.write_all(bytes).await;
    let received = tokio::time::timeout(Duration::from_secs(20), http_client::to_end(&mut stream)).await;
    let received = received.expect("the server closes the connection");
    let text = String::from_utf8_lossy(&received).into_owned();
    (text.matches("HTTP/1.1 ").count(), text)
}

#[tokio::test]
async fn a_request_whose_length_can_be_read_in_two_ways_hides_no_other() {
    let server = TestServer::start().await;
    for (what, headers, body) in [
        ("a length beside chunks", "content-length: 5\r\ntransfer-encoding: chunked", "0\r\n\r\n"),
        ("chunks beside a length", "transfer-encoding: chunked\r\ncontent-length: 5", "0\r\n\r\n"),
        ("two lengths", "content-length: 0\r\ncontent-length: 5", ""),
        ("a list of lengths", "content-length: 0, 5", ""),
        ("a signed length", "content-length: +0", ""),
        ("a length with a space within", "content-length: 0 0", ""),
        ("chunks that are not the last coding", "transfer-encoding: chunked, identity", "0\r\n\r\n"),
        ("an unknown coding", "transfer-encoding: xchunked", "0\r\n\r\n"),
        ("an unknown coding before chunks", "transfer-encoding: gzip, chunked", "0\r\n\r\n"),
        (
            "an unknown coding in a header of its own",
            "transfer-encoding: gzip\r\ntransfer-encoding: chunked",
            "0\r\n\r\n",
        ),
        ("chunks twice", "transfer-encoding: chunked, chunked", "0\r\n\r\n"),
        ("another host", "host: billing", ""),
        ("a space before the colon", "content-length : 5", ""),
        ("a header that is continued", "x: a\r\n content-length: 5", ""),
        ("a header name that is none", "content length: 5", ""),
        ("a carriage return alone", "x: a\rcontent-length: 5", ""),
        ("a chunk size that is none", "transfer-encoding: chunked", "0x0\r\n\r\n"),
        ("a chunk that is longer than it says", "transfer-encoding: chunked", "1\r\nab\r\n0\r\n\r\n"),
        ("a chunk size that overflows", "transfer-encoding: chunked", "10000000000000000\r\na\r\n0\r\n\r\n"),
    ] {
        // A form, so that the whole body is read before the response.
        let head = format!("POST /oauth2/token HTTP/1.1\r\nhost: postern\r\n{FORM}\r\n{headers}\r\n\r\n");
        let (count, text) = answers(&server, format!("{head}{body}{HIDDEN}").as_bytes()).await;
        assert_eq!(count, 1, "{what}: {text}");
        assert!(!text.contains("\"keys\""), "{what}: {text}");
    }
}

#[tokio::test]
async fn chunks_of_http_1_0_hide_no_request() {
    let server = TestServer::start().await;
    let headers = format!("{FORM}\r\nconnection: keep-alive\r\ntransfer-encoding: chunked");
    let head = format!("POST /oauth2/token HTTP/1.0\r\n{headers}\r\n\r\n0\r\n\r\n");
    let (count, text) = answers(&server, format!("{head}{HIDDEN}").as_bytes()).await;
    assert_eq!(count, 1, "{text}");
}
