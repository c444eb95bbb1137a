//! A presented secret value: what passes the checksum has exactly the documented form.

#![no_main]

use libfuzzer_sys::fuzz_target;
use postern::crypto::secret::parse;

fuzz_target!(|value: &str| {
    if let Ok(presented) = parse(value) {
        assert_eq!(presented.expose_secret(), value);
        assert!(value.starts_with(&format!("pst_{}_", presented.version_id())));
        // The checksum covers every character.
        let mut other = value.to_owned();
        let last = other.pop().unwrap();
        other.push(if last == '0' { '1' } else { '0' });
        assert!(parse(&other).is_err());
    }
});
