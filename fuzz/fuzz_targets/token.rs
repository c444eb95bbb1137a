//! An access token that this install did not issue: no bytes are taken for one.

#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use postern::crypto::install_key::InstallKeys;
use postern::crypto::keyset::JwkSet;
use postern::crypto::signing::{SigningAlgorithm, SigningKey, generate};
use postern::crypto::{jwt, opaque};

static SIGNING: LazyLock<JwkSet> = LazyLock::new(|| {
    let key = |algorithm| SigningKey::from_pkcs8(algorithm, &generate(algorithm).unwrap()).map(Arc::new).unwrap();
    JwkSet::new([key(SigningAlgorithm::Es256)])
});
static INSTALL: LazyLock<InstallKeys> = LazyLock::new(|| InstallKeys::generate().unwrap());

fuzz_target!(|token: &[u8]| {
    assert!(jwt::verify_access_token(&SIGNING, token).is_err());
    assert!(opaque::open(&INSTALL, token).is_none());
    let sealed = opaque::seal(&INSTALL, token).unwrap();
    assert_eq!(opaque::open(&INSTALL, sealed.as_bytes()).as_deref(), Some(token));
});
