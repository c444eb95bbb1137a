//! A DPoP proof: a header that anybody on the network can send with a request.

#![no_main]

use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use postern::oauth::dpop::{Proof, Target};
use postern_fuzz::jwt;

const NOW: i64 = 1_800_000_000;
/// The longest time that a proof is remembered: it may be 60 seconds ahead, is accepted for 60, and there is a margin of 30.
const REMEMBERED_MAX: i64 = 150;

fuzz_target!(|text: &str| {
    let text = jwt(text);
    let Ok(proof) = Proof::read(text.as_bytes()) else { return };
    let target = Target::new("POST", "https://postern.example.com/oauth2/token".to_owned());
    let at = |second| Timestamp::from_second(second).unwrap();
    if proof.check(&target, at(NOW)).is_ok() {
        assert!((1..=256).contains(&proof.id().chars().count()));
        assert!((NOW..=NOW + REMEMBERED_MAX).contains(&proof.end()));
        // What is forgotten must be refused: otherwise it could be used again.
        assert!(proof.check(&target, at(proof.end())).is_err());
    }
    if let Ok(key) = proof.key() {
        assert_eq!(key.thumbprint().len(), 43);
        let _ = proof.verify(&key);
    }
});
