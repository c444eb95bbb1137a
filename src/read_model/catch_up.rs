//! Ready means usable: before the replica rejects a well-formed credential as unknown, it makes sure that its index is
//! not stale.
//!
//! A consistent read of the objects that could make the credential known returns their newest resourceVersions. The
//! replica then waits until the read model serves them. [`CatchUpLimiter`] limits how often this happens.

use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::api::ListParams;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;

use super::catch_up_limiter::CatchUpLimiter;
use crate::api::client_id::is_client_id;
use crate::api::{AccessGroup, Application, ClientSecret, ServiceUser};
use crate::cache::{Kind, ObjectRef, revision};
use crate::oauth::client_store::CatchUpError;
use crate::replica_state::applied_revisions::RevisionTracker;
use crate::util::timing::duty_cycle::DutyCycle;
use crate::util::timing::single_flight::SingleFlight;

/// Objects in one page: a list in JSON takes some twenty times its size while it is decoded.
const PAGE: u32 = 100;
/// Pages of the ClientSecrets of one Application that are read for one credential. This is far more than can be active;
/// more ClientSecrets do not increase the work for each wrong credential.
const SECRET_PAGES: usize = 10;
/// A namespace that every cluster has. The objects of unknown clients are read there.
const UNKNOWN_NAMESPACE: &str = "default";
/// A name that no object has. An unknown client id may be the name of an object.
const UNKNOWN_NAME: &str = "_";

/// All clients share the read of the AccessGroups. It uses at most a quarter of one connection, however many groups and
/// callers there are. Only very slow reads use more: callers that wait for the next read must not time out.
const GROUP_READS: DutyCycle = DutyCycle { factor: 3, min: Duration::ZERO, max: Duration::from_millis(500) };

/// Reads from the API server what the read model does not serve yet.
pub(super) struct CatchUp {
    client: Client,
    limiter: CatchUpLimiter,
    groups: SingleFlight<u64>,
}

impl CatchUp {
    pub(super) fn new(client: Client) -> Self {
        Self { client, limiter: CatchUpLimiter::new(), groups: SingleFlight::new(GROUP_READS) }
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
        self.limiter.run_coalesced(client_id, credential, || self.read_and_wait(progress, client_id)).await
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
            self.groups.run(groups),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::client_id::RESERVED_PREFIXES;
    use crate::crypto::{opaque, secret};

    /// The prefixes in `api` equal those in `crypto`.
    #[test]
    fn a_generated_secret_or_token_is_not_looked_up_as_a_client_id() {
        for prefix in [secret::PREFIX, opaque::PREFIX] {
            assert!(RESERVED_PREFIXES.contains(&prefix) && !is_client_id(&format!("{prefix}k7Qd")), "{prefix}");
        }
    }
}
