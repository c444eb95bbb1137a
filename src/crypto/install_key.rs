//! The install's own keys, and the verifiers made with them.
//!
//! A verifier is a salt and an Argon2id hash (RFC 9106). The install key goes in as Argon2's *secret*, the UID of the
//! ClientSecret as its *associated data*; the verifier contains neither. So a verifier read from status cannot be attacked
//! without the key, and one that another client wrote, or copied from another object, verifies nothing.

use std::collections::BTreeSet;
use std::fmt;

use argon2::{Algorithm, Argon2, AssociatedData, ParamsBuilder, Version};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::crypto::install_mac::MacKey;
use crate::crypto::verifier::{HASH_LEN, SALT_LEN, Verifier};
use crate::crypto::{attempt_mac, delivery_mac, nonce, public_key_mac, random};

/// What a hash costs: as much as the entropy of the value asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HashCost {
    /// A generated value has 256 random bits, so no amount of memory makes guessing it any less possible; what the cost
    /// would buy is a lever for flooding the endpoint. So it is the least that Argon2 allows.
    Generated,
    /// An imported value may be a password that a person chose: OWASP's minimum for passwords.
    Imported,
}

impl HashCost {
    /// Every strength.
    pub(super) const ALL: [Self; 2] = [Self::Generated, Self::Imported];

    /// Memory in KiB, and passes over it.
    fn cost(self) -> (u32, u32) {
        match self {
            Self::Generated => (8, 1),
            Self::Imported => (19_456, 2),
        }
    }

    /// How verifiers name it. Another algorithm, version or cost gets another name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Generated => "g1",
            Self::Imported => "i1",
        }
    }

    /// The strength of a verifier that has exactly our form.
    #[must_use]
    pub fn of(verifier: &str) -> Option<Self> {
        Verifier::parse(verifier).map(|stored| stored.strength)
    }
}

/// Lanes.
const LANES: u32 = 1;
/// Characters of a key id.
pub(super) const KEY_ID_LEN: usize = 8;
/// What the records of the keys call their algorithm.
pub const ALGORITHM: &str = "Argon2id";

/// The id of the install key in a verifier or in a MAC; `None`: the text is neither.
#[must_use]
pub fn key_id(text: &str) -> Option<&str> {
    if let Some(verifier) = Verifier::parse(text) {
        return Some(verifier.key_id);
    }
    let (id, _) = text.split_once('.')?;
    is_key_id(id).then_some(id)
}

