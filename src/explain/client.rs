//! A client: its effective permissions, and why each is present or missing.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

use jiff::Timestamp;
use kube::ResourceExt;
use serde::Serialize;

use super::Settings;
use super::group::{Group, groups};
use super::lockout::Locked;
use super::method::{Allowed, MethodState, methods};
use super::permissions::{Origin, RestrictedPermissions};
use super::secret::{Secret, Siblings};
use super::snapshot::{Snapshot, full_name};
use super::status::{Standing, StatusAge};
use super::user::{self, User};
use crate::api::Application;
use crate::api::access_group::Plane;
use crate::api::application::{EffectivePermission, SenderConstraint};
use crate::api::conditions::{reasons, types};
use crate::api::names::CREATED_BY;
use crate::api::permissions::{Authority, Membership, Permit, narrow, resolve};
use crate::api::terminating::is_terminating;
use crate::plan::application::{Disabled, Observed, SecretCounts, ready_verdict, status};
use crate::plan::precedence::ClientIdHolder;

/// Why an Application that is being deleted, directly or with its namespace, is rejected: it is treated as absent.
pub(super) const DELETING: &str = "Deleting";

/// The explanation of a client.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ExplainedClient {
    pub(super) client_id: String,
    /// Applications that claim the client id, the oldest first: the oldest has it.
    pub(super) claimants: Vec<String>,
    pub(super) application: App,
    /// Absent: it does not exist.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) service_user: Option<User>,
    pub(super) groups: Vec<Group>,
    /// The permissions of the Application.
    pub(super) permissions: Permissions,
    pub(super) client_secrets: Vec<Secret>,
    /// The methods of client authentication.
    pub(super) methods: Vec<MethodState>,
    /// What could not be read, and the consequence.
    pub(super) notes: Vec<String>,
    /// The client may have keys at a URL, which this command does not request.
    #[serde(skip)]
    pub(super) has_published_keys: bool,
    /// The permissions of the Application. If the groups are unknown: those in status, without roles.
    #[serde(skip)]
    pub(super) authority: Authority,
    /// The permissions of the service user; `None`: unknown.
    #[serde(skip)]
    pub(super) membership: Option<Membership>,
}

/// The Application.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct App {
    /// `namespace/name`
    pub(super) name: String,
    pub(super) ready: Standing,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) created_by: Option<String>,
    /// Absent: tokens are bound to a key only if their request has a proof.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sender_constraint: Option<&'static str>,
    /// Source networks from which it may authenticate; absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) networks: Option<Vec<String>>,
    /// Absent: its secrets are not locked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) locked: Option<Locked>,
    /// How many tokens it may request of each replica; absent: any number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) token_requests_per_minute: Option<NonZeroU32>,
    pub(super) status: StatusAge,
}

/// The permissions of the Application.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub(super) enum Permissions {
    /// Computed from the groups.
    Known(RestrictedPermissions),
    /// From status, because the caller may not read the groups.
    FromStatus {
        #[serde(rename = "fromStatus")]
        permissions: Vec<EffectivePermission>,
    },
}

/// Explains a client from its objects.
pub(super) fn explain(facts: &Snapshot, settings: &Settings, now: Timestamp) -> ExplainedClient {
    let application = &facts.application;
    let membership = membership(facts, settings);
    let users = membership.as_ref().map(|membership| &membership.authority);
    let ready = ready(facts, settings, now);
    let restriction = application.spec.restrict_to.as_ref();
    let authority = users.map_or_else(|| recorded(facts), |authority| narrow(authority, restriction));
    let origin = || Some(Origin { membership: membership.as_ref()?, groups: facts.groups.as_deref()? });
    let siblings = Siblings {
        authority: &authority,
        origin: origin(),
        has_client_id: ready.reason != reasons::CLIENT_ID_TAKEN,
        spec: &application.spec,
        application_disabled: (!ready.active).then(|| Disabled::new(&ready.reason, ready.message.clone())),
        settings,
        now,
    };
    let objects = facts.objects(membership.as_ref(), settings);
    let records = objects.secret_records(&settings.limits());
    let secrets = facts.secrets.iter().zip(&records).enumerate();
    let client_secrets: Vec<_> =
        secrets.map(|(rank, (secret, record))| siblings.explain(secret, record, rank)).collect();
    let used = application.status.as_ref().map(|status| status.auth_methods.as_slice()).unwrap_or_default();
    let listed = objects.listed();
    let allowed = Allowed { by_application: objects.methods(), by_operator: facts.admitted_methods.as_ref() };
    let locked = Locked::new(application, now);
    let methods = methods(&allowed, &ready, &client_secrets, &listed, locked.as_ref(), used);
    let missing_keys = Some(application).filter(|_| ready.active && listed.lacks_published_keys);
    let ready = missing_keys.and_then(recorded_ready).unwrap_or(ready);
    let mut notes = facts.notes.clone();
    notes.extend(other_limit(facts, settings));
    let issuers = application.spec.issuers().map(|entry| entry.issuer.as_str());
    let published: BTreeSet<&str> = application.spec.jwks_uri().into_iter().chain(issuers).collect();
    let unread = |url: &&str| format!("The keys at {url} were not requested: see the condition KeysResolved.");
    notes.extend(published.iter().map(unread));
    ExplainedClient {
        client_id: application.spec.claimed_client_id(&application.metadata).to_owned(),
        claimants: facts.claimants.iter().map(|(namespace, name)| format!("{namespace}/{name}")).collect(),
        application: App {
            name: full_name(application),
            created_by: application.annotations().get(CREATED_BY).cloned(),
            sender_constraint: sender_constraint(application),
            networks: application.spec.networks().map(|all| all.iter().map(ToString::to_string).collect()),
            locked,
            token_requests_per_minute: token_requests(application, settings),
            status: status_age(facts, users, settings, now),
            ready,
        },
        service_user: facts.user.as_ref().map(|user| user::explain(user, membership.as_ref(), now)),
        groups: facts.user.as_ref().map(|user| groups(facts, user, membership.as_ref())).unwrap_or_default(),
        permissions: match users.zip(origin()) {
            Some((authority, origin)) => Permissions::Known(origin.narrowed(authority, restriction)),
            None => Permissions::FromStatus { permissions: from_status(facts) },
        },
        client_secrets,
        methods,
        notes,
        has_published_keys: application.spec.jwks_uri().is_some(),
        authority,
        membership,
    }
}

