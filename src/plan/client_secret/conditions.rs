//! The conditions: sufficient for a user who reads nothing else.

use jiff::SignedDuration;

use super::{ApplicationState, Delivered, Observed, Outcome, Rollout};
use crate::api::client_secret::{ClientSecretStatus, RotationStep, Usage, VersionState};
use crate::api::conditions::{ConditionValue, reasons, types};
use crate::api::permissions::{narrow, not_granted};
use crate::plan::application::Disabled;
use crate::plan::kstatus::{Kstatus, SEE_PERMITTED, permitted, restrictions, with_outlook};

/// The conditions of `status`, whose other fields are complete. `refusal`: see [`refusal`].
pub(super) fn verdicts(
    observed: &Observed<'_>,
    status: &ClientSecretStatus,
    refusal: Option<String>,
) -> Vec<ConditionValue> {
    let mut verdicts = ready(observed, status, refusal.as_deref());
    let has_version = !status.versions.is_empty();
    if has_version || matches!(observed.delivered, Delivered::Terminating { .. }) {
        let unreported = refusal.filter(|_| verdicts.iter().all(|verdict| verdict.reason != reasons::DELIVERY_FAILED));
        verdicts.extend(delivered(observed, status, unreported));
    }
    if has_version {
        verdicts.push(expiring(observed, status));
        verdicts.push(rotating(observed, status));
    }
    verdicts.extend(restrictions_resolved(observed));
    if let ApplicationState::Known { authority: Some(_), .. } = &observed.application {
        verdicts.push(permitted(why_no_permissions(observed)));
    }
    verdicts
}

/// A sentence that the API server rejects the Secret. During another attempt the result of the last one is used.
pub(super) fn refusal(observed: &Observed<'_>, outcome: &Outcome) -> Option<String> {
    let name = observed.secret.spec.secret_name(&observed.secret.metadata);
    match outcome {
        Outcome::Refused(why) => Some(format!(
            "Secret {name} cannot be written, because the API server refuses it: {}. Remove the cause, such as a quota or \
             an admission policy; the write is retried automatically, at least every five minutes.",
            why.trim_end_matches('.')
        )),
        Outcome::Staged(..) => {
            let previous = observed.status().into_iter().flat_map(|status| &status.conditions);
            let mut refusals = previous.filter(|condition| condition.reason == reasons::DELIVERY_FAILED);
            refusals.next().map(|condition| condition.message.clone())
        }
        Outcome::Unchanged | Outcome::Issued(_) | Outcome::Generating(_) | Outcome::Imported(..) | Outcome::Removed => {
            None
        }
    }
}

fn ready(observed: &Observed<'_>, status: &ClientSecretStatus, refusal: Option<&str>) -> Vec<ConditionValue> {
    let no = |reason, outlook, message: String| {
        with_outlook(ConditionValue::new_false(types::READY, reason, message), outlook)
    };
    if let Some(blocker) = observed.blocker() {
        return no(blocker.reason, blocker.outlook, blocker.message);
    }
    if let Some(message) = install_key_missing(observed) {
        return no(reasons::INSTALL_KEY_MISSING, Kstatus::Failed, message);
    }
    let spec = &observed.secret.spec;
    if has_no_usable_value(observed, status, refusal) {
        return match (refusal, status.versions.first()) {
            (Some(refusal), _) => no(reasons::DELIVERY_FAILED, Kstatus::Failed, refusal.to_owned()),
            (None, Some(newest)) if newest.state == VersionState::Active => {
                let name = spec.secret_name(&observed.secret.metadata);
                let message = format!("Secret {name} was deleted; its value is invalid and a new one is being issued.");
                no(reasons::PENDING, Kstatus::InProgress, message)
            }
            (None, _) => no(reasons::PENDING, Kstatus::InProgress, "Being issued.".to_owned()),
        };
    }
    if let ApplicationState::Known { disabled: Some(disabled), .. } = &observed.application {
        return application_disabled(&spec.application_ref.name, disabled);
    }
    if let Some(message) = type_refused(observed) {
        return no(reasons::METHOD_NOT_ALLOWED, Kstatus::InProgress, message);
    }
    let mut message = match (&status.binding, spec.existing()) {
        (Some(binding), _) => format!("The credential is in Secret {} and authenticates.", binding.name),
        (None, _) => "The credential authenticates; its Secret was removed after spec.delivery.ttl.".to_owned(),
    };
    let issued = status.versions.first().map(|version| version.created_at);
    if issued.is_some_and(|issued| observed.policy.lifetime.shortens(spec, issued)) {
        message.push_str(
            " It expires sooner than spec requests, because the operator limits the lifetime of credentials.",
        );
    }
    if let Some(least) = observed.policy.lifetime.slows(spec) {
        message.push_str(" It is rotated every ");
        message.push_str(&words(least));
        message.push_str(", because the operator allows no shorter spec.rotation.every.");
    }
    if status.source.as_ref().is_some_and(|source| source.line_break_ignored) {
        message.push_str(
            " The imported value is used without the line break at its end: clients must send it without one, or remove it \
             from the Secret that spec.source.existing names.",
        );
    }
    if spec.is_key_pair() && !spec.is_for(Usage::Token) {
        message.push_str(
            " A key pair authenticates at the token endpoint only, which spec.usages does not allow: add Token there.",
        );
    }
    if why_no_permissions(observed).is_some() {
        message.push_str(SEE_PERMITTED);
    }
    with_outlook(ConditionValue::new_true(types::READY, reasons::ISSUED, message), Kstatus::Current)
}

