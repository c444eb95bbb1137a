//! The install's own keys, and the verifiers made with them.
//!
//! A verifier is an Argon2id string in PHC format. The install key goes in as Argon2's *secret*, the UID of the
//! ClientSecret as its *associated data*; neither is in the string. So a verifier read from status cannot be attacked
//! without the key, and one that was written there by somebody else, or copied from another object, verifies nothing.
//!
//! `$argon2id$v=19$m=8,t=1,p=1,keyid=<8 characters>$<salt>$<hash>`

use std::fmt;

use argon2::password_hash::phc::{Ident, Output, ParamsString, PasswordHash, Salt};
use argon2::{ARGON2ID_IDENT, Algorithm, Argon2, AssociatedData, ParamsBuilder, Version};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::crypto::delivery_mac::DeliveryKey;
use crate::crypto::opaque::TokenKey;
use crate::crypto::random;

/// What a hash costs: as much as the entropy of the value asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Strength {
    /// A generated value has 256 random bits, so no amount of memory makes guessing it any less possible; what the cost
    /// would buy is a lever for flooding the endpoint. So it is the least that Argon2 allows.
    Generated,
    /// A value brought from elsewhere may be a word that somebody chose: OWASP's minimum for passwords.
    Imported,
}

impl Strength {
    /// Every strength.
    const ALL: [Self; 2] = [Self::Generated, Self::Imported];

    /// Memory in KiB, and passes over it.
    fn cost(self) -> (u32, u32) {
        match self {
            Self::Generated => (8, 1),
            Self::Imported => (19_456, 2),
        }
    }

    /// The strength of a verifier that has exactly our form.
    #[must_use]
    pub fn of(verifier: &str) -> Option<Self> {
        parse(verifier).map(|stored| stored.strength)
    }
}

/// Lanes.
const LANES: u32 = 1;
/// Bytes of the salt, as RFC 9106 §3.1 recommends.
const SALT_LEN: usize = 16;
/// Bytes of the hash.
const HASH_LEN: usize = 32;
/// Characters of a key id. Eight characters are themselves valid "B64" (six bytes), which is what the PHC format
/// wants `keyid` to be, and Argon2 implementations that know the parameter allow at most eight bytes.
pub(super) const KEY_ID_LEN: usize = 8;
/// No verifier that we write is longer.
const VERIFIER_LEN_MAX: usize = 160;

/// One install key.
pub struct InstallKey {
    id: String,
    key: Zeroizing<[u8; 32]>,
    /// Derived from `key`, for opaque tokens.
    pub(super) tokens: TokenKey,
    /// Derived from `key`, for delivered values.
    pub(super) deliveries: DeliveryKey,
}

impl InstallKey {
    /// A key read back from where it is kept.
    ///
    /// # Errors
    /// [`InstallKeyError::KeyId`] when the id is not eight characters of `A-Z a-z 0-9`; [`InstallKeyError::Derive`].
    pub fn new(id: &str, key: [u8; 32]) -> Result<Self, InstallKeyError> {
        let key = Zeroizing::new(key);
        if id.len() != KEY_ID_LEN || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(InstallKeyError::KeyId);
        }
        let tokens = TokenKey::derive(&key).ok_or(InstallKeyError::Derive)?;
        let deliveries = DeliveryKey::derive(&key).ok_or(InstallKeyError::Derive)?;
        Ok(Self { id: id.to_owned(), key, tokens, deliveries })
    }

    /// A new key with a new id.
    ///
    /// # Errors
    /// [`InstallKeyError::Derive`]
    pub fn generate() -> Result<Self, InstallKeyError> {
        Self::new(&random::alphanumeric::<KEY_ID_LEN>(), random::bytes())
    }

    /// Its id, the `keyid` of its verifiers. Public.
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
    pub fn hash(&self, value: &str, uid: [u8; 16], strength: Strength) -> Result<String, InstallKeyError> {
        let key = self.current().ok_or(InstallKeyError::NoCurrent)?;
        let salt = random::bytes::<SALT_LEN>();
        let hash = argon2id(key, strength, value, uid, &salt).ok_or(InstallKeyError::Hash)?;
        phc(&key.id, strength, &salt, hash.as_slice()).ok_or(InstallKeyError::Hash)
    }

    /// Whether `verifier` was made of `value` for the ClientSecret with this UID, by a key of this install.
    ///
    /// Key and UID come from the arguments, never from the string. A string with any parameter other than the ones
    /// that [`InstallKeys::hash`] writes is refused before anything is computed, so that a forged one cannot ask for
    /// gigabytes. The comparison takes the same time wherever the hashes differ.
    #[must_use]
    pub fn verify(&self, verifier: &str, value: &str, uid: [u8; 16]) -> bool {
        self.check(verifier, value, uid).unwrap_or(false)
    }

    /// Does the work of [`InstallKeys::verify`] for a credential that has no verifier, so that both take alike.
    pub fn verify_nothing(&self, value: &str, strength: Strength) {
        if let Some(key) = self.current() {
            let _ = std::hint::black_box(argon2id(key, strength, value, [0; 16], &[0; SALT_LEN]));
        }
    }

    /// Whether `verifier` names a key of this install (which may be an old one).
    #[must_use]
    pub fn knows_key_of(&self, verifier: &str) -> bool {
        parse(verifier).is_some_and(|parsed| self.keys.iter().any(|key| key.id == parsed.key_id))
    }

    fn check(&self, verifier: &str, value: &str, uid: [u8; 16]) -> Option<bool> {
        let stored = parse(verifier)?;
        let key = self.keys.iter().find(|key| key.id == stored.key_id)?;
        let computed = argon2id(key, stored.strength, value, uid, stored.salt.as_ref())?;
        Some(computed.as_slice().ct_eq(stored.hash.as_bytes()).into())
    }
}

