//! Results of hashing imported values, kept until the reconciliation that requested the hash has used them.
//!
//! A hash takes tens of milliseconds and 19 MiB, so one is computed at a time, in a dedicated queue in which namespaces
//! take turns. No task waits for it: the ClientSecret is reconciled again after the hash.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::import::Found;
use crate::api::ClientSecret;
use crate::api::client_secret::{SourceStatus, Verification, Version, VersionState, uid_bytes};
use crate::cache::{ObjectRef, is_deleting};
use crate::clock::Clock;
use crate::controller::runtime::work_queue::{Queue, Requeue};
use crate::controller::{Context, Error};
use crate::crypto::install_key::{HashCost, key_id};
use crate::crypto::secret::SecretValue;
use crate::plan::client_secret::Issued;

/// The value of a source, compared with the newest version.
struct Checked {
    /// The source of the value.
    source: SourceStatus,
    /// Id of the version that the value was compared with, if that version is active.
    newest: Option<String>,
    value: Compared,
}

/// The result of the comparison.
#[derive(Clone, Debug)]
pub(crate) enum Compared {
    /// The value is that of the version. If an earlier install key verifies it: the verification under the current one.
    Same(Option<Verification>),
    /// The value differs; it is to be recorded as this version.
    Other(Issued),
}

/// The last result for each ClientSecret, without the value.
#[derive(Default)]
pub(crate) struct ImportChecks(Mutex<HashMap<ObjectRef, Checked>>);

impl ImportChecks {
    /// The result for the value of this source; `None`: it has to be hashed first.
    pub(crate) fn of(&self, key: &ObjectRef, source: &SourceStatus, newest: Option<&Version>) -> Option<Compared> {
        let all = self.lock();
        let checked = all.get(key).filter(|checked| checked.source == *source)?;
        (checked.newest.as_deref() == newest.map(|newest| newest.id.as_str())).then(|| checked.value.clone())
    }

    /// Stores a result.
    pub(crate) fn keep(&self, key: &ObjectRef, source: SourceStatus, newest: Option<String>, value: Compared) {
        self.lock().insert(key.clone(), Checked { source, newest, value });
    }

    /// Removes the result of a ClientSecret that needs none.
    pub(crate) fn forget(&self, key: &ObjectRef) {
        self.lock().remove(key);
    }

    /// Removes the results of deleted ClientSecrets.
    pub(crate) fn forget_unless(&self, is_there: impl Fn(&ObjectRef) -> bool) {
        self.lock().retain(|key, _| is_there(key));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ObjectRef, Checked>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hashes the value that a ClientSecret imports, then enqueues the ClientSecret for reconciliation.
pub(crate) async fn check<C: Clock>(
    secret: Arc<ClientSecret>,
    context: Arc<Context<C>>,
    secrets: Queue,
) -> Result<Requeue, Error> {
    let key = ObjectRef::of(secret.as_ref());
    if let Some(found) = context.read_import(&secret).await?.filter(|_| !is_deleting(secret.as_ref())) {
        let newest = active(&secret);
        let value = context.hashed(&secret, newest, found.value).await?;
        context.import_checks.keep(&key, found.source, newest.map(|newest| newest.id.clone()), value);
    }
    // The ClientSecret is enqueued even without a value to import: the reconciliation detects that.
    secrets.push(key);
    Ok(Requeue::AwaitChange)
}

/// The newest version, if it is active.
pub(crate) fn active(secret: &ClientSecret) -> Option<&Version> {
    let newest = secret.status.as_ref().and_then(|status| status.versions.first());
    newest.filter(|newest| newest.state == VersionState::Active)
}

impl<C: Clock> Context<C> {
    /// The value to import and the result of its hash; `None`: it has to be hashed first.
    pub(crate) async fn checked_import(&self, owner: &ClientSecret) -> Result<Option<(Found, Compared)>, Error> {
        let Some(found) = self.read_import(owner).await? else {
            return Err(Error::Conflict { object: crate::controller::gather::describe(owner) });
        };
        let compared = self.import_checks.of(&ObjectRef::of(owner), &found.source, active(owner));
        Ok(compared.map(|compared| (found, compared)))
    }

    async fn hashed(
        &self,
        owner: &ClientSecret,
        newest: Option<&Version>,
        value: SecretValue,
    ) -> Result<Compared, Error> {
        let (keys, uid) = (self.install_keys(), uid_bytes(&owner.metadata));
        let (verifier, now) = (newest.and_then(|newest| newest.verification.verifier.clone()), self.clock.now());
        let compare = move || {
            let hash = |value: &SecretValue| keys.hash(value.expose_secret(), uid, HashCost::Imported);
            if let Some(verifier) = verifier.filter(|verifier| keys.verify(verifier, value.expose_secret(), uid)) {
                let is_current = key_id(&verifier) == keys.current_id();
                let rekeyed = if is_current { None } else { Some(Verification::of_value(&hash(&value)?)) };
                return Ok(Compared::Same(rekeyed));
            }
            let value = super::issued_value::IssuedValue::imported(value, now);
            let verification = Verification::of_value(&hash(&value.text)?);
            Ok(Compared::Other(Issued { id: value.id, verification, at: value.at }))
        };
        let object = crate::controller::gather::describe(owner);
        match tokio::task::spawn_blocking(compare).await {
            Ok(compared) => compared.map_err(|source| Error::Hash { object, source }),
            Err(_) => Err(Error::Conflict { object }),
        }
    }
}