pub(super) fn is_key_id(id: &str) -> bool {
    id.len() == KEY_ID_LEN && id.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// One install key.
pub struct InstallKey {
    id: String,
    key: Zeroizing<[u8; 32]>,
    /// Derived from `key`, for delivered values.
    pub(super) deliveries: MacKey,
    /// Derived from `key`, for public keys in status.
    pub(super) public_keys: MacKey,
    /// Derived from `key`, for nonces.
    pub(super) nonces: MacKey,
    /// Derived from `key`, for wrong secrets.
    pub(super) attempts: MacKey,
}

impl InstallKey {
    /// A key read back from where it is kept.
    ///
    /// # Errors
    /// [`InstallKeyError::KeyId`] when the id is not eight characters of `A-Z a-z 0-9`; [`InstallKeyError::Derive`].
    pub fn new(id: &str, key: [u8; 32]) -> Result<Self, InstallKeyError> {
        let key = Zeroizing::new(key);
        if !is_key_id(id) {
            return Err(InstallKeyError::KeyId);
        }
        let mac_key = |purpose| MacKey::derive(&key, purpose).ok_or(InstallKeyError::Derive);
        let (deliveries, public_keys) = (mac_key(delivery_mac::PURPOSE)?, mac_key(public_key_mac::PURPOSE)?);
        let (nonces, attempts) = (mac_key(nonce::PURPOSE)?, mac_key(attempt_mac::PURPOSE)?);
        Ok(Self { id: id.to_owned(), key, deliveries, public_keys, nonces, attempts })
    }

    /// A new key with a new id.
    ///
    /// # Errors
    /// [`InstallKeyError::Derive`]
    pub fn generate() -> Result<Self, InstallKeyError> {
        Self::new(&random::alphanumeric::<KEY_ID_LEN>(), random::bytes())
    }

    /// Its id, which its verifiers contain. Public.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The key itself, to be kept in the operator's own Secret and nowhere else.
    #[must_use]
    pub fn expose_key(&self) -> &[u8; 32] {
        &self.key
    }
}

impl fmt::Debug for InstallKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InstallKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Why a set of install keys cannot be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InstallKeyError {
    /// An id has the wrong form.
    #[error("the id of an install key is {KEY_ID_LEN} characters of A-Z, a-z and 0-9")]
    KeyId,
    /// The id that new verifiers should carry is not among the keys.
    #[error("the current install key is not among the keys")]
    NoCurrent,
    /// A key could not be derived from it; not reachable with the constants of those files.
    #[error("a key could not be derived from the install key")]
    Derive,
    /// Argon2 refused its input; not reachable with the constants of this file.
    #[error("the verifier could not be computed")]
    Hash,
}

/// The install keys: one makes verifiers, all of them check.
#[derive(Debug)]
pub struct InstallKeys {
    keys: Vec<InstallKey>,
    current: usize,
}

impl InstallKeys {
    /// The keys, of which the one with the id `current` makes new verifiers.
    ///
    /// # Errors
    /// [`InstallKeyError::NoCurrent`] when no key has that id.
    pub fn new(keys: Vec<InstallKey>, current: &str) -> Result<Self, InstallKeyError> {
        let current = keys.iter().position(|key| key.id == current).ok_or(InstallKeyError::NoCurrent)?;
        Ok(Self { keys, current })
    }

    /// One new key.
    ///
    /// # Errors
    /// [`InstallKeyError::Derive`]
    pub fn generate() -> Result<Self, InstallKeyError> {
        Ok(Self { keys: vec![InstallKey::generate()?], current: 0 })
    }

    /// All of them.
    pub(super) fn all(&self) -> impl Iterator<Item = &InstallKey> {
        self.keys.iter()
    }

    /// The key that makes new verifiers.
    #[must_use]
    pub fn current(&self) -> Option<&InstallKey> {
        self.keys.get(self.current)
    }

    /// A verifier of `value` for the ClientSecret with this UID, under the current key and a new salt.
    ///
    /// # Errors
    /// [`InstallKeyError::Hash`] when Argon2 refuses its input.
    pub fn hash(&self, value: &str, uid: [u8; 16], strength: HashCost) -> Result<String, InstallKeyError> {
        let key = self.current().ok_or(InstallKeyError::NoCurrent)?;
        let salt = random::bytes::<SALT_LEN>();
        let hash = argon2id(key, strength, value, uid, &salt).ok_or(InstallKeyError::Hash)?;
        Ok(Verifier { strength, key_id: &key.id, salt, hash: *hash }.text())
    }

    /// Whether `verifier` was made of `value` for the ClientSecret with this UID, by a key of this install.
    ///
    /// Key and UID come from the arguments, never from the verifier. A text that [`InstallKeys::hash`] does not write is
    /// refused before anything is computed. The comparison takes the same time wherever the hashes differ.
    #[must_use]
    pub fn verify(&self, verifier: &str, value: &str, uid: [u8; 16]) -> bool {
        self.check(verifier, value, uid).unwrap_or(false)
    }

    /// Does the work of [`InstallKeys::verify`] for a credential that has no verifier, so that both take alike.
    pub fn dummy_verify(&self, value: &str, strength: HashCost) {
        if let Some(key) = self.current() {
            let _ = std::hint::black_box(argon2id(key, strength, value, [0; 16], &[0; SALT_LEN]));
        }
    }

    /// The id of the key that makes new verifiers.
    #[must_use]
    pub fn current_id(&self) -> Option<&str> {
        self.current().map(InstallKey::id)
    }

    /// The ids of all keys.
    #[must_use]
    pub fn ids(&self) -> BTreeSet<&str> {
        self.keys.iter().map(InstallKey::id).collect()
    }

    /// The id of the install key that made a verifier or a MAC, if this install does not have that key.
    #[must_use]
    pub fn unknown_key<'t>(&self, text: &'t str) -> Option<&'t str> {
        key_id(text).filter(|id| self.keys.iter().all(|key| key.id != *id))
    }

    fn check(&self, verifier: &str, value: &str, uid: [u8; 16]) -> Option<bool> {
        let stored = Verifier::parse(verifier)?;
        let key = self.keys.iter().find(|key| key.id == stored.key_id)?;
        let computed = argon2id(key, stored.strength, value, uid, &stored.salt)?;
        Some(computed.as_slice().ct_eq(&stored.hash).into())
    }
}

