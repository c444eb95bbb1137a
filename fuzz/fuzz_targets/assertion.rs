//! A client assertion: a JWT that anybody on the network can send as client authentication or as a grant.

#![no_main]

use std::sync::LazyLock;

use jiff::{SignedDuration, Timestamp};
use libfuzzer_sys::fuzz_target;
use postern::crypto::key_pair::{self, KeyAlgorithm, KeyKind, KeyPair};
use postern::crypto::public_key::{PublicKey, SignedJwt};
use postern::oauth::client_auth::{Assertion, AssertionUse, Claims};
use postern_fuzz::jwt;
use serde_json::Value;

const NOW: i64 = 1_800_000_000;
const LIFETIME_MAX: SignedDuration = SignedDuration::from_mins(5);
/// How far the clock of a client may be behind and ahead, in seconds.
const BEHIND_MAX: i64 = 10;
const AHEAD_MAX: i64 = 60;

/// A key that signs nothing here.
static KEY: LazyLock<PublicKey> = LazyLock::new(|| {
    let private = key_pair::generate(KeyKind::P256).unwrap();
    let pair = KeyPair::parse(private.expose_secret(), KeyAlgorithm::Es256).unwrap();
    PublicKey::from_jwk(&pair.public_jwk("one")).unwrap()
});

fuzz_target!(|text: &str| {
    let text = jwt(text);
    let Ok(signed) = SignedJwt::parse(&text) else { return };
    assert!(!KEY.verifies(&signed));
    let Ok(claims) = Claims::of(&signed) else { return };
    // Another reader finds the same client. It gives up on JSON that is nested deeply.
    if let Ok(value) = serde_json::from_slice::<Value>(signed.claims()) {
        let assertion = Assertion::new(&text, None, AssertionUse::Authentication);
        assert_eq!(assertion.client_id().as_deref(), value["sub"].as_str());
    }
    if let Ok(exp) = claims.check_times(Timestamp::from_second(NOW).unwrap(), LIFETIME_MAX) {
        let last = NOW + AHEAD_MAX + LIFETIME_MAX.as_secs();
        assert!((NOW - BEHIND_MAX..=last).contains(&exp.as_secs()));
        let end = Timestamp::from_second(exp.as_secs() + BEHIND_MAX + 1).unwrap();
        assert!(claims.check_times(end, LIFETIME_MAX).is_err());
    }
    if let Ok(Some(id)) = claims.id() {
        assert!((1..=256).contains(&id.chars().count()));
    }
});
