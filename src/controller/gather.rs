//! All reads: from the stores and, where the stores are not sufficient, from the API server.

use std::collections::BTreeSet;

use kube::{Resource, ResourceExt};

use super::Context;
use super::runtime::propagation::required_revisions;
use crate::api::client_secret::{Version, VersionState};
use crate::api::jwks::Jwk;
use crate::api::permissions::narrow;
use crate::api::{Application, ClientSecret, ServiceUser};
use crate::cache::{Claimants, ObjectRef};
use crate::clock::Clock;
use crate::crypto::client_certificate::CertificateId;
use crate::crypto::public_key::PublicKey;
use crate::crypto::x5c;
use crate::key_sets::{Problem, Source};
use crate::plan::application::{self, Disabled, Observed as ApplicationObserved, SecretCounts};
use crate::plan::client_keys::{KeyOwner, KeysProblem, PublishedKeys};
use crate::plan::client_secret::ApplicationState;
use crate::plan::precedence::{ClientIdHolder, Place};
use crate::plan::secret_content::{Client, Content, Endpoints};

/// An Application with the inputs of its status.
pub(super) struct ApplicationFacts {
    pub(super) user: Option<std::sync::Arc<ServiceUser>>,
    pub(super) authority: crate::api::permissions::Authority,
    pub(super) client_id_taken_by: Option<String>,
}

impl ApplicationFacts {
    pub(super) fn observed<'a, C: Clock>(
        &'a self,
        context: &Context<C>,
        application: &'a Application,
        secrets: SecretCounts,
    ) -> ApplicationObserved<'a> {
        ApplicationObserved {
            application,
            user: self.user.as_deref(),
            authority: &self.authority,
            client_id_taken_by: self.client_id_taken_by.clone(),
            unusable_keys: unusable_keys(application),
            published_keys: context.published_keys(application),
            unusable_certificates: unusable_certificates(application),
            signs: context.signing_algorithms.signs(application.spec.signing_algorithm().name()),
            served: context.propagation.is_served(required_revisions(
                application,
                self.user.as_deref(),
                &context.cache,
            )),
            method_uses: context.cache.method_uses_of(application.metadata.uid.as_deref().unwrap_or_default()),
            locks: context.cache.locks_of(application.metadata.uid.as_deref().unwrap_or_default()),
            secrets,
            secrets_limit: context.settings.policy.limit,
            token_lifetime_max_seconds: context.settings.token_lifetime_max.as_secs(),
            now: context.clock.now(),
        }
    }
}

/// The keys of `spec.auth.jwks` that the endpoint cannot use, each with its path and the reason.
fn unusable_keys(application: &Application) -> Vec<String> {
    let problem = |(number, jwk): (usize, &Jwk)| {
        let error = PublicKey::from_jwk(&jwk.to_json()).err()?;
        Some(format!("spec.auth.jwks.keys[{number}] {error}"))
    };
    application.spec.keys().enumerate().filter_map(problem).collect()
}

/// What is to identify certificates and does not, each with its path and the reason.
fn unusable_certificates(application: &Application) -> Vec<String> {
    let spec = &application.spec;
    let entries = spec.certificates().enumerate().filter_map(|(number, entry)| {
        let (field, value) = entry.field()?;
        let error = CertificateId::parse(field, value).err()?;
        Some(format!("spec.auth.certificates[{number}].{field} {error}"))
    });
    let keys = spec.keys().enumerate().filter_map(|(number, jwk)| {
        let error = x5c::certificate(&jwk.to_json())?.err()?;
        Some(format!("spec.auth.jwks.keys[{number}] {error}"))
    });
    entries.chain(keys).collect()
}

impl<C: Clock> Context<C> {
    /// What this process knows of the keys at `spec.auth.jwksUri`, and of those of each issuer.
    fn published_keys(&self, application: &Application) -> Vec<PublishedKeys> {
        let spec = &application.spec;
        let of_client = spec.jwks_uri().map(|url| Source::KeySet(url.into()));
        let issuers: BTreeSet<&str> = spec.issuers().map(|entry| entry.issuer.as_str()).collect();
        let sources = of_client.into_iter().chain(issuers.into_iter().map(|issuer| Source::Issuer(issuer.into())));
        let namespace = application.namespace().unwrap_or_default();
        let known = |source: Source| {
            let (state, host) = (self.settings.key_sets.state(&namespace, &source), source.host());
            let remedy = |problem: &Problem| problem.remedy(&host);
            let problem =
                state.problem.map(|problem| KeysProblem { what: problem.to_string(), remedy: remedy(&problem) });
            let usable = state.fetched.map(|(keys, _)| keys.len());
            let owner = source.issuer().map_or(KeyOwner::Client { host }, |issuer| KeyOwner::Issuer(issuer.to_owned()));
            PublishedKeys { owner, usable, problem }
        };
        sources.map(known).collect()
    }

