//! The only reads: from the stores, and, where only the API server can tell, from the API server.

use k8s_openapi::api::core::v1::Secret;
use kube::core::PartialObjectMeta;
use kube::{Api, Resource, ResourceExt};

use super::propagation::needed;
use super::{Context, Error};
use crate::api::authority::{narrow, scopes};
use crate::api::client_secret::{Version, VersionState};
use crate::api::conditions::{reasons, types};
use crate::api::names::{COMPONENT_LABEL, CONTENT_ANNOTATION, ISSUED_ANNOTATION, MANAGED_BY_LABEL, VERSION_ANNOTATION};
use crate::api::precedence::uid_number;
use crate::api::{Application, ClientSecret, ServiceUser};
use crate::clock::Clock;
use crate::model::{DeliveredSecret, Key, Part};
use crate::plan::application::{self, Observed as ApplicationObserved};
use crate::plan::client_secret::{ApplicationState, Delivered};
use crate::plan::content::Content;

/// An application with what its status is decided from.
pub(super) struct ApplicationFacts {
    pub(super) user: Option<std::sync::Arc<ServiceUser>>,
    pub(super) authority: crate::api::authority::Authority,
    pub(super) client_id_taken_by: Option<String>,
}

impl ApplicationFacts {
    pub(super) fn observed<'a, C: Clock>(
        &'a self,
        context: &Context<C>,
        application: &'a Application,
        secrets: (usize, usize),
    ) -> ApplicationObserved<'a> {
        ApplicationObserved {
            application,
            user: self.user.as_deref(),
            authority: &self.authority,
            client_id_taken_by: self.client_id_taken_by.clone(),
            served: context.propagation.is_served(needed(application, self.user.as_deref(), &context.model)),
            secrets,
            secrets_limit: context.settings.policy.limit,
            token_lifetime_max_seconds: context.settings.token_lifetime_max.as_secs(),
            now: context.clock.now(),
        }
    }
}

impl<C: Clock> Context<C> {
    pub(super) fn application_facts(&self, application: &Application) -> ApplicationFacts {
        let namespace = application.namespace().unwrap_or_default();
        let user = self.model.user(&Key::new(&namespace, &application.spec.service_user_ref.name));
        let authority = user.as_ref().map(|user| self.model.membership(user).authority).unwrap_or_default();
        ApplicationFacts { user, authority, client_id_taken_by: self.model.client_id_holder(application) }
    }

    /// ClientSecrets of the application that authenticate, and all of them.
    pub(super) fn secret_counts(&self, application: &Application) -> (usize, usize) {
        let now = self.clock.now();
        let secrets = self.model.secrets_of(&Key::of(application));
        let secrets: Vec<_> = secrets.iter().filter_map(|kept| kept.live()).collect();
        let policy = &self.settings.policy;
        let counted = secrets.iter().take(policy.limit);
        let active = counted.filter(|secret| {
            let versions = secret.status.iter().flat_map(|status| &status.versions);
            let mut active = versions.filter(|version| version.state == VersionState::Active);
            let ends = |version: &Version| policy.lifetime.expiry(&secret.spec, version.created_at);
            !secret.spec.is_revoked() && active.any(|version| ends(version).is_none_or(|end| end > now))
        });
        (active.count(), secrets.len())
    }

    pub(super) fn application_state(&self, secret: &ClientSecret) -> ApplicationState {
        let namespace = secret.namespace().unwrap_or_default();
        let key = Key::new(&namespace, &secret.spec.application_ref.name);
        let Some(found) = self.model.application(&key) else { return ApplicationState::Missing };
        let facts = self.application_facts(&found);
        let client_id = found.spec.claimed_client_id(&found.metadata);
        // A replica that is behind finds the application by the client id in its status: it has to be there before
        // anybody is told that the credential works.
        let told = found.status.as_ref().and_then(|status| status.client_id.as_deref());
        if facts.client_id_taken_by.is_some() || told != Some(client_id) {
            return ApplicationState::WithoutClientId;
        }
        let authority = narrow(&facts.authority, found.spec.restrict_to.as_ref());
        let held = narrow(&authority, secret.spec.restrict_to.as_deref());
        let verdict = application::ready_verdict(&facts.observed(self, &found, (0, 0)));
        ApplicationState::Known {
            content: Content::new(&self.settings.endpoints, client_id, &scopes(&held), secret.spec.delivery.as_deref()),
            authority,
            not_ready: (!verdict.status).then_some(verdict.message),
        }
    }

    /// The place of the secret among those of its application, and whether another one is before it in line for its
    /// Secret's name.
    pub(super) fn place(&self, secret: &ClientSecret) -> (usize, bool) {
        let key = Key::of(secret);
        let application = key.beside(&secret.spec.application_ref.name);
        let delivered = key.beside(secret.spec.secret_name(&secret.metadata));
        let relations = self.model.relations();
        let siblings = relations.secrets_of_application.get(&application);
        let rank = siblings.and_then(|siblings| siblings.iter().position(|sibling| sibling.key == key));
        let first = relations.first_claimant_of_secret(&delivered);
        (rank.unwrap_or_default(), first.is_some_and(|first| first.key != key))
    }

