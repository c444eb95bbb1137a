//! A token request: an Authorization header and a body, as anybody on the network can send them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use postern::oauth::client_auth::{ClientCredential, present};
use postern::oauth::form::Form;
use postern::oauth::request::TokenRequest;
use postern::oauth::scope::AudienceScope;

// The first line is the header, if it is not empty; the rest is the body.
fuzz_target!(|request: &[u8]| {
    let (line, body) = request.split_at(request.iter().position(|byte| *byte == b'\n').unwrap_or(0));
    let (authorization, body) = (Some(line).filter(|line| !line.is_empty()), body.strip_prefix(b"\n").unwrap_or(body));
    let Ok(form) = Form::parse(body) else { return };
    // Two parsers that read one body differently are how requests are smuggled past a proxy.
    let read: Vec<_> = form_urlencoded::parse(body).collect();
    let ours: Vec<_> = form.pairs().collect();
    assert_eq!(ours.len(), read.len());
    for ((name, value), (expected_name, expected_value)) in ours.iter().zip(&read) {
        assert_eq!((*name, *value), (expected_name.as_ref(), expected_value.as_ref()));
    }
    if let Ok(ClientCredential::SharedSecret(secret)) = present(authorization, &form) {
        assert!(!secret.candidates.is_empty());
        assert!(secret.candidates.iter().all(|candidate| !candidate.client_id.is_empty()));
    }
    let _ = TokenRequest::parse(&form, &[AudienceScope::native()]);
});
