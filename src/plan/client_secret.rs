//! ClientSecret: when to generate, when to repair, when to leave alone, and what to say.
//!
//! In two steps, both pure. [`decide`] names the one thing to do to the delivered Secret; the controller does it and
//! brings back an [`Outcome`]; [`status`] says what is true after it. Killed between the two, the next look finds a
//! Secret with a version that the status does not know, and decides [`Action::Adopt`].

use jiff::Timestamp;

use super::content::Content;
use super::story::{Outlook, with_outlook};
use crate::api::ClientSecret;
use crate::api::application::Reference;
use crate::api::client_secret::{ClientSecretSpec, ClientSecretStatus, Version, VersionState};
use crate::api::conditions::{Verdict, merge, reasons, types, whole_second};

/// Retired versions that status remembers, so that a log can say "retired" instead of "unknown".
const RETIRED_KEPT: usize = 3;

/// What the decision is taken from.
pub struct Observed<'a> {
    /// The object.
    pub secret: &'a ClientSecret,
    /// The application it names.
    pub application: ApplicationState,
    /// The place of this secret among those of the application, from 0, oldest first.
    pub rank: usize,
    /// The most secrets of an application that count.
    pub limit: usize,
    /// Another ClientSecret that is older and wants to deliver under the same name.
    pub older_claimant: Option<String>,
    /// The Secret of that name.
    pub delivered: Delivered,
    /// The instant of the decision.
    pub now: Timestamp,
}

/// The application, as far as its secrets care.
pub enum ApplicationState {
    /// It does not exist.
    Missing,
    /// It exists but has no client id of its own; nothing can be delivered.
    WithoutClientId,
    /// It has a client id, so credentials are delivered.
    Known {
        /// What to deliver.
        content: Content,
        /// Why its clients are refused at present; `None`: they are not.
        not_ready: Option<String>,
    },
}

/// The Secret of the name under which to deliver.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Delivered {
    /// Nobody looked, because nothing could be delivered.
    Unknown,
    /// None was seen. Only the API server can say for sure: `create` finds out.
    Absent,
    /// One that another object owns, or none.
    Foreign {
        /// Its controller, as `Kind name`, if it has one.
        owner: Option<String>,
    },
    /// Ours, by the UID of its controller owner reference.
    Ours {
        /// The version that it says it holds.
        version: Option<String>,
        /// The digest of the content that was written.
        content: Option<String>,
        /// Nobody else wrote what we wrote.
        intact: bool,
    },
}

/// The one thing to do to the delivered Secret.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Action {
    /// Nothing.
    None,
    /// Create it with a new value. If a Secret of that name exists after all, look again.
    Create,
    /// It holds a version that status does not know: a write of ours that did not get as far as status. Record it, or,
    /// if the value is not what we wrote, replace it.
    Adopt,
    /// Put our keys and labels right; if the value is not the one that the verifier knows, replace it.
    Repair,
    /// Write a new value into it.
    Replace,
}

/// What was done.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// Nothing, or nothing that changes the versions.
    Unchanged,
    /// The Secret holds this version now; every other one is retired.
    Issued {
        /// Id inside the value.
        id: String,
        /// Argon2id PHC string.
        verifier: String,
        /// First characters of the value.
        hint: String,
        /// When it was generated.
        issued_at: Timestamp,
    },
}

/// What keeps a credential from being delivered or from authenticating; the first that applies is told.
fn obstacle(observed: &Observed<'_>) -> Option<Obstacle> {
    let secret = observed.secret;
    let application = &secret.spec.application_ref.name;
    if secret.spec.is_revoked() {
        return Some(Obstacle::new(
            reasons::REVOKED,
            Outlook::Stuck,
            "spec.revoke is true: refused for good. Create another ClientSecret.".to_owned(),
        ));
    }
    if end(observed).is_some_and(|end| end <= observed.now) {
        return Some(Obstacle::new(reasons::EXPIRED, Outlook::Stuck, expired(observed)));
    }
    if matches!(observed.application, ApplicationState::Missing) {
        let message = format!(
            "spec.applicationRef: Application {application} does not exist in this namespace: create it, or create this \
             ClientSecret again with the right name."
        );
        return Some(Obstacle::new(reasons::APPLICATION_NOT_FOUND, Outlook::Waiting, message));
    }
    if observed.rank >= observed.limit {
        let message = format!(
            "Application {application} has {} older ClientSecrets, and no more than {} count: delete one that is not \
             needed, and this one is issued by itself.",
            observed.rank, observed.limit
        );
        return Some(Obstacle::new(reasons::LIMIT_REACHED, Outlook::Stuck, message));
    }
    if matches!(observed.application, ApplicationState::WithoutClientId) {
        let message = format!("Application {application} has no client id of its own yet: see its condition Ready.");
        return Some(Obstacle::new(reasons::APPLICATION_NOT_READY, Outlook::Waiting, message));
    }
    name_conflict(observed).map(|message| Obstacle::new(reasons::SECRET_NAME_CONFLICT, Outlook::Stuck, message))
}

struct Obstacle {
    reason: &'static str,
    outlook: Outlook,
    message: String,
}

impl Obstacle {
    fn new(reason: &'static str, outlook: Outlook, message: String) -> Self {
        Self { reason, outlook, message }
    }
}

