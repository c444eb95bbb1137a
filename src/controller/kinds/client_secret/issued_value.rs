//! Credentials (generated, found in a Secret, or imported) and what status records to verify them.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;

use super::key_pairs;
use super::secret_content::is_proven;
use crate::api::ClientSecret;
use crate::api::client_secret::{Verification, Version, uid_bytes};
use crate::api::conditions::whole_second;
use crate::api::names::{ISSUED_ANNOTATION, VERSION_ANNOTATION};
use crate::cache::ObjectRef;
use crate::clock::Clock;
use crate::controller::gather::describe;
use crate::controller::{Context, Error};
use crate::crypto::install_key::HashCost;
use crate::crypto::key_pair::{self, KeyAlgorithm, KeyPair};
use crate::crypto::public_key::PublicKey;
use crate::crypto::public_key_mac::{self, IssuedKey};
use crate::crypto::secret::{self, SecretValue, VersionId};
use crate::plan::client_secret::Issued;

/// A credential with the id and the creation time of its version.
pub(crate) struct IssuedValue {
    pub(crate) id: String,
    /// The value, or the private key in PEM.
    pub(crate) text: SecretValue,
    /// The parsed private key; `None`: the credential is a value.
    pub(crate) key_pair: Option<KeyPair>,
    pub(crate) at: Timestamp,
}

impl IssuedValue {
    /// An imported value, as a new version.
    pub(crate) fn imported(value: SecretValue, now: Timestamp) -> Self {
        Self { id: VersionId::generate().to_string(), text: value, key_pair: None, at: whole_second(now) }
    }

    /// The text as the credential of a version; `None`: the version has a key pair, and the text is no private key.
    fn read(text: &str, id: &str, at: Timestamp, key: Option<KeyAlgorithm>) -> Option<Self> {
        let key_pair = match key {
            Some(algorithm) => Some(KeyPair::parse(text, algorithm).ok()?),
            None => None,
        };
        Some(Self { id: id.to_owned(), text: SecretValue::new(text.to_owned()), key_pair, at })
    }
}

impl<C: Clock> Context<C> {
    /// A new credential; `None`: its key pair has to be generated first.
    pub(crate) fn generate(&self, owner: &ClientSecret) -> Result<Option<IssuedValue>, Error> {
        let at = whole_second(self.clock.now());
        if !owner.spec.is_key_pair() {
            let (id, text) = SecretValue::generate();
            return Ok(Some(IssuedValue { id: id.to_string(), text, key_pair: None, at }));
        }
        let Some(private) = self.new_private_key(owner)? else { return Ok(None) };
        let failed = |source| Error::KeyPair { object: describe(owner), source };
        let pair = KeyPair::parse(private.expose_secret(), key_pairs::algorithm(&owner.spec)).map_err(failed)?;
        let id = VersionId::generate().to_string();
        Ok(Some(IssuedValue { id, text: private, key_pair: Some(pair), at }))
    }

    /// The version that a generated credential is recorded as.
    pub(crate) fn issued(&self, owner: &ClientSecret, value: &IssuedValue) -> Result<Issued, Error> {
        let uid = uid_bytes(&owner.metadata);
        let verification = if let Some(pair) = &value.key_pair {
            self.verification_of(uid, &value.id, pair)
        } else {
            let hash = self.install_keys().hash(value.text.expose_secret(), uid, HashCost::Generated);
            hash.map(|verifier| Verification::of_value(&verifier))
        };
        let verification = verification.map_err(|source| Error::Hash { object: describe(owner), source })?;
        Ok(Issued { id: value.id.clone(), verification, at: value.at })
    }

    fn verification_of(
        &self,
        owner: [u8; 16],
        version: &str,
        pair: &KeyPair,
    ) -> Result<Verification, crate::crypto::install_key::InstallKeyError> {
        let jwk = pair.public_jwk(version);
        let thumbprint = PublicKey::from_jwk(&jwk).map(|key| key.thumbprint().to_owned()).unwrap_or_default();
        let algorithm = pair.algorithm().name();
        let key = IssuedKey { owner, version, algorithm, thumbprint: &thumbprint };
        let mac = public_key_mac::sign(&self.install_keys(), &key)?;
        Ok(Verification::of_key(serde_json::from_value(jwk).unwrap_or_default(), &mac))
    }