/// Why no value can be verified: the install key of the newest version is gone.
fn install_key_missing(observed: &Observed<'_>) -> Option<String> {
    let id = observed.unknown_install_key.as_ref()?;
    Some(format!(
        "The credential is rejected: it was issued under the install key {id}, which this installation does not have. Have the \
         operator restore Secret postern-install-key from a backup, or issue another credential: change \
         spec.rotation.trigger."
    ))
}

/// The credential is issued, and its Application is rejected.
fn application_disabled(name: &str, Disabled { why, is_suspended }: &Disabled) -> Vec<ConditionValue> {
    let (reason, outlook, is) = if *is_suspended {
        (reasons::APPLICATION_SUSPENDED, Kstatus::Requested(types::SUSPENDED), "suspended")
    } else {
        (reasons::APPLICATION_NOT_READY, Kstatus::InProgress, "not ready")
    };
    let message = format!("spec.applicationRef: the credential is issued, but Application {name} is {is}: {why}");
    with_outlook(ConditionValue::new_false(types::READY, reason, message), outlook)
}

/// Why the endpoint refuses credentials of this type; `None`: it accepts them.
fn type_refused(observed: &Observed<'_>) -> Option<String> {
    let ApplicationState::Known { accepts_type: false, .. } = observed.application else { return None };
    let spec = &observed.secret.spec;
    let (what, methods) = if spec.is_key_pair() {
        ("key pair", "private_key_jwt")
    } else {
        ("value", "client_secret_basic or client_secret_post")
    };
    Some(format!(
        "spec.applicationRef: the {what} is issued, but Application {} does not allow its method: add {methods} to \
         spec.auth.methods there.",
        spec.application_ref.name
    ))
}

/// Whether no value is accepted that a Secret contains or contained.
fn has_no_usable_value(observed: &Observed<'_>, status: &ClientSecretStatus, refusal: Option<&str>) -> bool {
    let is = |state| status.versions.iter().any(|version| version.state == state);
    let is_delivering = status.rotation.as_ref().is_some_and(|rotation| rotation.step == RotationStep::Delivering);
    let is_undelivered = is_delivering || (refusal.is_some() && observed.delivered == Delivered::Absent);
    !is(VersionState::Active) || (is_undelivered && !is(VersionState::Retiring))
}

/// Whether no value of the credential can become valid again while the spec is unchanged.
fn is_over(observed: &Observed<'_>, status: &ClientSecretStatus) -> bool {
    status.versions.iter().all(|version| version.state == VersionState::Retired)
        || status.expires_at.is_some_and(|end| end <= observed.now)
}

