//! The key that signed an assertion: a public key of the Application, or of a key pair that Postern generated.
//!
//! The public key of a key pair was read from status. So its MAC is checked first, each time: it takes about a hundredth
//! of the time of a signature. A key without a correct MAC is treated as absent.

use jiff::Timestamp;

use super::ProvenCredential;
use super::assertion::TRIED_MAX;
use super::shared_secret::versions;
use crate::crypto::install_key::InstallKeys;
use crate::crypto::public_key::{self, SignedJwt};
use crate::crypto::public_key_mac::{self, IssuedKey};
use crate::oauth::client_record::{ClientKey, ClientRecord, KeyPair, SecretRecord, SecretVersion, Verification};
use crate::oauth::denial_rule::DenialRule;

/// The credential whose key signed the JWT. Without `kid`, it may be any of the first [`TRIED_MAX`] keys of the client that are
/// accepted and allow the algorithm.
pub(super) fn signing_key<'r>(
    record: &'r ClientRecord,
    jwt: &SignedJwt<'_>,
    keys: &InstallKeys,
    now: Timestamp,
) -> Result<ProvenCredential<'r>, DenialRule> {
    let of_application = listed(record, jwt).filter(|key| key.key.allows(jwt.algorithm())).map(|key| {
        let id = key.key.key_id().unwrap_or(key.key.thumbprint());
        (key.key.as_ref(), ProvenCredential::of_application(record, id, &key.authority))
    });
    let generated = key_pairs(record).filter(|(secret, version, pair)| {
        // The work for a JWT without `kid` is bounded by the keys that could be accepted.
        let is_chosen = jwt.key_id().map_or_else(|| secret.is_active(version, now), |id| id == version.id);
        is_chosen && pair.key.allows(jwt.algorithm()) && is_issued(secret, version, pair, keys)
    });
    let generated = generated.map(|(secret, version, pair)| (&pair.key, ProvenCredential::of_secret(secret, version)));
    let mut candidates = generated.chain(of_application).take(TRIED_MAX).peekable();
    if candidates.peek().is_none() {
        public_key::verify_nothing(jwt);
        return Err(DenialRule::AssertionKeyUnknown);
    }
    let signer = candidates.find(|(key, _)| key.verifies(jwt));
    signer.map(|(_, credential)| credential).ok_or(DenialRule::AssertionSignature)
}

/// The keys of the Application that may have signed the JWT: those with its `kid`, then those without one. Without `kid` in the
/// JWT, every key.
fn listed<'r>(record: &'r ClientRecord, jwt: &SignedJwt<'_>) -> impl Iterator<Item = &'r ClientKey> {
    let wanted = jwt.key_id();
    let keys = || record.keys.iter().map(AsRef::as_ref);
    let named = keys().filter(move |key: &&ClientKey| wanted.is_some() && key.key.key_id() == wanted);
    named.chain(keys().filter(move |key: &&ClientKey| wanted.is_none() || key.key.key_id().is_none()))
}

fn key_pairs(record: &ClientRecord) -> impl Iterator<Item = (&SecretRecord, &SecretVersion, &KeyPair)> {
    versions(record).filter_map(|(secret, version)| match &version.verification {
        Verification::KeyPair(pair) => Some((secret, version.as_ref(), pair.as_ref())),
        Verification::Generated(_) | Verification::Imported(_) => None,
    })
}

/// Whether this install generated the key pair for this version.
fn is_issued(secret: &SecretRecord, version: &SecretVersion, pair: &KeyPair, keys: &InstallKeys) -> bool {
    let issued = IssuedKey {
        owner: secret.uid,
        version: &version.id,
        algorithm: &pair.algorithm,
        thumbprint: pair.key.thumbprint(),
    };
    public_key_mac::verify(keys, &pair.mac, &issued)
}
