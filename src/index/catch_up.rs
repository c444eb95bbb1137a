//! Ready means usable: before a well-formed credential is refused as unknown, the replica makes sure that it is not
//! merely behind.
//!
//! A consistent read of the objects that could make the credential known gives their newest resourceVersions; then it
//! waits until the index serves them. How often, is for [`Looks`] to say.

use k8s_openapi::api::core::v1::Namespace;
use kube::api::ListParams;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;

use super::looks::Looks;
use super::progress::Progress;
use crate::api::{AccessGroup, Application, ClientSecret, ServiceUser};
use crate::model::{Key, Kind, revision};
use crate::oauth::client::{CatchUpError, has_form_of_client_id};

/// A namespace of every cluster, where those who are not there are looked for.
const NOBODYS: &str = "default";

/// Looks behind the index.
pub(super) struct CatchUp {
    client: Client,
    looks: Looks,
}

impl CatchUp {
    pub(super) fn new(client: Client) -> Self {
        Self { client, looks: Looks::new() }
    }

    /// Returns `Ok` when the index serves all that the API server knew of the client after this call began, or a moment
    /// before, if the same credential was looked up then.
    pub(super) async fn run(&self, progress: &Progress, client_id: &str, credential: &str) -> Result<(), CatchUpError> {
        // What is no UUID cannot be in a status, nor should it reach the API server.
        if !has_form_of_client_id(client_id) {
            return Ok(());
        }
        self.looks.look(client_id, credential, || self.read_and_wait(progress, client_id)).await
    }

    async fn read_and_wait(&self, progress: &Progress, client_id: &str) -> kube::Result<()> {
        let newest = match self.application(client_id).await? {
            Some(DeserializeGuard(Ok(application))) => {
                let key = Key::of(&application);
                let mut newest = self.newest(&key, &application.spec.service_user_ref.name).await?;
                newest.push((Kind::Application, revision(&application)));
                newest
            }
            Some(undecodable) => vec![(Kind::Application, revision(&undecodable))],
            // How long it takes must not tell that there is no such client: the same reads, which find no secret.
            None => self.newest(&Key::new(NOBODYS, client_id), client_id).await?,
        };
        progress.wait_for(&newest).await;
        Ok(())
    }

    /// The application with this client id, by its status: a client id that is not there yet is not ready either.
    async fn application(&self, client_id: &str) -> kube::Result<Option<DeserializeGuard<Application>>> {
        let selector = format!("status.clientId={client_id}");
        let api: Api<DeserializeGuard<Application>> = Api::all(self.client.clone());
        Ok(api.list(&ListParams::default().fields(&selector)).await?.items.into_iter().next())
    }

    /// The newest resourceVersions of what the credentials of an application, and what they may do, depend on.
    async fn newest(&self, application: &Key, user: &str) -> kube::Result<Vec<(Kind, u64)>> {
        let (namespace, client) = (&application.namespace, &self.client);
        let user = format!("metadata.name={user}");
        let secrets = format!("spec.applicationRef.name={}", application.name);
        let own_namespace = format!("metadata.name={namespace}");
        let (users, secrets, groups, namespaces) = tokio::try_join!(
            newest_of(Api::<PartialObjectMeta<ServiceUser>>::namespaced(client.clone(), namespace), &user),
            newest_of(Api::<PartialObjectMeta<ClientSecret>>::namespaced(client.clone(), namespace), &secrets),
            newest_of(Api::<PartialObjectMeta<AccessGroup>>::all(client.clone()), ""),
            newest_of(Api::<PartialObjectMeta<Namespace>>::all(client.clone()), &own_namespace),
        )?;
        Ok(vec![
            (Kind::ServiceUser, users),
            (Kind::ClientSecret, secrets),
            (Kind::AccessGroup, groups),
            (Kind::Namespace, namespaces),
        ])
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_a_client_id_is_not_looked_up() {
        assert!(has_form_of_client_id("3f0c3a52-9d55-4d0e-8b6a-0f1f2a6f5c1e"));
        for other in ["", "unknown", "3f0c3a52-9d55-4d0e-8b6a-0f1f2a6f5c1e,metadata.name=x", &"é".repeat(18)] {
            assert!(!has_form_of_client_id(other), "{other}");
        }
    }
}
