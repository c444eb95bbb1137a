//! The source of a request: the address of the connection, or the address that a trusted proxy reports.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::http::HeaderMap;
use axum::http::header::HeaderName;
use ipnet::IpNet;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The rightmost address that is not a trusted proxy's: each proxy appends the address of its caller at the right, and
/// the addresses further left are not trusted.
///
/// A trusted proxy that reports no address is the caller itself. `None` when it reports an address that cannot be
/// parsed: the proxy's own address would wrongly show an internal request.
#[must_use]
pub fn of(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> Option<IpAddr> {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
    // IPv4 at a dual-stack socket.
    let mut source = peer.to_canonical();
    for header in headers.get_all(X_FORWARDED_FOR).iter().rev() {
        for address in header.as_bytes().rsplit(|byte| *byte == b',') {
            if !is_trusted(&source) {
                return Some(source);
            }
            source = read(address)?;
        }
    }
    Some(source)
}

/// An address, with or without the port and the brackets that some proxies add.
fn read(address: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(address).ok()?.trim_ascii();
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    text.parse::<IpAddr>().ok().or_else(with_port).or_else(in_brackets).map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    /// The result with 10.0.0.0/8 and fd00::/8 trusted.
    fn source(peer: &str, lines: &[&'static str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(X_FORWARDED_FOR, HeaderValue::from_static(line));
        }
        let trusted = ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().unwrap());
        of(peer.parse().unwrap(), &headers, &trusted).map(|address| address.to_string())
    }

    #[test]
    fn only_a_trusted_proxy_can_forward_a_client_address() {
        for (peer, lines, expected) in [
            ("192.0.2.1", &[][..], "192.0.2.1"),
            ("192.0.2.1", &["10.0.0.1"], "192.0.2.1"),
            ("192.0.2.1", &["nonsense"], "192.0.2.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["192.0.2.1"], "192.0.2.1"),
            ("10.0.0.1", &["198.51.100.9, 192.0.2.1"], "192.0.2.1"),
            ("10.0.0.1", &["nonsense, 192.0.2.1"], "192.0.2.1"),
            ("10.0.0.1", &["198.51.100.9, 192.0.2.1,10.0.0.2"], "192.0.2.1"),
            ("10.0.0.1", &["198.51.100.9", "192.0.2.1", "10.0.0.2 , 10.0.0.3"], "192.0.2.1"),
            ("10.0.0.1", &["10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", &["192.0.2.1:4711"], "192.0.2.1"),
            ("fd00::1", &["2001:db8::1"], "2001:db8::1"),
            ("fd00::1", &["[2001:db8::1]:4711"], "2001:db8::1"),
            ("fd00::1", &["[2001:db8::1]"], "2001:db8::1"),
            ("fd00::1", &["192.0.2.9, [2001:db8::1]:4711, [fd00::2]:80,[fd00::3]"], "2001:db8::1"),
            ("fd00::1", &["[::ffff:192.0.2.1]:80"], "192.0.2.1"),
            ("::ffff:10.0.0.1", &["::ffff:192.0.2.1"], "192.0.2.1"),
            ("::ffff:192.0.2.1", &["10.0.0.1"], "192.0.2.1"),
        ] {
            assert_eq!(source(peer, lines).as_deref(), Some(expected), "{peer} {lines:?}");
        }
    }

    #[test]
    fn an_address_that_cannot_be_read_is_no_address() {
        for line in [
            "",
            "unknown",
            "192.0.2",
            "192.0.2.1, ",
            "192.0.2.1, x, 10.0.0.2",
            "192.0.2.1/32",
            "192.0.2.1:",
            "192.0.2.1:x",
            "[192.0.2.1]",
            "[2001:db8::1",
            "2001:db8::1]",
            "[2001:db8::1]:",
            "[2001:db8::1]4711",
            "[fe80::1%eth0]",
            "[]",
        ] {
            assert_eq!(source("10.0.0.1", &[line]), None, "{line}");
        }
    }
}