    /// Whether `value` is the credential of this version.
    pub(crate) fn is_value_of(&self, owner: &ClientSecret, version: &Version, value: &IssuedValue) -> bool {
        let (uid, recorded) = (uid_bytes(&owner.metadata), &version.verification);
        match (&recorded.verifier, &value.key_pair) {
            (Some(verifier), None) => self.install_keys().verify(verifier, value.text.expose_secret(), uid),
            (None, Some(pair)) => self.is_key_of(uid, version, pair),
            _ => false,
        }
    }

    /// Whether status contains the public key of this pair, and its MAC proves that this install recorded it.
    fn is_key_of(&self, owner: [u8; 16], version: &Version, pair: &KeyPair) -> bool {
        let recorded = &version.verification;
        let (Some(jwk), Some(mac)) = (&recorded.public_key, &recorded.mac) else { return false };
        let (known, own) = (jwk.to_json(), pair.public_jwk(&version.id));
        let [Ok(known), Ok(own)] = [&known, &own].map(PublicKey::from_jwk) else { return false };
        let algorithm = pair.algorithm().name();
        let key = IssuedKey { owner, version: &version.id, algorithm, thumbprint: own.thumbprint() };
        jwk.alg.as_deref() == Some(algorithm)
            && known.thumbprint() == own.thumbprint()
            && public_key_mac::verify(&self.install_keys(), mac, &key)
    }

    /// The credential in a delivered Secret, under any key, if Postern delivered it: that of the newest version or, if
    /// status has no version yet, the one that was being recorded. Any client that can write Secrets can replace it.
    pub(crate) fn held(&self, owner: &ClientSecret, found: &Secret) -> Option<IssuedValue> {
        let Some(newest) = owner.status.as_ref().and_then(|status| status.versions.first()) else {
            return self.unrecorded(owner, found);
        };
        if let Some(jwk) = &newest.verification.public_key {
            let algorithm = KeyAlgorithm::named(jwk.alg.as_deref()?)?;
            let mut held = texts(found)
                .filter(|text| key_pair::is_private_key(text))
                .filter_map(|text| IssuedValue::read(text, &newest.id, newest.created_at, Some(algorithm)));
            return held.find(|value| self.is_value_of(owner, newest, value));
        }
        let verifier = newest.verification.verifier.as_deref()?;
        let version = (newest.id.as_str(), newest.created_at);
        let text = texts(found).find(|text| match HashCost::of(verifier) {
            Some(HashCost::Generated) => {
                names_version(text, &newest.id)
                    && self.install_keys().verify(verifier, text, uid_bytes(&owner.metadata))
            }
            // Hashing these would take tens of milliseconds each.
            _ => is_proven(&self.install_keys(), owner, found, version, text),
        })?;
        IssuedValue::read(text, &newest.id, newest.created_at, None)
    }

    /// A generated credential that was delivered and not recorded. An unproven one is accepted only in a recovery.
    fn unrecorded(&self, owner: &ClientSecret, found: &Secret) -> Option<IssuedValue> {
        if owner.spec.existing().is_some() {
            return None;
        }
        let id = found.annotations().get(VERSION_ANNOTATION)?;
        let at: Timestamp = found.annotations().get(ISSUED_ANNOTATION)?.parse().ok()?;
        let algorithm = owner.spec.is_key_pair().then(|| key_pairs::algorithm(&owner.spec));
        let mut named = texts(found).filter(|text| match algorithm {
            Some(_) => key_pair::is_private_key(text) && id.parse::<VersionId>().is_ok(),
            None => names_version(text, id),
        });
        let text = if self.recovery.allows(&ObjectRef::of(owner)) {
            named.next()?
        } else {
            named.find(|text| is_proven(&self.install_keys(), owner, found, (id, at), text))?
        };
        // The time of an unproven value is not proven either: its lifetime begins no later than now.
        IssuedValue::read(text, id, whole_second(at.min(self.clock.now())), algorithm)
    }
}

/// All UTF-8 values in a Secret.
fn texts(found: &Secret) -> impl Iterator<Item = &str> {
    found.data.iter().flatten().filter_map(|(_, value)| std::str::from_utf8(&value.0).ok())
}

/// Whether a text is a well-formed generated value of this version.
fn names_version(text: &str, id: &str) -> bool {
    secret::parse(text).is_ok_and(|value| value.version_id() == id)
}
