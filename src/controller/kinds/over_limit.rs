//! Objects beyond the limit of their namespace: they are treated as absent, and their status reports this.
//!
//! They are not in memory, so the controller reads each one before it reports on it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::ListParams;
use kube::{Api, Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::api::access_group::AccessGroupStatus;
use crate::api::application::ApplicationStatus;
use crate::api::client_secret::ClientSecretStatus;
use crate::api::conditions::merge;
use crate::api::service_user::ServiceUserStatus;
use crate::api::{AccessGroup, Application, ClientSecret, ServiceUser};
use crate::cache::{ObjectRef, is_deleting};
use crate::clock::Clock;
use crate::controller::runtime::work_queue::Requeue;
use crate::controller::{Context, Error};
use crate::plan::limit;

/// The common parts of the statuses of Postern's kinds.
pub(crate) trait Reported: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned {
    type Status: Clone + Default + PartialEq + Serialize;

    fn api(client: Client, namespace: &str) -> Api<Self>;
    fn status(&self) -> Option<&Self::Status>;
    fn conditions(status: &mut Self::Status) -> &mut Vec<Condition>;
    fn reported(&self) -> &[Condition];
    fn observed(status: &mut Self::Status) -> &mut Option<i64>;
}

macro_rules! reported {
    ($kind:ty, $status:ty, |$client:ident, $namespace:ident| $api:expr) => {
        impl Reported for $kind {
            type Status = $status;

            fn api($client: Client, $namespace: &str) -> Api<Self> {
                $api
            }
            fn status(&self) -> Option<&$status> {
                self.status.as_ref()
            }
            fn conditions(status: &mut $status) -> &mut Vec<Condition> {
                &mut status.conditions
            }
            fn reported(&self) -> &[Condition] {
                self.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default()
            }
            fn observed(status: &mut $status) -> &mut Option<i64> {
                &mut status.observed_generation
            }
        }
    };
}

reported!(AccessGroup, AccessGroupStatus, |client, _namespace| Api::all(client));
reported!(ServiceUser, ServiceUserStatus, |client, namespace| Api::namespaced(client, namespace));
reported!(Application, ApplicationStatus, |client, namespace| Api::namespaced(client, namespace));
reported!(ClientSecret, ClientSecretStatus, |client, namespace| Api::namespaced(client, namespace));

impl<C: Clock> Context<C> {
    /// Reports that an object is beyond the limit. The rest of its status is unchanged, because the object may become
    /// active.
    pub(crate) async fn report_over_limit<K: Reported>(&self, key: &ObjectRef) -> Result<Requeue, Error> {
        let Some(object) = self.read::<K>(key).await?.filter(|object| !is_deleting(object)) else {
            return Ok(Requeue::AwaitChange);
        };
        let mut wanted = object.status().cloned().unwrap_or_default();
        let verdicts = limit::verdicts(&K::kind(&()), &key.namespace, self.settings.objects_per_namespace);
        let generation = object.meta().generation;
        let conditions = K::conditions(&mut wanted);
        *conditions = merge(conditions, verdicts, generation, self.clock.now());
        *K::observed(&mut wanted) = generation;
        self.write_status(&object, &wanted).await?;
        Ok(Requeue::AwaitChange)
    }

    /// Reads the current object. It uses a list, because the operator has only that permission for these kinds.
    async fn read<K: Reported>(&self, key: &ObjectRef) -> Result<Option<K>, Error> {
        let api = K::api(self.client.clone(), &key.namespace);
        let one = ListParams::default().fields(&format!("metadata.name={}", key.name));
        let found = api.list(&one).await.map_err(|source| Error::Api {
            step: "read",
            object: format!("{} {}/{}", K::kind(&()), key.namespace, key.name),
            source: Box::new(source),
        })?;
        Ok(found.items.into_iter().next())
    }
}
