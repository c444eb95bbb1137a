//! Requests that are rejected before any handler: the reason, the response, and an audit line for each.

use std::net::IpAddr;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::CONTENT_LENGTH;
use axum::http::{Response, StatusCode};
use http_body_util::{BodyExt as _, Collected};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::http::audit::Audit;
use crate::http::response;
use crate::http::response::RequestId;
use crate::http::upload;
use crate::oauth::denial_rule::DenialRule;

/// Why a request is rejected before any decision about it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Rejection {
    /// hyper cannot read the head.
    MalformedHead,
    /// The head is longer than the limit.
    HeadTooLarge,
    /// There are more headers than the limit.
    TooManyHeaders,
    /// `Host` is missing, repeated or malformed.
    Host,
    /// There is a transfer coding other than `chunked`.
    TransferCoding,
    /// `chunked` is applied twice.
    ChunkedTwice,
    /// The path does not exist.
    Path,
    /// The path does not support the method.
    Method(&'static str),
}

impl Rejection {
    /// The rejection that corresponds to this response head of hyper.
    fn of_hyper(head: &[u8]) -> Self {
        match head.get(9..12) {
            Some(b"400") => Self::MalformedHead,
            _ => Self::HeadTooLarge,
        }
    }

    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::MalformedHead | Self::Host | Self::ChunkedTwice => StatusCode::BAD_REQUEST,
            Self::HeadTooLarge | Self::TooManyHeaders => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::TransferCoding => StatusCode::NOT_IMPLEMENTED,
            Self::Path => StatusCode::NOT_FOUND,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
        }
    }

    /// `error` of the response.
    pub(crate) fn code(self) -> &'static str {
        if self == Self::Path { "not_found" } else { "invalid_request" }
    }

    pub(crate) fn description(self) -> &'static str {
        match self {
            Self::MalformedHead => "the request line or a header is malformed",
            Self::HeadTooLarge => "the request line and the headers are too long",
            Self::TooManyHeaders => "the request has too many headers",
            Self::Host => "there must be one Host header with a host and an optional port",
            Self::TransferCoding => "chunked is the only transfer coding that is supported",
            Self::ChunkedTwice => "chunked is applied more than once",
            Self::Path => "no such path",
            Self::Method(_) => "this method is not allowed here",
        }
    }

    /// The reason as one word for the operator.
    pub(crate) fn rule(self) -> DenialRule {
        match self {
            Self::MalformedHead => DenialRule::MalformedHead,
            Self::HeadTooLarge => DenialRule::HeadTooLarge,
            Self::TooManyHeaders => DenialRule::TooManyHeaders,
            Self::Host => DenialRule::Host,
            Self::TransferCoding | Self::ChunkedTwice => DenialRule::TransferEncoding,
            Self::Path => DenialRule::UnknownPath,
            Self::Method(_) => DenialRule::HttpMethod,
        }
    }
}

/// The response to a request from this address, and its audit line.
pub(crate) fn reject(audit: &Audit, source: Option<IpAddr>, rejection: Rejection) -> Response<Body> {
    let id = RequestId::new();
    audit.rejected(&id, source, rejection.rule());
    response::rejected(&id, rejection)
}

/// Answers a head that hyper cannot parse, and closes the stream. `head` is the response of hyper, which has no body,
/// no id and no `Cache-Control`.
pub(super) async fn reject_unreadable<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    head: &[u8],
    audit: &Audit,
    source: Option<IpAddr>,
    answer_timeout: Duration,
) {
    let response = complete(head, reject(audit, source, Rejection::of_hyper(head))).await;
    let answered = async {
        stream.write_all(&response).await?;
        stream.shutdown().await
    };
    if matches!(timeout(answer_timeout, answered).await, Ok(Ok(()))) {
        linger(stream).await;
    }
}

/// hyper's status line, date and end of the connection, with the headers and the body of a response.
async fn complete(head: &[u8], response: Response<Body>) -> Vec<u8> {
    let (parts, body) = response.into_parts();
    let body = body.collect().await.map(Collected::to_bytes).unwrap_or_default();
    let mut all = Vec::with_capacity(1024);
    let lines = head.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end).filter(|line| !line.is_empty());
    for line in lines.filter(|line| !line.starts_with(CONTENT_LENGTH.as_str().as_bytes())) {
        all.extend_from_slice(line);
        all.extend_from_slice(b"\r\n");
    }
    for (name, value) in &parts.headers {
        all.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    all.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
    all.extend_from_slice(&body);
    all
}

/// Discards what the client still sends, up to a bound. If a socket is closed with unread bytes, the kernel resets the
/// connection, and a client that writes everything before it reads loses the response.
async fn linger(mut stream: impl AsyncRead + Unpin) {
    let discard = async {
        let (mut left, mut buffer) = (upload::LEFT_BYTES_MAX, vec![0; 4096]);
        while let Ok(Ok(read @ 1..)) = timeout(upload::LEFT_GAP_MAX, stream.read(&mut buffer)).await {
            let Some(rest) = left.checked_sub(read) else { return };
            left = rest;
        }
    };
    let _ = timeout(upload::LEFT_TIME_MAX, discard).await;
}