fn name_conflict(observed: &Observed<'_>) -> Option<String> {
    let name = observed.secret.spec.secret_name(&observed.secret.metadata);
    let remedy = "choose another spec.delivery.secretName in a new ClientSecret, or remove the other";
    match (&observed.delivered, &observed.older_claimant) {
        (Delivered::Foreign { owner: Some(owner) }, _) => {
            Some(format!("Secret {name} belongs to {owner} and is left alone: {remedy}."))
        }
        (Delivered::Foreign { owner: None }, _) => {
            Some(format!("Secret {name} exists and is not managed by Postern; it is left alone: {remedy}."))
        }
        (Delivered::Absent, Some(other)) => {
            Some(format!("ClientSecret {other} is older and delivers as Secret {name} too: {remedy}."))
        }
        (Delivered::Ours { .. } | Delivered::Unknown, _) | (Delivered::Absent, None) => None,
    }
}

/// The one thing to do now.
#[must_use]
pub fn decide(observed: &Observed<'_>) -> Action {
    if obstacle(observed).is_some() {
        return Action::None;
    }
    let ApplicationState::Known { content: wanted, .. } = &observed.application else { return Action::None };
    let Delivered::Ours { version, content, intact } = &observed.delivered else { return Action::Create };
    let known = version.as_deref().and_then(|id| versions(observed).iter().find(|known| known.id == id));
    match known.map(|version| version.state) {
        None => Action::Adopt,
        Some(VersionState::Retired) => Action::Replace,
        Some(VersionState::Active) if !intact || content.as_deref() != Some(&wanted.digest()) => Action::Repair,
        Some(VersionState::Active) => Action::None,
    }
}

/// The status after `outcome`.
#[must_use]
pub fn status(observed: &Observed<'_>, outcome: &Outcome) -> ClientSecretStatus {
    let secret = observed.secret;
    let previous = secret.status.clone().unwrap_or_default();
    let versions = versions_after(observed, outcome);
    let hint = match outcome {
        Outcome::Issued { hint, .. } => Some(hint.clone()),
        Outcome::Unchanged => previous.hint,
    };
    let binding = hint.is_some().then(|| Reference { name: secret.spec.secret_name(&secret.metadata).to_owned() });
    let active = versions.iter().find(|version| version.state == VersionState::Active);
    ClientSecretStatus {
        observed_generation: secret.metadata.generation,
        binding,
        hint,
        expires_at: active.or(versions.first()).and_then(|version| secret.spec.expiry(version.created_at)),
        conditions: merge(
            &previous.conditions,
            ready(observed, active.is_some()),
            secret.metadata.generation,
            observed.now,
        ),
        versions,
    }
}

/// When something comes due by the clock alone: the end of the credential. `status` is the one after the last look.
#[must_use]
pub fn next_due(spec: &ClientSecretSpec, status: &ClientSecretStatus, now: Timestamp) -> Option<Timestamp> {
    status.expires_at.filter(|end| *end > now && !spec.is_revoked())
}

fn ready(observed: &Observed<'_>, has_active: bool) -> Vec<Verdict> {
    if let Some(obstacle) = obstacle(observed) {
        return with_outlook(Verdict::no(types::READY, obstacle.reason, obstacle.message), obstacle.outlook);
    }
    let name = observed.secret.spec.secret_name(&observed.secret.metadata);
    match &observed.application {
        ApplicationState::Known { not_ready: Some(why), .. } => {
            let application = &observed.secret.spec.application_ref.name;
            let message = format!("Secret {name} is delivered, but Application {application} is not ready: {why}");
            with_outlook(Verdict::no(types::READY, reasons::APPLICATION_NOT_READY, message), Outlook::Waiting)
        }
        _ if has_active => {
            let message = format!("The credential is in Secret {name} and authenticates.");
            with_outlook(Verdict::yes(types::READY, reasons::ISSUED, message), Outlook::Settled)
        }
        _ => with_outlook(Verdict::no(types::READY, reasons::PENDING, "Being issued."), Outlook::Waiting),
    }
}

fn versions<'a>(observed: &Observed<'a>) -> &'a [Version] {
    observed.secret.status.as_ref().map(|status| status.versions.as_slice()).unwrap_or_default()
}

/// The end of the version in force; of a secret that has none yet, the end it would have if that is an instant.
fn end(observed: &Observed<'_>) -> Option<Timestamp> {
    let newest = versions(observed).first().map_or(observed.now, |version| version.created_at);
    observed.secret.spec.expiry(newest)
}

fn is_lost(delivered: &Delivered) -> bool {
    matches!(delivered, Delivered::Absent | Delivered::Foreign { .. })
}

fn expired(observed: &Observed<'_>) -> String {
    let end = end(observed).map(|end| end.to_string()).unwrap_or_default();
    format!(
        "The credential ended at {end} and is refused. Set spec.expiresIn or spec.expiresAt to a later end, or create \
         another ClientSecret."
    )
}

fn versions_after(observed: &Observed<'_>, outcome: &Outcome) -> Vec<Version> {
    let now = whole_second(observed.now);
    let retire = |version: &Version| Version {
        state: VersionState::Retired,
        retires_at: version.retires_at.or(Some(now)),
        ..version.clone()
    };
    match outcome {
        // A value whose Secret is gone is refused, also when no other can take its place.
        Outcome::Unchanged if observed.secret.spec.is_revoked() || is_lost(&observed.delivered) => {
            versions(observed).iter().map(retire).collect()
        }
        Outcome::Unchanged => versions(observed).to_vec(),
        Outcome::Issued { id, verifier, issued_at, .. } => {
            let issued = Version {
                id: id.clone(),
                state: VersionState::Active,
                created_at: whole_second(*issued_at),
                retires_at: None,
                verifier: verifier.clone(),
            };
            let older = versions(observed).iter().filter(|version| version.id != *id).map(retire).take(RETIRED_KEPT);
            std::iter::once(issued).chain(older).collect()
        }
    }
}

#[cfg(test)]
#[path = "client_secret_tests.rs"]
mod tests;
