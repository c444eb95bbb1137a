//! X-Forwarded-Method, -Proto, -Host and -Uri: the request that a proxy asks about. Its caller chooses host and path.

#![no_main]

use libfuzzer_sys::fuzz_target;
use postern::oauth::dpop::Target;
use postern::oauth::forward_auth::OriginalRequest;
use url::{Position, Url};

const NAMES: [&str; 4] = ["x-forwarded-method", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-uri"];

/// The target with these values of the four headers.
fn target(values: [&[u8]; 4]) -> Option<Target> {
    OriginalRequest::of_headers(|name| {
        NAMES.iter().zip(values).filter(|(known, _)| **known == name).map(|(_, value)| value).collect()
    })
    .target()
}

// One header per line of the text.
fuzz_target!(|text: &str| {
    let lines: Vec<&str> = text.splitn(4, '\n').collect();
    let [method, scheme, host, uri] = lines[..] else { return };
    let values = [method, scheme, host, uri].map(str::as_bytes);
    let Some(read) = target(values) else { return };
    let url = format!("{scheme}://{host}{uri}");
    assert_eq!(read, Target::new(method, url.clone()));
    for name in NAMES {
        let repeated = |other: &str| {
            let value = values[NAMES.iter().position(|known| *known == other).unwrap()];
            if other == name { vec![value, value] } else { vec![value] }
        };
        assert_eq!(OriginalRequest::of_headers(repeated).target(), None);
    }
    // No path moves the request to another host, and no host to another path.
    let (Ok(with_path), Ok(without)) = (Url::parse(&url), Url::parse(&format!("{scheme}://{host}/"))) else { return };
    assert_eq!(with_path[..Position::BeforePath], without[..Position::BeforePath]);
    assert_eq!((without.path(), without.query(), without.fragment()), ("/", None, None));
    assert_eq!((without.username(), without.password()), ("", None));
});