/// What can be read from a verifier that has exactly our form.
struct Stored {
    strength: Strength,
    key_id: String,
    salt: Salt,
    hash: Output,
}

fn parse(verifier: &str) -> Option<Stored> {
    if verifier.len() > VERIFIER_LEN_MAX {
        return None;
    }
    let phc = PasswordHash::new(verifier).ok()?;
    let key_id = phc.params.get_str("keyid")?.to_owned();
    let strength =
        Strength::ALL.into_iter().find(|strength| params_string(&key_id, *strength).as_ref() == Some(&phc.params))?;
    let stored = Stored { strength, key_id, salt: phc.salt?, hash: phc.hash? };
    let ours = phc.algorithm == ARGON2ID_IDENT
        && phc.version == Some(Version::V0x13.into())
        && stored.salt.as_ref().len() == SALT_LEN
        && stored.hash.len() == HASH_LEN;
    ours.then_some(stored)
}

fn phc(key_id: &str, strength: Strength, salt: &[u8], hash: &[u8]) -> Option<String> {
    let phc = PasswordHash {
        algorithm: ARGON2ID_IDENT,
        version: Some(Version::V0x13.into()),
        params: params_string(key_id, strength)?,
        salt: Some(Salt::new(salt).ok()?),
        hash: Some(Output::new(hash).ok()?),
    };
    Some(phc.to_string())
}

fn params_string(key_id: &str, strength: Strength) -> Option<ParamsString> {
    let mut params = ParamsString::new();
    let (memory_kib, passes) = strength.cost();
    for (name, value) in [("m", memory_kib), ("t", passes), ("p", LANES)] {
        params.add_decimal(Ident::new(name).ok()?, value).ok()?;
    }
    params.add_str(Ident::new("keyid").ok()?, key_id).ok()?;
    Some(params)
}

