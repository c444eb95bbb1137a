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
use crate::oauth::client_store::{CatchUpError, ClientRef};
use crate::replica_state::applied_revisions::RevisionTracker;
use crate::util::timing::duty_cycle::DutyCycle;
use crate::util::timing::single_flight::SingleFlight;

/// Objects in one page: a list in JSON takes some twenty times its size while it is decoded.
const PAGE: u32 = 100;
/// Pages of one kind that are read for one credential. This is far more than the ClientSecrets of one Application that can
/// be active; more objects do not increase the work for each wrong credential.
const PAGES: usize = 10;
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
        client: &ClientRef<'_>,
        credential: &str,
    ) -> Result<(), CatchUpError> {
        match client {
            // No object has any other client id, and other characters could change the field selector.
            ClientRef::Id(id) | ClientRef::Signer { id, .. } if !is_client_id(id) => Ok(()),
            ClientRef::Id(id) => self.limiter.run_coalesced(id, credential, || self.read_and_wait(progress, id)).await,
            ClientRef::Signer { id, .. } => {
                self.limiter.run_coalesced(id, credential, || self.read_signer(progress, id)).await
            }
            ClientRef::ServiceAccount { namespace, .. } => {
                let read = || self.read_namespace(progress, namespace);
                self.limiter.run_coalesced(credential, credential, read).await
            }
        }
    }

    /// By client id and by subject: a caller does not learn which of them it is.
    async fn read_signer(&self, progress: &RevisionTracker, id: &str) -> kube::Result<()> {
        self.read_and_wait(progress, id).await?;
        let of_subject = self.application("status.subject", id).await?;
        let namespace = of_subject.and_then(|application| application.meta().namespace.clone());
        self.read_namespace(progress, namespace.as_deref().unwrap_or(UNKNOWN_NAMESPACE)).await
    }

    /// The Applications of a namespace, and what their permissions depend on.
    async fn read_namespace(&self, progress: &RevisionTracker, namespace: &str) -> kube::Result<()> {
        let applications = Api::<PartialObjectMeta<Application>>::namespaced(self.client.clone(), namespace);
        let applications = newest_of(applications, "", PAGES).await?;
        let mut newest = self.newest(namespace, "", "").await?;
        newest.push((Kind::Application, applications));
        progress.wait_for(&newest).await;
        Ok(())
    }

    async fn read_and_wait(&self, progress: &RevisionTracker, client_id: &str) -> kube::Result<()> {
        let newest = match self.application("status.clientId", client_id).await? {
            Some(DeserializeGuard(Ok(application))) => {
                let key = ObjectRef::of(&application);
                let (user, secrets) = selectors(&key.name, &application.spec.service_user_ref.name);
                let mut newest = self.newest(&key.namespace, &user, &secrets).await?;
                newest.push((Kind::Application, revision(&application)));
                newest
            }
            Some(undecodable) => vec![(Kind::Application, revision(&undecodable))],
            // The duration must not reveal that there is no such client: the same reads, which find no secret.
            None => {
                let (user, secrets) = selectors(UNKNOWN_NAME, UNKNOWN_NAME);
                self.newest(UNKNOWN_NAMESPACE, &user, &secrets).await?
            }
        };
        progress.wait_for(&newest).await;
        Ok(())
    }

    /// An Application by a field of its status: a client id that is not in status is not ready either.
    async fn application(&self, field: &str, value: &str) -> kube::Result<Option<DeserializeGuard<Application>>> {
        let selector = format!("{field}={value}");
        let api: Api<DeserializeGuard<Application>> = Api::all(self.client.clone());
        Ok(api.list(&ListParams::default().fields(&selector)).await?.items.into_iter().next())
    }

    /// The newest resourceVersions of the objects that the credentials and permissions of Applications depend on. `users`
    /// and `secrets` are field selectors.
    async fn newest(&self, namespace: &str, users: &str, secrets: &str) -> kube::Result<Vec<(Kind, u64)>> {
        let client = &self.client;
        let own_namespace = format!("metadata.name={namespace}");
        let groups = || newest_of(Api::<PartialObjectMeta<AccessGroup>>::all(client.clone()), "", usize::MAX);
        let (users, secrets, groups, namespaces) = tokio::try_join!(
            newest_of(Api::<PartialObjectMeta<ServiceUser>>::namespaced(client.clone(), namespace), users, PAGES),
            newest_of(Api::<PartialObjectMeta<ClientSecret>>::namespaced(client.clone(), namespace), secrets, PAGES),
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

/// The field selectors of the service user and of the ClientSecrets of an Application.
fn selectors(application: &str, user: &str) -> (String, String) {
    (format!("metadata.name={user}"), format!("spec.applicationRef.name={application}"))
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