/// Set only if it adds information to Ready.
fn delivered(observed: &Observed<'_>, status: &ClientSecretStatus, refusal: Option<String>) -> Option<ConditionValue> {
    if let Some(refusal) = refusal {
        return Some(ConditionValue::new_false(types::DELIVERED, reasons::DELIVERY_FAILED, refusal));
    }
    let name = observed.secret.spec.secret_name(&observed.secret.metadata);
    let no = |reason, message| Some(ConditionValue::new_false(types::DELIVERED, reason, message));
    match (&observed.delivered, &status.delivery) {
        (Delivered::Terminating { finalizers }, _) => no(reasons::SECRET_TERMINATING, observed.terminating(finalizers)),
        (Delivered::Ours { immutable: true, .. }, _) => no(
            reasons::SECRET_IMMUTABLE,
            format!(
                "Secret {name} has been made immutable: it stays as it is, and cannot be repaired or rotated. Delete it \
                 to have it recreated with a new value."
            ),
        ),
        (Delivered::Ours { .. }, _) if observed.contested.is_some() => {
            no(reasons::CONTESTED, contested(observed, name))
        }
        (_, Some(delivery)) if delivery.removed_at.is_some() => {
            let message = format!("Secret {name} was removed after spec.delivery.ttl, as requested.");
            no(reasons::REMOVED, message)
        }
        (Delivered::Ours { .. } | Delivered::Absent, Some(delivery)) => {
            let until = delivery.remove_at.map(|at| at.to_string()).unwrap_or_default();
            Some(ConditionValue::new_true(
                types::DELIVERED,
                reasons::DELIVERED,
                format!("In Secret {name} until {until}."),
            ))
        }
        _ => None,
    }
}

fn contested(observed: &Observed<'_>, name: &str) -> String {
    let what = observed.contested.as_deref().unwrap_or_default();
    format!(
        "Secret {name}: another client keeps changing what Postern writes: {what}. Postern restores it with increasing \
         intervals of at most five minutes. Stop that client from changing it, or set spec.delivery to what it writes."
    )
}

/// The message changes only with each warning: a client that reacts to changed messages is notified once for each.
fn expiring(observed: &Observed<'_>, status: &ClientSecretStatus) -> ConditionValue {
    let no = |message: &str| ConditionValue::new_false(types::EXPIRING, reasons::NOT_EXPIRING, message);
    if is_over(observed, status) {
        return no("It has expired or was revoked.");
    }
    let Some(end) = status.expires_at else { return no("It does not expire.") };
    let rotates_before =
        status.next_rotation_at.is_some_and(|at| at < end && (at > observed.now || observed.is_postponed()));
    let left = end.duration_since(observed.now);
    // A credential that is valid for an hour has no expiry warning from the beginning.
    let lives = status.versions.first().map_or(SignedDuration::MAX, |newest| end.duration_since(newest.created_at));
    match observed.policy.warnings.iter().filter(|warning| left <= **warning && lives > **warning).min() {
        _ if rotates_before => no("It is rotated before it expires."),
        None => no("It does not expire soon."),
        Some(warning) => {
            let message = format!(
                "Expires at {end} (in less than {}). Set spec.expiresIn or spec.expiresAt to a later time, or set \
                 spec.rotation to have it replaced in time.",
                words(*warning)
            );
            ConditionValue::new_true(types::EXPIRING, reasons::EXPIRES_SOON, message)
        }
    }
}

fn rotating(observed: &Observed<'_>, status: &ClientSecretStatus) -> ConditionValue {
    match &status.rotation {
        None if is_over(observed, status) => {
            ConditionValue::new_false(types::ROTATING, reasons::NOT_ROTATING, "No version is active.")
        }
        None if wants_disabled_rollout(observed) => ConditionValue::new_false(
            types::ROTATING,
            reasons::ROLLOUT_DISABLED,
            "No rotation in progress. spec.rotation.rollout names workloads, and this installation restarts none: remove \
             them, and restart them yourself when the value changes; or ask the operator to allow it (rollout.enabled).",
        ),
        None => not_rotating(observed),
        Some(rotation) => {
            let reason = match rotation.step {
                RotationStep::RollingOut if observed.policy.rollout_disabled => reasons::ROLLOUT_DISABLED,
                RotationStep::Delivering => reasons::DELIVERING,
                RotationStep::RollingOut => reasons::ROLLING_OUT,
                RotationStep::WaitingForIdle => reasons::WAITING_FOR_IDLE,
                RotationStep::Overlap => reasons::OVERLAP,
            };
            ConditionValue::new_true(types::ROTATING, reason, format!("Waiting for {}", rotation.waits_for))
        }
    }
}

