//! X-Forwarded-For, and Forwarded (RFC 7239), which is not read. A caller can send both, and a proxy appends.

#![no_main]

use std::net::IpAddr;

use http::header::{FORWARDED, HeaderName};
use http::{HeaderMap, HeaderValue};
use ipnet::IpNet;
use libfuzzer_sys::fuzz_target;
use postern::http::client_ip;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

fn headers(lines: &[&[u8]]) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(X_FORWARDED_FOR, HeaderValue::from_bytes(line).ok()?);
    }
    Some(headers)
}

// One header per line of the text.
fuzz_target!(|text: &[u8]| {
    let trusted = ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse::<IpNet>().unwrap());
    let is_trusted = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
    let [proxy, stranger] = ["10.0.0.1", "192.0.2.1"].map(|address| address.parse::<IpAddr>().unwrap());
    let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    let Some(mut sent) = headers(&lines) else { return };
    let of = |headers: &HeaderMap| client_ip::of(proxy, headers, &trusted);
    let source = of(&sent);
    assert_eq!(client_ip::of(stranger, &sent, &trusted), Some(stranger));
    // A line is a list (RFC 9110 §5.3): one address in each line is the same.
    let addresses: Vec<&[u8]> = text.split(|byte| [b'\n', b','].contains(byte)).collect();
    assert_eq!(of(&headers(&addresses).unwrap()), source);
    if let Some(source) = source {
        assert_eq!(source, source.to_canonical());
        // It is written in the header, unless every proxy is trusted.
        let is_written = |part: &&[u8]| client_ip::of(proxy, &headers(&[part]).unwrap(), &trusted) == Some(source);
        assert!(addresses.iter().any(is_written));
    }
    if !source.as_ref().is_some_and(is_trusted) {
        // What the caller has sent is at the left of what a trusted proxy appends.
        for forged in ["203.0.113.66", "10.9.9.9", "nonsense", ""] {
            let line = [forged.as_bytes(), b",", lines[0]].concat();
            assert_eq!(of(&headers(&[&[line.as_slice()], &lines[1..]].concat()).unwrap()), source);
            assert_eq!(of(&headers(&[&[forged.as_bytes()], lines.as_slice()].concat()).unwrap()), source);
        }
    }
    for name in [FORWARDED, HeaderName::from_static("x-real-ip")] {
        sent.append(name, HeaderValue::from_static("for=203.0.113.66"));
    }
    assert_eq!(of(&sent), source);
});
