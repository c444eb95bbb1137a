//! What the host of a tenant returns: a JWK Set, and the metadata of an issuer.

#![no_main]

use libfuzzer_sys::fuzz_target;
use postern::crypto::public_key::PublicKey;
use postern::key_sets::document::{Document, KEYS_MAX};
use postern::key_sets::source::jwks_uri;
use serde_json::Value;

const ISSUER: &str = "https://issuer.example.com";

fuzz_target!(|body: &[u8]| {
    let value = serde_json::from_slice::<Value>(body).ok();
    if let Ok(url) = jwks_uri(body, ISSUER) {
        assert!(url.len() <= 2_048);
        if let Some(metadata) = &value {
            assert_eq!(
                (metadata["issuer"].as_str(), metadata["jwks_uri"].as_str()),
                (Some(ISSUER), Some(url.as_str()))
            );
        }
    }
    let Ok(Document { keys, problem, .. }) = Document::read(body) else { return };
    assert_eq!(keys.is_empty(), problem.is_some());
    assert!(keys.len() <= KEYS_MAX);
    // Each key is one that another reader finds too, in the same order. Only a key with a repeated member is left out here.
    let Some(set) = value else { return };
    let listed = set["keys"].as_array().unwrap();
    let usable = listed.iter().filter_map(|jwk| PublicKey::from_jwk(jwk).ok());
    if problem.is_none() {
        assert!(listed.len() <= KEYS_MAX);
        let mut expected = usable.map(|key| key.thumbprint().to_owned());
        assert!(keys.iter().all(|key| expected.any(|other| other == key.thumbprint())));
    }
});
