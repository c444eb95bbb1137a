//! An access token that this install did not issue: no bytes are taken for one.

#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use postern::crypto::keyset::JwkSet;
use postern::crypto::opaque::TokenKeys;
use postern::crypto::signing::{SigningAlgorithm, SigningKey, generate};
use postern::crypto::{jwt, opaque};

static SIGNING: LazyLock<JwkSet> = LazyLock::new(|| {
    let key = |algorithm| SigningKey::from_pkcs8(algorithm, &generate(algorithm).unwrap()).map(Arc::new).unwrap();
    JwkSet::new([key(SigningAlgorithm::Es256)])
});
static TOKEN_KEYS: LazyLock<TokenKeys> = LazyLock::new(|| TokenKeys::generate().unwrap());

fuzz_target!(|token: &[u8]| {
    assert!(jwt::verify_access_token(&SIGNING, token).is_err());
    assert!(opaque::open(&TOKEN_KEYS, token).is_none());
    let sealed = opaque::seal(&TOKEN_KEYS, token).unwrap();
    assert_eq!(opaque::open(&TOKEN_KEYS, sealed.as_bytes()).as_deref(), Some(token));
});
