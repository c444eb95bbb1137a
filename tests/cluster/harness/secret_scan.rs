//! Secret values in what people read.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use memchr::memmem;
use serde_json::Value;

use super::controlplane::OPERATOR_NAMESPACE;

/// The public entries of the operator's own Secrets.
const CERTIFICATES: [&str; 3] = ["ca.crt", "previous-ca.crt", "tls.crt"];

/// What must stay secret of these Secrets: the operator's own keys, and the generated values that it delivered.
pub fn secret_material(secrets: &[Value]) -> Vec<String> {
    let mut forms = Vec::new();
    for secret in secrets.iter().filter(|secret| secret["type"] != "helm.sh/release.v1") {
        let is_own = secret["metadata"]["namespace"] == OPERATOR_NAMESPACE;
        let entries = secret["data"].as_object().into_iter().flatten().map(|(key, value)| {
            let encoded = value.as_str().expect("base64");
            let decoded = BASE64_STANDARD.decode(encoded).expect("base64");
            (key, encoded, String::from_utf8(decoded).unwrap_or_default())
        });
        let (certificates, others): (Vec<_>, Vec<_>) =
            entries.partition(|(key, ..)| CERTIFICATES.contains(&key.as_str()));
        for (_, encoded, decoded) in others {
            if is_own && encoded.len() > 30 {
                // The lines of a PEM file, as a log would show them. A private key contains the public key.
                let is_public = |line: &str| certificates.iter().any(|(.., text)| text.contains(line));
                let lines = decoded.lines().filter(|line| line.len() > 30 && !is_public(line));
                forms.extend(lines.map(str::to_owned));
                forms.push(encoded.to_owned());
            } else if decoded.starts_with("pst_") {
                forms.extend([decoded, encoded.to_owned()]);
            }
        }
    }
    forms
}

/// A place, and what can be read there.
pub type Place = (String, String);

/// Where any of the secrets can be read, each with its beginning.
pub fn leaks(secrets: &[String], places: &[Place]) -> Vec<String> {
    let mut leaks = Vec::new();
    for secret in secrets {
        // A run prints many megabytes, and a debug build is slow at searching them.
        let finder = memmem::Finder::new(secret);
        let found = places.iter().filter(|(_, text)| finder.find(text.as_bytes()).is_some());
        leaks.extend(found.map(|(place, _)| format!("{place}: {}…", &secret[..8])));
    }
    leaks
}

#[test]
fn a_secret_is_found_wherever_it_occurs_and_only_there() {
    let places =
        [("a log", "x=long-enough-1,"), ("an event", "long-enough")].map(|(a, b)| (a.to_owned(), b.to_owned()));
    let secrets = ["long-enough-1", "long-enough-2"].map(str::to_owned);
    assert_eq!(leaks(&secrets, &places), ["a log: long-eno…"]);
}
