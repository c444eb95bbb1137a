//! Secret values in what people read.

use memchr::memmem;

/// A place, and what can be read there.
pub type Place = (String, String);

/// Where any of the secrets can be read, each with its beginning.
pub fn leaks(secrets: &[String], places: &[Place]) -> Vec<String> {
    let mut leaks = Vec::new();
    for secret in secrets {
        // A run prints many megabytes, and a debug build is slow at looking through them by itself.
        let finder = memmem::Finder::new(secret);
        let found = places.iter().filter(|(_, text)| finder.find(text.as_bytes()).is_some());
        leaks.extend(found.map(|(place, _)| format!("{place}: {}…", &secret[..8])));
    }
    leaks
}

#[test]
fn a_secret_is_found_wherever_it_stands_and_only_there() {
    let places =
        [("a log", "x=long-enough-1,"), ("an event", "long-enough")].map(|(a, b)| (a.to_owned(), b.to_owned()));
    let secrets = ["long-enough-1", "long-enough-2"].map(str::to_owned);
    assert_eq!(leaks(&secrets, &places), ["a log: long-eno…"]);
}