    /// The Secret that `secret` delivers, from the store where that is enough.
    ///
    /// One that is not in the store may still exist without our label. The API server is asked when that matters: when
    /// a value was delivered before (it may have lost its label instead of having been deleted), or when somebody
    /// else's Secret was in the way. For a new ClientSecret `create` itself finds out.
    pub(super) async fn delivered(&self, secret: &ClientSecret, keys: &Content) -> Result<Seen, Error> {
        let key = Key::of(secret).beside(secret.spec.secret_name(&secret.metadata));
        if let Some(stored) = self.model.delivered.get(&key) {
            if self.written.is_ahead_of(stored.as_ref()) {
                return Ok(Seen::Behind);
            }
            return self.judged(secret, &stored, keys).await.map(Seen::Now);
        }
        if was_in_conflict(secret) || (delivered_before(secret) && !was_removed(secret)) {
            return self.delivered_live(secret, keys).await.map(Seen::Now);
        }
        Ok(Seen::Now(Delivered::Absent))
    }

    /// The same from the API server; metadata only, whoever's it is.
    pub(super) async fn delivered_live(&self, secret: &ClientSecret, keys: &Content) -> Result<Delivered, Error> {
        let key = Key::of(secret).beside(secret.spec.secret_name(&secret.metadata));
        let api: Api<PartialObjectMeta<Secret>> = Api::namespaced(self.client.clone(), &key.namespace);
        let found = api.get_opt(&key.name).await.map_err(|source| Error::Api {
            step: "read the metadata of",
            object: format!("Secret {}/{}", key.namespace, key.name),
            source: Box::new(source),
        })?;
        match found {
            None => Ok(Delivered::Absent),
            Some(found) => self.judged(secret, &DeliveredSecret::new(key, found.metadata), keys).await,
        }
    }

    /// What the metadata says of it. That it is immutable only the Secret itself says, which is read if it may be so.
    async fn judged(&self, secret: &ClientSecret, found: &DeliveredSecret, keys: &Content) -> Result<Delivered, Error> {
        let mut judged = judge(secret, found, keys);
        if let Delivered::Ours { immutable, .. } = &mut judged
            && *immutable
        {
            *immutable = self.is_immutable(secret).await?;
        }
        Ok(judged)
    }
}

/// What a look at the delivered Secret gave.
pub(super) enum Seen {
    /// The store does not have our own last write yet; its event will come.
    Behind,
    /// The Secret, as it is.
    Now(Delivered),
}

/// Whose it is, by the UID of the controller owner reference and by nothing else: labels and names can be forged.
fn judge(secret: &ClientSecret, found: &DeliveredSecret, wanted: &Content) -> Delivered {
    if found.controller.is_none() || found.controller != uid_number(&secret.metadata) {
        return Delivered::Foreign;
    }
    Delivered::Ours {
        version: found.version.as_deref().map(str::to_owned),
        content: found.content.as_deref().map(str::to_owned),
        intact: wanted.keys().all(|key| found.owns(Part::Data, key))
            && OWN_LABELS.iter().all(|key| found.owns(Part::Labels, key))
            && OWN_ANNOTATIONS.iter().all(|key| found.owns(Part::Annotations, key))
            && wanted.labels().all(|(key, _)| found.owns(Part::Labels, key))
            && wanted.annotations().all(|(key, _)| found.owns(Part::Annotations, key)),
        immutable: found.sets_immutable,
    }
}

const OWN_LABELS: [&str; 2] = [MANAGED_BY_LABEL, COMPONENT_LABEL];
const OWN_ANNOTATIONS: [&str; 3] = [VERSION_ANNOTATION, CONTENT_ANNOTATION, ISSUED_ANNOTATION];

fn delivered_before(secret: &ClientSecret) -> bool {
    secret.status.as_ref().is_some_and(|status| !status.versions.is_empty())
}

/// It was shown once and is gone, as it should be.
fn was_removed(secret: &ClientSecret) -> bool {
    let delivery = secret.status.as_ref().and_then(|status| status.delivery.as_ref());
    delivery.is_some_and(|delivery| delivery.removed_at.is_some())
}

fn was_in_conflict(secret: &ClientSecret) -> bool {
    let conditions = secret.status.iter().flat_map(|status| &status.conditions);
    conditions.into_iter().any(|c| c.type_ == types::READY && c.reason == reasons::SECRET_NAME_CONFLICT)
}

/// `Kind namespace/name`, for errors.
pub(super) fn describe<K: Resource<DynamicType = ()>>(object: &K) -> String {
    format!("{} {}/{}", K::kind(&()), object.namespace().unwrap_or_default(), object.name_any())
}