fn argon2id(
    key: &InstallKey,
    strength: HashCost,
    value: &str,
    uid: [u8; 16],
    salt: &[u8],
) -> Option<Zeroizing<[u8; HASH_LEN]>> {
    let (memory_kib, passes) = strength.cost();
    let params = ParamsBuilder::new()
        .m_cost(memory_kib)
        .t_cost(passes)
        .p_cost(LANES)
        .output_len(HASH_LEN)
        .data(AssociatedData::new(&uid).ok()?)
        .build()
        .ok()?;
    let argon2 = Argon2::new_with_secret(key.key.as_slice(), Algorithm::Argon2id, Version::V0x13, params).ok()?;
    let mut hash = Zeroizing::new([0; HASH_LEN]);
    argon2.hash_password_into(value.as_bytes(), salt, hash.as_mut_slice()).ok()?;
    Some(hash)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD_NO_PAD;

    use super::*;

    const VALUE: &str = "pst_k7Qd0m2x_value";
    const UID: [u8; 16] = [7; 16];

    #[test]
    fn a_value_verifies_for_its_own_object_only() {
        let keys = InstallKeys::generate().unwrap();
        let verifier = keys.hash(VALUE, UID, HashCost::Generated).unwrap();
        assert!(keys.verify(&verifier, VALUE, UID));
        assert!(!keys.verify(&verifier, "another value", UID));
        assert!(!keys.verify(&verifier, VALUE, [8; 16]), "copied to another object it verifies nothing");
    }

    #[test]
    fn a_verifier_made_without_the_install_key_verifies_nothing() {
        let ours = InstallKeys::new(vec![InstallKey::new("AAAAAAAA", [1; 32]).unwrap()], "AAAAAAAA").unwrap();
        let theirs = InstallKeys::new(vec![InstallKey::new("AAAAAAAA", [2; 32]).unwrap()], "AAAAAAAA").unwrap();
        let forged = theirs.hash(VALUE, UID, HashCost::Generated).unwrap();
        assert!(theirs.verify(&forged, VALUE, UID));
        assert!(!ours.verify(&forged, VALUE, UID));
    }

    #[test]
    fn old_keys_still_verify_and_the_current_key_creates_new_verifiers() {
        let key = |id, byte| InstallKey::new(id, [byte; 32]).unwrap();
        let before = InstallKeys::new(vec![key("oldoldol", 1)], "oldoldol").unwrap();
        let verifier = before.hash(VALUE, UID, HashCost::Generated).unwrap();
        let both = InstallKeys::new(vec![key("newnewne", 2), key("oldoldol", 1)], "newnewne").unwrap();
        assert!(both.verify(&verifier, VALUE, UID));
        assert!(both.hash(VALUE, UID, HashCost::Generated).unwrap().starts_with("g1.newnewne."));
        let after = InstallKeys::new(vec![key("newnewne", 2)], "newnewne").unwrap();
        assert!(!after.verify(&verifier, VALUE, UID));
        assert_eq!((both.unknown_key(&verifier), after.unknown_key(&verifier)), (None, Some("oldoldol")));
        assert_eq!(both.unknown_key("no verifier"), None);
    }

    #[test]
    fn verifiers_are_plain_argon2id_as_the_reference_implementation_computes_it() {
        // Computed with argon2-cffi 25.1 (the C library): secret = [3; 32], associated data = [4; 16].
        // $argon2id$v=19$m=8,t=1,p=1,keyid=AAAAAAAA$AgICAgICAgICAgICAgICAg$WAtIUkhtbWizWMk4iVWRH4JL/7xR+LHhkN9rBl2LOxQ
        let hash = STANDARD_NO_PAD.decode("WAtIUkhtbWizWMk4iVWRH4JL/7xR+LHhkN9rBl2LOxQ").unwrap().try_into().unwrap();
        let verifier = Verifier { strength: HashCost::Generated, key_id: "AAAAAAAA", salt: [2; 16], hash }.text();
        let keys = InstallKeys::new(vec![InstallKey::new("AAAAAAAA", [3; 32]).unwrap()], "AAAAAAAA").unwrap();
        assert!(keys.verify(&verifier, VALUE, [4; 16]));
    }

    #[test]
    fn an_imported_value_is_hashed_at_the_cost_of_a_password() {
        let keys = InstallKeys::new(vec![InstallKey::new("AAAAAAAA", [1; 32]).unwrap()], "AAAAAAAA").unwrap();
        let verifier = keys.hash("3@rn0i+0y5j%2BB8_n:~/=", UID, HashCost::Imported).unwrap();
        assert!(verifier.starts_with("i1.AAAAAAAA."), "{verifier}");
        assert!(keys.verify(&verifier, "3@rn0i+0y5j%2BB8_n:~/=", UID));
        assert!(!keys.verify(&verifier, "3@rn0i+0y5j+B8_n:~/=", UID));
        assert_eq!(HashCost::of(&verifier), Some(HashCost::Imported));
        assert!(!keys.verify(&verifier.replace("i1.", "g1."), "3@rn0i+0y5j%2BB8_n:~/=", UID), "at another cost");
    }

    #[test]
    fn two_verifiers_of_one_value_differ_by_their_salt() {
        let keys = InstallKeys::generate().unwrap();
        assert_ne!(
            keys.hash(VALUE, UID, HashCost::Generated).unwrap(),
            keys.hash(VALUE, UID, HashCost::Generated).unwrap()
        );
    }

    #[test]
    fn debug_output_shows_no_key() {
        let keys = InstallKeys::new(vec![InstallKey::new("AAAAAAAA", [213; 32]).unwrap()], "AAAAAAAA").unwrap();
        let shown = format!("{keys:?}");
        assert!(shown.contains("AAAAAAAA") && !shown.contains("213"), "{shown}");
    }

    #[test]
    fn the_key_id_of_a_verifier_and_of_a_mac_is_read_and_any_other_text_has_none() {
        let keys = InstallKeys::new(vec![InstallKey::new("AAAAAAAA", [1; 32]).unwrap()], "AAAAAAAA").unwrap();
        let verifier = keys.hash(VALUE, UID, HashCost::Generated).unwrap();
        for text in [verifier.as_str(), "AAAAAAAA.mO_6fNqGELNgcRMgDQQnl-qamDb8gkYzcU-vN9JuOEU"] {
            assert_eq!(key_id(text), Some("AAAAAAAA"), "{text}");
        }
        for text in ["", ".", "AAAAAAAA", "AAAAAAA.tag", "AAAAAAA\u{e9}.tag", "g1.AAAAAAAA.short"] {
            assert_eq!(key_id(text), None, "{text}");
        }
    }

    #[test]
    fn a_current_key_is_required() {
        let keys = vec![InstallKey::generate().unwrap()];
        assert_eq!(InstallKeys::new(keys, "nonesuch").unwrap_err(), InstallKeyError::NoCurrent);
        assert_eq!(InstallKey::new("short", [0; 32]).unwrap_err(), InstallKeyError::KeyId);
    }
}