/// The condition `Ready` in status: the controller fetches keys at URLs, this command does not.
fn recorded_ready(application: &Application) -> Option<Standing> {
    let conditions = &application.status.as_ref()?.conditions;
    let ready = conditions.iter().find(|condition| condition.type_ == types::READY)?;
    Some(Standing { active: false, reason: ready.reason.clone(), message: ready.message.clone() })
}

/// What a token of the client must be bound to.
fn sender_constraint(application: &Application) -> Option<&'static str> {
    let constraint = application.spec.sender_constraint();
    (constraint != SenderConstraint::None).then(|| constraint.as_str())
}

/// The limit of its token requests: its own, or the default of the operator.
fn token_requests(application: &Application, settings: &Settings) -> Option<NonZeroU32> {
    application.spec.requests_per_minute().or(settings.token_requests_per_minute)
}

/// The result of the groups; `None`: the caller may not read them. Without a service user there are no permissions.
fn membership(facts: &Snapshot, settings: &Settings) -> Option<Membership> {
    let groups = facts.groups.as_ref()?;
    Some(match &facts.user {
        Some(user) => resolve(&user.spec, &facts.namespace, settings.namespace_location, |name| groups.get(name)),
        None => Membership::default(),
    })
}

fn observed<'a>(facts: &'a Snapshot, authority: &'a Authority, settings: &Settings, now: Timestamp) -> Observed<'a> {
    Observed {
        application: &facts.application,
        user: facts.user.as_ref(),
        authority,
        client_id_taken_by: taken_by(facts),
        // Neither the keys, the certificates, the replicas nor the number of secrets affects whether the client is rejected.
        unusable_keys: Vec::new(),
        published_keys: Vec::new(),
        unusable_certificates: Vec::new(),
        signs: None,
        served: false,
        method_uses: BTreeMap::new(),
        locks: Vec::new(),
        secrets: SecretCounts::default(),
        secrets_limit: settings.secrets_per_application,
        token_lifetime_max_seconds: settings.token_lifetime_max.as_secs(),
        now,
    }
}

fn taken_by(facts: &Snapshot) -> Option<String> {
    let oldest = facts.claimants.first().map(|(namespace, name)| (namespace.as_str(), name.as_str()));
    ClientIdHolder::of(&facts.application, facts.is_subject, oldest).map(ClientIdHolder::full_name)
}

/// The rules in the order of the endpoint, in the words of the condition.
fn ready(facts: &Snapshot, settings: &Settings, now: Timestamp) -> Standing {
    let deleting = |message: &str| Standing { active: false, reason: DELETING.to_owned(), message: message.to_owned() };
    if is_terminating(&facts.application.metadata) {
        return deleting("It is being deleted. Its client id is free when the deletion is complete.");
    }
    let verdict = ready_verdict(&observed(facts, &Authority::new(), settings, now));
    if verdict.status && facts.namespace.terminating {
        return deleting("Its namespace is being deleted: the clients in it are refused.");
    }
    verdict.into()
}

/// Whether status is up to date.
fn status_age(facts: &Snapshot, authority: Option<&Authority>, settings: &Settings, now: Timestamp) -> StatusAge {
    let recorded = facts.application.status.clone().unwrap_or_default();
    let wanted = authority.map(|authority| status(&observed(facts, authority, settings, now)));
    StatusAge::new(
        recorded.epoch,
        (recorded.observed_generation, facts.application.metadata.generation),
        wanted.as_ref().map(|wanted| (recorded.fingerprint.as_deref(), wanted.fingerprint.as_deref())),
    )
}

/// The permissions in status, which contains no roles.
fn recorded(facts: &Snapshot) -> Authority {
    let permits = |permission: EffectivePermission| {
        let EffectivePermission { audience, scopes } = permission;
        let (role, plane) = (String::new(), Plane::default());
        scopes.into_iter().map(move |scope| Permit { audience: audience.clone(), scope, role: role.clone(), plane })
    };
    from_status(facts).into_iter().flat_map(permits).collect()
}

fn from_status(facts: &Snapshot) -> Vec<EffectivePermission> {
    facts.application.status.as_ref().and_then(|status| status.permissions.clone()).unwrap_or_default()
}

/// According to status, the operator runs with another limit than the given one.
fn other_limit(facts: &Snapshot, settings: &Settings) -> Option<String> {
    let limit = facts.application.status.as_ref()?.secrets.as_ref()?.limit;
    let given = settings.secrets_per_application;
    (i64::try_from(given) != Ok(limit)).then(|| {
        format!(
            "The operator counts {limit} ClientSecrets of an Application, and this explanation {given}: give \
             --secrets-per-application={limit}."
        )
    })
}
