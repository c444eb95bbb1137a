//! A verifier or a MAC in a status or an annotation, as a tenant can write it: only the install key makes one.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use postern::crypto::delivery_mac::{self, Delivery};
use postern::crypto::install_key::{HashCost, InstallKey, InstallKeys, key_id};
use postern::crypto::public_key_mac::{self, IssuedKey};

const OWNER: [u8; 16] = [7; 16];
const VALUE: &str = "pst_k7Qd0m2x_value";
const DELIVERY: Delivery<'_> = Delivery {
    owner: OWNER,
    namespace: "billing",
    name: "blue",
    version: "k7Qd0m2x",
    issued_at: 1_800_000_000,
    value: VALUE,
};
const ISSUED: IssuedKey<'_> = IssuedKey {
    owner: OWNER,
    version: "k7Qd0m2x",
    algorithm: "ES256",
    thumbprint: "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs",
};

fn keys(id: &str, byte: u8) -> InstallKeys {
    InstallKeys::new(vec![InstallKey::new(id, [byte; 32]).unwrap()], id).unwrap()
}

/// Fixed keys: the corpus contains what they made.
static KEYS: LazyLock<InstallKeys> = LazyLock::new(|| keys("AAAAAAAA", 1));
/// Another install, whose key has the same id.
static OTHERS: LazyLock<InstallKeys> = LazyLock::new(|| keys("AAAAAAAA", 2));

fuzz_target!(|text: &str| {
    // A MAC that is valid is the one that the key makes, character by character.
    assert_eq!(delivery_mac::verify(&KEYS, text, &DELIVERY), text == delivery_mac::sign(&KEYS, &DELIVERY).unwrap());
    assert_eq!(public_key_mac::verify(&KEYS, text, &ISSUED), text == public_key_mac::sign(&KEYS, &ISSUED).unwrap());
    // The text names the key, so a key that is gone is found.
    if let Some(id) = key_id(text) {
        assert!(text.split('.').any(|part| part == id));
        assert_eq!(KEYS.unknown_key(text).is_none(), id == "AAAAAAAA");
    }
    let Some(strength) = HashCost::of(text) else { return };
    // Strength, key id, and 48 bytes: nothing else fits in, so a text names one cost.
    assert_eq!(text.len(), "g1.AAAAAAAA.".len() + 64);
    assert_eq!(strength == HashCost::Generated, text.starts_with("g1."));
    // Imported values take memory and time; the code is the same.
    if strength == HashCost::Generated && KEYS.verify(text, VALUE, OWNER) {
        assert!(!KEYS.verify(text, VALUE, [8; 16]));
        assert!(!KEYS.verify(text, "pst_k7Qd0m2x_other", OWNER));
        assert!(!OTHERS.verify(text, VALUE, OWNER));
        let mut other = text.to_owned();
        let last = other.pop().unwrap();
        other.push(if last == 'A' { 'B' } else { 'A' });
        assert!(!KEYS.verify(&other, VALUE, OWNER));
    }
});
