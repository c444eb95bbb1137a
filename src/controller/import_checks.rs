//! Imported values that were hashed: what came of it, until the reconciliation that asked for it has used it.
//!
//! A hash takes tens of milliseconds and 19 MiB, so one is computed at a time, in a queue of its own that serves namespaces
//! in turns. Nothing waits for it: the ClientSecret is reconciled again when its turn was.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::import::Found;
use super::queue::{Next, Queue};
use super::{Context, Error};
use crate::api::ClientSecret;
use crate::api::client_secret::{SourceStatus, Version, VersionState, uid_bytes};
use crate::clock::Clock;
use crate::crypto::install_key::Strength;
use crate::crypto::secret::SecretValue;
use crate::model::{Key, is_deleting};
use crate::plan::client_secret::Issued;

/// The value of a source, compared with the newest version.
struct Checked {
    /// Where the value was found.
    source: SourceStatus,
    /// Id of the version that it was compared with, if that one is active.
    newest: Option<String>,
    value: Compared,
}

/// What the comparison gave.
#[derive(Clone, Debug)]
pub(super) enum Compared {
    /// It is the value of that version.
    Same,
    /// It is another one, as the version that it is to be recorded as.
    Other(Issued),
}

/// The last result for each ClientSecret. No value is kept.
#[derive(Default)]
pub(super) struct ImportChecks(Mutex<HashMap<Key, Checked>>);

impl ImportChecks {
    /// What came of the value of this source; `None`: it has to be hashed first.
    pub(super) fn of(&self, key: &Key, source: &SourceStatus, newest: Option<&Version>) -> Option<Compared> {
        let all = self.lock();
        let checked = all.get(key).filter(|checked| checked.source == *source)?;
        (checked.newest.as_deref() == newest.map(|newest| newest.id.as_str())).then(|| checked.value.clone())
    }

    /// Notes a result.
    pub(super) fn keep(&self, key: &Key, source: SourceStatus, newest: Option<String>, value: Compared) {
        self.lock().insert(key.clone(), Checked { source, newest, value });
    }

    /// Forgets the result of a ClientSecret that needs none any more.
    pub(super) fn forget(&self, key: &Key) {
        self.lock().remove(key);
    }

    /// Forgets the results of ClientSecrets that are not there any more.
    pub(super) fn forget_unless(&self, is_there: impl Fn(&Key) -> bool) {
        self.lock().retain(|key, _| is_there(key));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Checked>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hashes the value that a ClientSecret imports, then has it reconciled with the result.
pub(super) async fn check<C: Clock>(
    secret: Arc<ClientSecret>,
    context: Arc<Context<C>>,
    secrets: Queue,
) -> Result<Next, Error> {
    let key = Key::of(secret.as_ref());
    if let Some(found) = context.read_import(&secret).await?.filter(|_| !is_deleting(secret.as_ref())) {
        let newest = active(&secret);
        let value = context.hashed(&secret, newest, found.value).await?;
        context.import_checks.keep(&key, found.source, newest.map(|newest| newest.id.clone()), value);
    }
    // Also when there is nothing to import any more: then the reconciliation finds that out.
    secrets.push(key);
    Ok(Next::Change)
}

/// The newest version, if it is in force.
pub(super) fn active(secret: &ClientSecret) -> Option<&Version> {
    let newest = secret.status.as_ref().and_then(|status| status.versions.first());
    newest.filter(|newest| newest.state == VersionState::Active)
}

impl<C: Clock> Context<C> {
    /// The value to import and what came of its hash; `None`: it has to be hashed first.
    pub(super) async fn checked_import(&self, owner: &ClientSecret) -> Result<Option<(Found, Compared)>, Error> {
        let Some(found) = self.read_import(owner).await? else {
            return Err(Error::Unsettled { object: super::gather::describe(owner) });
        };
        let compared = self.import_checks.of(&Key::of(owner), &found.source, active(owner));
        Ok(compared.map(|compared| (found, compared)))
    }

    async fn hashed(
        &self,
        owner: &ClientSecret,
        newest: Option<&Version>,
        value: SecretValue,
    ) -> Result<Compared, Error> {
        let (keys, uid) = (Arc::clone(&self.install_keys), uid_bytes(&owner.metadata));
        let (verifier, now) = (newest.map(|newest| newest.verifier.clone()), self.clock.now());
        let compare = move || {
            if verifier.is_some_and(|verifier| keys.verify(&verifier, value.expose_secret(), uid)) {
                return Ok(Compared::Same);
            }
            let value = super::value::Value::imported(value, now);
            let verifier = keys.hash(value.text.expose_secret(), uid, Strength::Imported);
            verifier.map(|verifier| Compared::Other(Issued { id: value.id, verifier, at: value.at }))
        };
        let object = super::gather::describe(owner);
        match tokio::task::spawn_blocking(compare).await {
            Ok(compared) => compared.map_err(|source| Error::Hash { object, source }),
            Err(_) => Err(Error::Unsettled { object }),
        }
    }
}
