//! Checks of a request head that hyper does not make (RFC 9112 §3.2 and §6.1).

use std::net::Ipv6Addr;

use axum::http::header::{HOST, TRANSFER_ENCODING};
use axum::http::{HeaderMap, HeaderValue, Request, Version};

use crate::http::rejection::Rejection;

/// Headers of a request, as in hyper's HTTP/1.1. In HTTP/2 one byte can encode a header, which takes 72 here.
const HEADERS_MAX: usize = 100;

/// Checks the head of a request.
///
/// # Errors
/// The [`Rejection`] of the request.
pub(super) fn check<B>(request: &Request<B>) -> Result<(), Rejection> {
    let headers = request.headers();
    if headers.len() > HEADERS_MAX {
        return Err(Rejection::TooManyHeaders);
    }
    let mut hosts = headers.get_all(HOST).iter();
    // In HTTP/2 the authority replaces it, and HTTP/1.0 does not have it.
    let is_required = request.version() == Version::HTTP_11;
    match (hosts.next(), hosts.next()) {
        (None, _) if !is_required => {}
        (Some(host), None) if is_host(host.as_bytes()) => {}
        _ => return Err(Rejection::Host),
    }
    check_transfer_coding(headers)
}

/// Only the coding `chunked`, and only once. hyper ensures that it is the last one.
fn check_transfer_coding(headers: &HeaderMap) -> Result<(), Rejection> {
    let lists = headers.get_all(TRANSFER_ENCODING).iter().map(HeaderValue::as_bytes);
    let codings = lists.flat_map(|list| list.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    let mut is_chunked = false;
    for coding in codings.filter(|coding| !coding.is_empty()) {
        if !coding.eq_ignore_ascii_case(b"chunked") {
            return Err(Rejection::TransferCoding);
        }
        if std::mem::replace(&mut is_chunked, true) {
            return Err(Rejection::ChunkedTwice);
        }
    }
    Ok(())
}

/// `uri-host [ ":" port ]` (RFC 9110 §7.2, RFC 3986 §3.2.2); an empty host is invalid for `http` and `https` (RFC 9110
/// §4.2.1).
fn is_host(value: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(value) else { return false };
    let (host, port) = match text.strip_prefix('[').map(|rest| rest.split_once(']')) {
        Some(Some((address, port))) if address.parse::<Ipv6Addr>().is_ok() => {
            (address, if port.is_empty() { Some("") } else { port.strip_prefix(':') })
        }
        Some(_) => return false,
        None => {
            let (name, port) = text.split_once(':').unwrap_or((text, ""));
            (name, is_name(name).then_some(port))
        }
    };
    !host.is_empty() && port.is_some_and(|port| port.is_empty() || is_port(port))
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

/// `reg-name`, which also matches an IPv4 address.
fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let is_right = match byte {
            b'%' => {
                [bytes.next(), bytes.next()].iter().all(|digit| digit.is_some_and(|digit| digit.is_ascii_hexdigit()))
            }
            byte => byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte),
        };
        if !is_right {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(version: Version, headers: &[(&str, &str)]) -> Result<(), Rejection> {
        let mut request = Request::get("/oauth2/token").version(version);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        check(&request.body(()).unwrap())
    }

    #[test]
    fn a_host_is_a_name_or_an_address_with_or_without_a_port() {
        for host in [
            "postern",
            "postern.example.com",
            "postern:8443",
            "postern:",
            "192.0.2.1:80",
            "[2001:db8::1]",
            "[::1]:8443",
            "a%2Db",
            "under_score",
            "a,b",
        ] {
            assert_eq!(checked(Version::HTTP_11, &[("host", host)]), Ok(()), "{host}");
        }
        for host in [
            "",
            ":8443",
            "a b",
            "a/b",
            "a@b",
            "user:word@b",
            "a:b",
            "a:80:80",
            "a:65536",
            "a:+1",
            "::1",
            "[::1",
            "[a]",
            "[]",
            "[::1]x",
            "[::1]:x",
            "a%2",
            "a%zz",
            "a?b",
            "a#b",
            "http://a",
        ] {
            assert_eq!(checked(Version::HTTP_11, &[("host", host)]), Err(Rejection::Host), "{host}");
        }
    }

    #[test]
    fn http_1_1_has_one_host_and_others_at_most_one() {
        for version in [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2] {
            let none = if version == Version::HTTP_11 { Err(Rejection::Host) } else { Ok(()) };
            assert_eq!(checked(version, &[]), none, "{version:?}");
            assert_eq!(checked(version, &[("host", "a")]), Ok(()), "{version:?}");
            assert_eq!(checked(version, &[("host", "a"), ("host", "a")]), Err(Rejection::Host), "{version:?}");
            assert_eq!(checked(version, &[("host", "a b")]), Err(Rejection::Host), "{version:?}");
        }
    }

    #[test]
    fn chunked_is_the_only_transfer_coding_and_applied_once() {
        for (codings, expected) in [
            (&["chunked"][..], Ok(())),
            (&["Chunked"], Ok(())),
            (&[", chunked ,"], Ok(())),
            (&["gzip, chunked"], Err(Rejection::TransferCoding)),
            (&["gzip", "chunked"], Err(Rejection::TransferCoding)),
            (&["identity, chunked"], Err(Rejection::TransferCoding)),
            (&["x;q=\"a,b\", chunked"], Err(Rejection::TransferCoding)),
            (&["chunked, chunked"], Err(Rejection::ChunkedTwice)),
            (&["chunked", "chunked"], Err(Rejection::ChunkedTwice)),
        ] {
            let headers: Vec<_> =
                codings.iter().map(|coding| ("transfer-encoding", *coding)).chain([("host", "a")]).collect();
            assert_eq!(checked(Version::HTTP_11, &headers), expected, "{codings:?}");
        }
    }

    #[test]
    fn a_hundred_headers_are_the_most() {
        let headers =
            |number: usize| [("host", "a")].into_iter().chain(std::iter::repeat_n(("x", "y"), number - 1)).collect();
        let headers: [Vec<_>; 2] = [headers(HEADERS_MAX), headers(HEADERS_MAX + 1)];
        let checked = headers.map(|headers| checked(Version::HTTP_11, &headers));
        assert_eq!(checked, [Ok(()), Err(Rejection::TooManyHeaders)]);
    }
}