fn argon2id(
    key: &InstallKey,
    strength: Strength,
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
    use super::*;

    const VALUE: &str = "pst_k7Qd0m2x_value";
    const UID: [u8; 16] = [7; 16];

    #[test]
    fn a_value_verifies_for_its_own_object_only() {
        let keys = InstallKeys::generate().unwrap();
        let verifier = keys.hash(VALUE, UID, Strength::Generated).unwrap();
        assert!(keys.verify(&verifier, VALUE, UID));
        assert!(!keys.verify(&verifier, "another value", UID));
        assert!(!keys.verify(&verifier, VALUE, [8; 16]), "copied to another object it verifies nothing");
    }

    #[test]
    fn a_verifier_made_without_the_install_key_verifies_nothing() {
        let ours = InstallKeys::new(vec![InstallKey::new("AAAAAAAA", [1; 32]).unwrap()], "AAAAAAAA").unwrap();
        let theirs = InstallKeys::new(vec![InstallKey::new("AAAAAAAA", [2; 32]).unwrap()], "AAAAAAAA").unwrap();
        let forged = theirs.hash(VALUE, UID, Strength::Generated).unwrap();
        assert!(theirs.verify(&forged, VALUE, UID));
        assert!(!ours.verify(&forged, VALUE, UID));
    }

    #[test]
    fn old_keys_go_on_verifying_and_the_current_one_makes_new_verifiers() {
        let key = |id, byte| InstallKey::new(id, [byte; 32]).unwrap();
        let before = InstallKeys::new(vec![key("oldoldol", 1)], "oldoldol").unwrap();
        let verifier = before.hash(VALUE, UID, Strength::Generated).unwrap();
        let both = InstallKeys::new(vec![key("newnewne", 2), key("oldoldol", 1)], "newnewne").unwrap();
        assert!(both.verify(&verifier, VALUE, UID));
        assert!(both.hash(VALUE, UID, Strength::Generated).unwrap().contains("keyid=newnewne$"));
        let after = InstallKeys::new(vec![key("newnewne", 2)], "newnewne").unwrap();
        assert!(!after.verify(&verifier, VALUE, UID));
        assert!(both.knows_key_of(&verifier) && !after.knows_key_of(&verifier));
    }

    #[test]
    fn only_the_parameters_that_we_write_are_computed() {
        let keys = InstallKeys::new(vec![InstallKey::new("AAAAAAAA", [1; 32]).unwrap()], "AAAAAAAA").unwrap();
        let verifier = keys.hash(VALUE, UID, Strength::Generated).unwrap();
        assert!(verifier.starts_with("$argon2id$v=19$m=8,t=1,p=1,keyid=AAAAAAAA$"), "{verifier}");
        let forgeries = [
            ("m=8,", "m=4194304,"),
            ("t=1,", "t=4294967295,"),
            ("p=1,", "p=16,"),
            ("m=8,t=1,p=1,", ""),
            ("m=8,t=1,p=1,", "t=1,m=8,p=1,"),
            (",keyid=AAAAAAAA", ""),
            (",keyid=AAAAAAAA", ",keyid=AAAAAAAA,data=AAAA"),
            (",keyid=AAAAAAAA", ",keyid=AAAAAAAA,keyid=AAAAAAAA"),
            ("argon2id", "argon2d"),
            ("v=19", "v=16"),
            ("$v=19", ""),
        ];
        for (from, to) in forgeries {
            let forged = verifier.replacen(from, to, 1);
            assert_ne!(forged, verifier);
            assert!(parse(&forged).is_none(), "{forged}");
            assert!(!keys.verify(&forged, VALUE, UID), "{forged}");
        }
        let (front, hash) = verifier.rsplit_once('$').unwrap();
        let short = format!("{front}${}", &hash[..16]);
        assert!(!keys.verify(&short, VALUE, UID), "a short hash would be easy to hit");
        for nonsense in ["", "$", "plain", "$argon2id$", &"$argon2id".repeat(40)] {
            assert!(!keys.verify(nonsense, VALUE, UID));
        }
    }

    #[test]
    fn verifiers_are_plain_argon2id_as_the_reference_implementation_computes_it() {
        // Computed with argon2-cffi 25.1 (the C library): secret = [3; 32], associated data = [4; 16].
        let reference = "$argon2id$v=19$m=8,t=1,p=1,keyid=AAAAAAAA$AgICAgICAgICAgICAgICAg\
                         $WAtIUkhtbWizWMk4iVWRH4JL/7xR+LHhkN9rBl2LOxQ";
        let keys = InstallKeys::new(vec![InstallKey::new("AAAAAAAA", [3; 32]).unwrap()], "AAAAAAAA").unwrap();
        assert!(keys.verify(reference, VALUE, [4; 16]));
    }

    #[test]
    fn an_imported_value_costs_what_a_password_does() {
        let keys = InstallKeys::new(vec![InstallKey::new("AAAAAAAA", [1; 32]).unwrap()], "AAAAAAAA").unwrap();
        let verifier = keys.hash("3@rn0i+0y5j%2BB8_n:~/=", UID, Strength::Imported).unwrap();
        assert!(verifier.starts_with("$argon2id$v=19$m=19456,t=2,p=1,keyid=AAAAAAAA$"), "{verifier}");
        assert!(keys.verify(&verifier, "3@rn0i+0y5j%2BB8_n:~/=", UID));
        assert!(!keys.verify(&verifier, "3@rn0i+0y5j+B8_n:~/=", UID));
        assert_eq!(Strength::of(&verifier), Some(Strength::Imported));
        assert_eq!(Strength::of(&verifier.replace("m=19456", "m=8")), None, "a mixture is none of ours");
    }

    #[test]
    fn two_verifiers_of_one_value_differ_by_their_salt() {
        let keys = InstallKeys::generate().unwrap();
        assert_ne!(
            keys.hash(VALUE, UID, Strength::Generated).unwrap(),
            keys.hash(VALUE, UID, Strength::Generated).unwrap()
        );
    }

    #[test]
    fn debug_output_shows_no_key() {
        let keys = InstallKeys::new(vec![InstallKey::new("AAAAAAAA", [213; 32]).unwrap()], "AAAAAAAA").unwrap();
        let shown = format!("{keys:?}");
        assert!(shown.contains("AAAAAAAA") && !shown.contains("213"), "{shown}");
    }

    #[test]
    fn a_current_key_is_required() {
        let keys = vec![InstallKey::generate().unwrap()];
        assert_eq!(InstallKeys::new(keys, "nonesuch").unwrap_err(), InstallKeyError::NoCurrent);
        assert_eq!(InstallKey::new("short", [0; 32]).unwrap_err(), InstallKeyError::KeyId);
    }
}