    /// The endpoint data that delivered Secrets contain.
    fn endpoints(&self) -> Endpoints {
        Endpoints { ca: self.settings.ca.borrow().clone(), ..self.settings.endpoints.clone() }
    }

    pub(super) fn application_facts(&self, application: &Application) -> ApplicationFacts {
        let namespace = application.namespace().unwrap_or_default();
        let user = self.cache.user(&ObjectRef::new(&namespace, &application.spec.service_user_ref.name));
        let authority = user.as_ref().map(|user| self.cache.membership(user).authority).unwrap_or_default();
        ApplicationFacts { user, authority, client_id_taken_by: self.client_id_taken_by(application) }
    }

    /// The other object that has the client id, for a message to the users of the namespace.
    fn client_id_taken_by(&self, application: &Application) -> Option<String> {
        let relations = self.cache.relations();
        let claims = relations.claims_on_client_id(application.spec.claimed_client_id(&application.metadata))?;
        let oldest = (&*claims.oldest.namespace, &*claims.oldest.name);
        let holder = ClientIdHolder::of(application, claims.is_subject, Some(oldest))?;
        Some(holder.named_in(application.metadata.namespace.as_deref().unwrap_or_default()))
    }

    /// The ClientSecrets of the Application.
    pub(super) fn secret_counts(&self, application: &Application) -> SecretCounts {
        let now = self.clock.now();
        let key = ObjectRef::of(application);
        let all = self.cache.relations().secrets_of_application.get(&key).map_or(0, Claimants::len);
        let counted = self.cache.secrets_of(&key);
        let policy = &self.settings.policy;
        let active = counted.iter().filter_map(|kept| kept.live()).filter(|secret| {
            let versions = secret.status.iter().flat_map(|status| &status.versions);
            let mut active = versions.filter(|version| version.state == VersionState::Active);
            let ends = |version: &Version| policy.lifetime.expiry(&secret.spec, version.created_at);
            !secret.spec.is_revoked() && active.any(|version| ends(version).is_none_or(|end| end > now))
        });
        active.fold(SecretCounts { total: all, ..SecretCounts::default() }, |counts, secret| SecretCounts {
            active: counts.active + 1,
            has_key_pair: counts.has_key_pair || secret.spec.is_key_pair(),
            ..counts
        })
    }

    pub(super) fn application_state(&self, secret: &ClientSecret) -> ApplicationState {
        let namespace = secret.namespace().unwrap_or_default();
        let key = ObjectRef::new(&namespace, &secret.spec.application_ref.name);
        let Some(found) = self.cache.application(&key) else { return ApplicationState::Missing };
        let facts = self.application_facts(&found);
        let client_id = found.spec.claimed_client_id(&found.metadata);
        // A stale replica finds the application by the client id in its status. So the status must contain the client
        // id before the credential is reported as ready.
        let told = found.status.as_ref().and_then(|status| status.client_id.as_deref());
        if facts.client_id_taken_by.is_some() || told != Some(client_id) {
            return ApplicationState::WithoutClientId;
        }
        let authority = narrow(&facts.authority, found.spec.restrict_to.as_ref());
        let held = narrow(&authority, secret.spec.restrict_to.as_deref());
        let verdict = application::ready_verdict(&facts.observed(self, &found, SecretCounts::default()));
        ApplicationState::Known {
            content: Content::new(
                &self.endpoints(),
                &Client {
                    id: client_id,
                    subject: facts.user.as_ref().and_then(|user| user.metadata.uid.as_deref()).unwrap_or_default(),
                    held: &held,
                    token: &found.spec.token.clone().unwrap_or_default(),
                },
                secret.spec.type_.unwrap_or_default(),
                secret.spec.delivery.as_deref(),
            ),
            authority: Some(authority),
            accepts_type: found.spec.accepts(secret.spec.type_.unwrap_or_default()),
            disabled: (!verdict.status).then(|| Disabled::new(verdict.reason, verdict.message)),
        }
    }

    /// The place of the secret among those of its namespace.
    pub(super) fn place(&self, secret: &ClientSecret) -> Place {
        let key = ObjectRef::of(secret);
        let application = key.sibling(&secret.spec.application_ref.name);
        let delivered = key.sibling(secret.spec.secret_name(&secret.metadata));
        let relations = self.cache.relations();
        let siblings = relations.oldest_secrets(&application).iter().map(|sibling| &*sibling.key.name);
        let oldest = relations.oldest_claimant_of_secret(&delivered).map(|oldest| &*oldest.key.name);
        Place::of(secret, siblings, oldest)
    }
}

/// `Kind namespace/name`, for errors.
pub(super) fn describe<K: Resource<DynamicType = ()>>(object: &K) -> String {
    format!("{} {}/{}", K::kind(&()), object.namespace().unwrap_or_default(), object.name_any())
}
