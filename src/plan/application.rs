//! Application: its client id and its effective permissions.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::client_keys::{self, PublishedKeys};
use super::kstatus::{Kstatus, SEE_PERMITTED, permitted, restrictions, with_outlook};
use super::lockout::Locked;
use super::signing_key;
use super::used_methods::used_methods;
use crate::api::application::{ApplicationStatus, SecretCount};
use crate::api::conditions::{ConditionValue, merge, reasons, types};
use crate::api::fingerprint::{application_fingerprint, next_epoch};
use crate::api::permissions::{Authority, narrow, not_granted, permissions, roles};
use crate::api::replica_state::ClientLock;
use crate::api::{Application, ServiceUser};

/// The inputs of the decision.
pub struct Observed<'a> {
    /// The object.
    pub application: &'a Application,
    /// Its service user, if it exists.
    pub user: Option<&'a ServiceUser>,
    /// The effective permissions from the groups of the service user.
    pub authority: &'a Authority,
    /// The other owner of the client id, as `Kind namespace/name` or a phrase that names no object of another
    /// namespace.
    pub client_id_taken_by: Option<String>,
    /// Why keys of `spec.auth.jwks` cannot verify anything, each with its path.
    pub unusable_keys: Vec<String>,
    /// The keys at `spec.auth.jwksUri`, and those of each issuer of `spec.auth.issuers`.
    pub published_keys: Vec<PublishedKeys>,
    /// Why entries of `spec.auth.certificates`, and `x5c` of `spec.auth.jwks`, identify no certificate, each with its
    /// path.
    pub unusable_certificates: Vec<String>,
    /// Whether every live replica signs with the algorithm of its tokens; `None`: not known yet.
    pub signs: Option<bool>,
    /// Every live replica serves the current state of the object and its dependencies.
    pub served: bool,
    /// When methods of client authentication were last used, by name, as far as replicas have published.
    pub method_uses: BTreeMap<String, Timestamp>,
    /// The locks of its secrets, as far as replicas have published.
    pub locks: Vec<ClientLock>,
    /// Its ClientSecrets.
    pub secrets: SecretCounts,
    /// Maximum number of active ClientSecrets.
    pub secrets_limit: usize,
    /// The operator's maximum token lifetime, in seconds.
    pub token_lifetime_max_seconds: i64,
    /// The time of the decision.
    pub now: Timestamp,
}

/// The ClientSecrets of an Application.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SecretCounts {
    /// Number of those that authenticate.
    pub active: usize,
    /// Number of all.
    pub total: usize,
    /// Whether a key pair is among those that authenticate.
    pub has_key_pair: bool,
}

/// Why an Application is rejected.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Disabled {
    /// A sentence with the remedy.
    pub why: String,
    /// Whether the Application or its service user is suspended.
    pub is_suspended: bool,
}

impl Disabled {
    /// From the reason and the message of [`ready_verdict`].
    #[must_use]
    pub fn new(reason: &str, why: String) -> Self {
        Self { why, is_suspended: [reasons::SUSPENDED, reasons::SERVICE_USER_SUSPENDED].contains(&reason) }
    }
}

/// The status of the application.
#[must_use]
pub fn status(observed: &Observed<'_>) -> ApplicationStatus {
    let application = observed.application;
    let previous = application.status.clone().unwrap_or_default();
    let authority = narrow(observed.authority, application.spec.restrict_to.as_ref());
    let subject = observed.user.and_then(|user| user.metadata.uid.clone());
    let (mut ready, mut outlook) = ready(observed);
    let disabled = (!ready.status).then_some(ready.reason);
    if disabled.is_none() && authority.is_empty() {
        ready.message.push_str(SEE_PERMITTED);
    }
    let uid = application.metadata.uid.as_deref().unwrap_or_default();
    let (acts_for, constraint) = (subject.as_deref().unwrap_or_default(), application.spec.sender_constraint());
    let fingerprint = application_fingerprint(&authority, uid, acts_for, constraint, disabled);
    let epoch = next_epoch(previous.epoch, previous.fingerprint.as_deref(), &fingerprint);
    let missing = || client_keys::missing(observed).or_else(|| signing_key::missing(observed));
    if let Some(missing) = disabled.is_none().then(missing).flatten() {
        (ready, outlook) = (missing, Kstatus::InProgress);
    }
    let mut verdicts = with_outlook(ready, outlook);
    verdicts.push(service_user_resolved(observed));
    verdicts.push(propagated(observed, &previous, epoch));
    verdicts.extend(restrictions_resolved(observed));
    verdicts.extend(client_keys::resolved(observed));
    verdicts.extend(certificates_resolved(observed));
    verdicts.push(permitted(why_no_permissions(observed, &authority)));
    let locked = Locked::new(application, &observed.locks, observed.now);
    verdicts.push(locked.condition());
    let has_client_id = observed.client_id_taken_by.is_none();
    ApplicationStatus {
        observed_generation: application.metadata.generation,
        client_id: has_client_id.then(|| application.spec.claimed_client_id(&application.metadata).to_owned()),
        subject,
        epoch: Some(epoch),
        fingerprint: Some(fingerprint),
        permissions: Some(permissions(&authority)),
        roles: Some(roles(&authority)),
        secrets: Some(count(observed.secrets, observed.secrets_limit)),
        auth_methods: used_methods(&previous.auth_methods, &observed.method_uses),
        locked_until: locked.until,
        locked_sources: locked.sources,
        conditions: merge(&previous.conditions, verdicts, application.metadata.generation, observed.now),
    }
}

/// Whether clients of this Application are rejected, and why. The first reason that applies is reported.
#[must_use]
pub fn ready_verdict(observed: &Observed<'_>) -> ConditionValue {
    ready(observed).0
}

