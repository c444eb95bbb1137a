//! Ready means usable: before the replica rejects a well-formed credential as unknown, it makes sure that its index is
//! not stale.
//!
//! A consistent read of the objects that could make the credential known returns their newest resourceVersions. The
//! replica then waits until the read model serves them. [`CatchUpLimiter`] limits how often this happens.

use std::future::Future;
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::api::ListParams;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::catch_up_limiter::CatchUpLimiter;
use crate::api::client_id::is_client_id;
use crate::api::{AccessGroup, Application, ClientSecret, ServiceUser};
use crate::cache::{Kind, ObjectRef, revision};
use crate::oauth::client_store::CatchUpError;
use crate::replica_state::applied_revisions::RevisionTracker;

/// Objects in one page: a list in JSON takes some twenty times its size while it is decoded.
const PAGE: u32 = 100;
/// Pages of the ClientSecrets of one Application that are read for one credential. This is far more than can be active;
/// more ClientSecrets do not increase the work for each wrong credential.
const SECRET_PAGES: usize = 10;
/// A namespace that every cluster has. The objects of unknown clients are read there.
const UNKNOWN_NAMESPACE: &str = "default";
/// A name that no object has. An unknown client id may be the name of an object.
const UNKNOWN_NAME: &str = "_";

/// Reads from the API server what the read model does not serve yet.
pub(super) struct CatchUp {
    client: Client,
    looks: CatchUpLimiter,
    groups: SingleFlight,
}

impl CatchUp {
    pub(super) fn new(client: Client) -> Self {
        Self { client, looks: CatchUpLimiter::new(), groups: SingleFlight::default() }
    }

    /// Returns `Ok` when the read model serves everything that the API server knew of the client after this call began. If
    /// the same credential was looked up shortly before, the state at that time is sufficient.
    pub(super) async fn run(
        &self,
        progress: &RevisionTracker,
        client_id: &str,
        credential: &str,
    ) -> Result<(), CatchUpError> {
        // No object has any other client id, and other characters could change the field selector.
        if !is_client_id(client_id) {
            return Ok(());
        }
        self.looks.run_coalesced(client_id, credential, || self.read_and_wait(progress, client_id)).await
    }

    async fn read_and_wait(&self, progress: &RevisionTracker, client_id: &str) -> kube::Result<()> {
        let newest = match self.application(client_id).await? {
            Some(DeserializeGuard(Ok(application))) => {
                let key = ObjectRef::of(&application);
                let mut newest = self.newest(&key, &application.spec.service_user_ref.name).await?;
                newest.push((Kind::Application, revision(&application)));
                newest
            }
            Some(undecodable) => vec![(Kind::Application, revision(&undecodable))],
            // The duration must not reveal that there is no such client: the same reads, which find no secret.
            None => self.newest(&ObjectRef::new(UNKNOWN_NAMESPACE, UNKNOWN_NAME), UNKNOWN_NAME).await?,
        };
        progress.wait_for(&newest).await;
        Ok(())
    }

    /// The Application with this client id, by its status: a client id that is not in status is not ready either.
    async fn application(&self, client_id: &str) -> kube::Result<Option<DeserializeGuard<Application>>> {
        let selector = format!("status.clientId={client_id}");
        let api: Api<DeserializeGuard<Application>> = Api::all(self.client.clone());
        Ok(api.list(&ListParams::default().fields(&selector)).await?.items.into_iter().next())
    }

    /// The newest resourceVersions of the objects that the credentials and permissions of an Application depend on.
    async fn newest(&self, application: &ObjectRef, user: &str) -> kube::Result<Vec<(Kind, u64)>> {
        let (namespace, client) = (&application.namespace, &self.client);
        let user = format!("metadata.name={user}");
        let secrets = format!("spec.applicationRef.name={}", application.name);
        let own_namespace = format!("metadata.name={namespace}");
        let groups = || newest_of(Api::<PartialObjectMeta<AccessGroup>>::all(client.clone()), "", usize::MAX);
        let (users, secrets, groups, namespaces) = tokio::try_join!(
            newest_of(Api::<PartialObjectMeta<ServiceUser>>::namespaced(client.clone(), namespace), &user, 1),
            newest_of(
                Api::<PartialObjectMeta<ClientSecret>>::namespaced(client.clone(), namespace),
                &secrets,
                SECRET_PAGES
            ),
            self.groups.read(groups),
            newest_of(Api::<PartialObjectMeta<Namespace>>::all(client.clone()), &own_namespace, 1),
        )?;
        Ok(vec![
            (Kind::ServiceUser, users),
            (Kind::ClientSecret, secrets),
            (Kind::AccessGroup, groups),
            (Kind::Namespace, namespaces),
        ])
    }
}

