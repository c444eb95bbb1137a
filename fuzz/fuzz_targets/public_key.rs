//! A JWK: in a spec or a status, in the header of a DPoP proof, and in a set that a host returns.

#![no_main]

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use libfuzzer_sys::fuzz_target;
use postern::api::jwks;
use postern::crypto::public_key::{ALGORITHMS, PublicKey, SignedJwt, UnusableKey};
use postern_fuzz::jwt;
use serde_json::Value;

/// JWTs that no key has signed, one for each algorithm.
static UNSIGNED: LazyLock<Vec<String>> =
    LazyLock::new(|| ALGORITHMS.iter().map(|algorithm| jwt(&format!("{{\"alg\":\"{algorithm}\"}}\n{{}}\n"))).collect());

fuzz_target!(|text: &str| {
    let Ok(jwk) = serde_json::from_str::<Value>(text) else { return };
    let read = PublicKey::from_jwk(&jwk);
    let Some(members) = jwk.as_object() else {
        assert!(read.is_err());
        return;
    };
    // A published private key is always refused.
    if ["d", "k", "p", "q", "dp", "dq", "qi", "oth"].iter().any(|private| members.contains_key(*private)) {
        assert_eq!(read.err(), Some(UnusableKey::Private));
        return;
    }
    let Ok(key) = read else { return };
    assert!(
        key.key_id().is_none_or(|id| (1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic()))
    );
    // A key with `alg` signs with nothing else, and a key of one type with nothing of another.
    let allowed: Vec<&str> = ALGORITHMS.into_iter().filter(|algorithm| key.allows(algorithm)).collect();
    let of_type: &[&str] = match members["kty"].as_str().unwrap() {
        "EC" => &["ES256"],
        "RSA" => &["RS256", "PS256"],
        _ => &["EdDSA"],
    };
    match members.get("alg").and_then(Value::as_str) {
        Some(named) => assert_eq!(allowed, [named]),
        None => assert_eq!(allowed, of_type),
    }
    assert_eq!(URL_SAFE_NO_PAD.decode(key.thumbprint()).unwrap().len(), 32);
    // Members that do not belong to the key do not make another key of it (RFC 7638 §3.2).
    let required: Value = ["kty", "crv", "x", "y", "n", "e"]
        .into_iter()
        .filter(|name| !(*name == "y" && members["kty"] == "OKP"))
        .filter_map(|name| Some((name.to_owned(), members.get(name)?.clone())))
        .collect();
    assert_eq!(PublicKey::from_jwk(&required).unwrap().thumbprint(), key.thumbprint());
    // The fields of the API lead to the same key.
    if let Ok(field) = serde_json::from_str::<jwks::Jwk>(text) {
        assert_eq!(PublicKey::from_jwk(&field.to_json()).unwrap().thumbprint(), key.thumbprint());
    }
    for unsigned in &*UNSIGNED {
        if let Ok(unsigned) = SignedJwt::parse(unsigned) {
            assert!(!key.verifies(&unsigned));
        }
    }
});
