//! Basic authentication: the Authorization header of a client, as anybody on the network can send it.

#![no_main]

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use form_urlencoded::byte_serialize;
use libfuzzer_sys::fuzz_target;
use postern::oauth::client_auth::{ClientCredential, SharedSecret, present};
use postern::oauth::form::Form;

/// The pairs of id and secret that a header means, beside this body.
fn pairs(header: &[u8], body: &str) -> Option<Vec<(String, String)>> {
    let form = Form::parse(body.as_bytes()).unwrap();
    let Ok(ClientCredential::SharedSecret(SharedSecret { candidates, .. })) = present([header], &form) else {
        return None;
    };
    Some(candidates.into_iter().map(|pair| (pair.client_id, pair.secret.to_string())).collect())
}

fn encoded(text: &str) -> String {
    byte_serialize(text.as_bytes()).collect()
}

fuzz_target!(|header: &[u8]| {
    let Some(read) = pairs(header, "") else { return };
    assert!((1..=2).contains(&read.len()));
    assert!(read.iter().all(|(id, secret)| !id.is_empty() && !secret.is_empty()));
    // One reading is that of RFC 7617, as any other server has it.
    let base64 = header[b"basic ".len()..].trim_ascii();
    let padding = base64.iter().rev().take_while(|byte| **byte == b'=').count();
    let plain = String::from_utf8(STANDARD_NO_PAD.decode(&base64[..base64.len() - padding]).unwrap()).unwrap();
    let raw = plain.split_once(':').map(|(id, secret)| (id.to_owned(), secret.to_owned()));
    assert_eq!(read.last().cloned(), raw);
    for pair in &read {
        let (id, secret) = pair;
        // What is written as RFC 6749 §2.3.1 demands is read first, and as it was meant.
        let written = format!("Basic {}", STANDARD.encode(format!("{}:{}", encoded(id), encoded(secret))));
        assert_eq!(pairs(written.as_bytes(), "").unwrap().first(), Some(pair));
        // A body that names the client leaves no other reading.
        let same: Vec<_> = read.iter().filter(|(other, _)| other == id).cloned().collect();
        assert_eq!(pairs(header, &format!("client_id={}", encoded(id))), Some(same));
    }
    assert!(present([header, header], &Form::parse(b"").unwrap()).is_err());
});
