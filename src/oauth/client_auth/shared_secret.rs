//! Shared secrets (`client_secret_basic`, `client_secret_post`). Order: form and checksum of the secret → client →
//! version → value. A refusal that an unseen change could turn into a success is sent only after catching up (design:
//! ready means usable).
//!
//! An imported value names no version: it is compared with every valid imported version of the client. Each comparison
//! costs a password hash, so none is computed twice for one request, and a client without imported versions costs one
//! too. The time of a refusal reveals only that a client has several valid imported values.

use std::sync::Arc;

use super::presented::{ClientCredential, ParsedCredentials, SharedSecret};
use super::{Authenticated, Authenticator, Method, ProvenCredential};
use crate::crypto::attempt_mac;
use crate::crypto::install_key::HashCost;
use crate::crypto::secret::{self, PresentedSecret};
use crate::oauth::client_record::{ClientRecord, SecretRecord, SecretVersion, Verification};
use crate::oauth::client_store::{ClientRef, ClientStore, Lookup};
use crate::oauth::error::{ClientError, TokenError, Unavailable};
use crate::oauth::hash_pool::HashPool;
use crate::oauth::lockout::Lockout;

impl<C: ClientStore> Authenticator<'_, C> {
    pub(super) async fn shared_secret(&self, presented: &SharedSecret) -> Result<Authenticated, TokenError> {
        let mut readings: Vec<Attempt<'_>> = presented.candidates.iter().filter_map(Attempt::of).collect();
        if readings.len() > 1 {
            // Another reading than the one that is known to be correct would cost a hash each time.
            readings.sort_by_cached_key(|reading| !self.is_cached(reading));
        }
        let mut outcome = self.try_all(&mut readings, presented.method).await;
        if let Err(TokenError::Client(error)) = &outcome
            && error.may_be_behind()
        {
            self.catch_up(&readings).await?;
            outcome = self.try_all(&mut readings, presented.method).await;
        }
        if let Err(TokenError::Client(error)) = &outcome {
            if !error.secret_matched() {
                self.count_attempt(presented);
            }
            if !error.is_disclosed() {
                self.equalize_timing(&readings).await?;
            }
        }
        outcome
    }

    /// Tries every reading of the credentials. The error is that of the reading that passed the most checks.
    async fn try_all(&self, readings: &mut [Attempt<'_>], method: Method) -> Result<Authenticated, TokenError> {
        let mut furthest: Option<Box<ClientError>> = None;
        for reading in readings {
            match self.try_one(reading, method).await {
                Err(TokenError::Client(error)) => {
                    furthest =
                        furthest.filter(|known| known.secret_matched() || !error.secret_matched()).or(Some(error));
                }
                other => return other,
            }
        }
        Err(TokenError::Client(furthest.unwrap_or(Box::new(ClientError::MalformedSecret))))
    }

    async fn try_one(&self, reading: &mut Attempt<'_>, method: Method) -> Result<Authenticated, TokenError> {
        let client = self.clients.lookup(reading.client_id);
        let record = client.live()?;
        // A client without such a method has no secrets, whatever ClientSecrets it has.
        if !record.auth_methods.has_secrets() {
            return Err(ClientError::SecretsNotAllowed(record.application.clone()).into());
        }
        if self.is_locked(record) {
            reading.is_locked = true;
            return Err(ClientError::Locked(record.application.clone()).into());
        }
        let (secret, version) = match reading.form {
            SecretFormat::Generated(presented) => self.generated(record, presented, &mut reading.hashed).await?,
            SecretFormat::Foreign(value) => self.imported(record, value, &mut reading.hashed).await?,
        };
        Ok(self.admit(record, method, &ProvenCredential::of_secret(secret, version))?)
    }

    /// The version that a generated value names.
    async fn generated<'r>(
        &self,
        record: &'r ClientRecord,
        presented: PresentedSecret<'_>,
        hashed: &mut Hashed,
    ) -> Result<(&'r SecretRecord, &'r Arc<SecretVersion>), TokenError> {
        let is_named = |version: &SecretVersion| {
            version.id == presented.version_id() && matches!(version.verification, Verification::Generated(_))
        };
        let found = versions(record).find(|(_, version)| is_named(version));
        let Some((secret, version)) = found else {
            return Err(ClientError::UnknownSecret(record.application.clone()).into());
        };
        if !self.verify(secret, version, presented.expose_secret(), hashed).await? {
            let verifier = version.verification.verifier();
            // The verifier of this version may have moved to another install key since.
            return Err(match verifier.and_then(|verifier| self.keys.unknown_key(verifier)) {
                Some(_) => ClientError::UnknownSecret(record.application.clone()).into(),
                None => ClientError::WrongSecret(secret.object.clone()).into(),
            });
        }
        Ok((secret, version))
    }

    /// The imported version with this value: remembered versions before those that cost a hash, and valid versions
    /// before expired ones. An expired version is recognised only if it was used before: a hash would only give the
    /// log the reason.
    async fn imported<'r>(
        &self,
        record: &'r ClientRecord,
        value: &str,
        hashed: &mut Hashed,
    ) -> Result<(&'r SecretRecord, &'r Arc<SecretVersion>), TokenError> {
        let imported = versions(record).filter(|(_, version)| version.verification.is_imported());
        let (mut active, ended): (Vec<_>, Vec<_>) =
            imported.partition(|(secret, version)| secret.is_active(version, self.arrival.now));
        active.sort_by_cached_key(|(secret, version)| {
            (
                !secret.usages.allow(self.purpose),
                !HashPool::is_cached(secret, version, value),
                version.accepted_until.is_some(),
            )
        });
        for (secret, version) in active {
            if self.verify(secret, version, value, hashed).await? {
                return Ok((secret, version));
            }
        }
        let recognised = ended.into_iter().find(|(secret, version)| HashPool::is_cached(secret, version, value));
        recognised.ok_or_else(|| ClientError::UnknownSecret(record.application.clone()).into())
    }

    /// Whether it is a generated secret that is valid and was verified before: nobody has guessed it.
    pub(crate) fn is_verified(&self, presented: &ClientCredential) -> bool {
        let ClientCredential::SharedSecret(secret) = presented else { return false };
        let mut readings = secret.candidates.iter().filter_map(Attempt::of);
        readings.any(|reading| matches!(reading.form, SecretFormat::Generated(_)) && self.is_cached(&reading))
    }

    /// Whether the value of this reading is valid and was verified before.
    fn is_cached(&self, reading: &Attempt<'_>) -> bool {
        let Lookup::Live(record) = self.clients.lookup(reading.client_id) else { return false };
        if !record.auth_methods.has_secrets() {
            return false;
        }
        let value = reading.form.value();
        versions(&record).any(|(secret, version)| {
            secret.is_active(version, self.arrival.now) && HashPool::is_cached(secret, version, value)
        })
    }

    /// Whether the value is that of this version; computed at most once for each reading.
    async fn verify(
        &self,
        secret: &SecretRecord,
        version: &Arc<SecretVersion>,
        value: &str,
        hashed: &mut Hashed,
    ) -> Result<bool, TokenError> {
        if HashPool::is_cached(secret, version, value) {
            return Ok(true);
        }
        // Skips a version that was already tried. A version with another verifier gets another hash.
        let tried = |(uid, verifier): &([u8; 16], Arc<str>)| {
            *uid == secret.uid && Some(verifier) == version.verification.verifier()
        };
        if hashed.iter().any(tried) {
            return Ok(false);
        }
        let verifier = version.verification.verifier();
        if self.may_lack_keys && verifier.is_some_and(|verifier| self.keys.unknown_key(verifier).is_some()) {
            return Err(Unavailable::Behind.into());
        }
        let right = self.hasher.verify(self.keys, secret, version, value).await?;
        hashed.extend(version.verification.verifier().map(|verifier| (secret.uid, Arc::clone(verifier))));
        Ok(right)
    }

    async fn catch_up(&self, readings: &[Attempt<'_>]) -> Result<(), TokenError> {
        let Some(reading) = readings.first() else { return Ok(()) };
        let secret_id = match &reading.form {
            SecretFormat::Generated(presented) => presented.version_id(),
            SecretFormat::Foreign(value) => value,
        };
        let client = ClientRef::Id(reading.client_id);
        self.clients.catch_up(&client, secret_id).await.map_err(|error| Unavailable::from(error).into())
    }

    fn is_locked(&self, record: &ClientRecord) -> bool {
        self.clients.lockouts().is_locked(&record.lockout, self.arrival.source, self.arrival.now)
    }

    /// Counts a wrong secret, also one that cannot be a secret: one attempt for each client that a reading names.
    fn count_attempt(&self, presented: &SharedSecret) {
        let mut counted: Vec<&str> = Vec::new();
        for candidate in &presented.candidates {
            let Lookup::Live(record) = self.clients.lookup(&candidate.client_id) else { continue };
            let is_checked = record.auth_methods.has_secrets() && !self.is_locked(&record);
            if counted.contains(&candidate.client_id.as_str()) || !is_checked {
                continue;
            }
            counted.push(&candidate.client_id);
            let Lockout { client, .. } = &record.lockout;
            if let Some(value) = attempt_mac::fingerprint(self.keys, &client.uid, &candidate.secret) {
                self.clients.lockouts().record(&record.lockout, self.arrival.source, value, self.arrival.now);
            }
        }
    }

    /// A wrong secret costs a hash for each of its readings. So does every other failure, except one that the caller
    /// is informed of. While the client is locked, the response takes as long without a hash. Malformed or absent credentials
    /// cost nothing: the caller could detect them itself.
    async fn equalize_timing(&self, readings: &[Attempt<'_>]) -> Result<(), TokenError> {
        for reading in readings.iter().filter(|reading| reading.hashed.is_empty()) {
            let (value, strength) = match &reading.form {
                SecretFormat::Generated(presented) => (presented.expose_secret(), HashCost::Generated),
                SecretFormat::Foreign(value) => (*value, HashCost::Imported),
            };
            if reading.is_locked {
                self.hasher.pause(strength).await;
            } else {
                self.hasher.dummy_verify(self.keys, value, strength).await?;
            }
        }
        Ok(())
    }
}

impl<'r> ProvenCredential<'r> {
    pub(super) fn of_secret(secret: &'r SecretRecord, version: &'r SecretVersion) -> Self {
        Self {
            object: &secret.object,
            version_id: &version.id,
            disabled: secret.disabled.as_deref(),
            expires_at: secret.expires_at,
            accepted_until: version.accepted_until,
            networks: secret.networks.as_deref(),
            usages: secret.usages,
            grant: &secret.grant,
            authority: &secret.authority,
            memory: Some(&version.memory),
        }
    }
}

/// One well-formed reading of the credentials, and what was computed for it.
struct Attempt<'a> {
    client_id: &'a str,
    form: SecretFormat<'a>,
    hashed: Hashed,
    /// The secrets of the client are locked.
    is_locked: bool,
}