fn ready(observed: &Observed<'_>) -> (ConditionValue, Kstatus) {
    let spec = &observed.application.spec;
    let name = &spec.service_user_ref.name;
    let no = |reason, message| ConditionValue::new_false(types::READY, reason, message);
    if let Some(holder) = &observed.client_id_taken_by {
        let message = format!(
            "spec.clientId {} belongs to {holder}: create another Application without the field, or with another client id.",
            spec.claimed_client_id(&observed.application.metadata)
        );
        return (no(reasons::CLIENT_ID_TAKEN, message), Kstatus::Failed);
    }
    if spec.is_suspended() {
        let message = "spec.suspend is true: the client is refused. Set it to false to resume.".to_owned();
        return (no(reasons::SUSPENDED, message), Kstatus::Requested(types::SUSPENDED));
    }
    match observed.user {
        None => (no(reasons::SERVICE_USER_NOT_FOUND, user_not_found(name)), Kstatus::InProgress),
        Some(user) if user.spec.is_suspended() => {
            (no(reasons::SERVICE_USER_SUSPENDED, user_suspended(name)), Kstatus::Requested(types::SUSPENDED))
        }
        Some(_) => (ConditionValue::new_true(types::READY, reasons::ACCEPTED, accepted(observed)), Kstatus::Current),
    }
}

fn accepted(observed: &Observed<'_>) -> String {
    let asked = observed.application.spec.token_lifetime().as_secs();
    let max = observed.token_lifetime_max_seconds;
    if asked > max {
        format!("Enabled. spec.token.lifetime is longer than the operator allows; tokens live {max} seconds.")
    } else {
        "Enabled.".to_owned()
    }
}

/// Once all replicas serve an epoch, that stays so: no replica reverts, and a new replica starts with it.
fn propagated(observed: &Observed<'_>, previous: &ApplicationStatus, epoch: i64) -> ConditionValue {
    let known = previous.epoch == Some(epoch);
    if known && (observed.served || is_propagated(previous)) {
        ConditionValue::new_true(types::PROPAGATED, reasons::SERVED, format!("Every replica serves epoch {epoch}."))
    } else {
        let message = format!("Waiting for all replicas to serve epoch {epoch}.");
        ConditionValue::new_false(types::PROPAGATED, reasons::PROPAGATING, message)
    }
}

/// Whether status reports that every replica serves its epoch.
#[must_use]
pub fn is_propagated(status: &ApplicationStatus) -> bool {
    status.conditions.iter().any(|condition| condition.type_ == types::PROPAGATED && condition.status == "True")
}

/// The schema refuses most unusable entries. It cannot read distinguished names and certificates.
fn certificates_resolved(observed: &Observed<'_>) -> Option<ConditionValue> {
    let spec = &observed.application.spec;
    if spec.certificates().next().is_none() && spec.keys().all(|key| key.x5c.is_empty()) {
        return None;
    }
    let type_ = types::CERTIFICATES_RESOLVED;
    if observed.unusable_certificates.is_empty() {
        let message = "Every entry identifies certificates of the client.".to_owned();
        return Some(ConditionValue::new_true(type_, reasons::RESOLVED, message));
    }
    let message = format!(
        "{}: it identifies no certificate. Correct it, or remove it.",
        observed.unusable_certificates.join("; ")
    );
    Some(ConditionValue::new_false(type_, reasons::CERTIFICATE_UNUSABLE, message))
}

fn service_user_resolved(observed: &Observed<'_>) -> ConditionValue {
    let name = &observed.application.spec.service_user_ref.name;
    let type_ = types::SERVICE_USER_RESOLVED;
    match observed.user {
        None => ConditionValue::new_false(type_, reasons::SERVICE_USER_NOT_FOUND, user_not_found(name)),
        Some(user) if user.spec.is_suspended() => {
            ConditionValue::new_false(type_, reasons::SERVICE_USER_SUSPENDED, user_suspended(name))
        }
        Some(_) => {
            ConditionValue::new_true(type_, reasons::RESOLVED, format!("ServiceUser {name} exists and is enabled."))
        }
    }
}

fn user_not_found(name: &str) -> String {
    format!("spec.serviceUserRef: ServiceUser {name} does not exist in this namespace: create it, or correct the name.")
}

fn user_suspended(name: &str) -> String {
    format!("spec.serviceUserRef: ServiceUser {name} is suspended: set its spec.suspend to false to resume.")
}

/// Reports which entries of restrictTo have no effect; absent without restrictTo.
fn restrictions_resolved(observed: &Observed<'_>) -> Option<ConditionValue> {
    let restriction = observed.application.spec.restrict_to.as_ref()?;
    let missing = not_granted(observed.authority, restriction);
    let owner = format!("service user {}", observed.application.spec.service_user_ref.name);
    let remedy = "remove them, or add a group that grants them to the service user";
    Some(restrictions(&missing, &owner, remedy))
}

/// Why the Application has no permissions; `None`: it has some.
fn why_no_permissions(observed: &Observed<'_>, authority: &Authority) -> Option<String> {
    authority.is_empty().then(|| {
        let name = &observed.application.spec.service_user_ref.name;
        match observed.user {
            None => user_not_found(name),
            Some(_) if observed.authority.is_empty() => {
                format!("spec.serviceUserRef: ServiceUser {name} has none: see its condition Permitted.")
            }
            Some(_) => format!(
                "spec.restrictTo leaves none of the permissions of ServiceUser {name}: list a role, an audience and a scope of \
                 one permission, or remove it."
            ),
        }
    })
}

fn count(SecretCounts { active, total, .. }: SecretCounts, limit: usize) -> SecretCount {
    let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    SecretCount {
        active: number(active),
        total: number(total),
        limit: number(limit),
        summary: format!("{active}/{total}"),
    }
}