/// The newest resourceVersion among the objects that `fields` selects, by a consistent read of their metadata; 0 if
/// there are none. At most `pages` pages are read.
async fn newest_of<K>(api: Api<PartialObjectMeta<K>>, fields: &str, pages: usize) -> kube::Result<u64>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    let mut page = ListParams::default().fields(fields).limit(PAGE);
    let mut newest = 0;
    for _ in 0..pages {
        let list = api.list(&page).await?;
        newest = list.items.iter().map(revision).chain([newest]).max().unwrap_or_default();
        match list.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => break,
        }
    }
    Ok(newest)
}

/// The longest pause between two reads: callers that wait for the next read must not time out.
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// Single-flight for reads that all clients share. Callers that arrive during a read share the next one. The interval
/// between two reads is at least four times the duration of the last one, so reads use at most a quarter of one
/// connection, however many groups and callers there are. Only very slow reads use more.
#[derive(Default)]
struct SingleFlight(Mutex<Option<Flight>>);

struct Flight {
    began: Instant,
    took: Duration,
    newest: u64,
}

impl SingleFlight {
    /// The result of `read`, or of another read that began after this call.
    async fn read<F>(&self, read: impl FnOnce() -> F) -> kube::Result<u64>
    where
        F: Future<Output = kube::Result<u64>>,
    {
        let came = Instant::now();
        let mut last = self.0.lock().await;
        if let Some(last) = &*last {
            if last.began >= came {
                return Ok(last.newest);
            }
            tokio::time::sleep_until(last.began + last.took + (3 * last.took).min(PAUSE_MAX)).await;
        }
        let began = Instant::now();
        let newest = read().await?;
        *last = Some(Flight { began, took: began.elapsed(), newest });
        Ok(newest)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::api::client_id::RESERVED_PREFIXES;
    use crate::crypto::{opaque, secret};

    #[tokio::test(start_paused = true)]
    async fn however_many_come_each_has_a_read_that_began_after_it_and_few_are_made() {
        let (turns, reads) = (SingleFlight::default(), Cell::new(0));
        let read = || async {
            reads.set(reads.get() + 1);
            let found = reads.get();
            tokio::time::sleep(Duration::from_millis(100)).await;
            Ok(found)
        };
        let one = async |after: u64| {
            tokio::time::sleep(Duration::from_millis(after)).await;
            let before = reads.get();
            let found = turns.read(read).await.unwrap();
            assert!(found > before, "{found} had begun before");
        };
        futures::future::join_all((0..1_000).map(one)).await;
        assert_eq!(reads.get(), 4, "at 0, 400, 800 and 1200 ms");
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_that_takes_long_does_not_put_off_the_next_for_as_long_as_that() {
        let turns = SingleFlight::default();
        let slow = || async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok(1)
        };
        let start = Instant::now();
        turns.read(slow).await.unwrap();
        turns.read(|| async { Ok(2) }).await.unwrap();
        assert_eq!(start.elapsed(), Duration::from_millis(1_500));
    }

    #[tokio::test]
    async fn a_read_that_failed_is_nobody_s() {
        let turns = SingleFlight::default();
        let away = || async { Err(kube::Error::LinesCodecMaxLineLengthExceeded) };
        assert!(turns.read(away).await.is_err());
        assert_eq!(turns.read(|| async { Ok(7) }).await.unwrap(), 7);
    }

    /// The prefixes in `api` equal those in `crypto`.
    #[test]
    fn a_generated_secret_or_token_is_not_looked_up_as_a_client_id() {
        for prefix in [secret::PREFIX, opaque::PREFIX] {
            assert!(RESERVED_PREFIXES.contains(&prefix) && !is_client_id(&format!("{prefix}k7Qd")), "{prefix}");
        }
    }
}
