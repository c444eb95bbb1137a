//! Shared secrets (`client_secret_basic`, `client_secret_post`). Order: form and checksum of the secret → client →
//! version → value. A refusal that an unseen change could turn into a success is sent only after catching up (design:
//! ready means usable).
//!
//! An imported value names no version: it is compared with every valid imported version of the client. Each comparison
//! costs a password hash, so none is computed twice for one request, and a client without imported versions costs one
//! too. The time of a refusal reveals only that a client has several valid imported values.

mod reading;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::presented::{ClientCredential, SharedSecret};
use super::{Authenticated, Authenticator, Method, ProvenCredential};
use crate::crypto::attempt_mac;
use crate::crypto::install_key::HashCost;
use crate::crypto::secret::PresentedSecret;
use crate::oauth::client_record::{ClientRecord, SecretRecord, SecretVersion, Verification};
use crate::oauth::client_store::{ClientRef, ClientStore, Lookup};
use crate::oauth::error::{ClientError, TokenError, Unavailable};
use crate::oauth::hash_pool::HashPool;
use crate::oauth::lockout::{Lockout, NotChecked};
use reading::{Reading, SecretFormat};

impl<C: ClientStore> Authenticator<'_, C> {
    pub(super) async fn shared_secret(&self, presented: &SharedSecret) -> Result<Authenticated, TokenError> {
        let mut readings = Reading::all(presented);
        if readings.len() > 1 {
            // Another reading than the one that is known to be correct would cost a hash each time.
            readings.sort_by_cached_key(|reading| !self.is_cached(reading));
        }
        let mut outcome = self.try_all(&mut readings, presented.method).await;
        if let Err(TokenError::Client(error)) = &outcome
            && error.may_be_behind()
        {
            outcome = match self.catch_up(&readings).await {
                Ok(()) => self.try_all(&mut readings, presented.method).await,
                Err(error) => Err(error),
            };
        }
        if Reading::are_wrong(&mut readings) {
            self.is_guess.store(true, Ordering::Relaxed);
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
    async fn try_all<'a>(&'a self, readings: &mut [Reading<'a>], method: Method) -> Result<Authenticated, TokenError> {
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

    async fn try_one<'a>(&'a self, reading: &mut Reading<'a>, method: Method) -> Result<Authenticated, TokenError> {
        let client = self.clients.lookup(reading.client_id);
        let record = client.live()?;
        // A client without such a method has no secrets, whatever ClientSecrets it has.
        if !record.auth_methods.has_secrets() {
            return Err(ClientError::SecretsNotAllowed(record.application.clone()).into());
        }
        reading.is_locked = self.is_locked(record);
        if reading.is_locked {
            return Err(ClientError::Locked(record.application.clone()).into());
        }
        let (secret, version) = match reading.form {
            SecretFormat::Generated(presented) => self.generated(record, presented, reading).await?,
            SecretFormat::Foreign(value) => self.imported(record, value, reading).await?,
        };
        reading.matched();
        Ok(self.admit(record, method, &ProvenCredential::of_secret(secret, version))?)
    }

    /// The version that a generated value names.
    async fn generated<'a, 'r>(
        &'a self,
        record: &'r ClientRecord,
        presented: PresentedSecret<'_>,
        reading: &mut Reading<'a>,
    ) -> Result<(&'r SecretRecord, &'r Arc<SecretVersion>), TokenError> {
        let is_named = |version: &SecretVersion| {
            version.id == presented.version_id() && matches!(version.verification, Verification::Generated(_))
        };
        let found = versions(record).find(|(_, version)| is_named(version));
        let Some((secret, version)) = found else {
            return Err(ClientError::UnknownSecret(record.application.clone()).into());
        };
        if !self.verify(record, secret, version, reading).await? {
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
    async fn imported<'a, 'r>(
        &'a self,
        record: &'r ClientRecord,
        value: &str,
        reading: &mut Reading<'a>,
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
            if self.verify(record, secret, version, reading).await? {
                return Ok((secret, version));
            }
        }
        let recognised = ended.into_iter().find(|(secret, version)| HashPool::is_cached(secret, version, value));
        recognised.ok_or_else(|| ClientError::UnknownSecret(record.application.clone()).into())
    }

    /// Whether it is a generated secret that is valid and was verified before: nobody has guessed it.
    pub(crate) fn is_verified(&self, presented: &ClientCredential) -> bool {
        let ClientCredential::SharedSecret(secret) = presented else { return false };
        let mut readings = Reading::all(secret).into_iter();
        readings.any(|reading| matches!(reading.form, SecretFormat::Generated(_)) && self.is_cached(&reading))
    }

    /// Whether the value of this reading is valid and was verified before.
    fn is_cached(&self, reading: &Reading<'_>) -> bool {
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
    ///
    /// Other requests may have checked wrong values while this one waited for the permit, so the lock is checked again. A
    /// wrong imported value is pending before the next request gets the permit.
    async fn verify<'a>(
        &'a self,
        record: &ClientRecord,
        secret: &SecretRecord,
        version: &Arc<SecretVersion>,
        reading: &mut Reading<'a>,
    ) -> Result<bool, TokenError> {
        let value = reading.form.value();
        if HashPool::is_cached(secret, version, value) {
            return Ok(true);
        }
        if version.verification.verifier().is_none() || reading.is_tried(secret, version) {
            return Ok(false);
        }
        let verifier = version.verification.verifier();
        if self.may_lack_keys && verifier.is_some_and(|verifier| self.keys.unknown_key(verifier).is_some()) {
            return Err(Unavailable::Behind.into());
        }
        let permit = self.hasher.permit(secret, version).await?;
        // Pods that start together present the same value.
        if HashPool::is_cached(secret, version, value) {
            return Ok(true);
        }
        let (lockouts, arrival) = (self.clients.lockouts(), self.arrival);
        let fingerprint = attempt_mac::fingerprint(self.keys, &record.lockout.client.uid, reading.counted);
        let fingerprint = fingerprint.ok_or(Unavailable::NoKey)?;
        match lockouts.may_check(&record.lockout, arrival.source, fingerprint, arrival.now) {
            Ok(()) => {}
            Err(NotChecked::Locked) => {
                reading.is_locked = true;
                return Err(ClientError::Locked(record.application.clone()).into());
            }
            Err(NotChecked::Pending) => return Err(Unavailable::Overloaded.into()),
        }
        let (right, _permit) = self.hasher.verify(permit, self.keys, secret, version, value).await?;
        let wrong = (!right).then(|| lockouts.pending(&record.lockout, arrival.source, fingerprint, arrival.now));
        reading.tried(secret, version, wrong);
        Ok(right)
    }

    async fn catch_up(&self, readings: &[Reading<'_>]) -> Result<(), TokenError> {
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
    async fn equalize_timing(&self, readings: &[Reading<'_>]) -> Result<(), TokenError> {
        for reading in readings.iter().filter(|reading| !reading.is_hashed()) {
            let (value, strength) = match &reading.form {
                SecretFormat::Generated(presented) => (presented.expose_secret(), HashCost::Generated),
                SecretFormat::Foreign(value) => (*value, HashCost::Imported),
            };
            if reading.is_locked {
                self.hasher.pause(self.keys, value, strength).await?;
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

pub(super) fn versions(record: &ClientRecord) -> impl Iterator<Item = (&SecretRecord, &Arc<SecretVersion>)> {
    record.secrets.iter().flat_map(|secret| secret.versions.iter().map(move |version| (secret, version)))
}