/// No rotation is in progress; reports what would block the next one, or that nothing triggers one.
fn not_rotating(observed: &Observed<'_>) -> ConditionValue {
    let no = |reason, message: String| {
        ConditionValue::new_false(types::ROTATING, reason, format!("No rotation in progress.{message}"))
    };
    if !observed.unavailable.is_empty() {
        let names = observed.unavailable.iter().map(|(workload, rollout)| match rollout {
            Rollout::Stuck(why) => format!("{workload} cannot be read, because {why}"),
            _ => format!("{workload} does not exist or is being deleted"),
        });
        let message = format!(
            " spec.rotation.rollout: {}. Create what is missing or correct the name before the next rotation, which waits \
             for it.",
            names.collect::<Vec<_>>().join("; ")
        );
        return no(reasons::WORKLOAD_UNAVAILABLE, message);
    }
    let spec = &observed.secret.spec;
    match spec.rotation.as_ref().filter(|rotation| !rotation.has_cause() && spec.existing().is_none()) {
        Some(_) => {
            let starts = if spec.is_for(Usage::Manage) && !spec.is_key_pair() {
                "only a request of its bearer starts a rotation"
            } else {
                "nothing starts a rotation"
            };
            let message = format!(
                " spec.rotation names neither every nor trigger, so {starts}: set one of them, or remove spec.rotation."
            );
            no(reasons::NO_TRIGGER, message)
        }
        None => no(reasons::NOT_ROTATING, String::new()),
    }
}

fn wants_disabled_rollout(observed: &Observed<'_>) -> bool {
    let rotation = observed.secret.spec.rotation.as_ref();
    observed.policy.rollout_disabled && rotation.is_some_and(|it| it.rollout.iter().flatten().next().is_some())
}

/// Reports which entries of restrictTo have no effect; absent without restrictTo, or if the grants are unknown.
fn restrictions_resolved(observed: &Observed<'_>) -> Option<ConditionValue> {
    let ApplicationState::Known { authority: Some(authority), .. } = &observed.application else { return None };
    let spec = &observed.secret.spec;
    let missing = not_granted(authority, spec.restrict_to.as_deref()?);
    let owner = format!("Application {}", spec.application_ref.name);
    let remedy = "remove them, or grant them by a group of the service user and by spec.restrictTo of the application";
    Some(restrictions(&missing, &owner, remedy))
}

/// Why the credential has no permissions; `None`: it has some, or they are unknown.
fn why_no_permissions(observed: &Observed<'_>) -> Option<String> {
    let ApplicationState::Known { authority: Some(authority), .. } = &observed.application else { return None };
    let spec = &observed.secret.spec;
    let name = &spec.application_ref.name;
    if authority.is_empty() {
        return Some(format!("spec.applicationRef: Application {name} has none: see its condition Permitted."));
    }
    narrow(authority, spec.restrict_to.as_deref()).is_empty().then(|| {
        format!(
            "spec.restrictTo leaves none of the permissions of Application {name}: list a role, an audience and a scope of one \
             permission, or remove it."
        )
    })
}

/// A duration for users: in whole days, hours or minutes where possible.
fn words(duration: SignedDuration) -> String {
    let seconds = duration.as_secs();
    let (number, unit) = match seconds {
        s if s % 86_400 == 0 => (s / 86_400, "day"),
        s if s % 3_600 == 0 => (s / 3_600, "hour"),
        s if s % 60 == 0 => (s / 60, "minute"),
        s => (s, "second"),
    };
    format!("{number} {unit}{}", if number == 1 { "" } else { "s" })
}
