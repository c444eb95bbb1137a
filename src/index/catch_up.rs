//! Ready means usable: before a well-formed credential is refused as unknown, the replica makes sure that it is not
//! merely behind.
//!
//! A consistent read of the objects that could make the credential known gives their newest resourceVersions; then it
//! waits until the index serves them. Requests for the same client share a read that began after they came; reads are
//! bounded in number, and their answer is remembered for the time in which no further ones are allowed.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex as Lock, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Namespace;
use kube::api::ListParams;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;

use super::progress::Progress;
use crate::api::{AccessGroup, Application, ClientSecret, ServiceUser};
use crate::model::{Key, Kind, revision};
use crate::oauth::client::CatchUpError;

/// Reads a second, on average and at most at once. Each costs the API server some small lists; honest clients need
/// one for each credential that is newer than this replica's watch.
const READS: f64 = 20.0;
/// How long a request waits for the API server and the watch. Longer than a healthy watch ever lags, shorter than what
/// OAuth clients wait for.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long it is remembered that a credential does not exist. Used only while no further read is allowed.
const MEMORY: Duration = Duration::from_secs(10);
/// Credentials that are remembered; with more, all are forgotten.
const REMEMBERED_MAX: usize = 4096;
/// Requests of different clients that share a slot do not share reads, they only wait for each other.
const SLOTS: usize = 64;

/// Looks behind the index.
pub(super) struct CatchUp {
    client: Client,
    slots: Vec<Mutex<LastRead>>,
    hasher: RandomState,
    budget: Lock<Budget>,
    unknown: Lock<HashMap<u64, Instant>>,
}

/// The last read of a slot.
#[derive(Default)]
struct LastRead {
    client_id: String,
    began: Option<Instant>,
    result: Option<Result<(), CatchUpError>>,
}

impl CatchUp {
    pub(super) fn new(client: Client) -> Self {
        Self {
            client,
            slots: (0..SLOTS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            budget: Lock::new(Budget { tokens: READS, filled: Instant::now() }),
            unknown: Lock::default(),
        }
    }

    /// Returns `Ok` when the index serves all that the API server knew of the client after this call began.
    pub(super) async fn run(&self, progress: &Progress, client_id: &str, credential: &str) -> Result<(), CatchUpError> {
        let came = Instant::now();
        let slot = usize::try_from(self.hasher.hash_one(client_id)).unwrap_or_default() % SLOTS;
        let Some(slot) = self.slots.get(slot) else { return Err(CatchUpError::Behind) };
        let mut last = slot.lock().await;
        if last.client_id == client_id
            && last.began.is_some_and(|began| began >= came)
            && let Some(result) = last.result
        {
            return result;
        }
        let credential = self.hasher.hash_one((client_id, credential));
        if !self.budget.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now()) {
            return if self.is_known_to_be_unknown(credential) { Ok(()) } else { Err(CatchUpError::RateLimited) };
        }
        last.began = Some(Instant::now());
        client_id.clone_into(&mut last.client_id);
        let result = match tokio::time::timeout(PATIENCE, self.read_and_wait(progress, client_id)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                tracing::warn!(%error, "could not ask the API server about a credential");
                Err(CatchUpError::Behind)
            }
            Err(_) => Err(CatchUpError::Behind),
        };
        last.result = Some(result);
        if result.is_ok() {
            self.remember(credential);
        }
        result
    }

    async fn read_and_wait(&self, progress: &Progress, client_id: &str) -> kube::Result<()> {
        match self.application(client_id).await? {
            Some(DeserializeGuard(Ok(application))) => progress.wait_for(&self.newest(&application).await?).await,
            Some(undecodable) => progress.wait_for(&[(Kind::Application, revision(&undecodable))]).await,
            None => {}
        }
        Ok(())
    }

    /// The application with this client id, by its status: a client id that is not there yet is not ready either.
    async fn application(&self, client_id: &str) -> kube::Result<Option<DeserializeGuard<Application>>> {
        let selector = format!("status.clientId={client_id}");
        let api: Api<DeserializeGuard<Application>> = Api::all(self.client.clone());
        // A client id that is not a UUID cannot be in a status, nor should it reach the API server.
        if client_id.len() != 36 || !client_id.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-') {
            return Ok(None);
        }
        Ok(api.list(&ListParams::default().fields(&selector)).await?.items.into_iter().next())
    }

    /// The newest resourceVersions of what the credentials of `application`, and what they may do, depend on.
    async fn newest(&self, application: &Application) -> kube::Result<Vec<(Kind, u64)>> {
        let key = Key::of(application);
        let (namespace, client) = (&key.namespace, &self.client);
        let user = format!("metadata.name={}", application.spec.service_user_ref.name);
        let secrets = format!("spec.applicationRef.name={}", key.name);
        let own_namespace = format!("metadata.name={namespace}");
        let (users, secrets, groups, namespaces) = tokio::try_join!(
            newest_of(Api::<PartialObjectMeta<ServiceUser>>::namespaced(client.clone(), namespace), &user),
            newest_of(Api::<PartialObjectMeta<ClientSecret>>::namespaced(client.clone(), namespace), &secrets),
            newest_of(Api::<PartialObjectMeta<AccessGroup>>::all(client.clone()), ""),
            newest_of(Api::<PartialObjectMeta<Namespace>>::all(client.clone()), &own_namespace),
        )?;
        Ok(vec![
            (Kind::Application, revision(application)),
            (Kind::ServiceUser, users),
            (Kind::ClientSecret, secrets),
            (Kind::AccessGroup, groups),
            (Kind::Namespace, namespaces),
        ])
    }

    fn remember(&self, credential: u64) {
        let mut unknown = self.unknown.lock().unwrap_or_else(PoisonError::into_inner);
        if unknown.len() >= REMEMBERED_MAX {
            unknown.clear();
        }
        unknown.insert(credential, Instant::now());
    }

    fn is_known_to_be_unknown(&self, credential: u64) -> bool {
        let unknown = self.unknown.lock().unwrap_or_else(PoisonError::into_inner);
        unknown.get(&credential).is_some_and(|since| since.elapsed() < MEMORY)
    }
}

/// The newest resourceVersion among the objects that `fields` selects, by a consistent read of their metadata; 0 if there
/// are none.
async fn newest_of<K>(api: Api<PartialObjectMeta<K>>, fields: &str) -> kube::Result<u64>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    let list = api.list(&ListParams::default().fields(fields)).await?;
    Ok(list.items.iter().map(revision).max().unwrap_or_default())
}

/// A token bucket.
struct Budget {
    tokens: f64,
    filled: Instant,
}

impl Budget {
    fn take(&mut self, now: Instant) -> bool {
        self.tokens = (self.tokens + now.duration_since(self.filled).as_secs_f64() * READS).min(READS);
        self.filled = now;
        let enough = self.tokens >= 1.0;
        if enough {
            self.tokens -= 1.0;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_fills_up_again_and_never_above_its_size() {
        let start = Instant::now();
        let mut budget = Budget { tokens: READS, filled: start };
        assert_eq!((0..100).filter(|_| budget.take(start)).count(), 20);
        assert_eq!((0..100).filter(|_| budget.take(start + Duration::from_millis(500))).count(), 10);
        assert_eq!((0..100).filter(|_| budget.take(start + Duration::from_hours(1))).count(), 20);
    }
}
