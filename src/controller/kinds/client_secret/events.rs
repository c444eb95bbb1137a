//! Events about a ClientSecret, one for each difference between two statuses.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::api::ClientSecret;
use crate::api::client_secret::{ClientSecretStatus, RotationCause, RotationStep, Version, VersionState};
use crate::api::conditions::{reasons, types};
use crate::controller::runtime::event_recorder::{Sender, refusal};

/// Reports the changes in `after`.
pub(crate) fn record(events: &Sender, secret: &ClientSecret, after: &ClientSecretStatus) {
    let before = secret.status.clone().unwrap_or_default();
    issued(events, secret, &before, after);
    retired(events, secret, &before, after);
    let removed = |status: &ClientSecretStatus| status.delivery.as_ref().and_then(|delivery| delivery.removed_at);
    if let Some(delivered) = find(&after.conditions, types::DELIVERED).filter(|_| removed(after).is_some())
        && removed(&before).is_none()
    {
        events.normal(secret, reasons::REMOVED, "Deliver", delivered.message.clone());
    }
    let expiring = find(&after.conditions, types::EXPIRING).filter(|now| now.status == "True");
    if let Some(now) = expiring
        && find(&before.conditions, types::EXPIRING).is_none_or(|before| before.message != now.message)
    {
        events.warning(secret, reasons::EXPIRES_SOON, "Expire", now.message.clone());
    }
    let ignored = |status: &ClientSecretStatus| status.source.as_ref().is_some_and(|source| source.line_break_ignored);
    if ignored(after) && !ignored(&before) {
        let text =
            "The line break at the end of the imported value is left out: the credential is the value without it.";
        events.normal(secret, reasons::LINE_BREAK_IGNORED, "Import", text.to_owned());
    }
    refusal(events, secret, &before.conditions, &after.conditions, types::READY);
    refused_change(events, secret, &before, after);
}

/// Reports that a change of the Secret by another client was repaired.
pub(crate) fn repaired(events: &Sender, secret: &ClientSecret, what: &str) {
    let name = secret.spec.secret_name(&secret.metadata);
    let text = format!("Restored in Secret {name}, which another client changed: {what}.");
    events.normal(secret, reasons::REPAIRED, "Repair", text);
}

/// Reports that a Secret owned by Postern contained a value that was not delivered for this ClientSecret.
pub(crate) fn replaced(events: &Sender, secret: &ClientSecret) {
    let name = secret.spec.secret_name(&secret.metadata);
    let text = format!(
        "Secret {name} contained a value that Postern did not deliver for this ClientSecret. A new value replaces it."
    );
    events.warning(secret, reasons::VALUE_NOT_VERIFIED, "Deliver", text);
}

fn issued(events: &Sender, secret: &ClientSecret, before: &ClientSecretStatus, after: &ClientSecretStatus) {
    let name = secret.spec.secret_name(&secret.metadata);
    let Some(newest) = after.versions.first() else { return };
    let (what, hint) = (noun(secret), shown(newest));
    let staging = |status: &ClientSecretStatus| {
        status.rotation.clone().filter(|rotation| rotation.step == RotationStep::Delivering)
    };
    if staging(after).is_some() {
        return;
    }
    match (before.versions.first(), staging(before)) {
        // The staged version is delivered now.
        (Some(staged), Some(rotation)) if staged.id == newest.id => {
            let (reason, end) = match rotation.cause {
                RotationCause::SecretLost => (reasons::REISSUED, format!("the previous {what} is refused.")),
                RotationCause::Interval
                | RotationCause::Trigger
                | RotationCause::Requested
                | RotationCause::Restore
                | RotationCause::Redelivery => {
                    let until = after.versions.iter().find(|version| version.state == VersionState::Retiring);
                    let until = until.and_then(|version| version.retires_at);
                    let end = match until {
                        Some(until) => format!("the previous {what} is accepted until {until}."),
                        None => format!("the previous {what} is refused."),
                    };
                    (reasons::ROTATED, end)
                }
            };
            events.normal(secret, reason, "Issue", format!("Credential {hint} is delivered in Secret {name}; {end}"));
        }
        (Some(old), _) if old.id == newest.id => {}
        (_, Some(_)) => {}
        _ if secret.spec.existing().is_some() => {
            let text = "The imported value is active; the previous value is refused.".to_owned();
            events.normal(secret, reasons::IMPORTED, "Import", text);
        }
        _ => {
            let text = format!("Credential {hint} is delivered in Secret {name}.");
            events.normal(secret, reasons::ISSUED, "Issue", text);
        }
    }
}

/// What a version is.
fn noun(secret: &ClientSecret) -> &'static str {
    if secret.spec.is_key_pair() { "key pair" } else { "value" }
}

/// How a version is named: by the first characters of its value, or by its key id.
fn shown(version: &Version) -> String {
    let is_whole = version.verification.public_key.is_some();
    if is_whole { version.hint() } else { format!("{}…", version.hint()) }
}

/// The overlap of an old value has ended.
fn retired(events: &Sender, secret: &ClientSecret, before: &ClientSecretStatus, after: &ClientSecretStatus) {
    for old in before.versions.iter().filter(|old| old.state == VersionState::Retiring && old.retires_at.is_some()) {
        if after.versions.iter().any(|now| now.id == old.id && now.state == VersionState::Retired) {
            let text = format!("The old {} {} is not accepted any more.", noun(secret), shown(old));
            events.normal(secret, reasons::RETIRED, "Retire", text);
        }
    }
}

/// The Secret cannot be changed: a user changed it, or the API server refuses the write.
fn refused_change(events: &Sender, secret: &ClientSecret, before: &ClientSecretStatus, after: &ClientSecretStatus) {
    let ready = find(&after.conditions, types::READY).map(|ready| ready.reason.as_str());
    let untold = |reason: &&str| ready != Some(*reason);
    let reasons = [reasons::SECRET_IMMUTABLE, reasons::SECRET_TERMINATING, reasons::DELIVERY_FAILED];
    for reason in reasons.into_iter().filter(untold) {
        let stuck = |status: &ClientSecretStatus| {
            find(&status.conditions, types::DELIVERED).filter(|now| now.reason == reason).cloned()
        };
        if let Some(now) = stuck(after).filter(|_| stuck(before).is_none()) {
            events.warning(secret, reason, "Deliver", now.message);
        }
    }
}

fn find<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}