/// The versions, by UID and verifier, for which a hash was computed.
type Hashed = Vec<([u8; 16], Arc<str>)>;

impl<'a> Attempt<'a> {
    fn of(candidate: &'a ParsedCredentials) -> Option<Self> {
        let form = SecretFormat::of(&candidate.secret)?;
        Some(Self { client_id: &candidate.client_id, form, hashed: Hashed::new(), is_locked: false })
    }
}

/// What a presented value may be.
#[derive(Clone, Copy)]
enum SecretFormat<'a> {
    /// A generated value: it names its version, and its checksum is right.
    Generated(PresentedSecret<'a>),
    /// An imported value.
    Foreign(&'a str),
}

impl<'a> SecretFormat<'a> {
    /// `None` for what cannot be a secret: a mistyped generated value, or a value of an impossible length.
    fn of(value: &'a str) -> Option<Self> {
        match secret::parse(value) {
            Ok(presented) => Some(Self::Generated(presented)),
            Err(_) if value.starts_with(secret::PREFIX) => None,
            Err(_) => secret::IMPORTED_LENGTH.contains(&value.chars().count()).then_some(Self::Foreign(value)),
        }
    }

    fn value(&self) -> &'a str {
        match self {
            Self::Generated(presented) => presented.expose_secret(),
            Self::Foreign(value) => value,
        }
    }
}

pub(super) fn versions(record: &ClientRecord) -> impl Iterator<Item = (&SecretRecord, &Arc<SecretVersion>)> {
    record.secrets.iter().flat_map(|secret| secret.versions.iter().map(move |version| (secret, version)))
}
