//! Tables of decisions, and generated histories of a secret.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::json;

use super::*;
use crate::api::ClientSecret;
use crate::api::access_group::Plane;
use crate::api::application::Token;
use crate::api::client_secret::{
    ClientSecretSpec, CredentialType, LifetimePolicy, OVERLAP_DEFAULT, SourceStatus, Verification,
};
use crate::api::conditions::is_switched_off;
use crate::api::duration::DurationOrNever;
use crate::api::permissions::Permit;
use crate::plan::application::Disabled;
use crate::plan::secret_content::{Client, Content, Endpoints};

const NOW: &str = "2026-11-22T02:00:00Z";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

static POLICY: std::sync::LazyLock<Policy> = std::sync::LazyLock::new(|| Policy {
    warnings: [30, 7, 1].map(|days| SignedDuration::from_hours(days * 24)).to_vec(),
    limit: 20,
    ..Policy::default()
});

fn secret(spec: ClientSecretSpec) -> ClientSecret {
    let metadata = ObjectMeta {
        name: Some("blue".to_owned()),
        namespace: Some("billing".to_owned()),
        uid: Some("0d0c8f6e-4b7e-4f6c-9a53-6a0c1f2b7d11".to_owned()),
        generation: Some(1),
        ..ObjectMeta::default()
    };
    ClientSecret { metadata, spec, status: None }
}

/// A spec with the fields that a test sets.
fn spec(more: &serde_json::Value) -> ClientSecretSpec {
    let mut spec = json!({"applicationRef": {"name": "sync"}});
    spec.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
    serde_json::from_value(spec).unwrap()
}

fn plain() -> ClientSecretSpec {
    spec(&json!({}))
}

fn content(scopes: &[&str]) -> Content {
    let endpoints = Endpoints {
        issuer: "https://i".to_owned(),
        token: "https://i/t".to_owned(),
        jwks: "https://i/j".to_owned(),
        ca: None,
    };
    let permit = |scope: &&str| Permit {
        audience: "https://a".to_owned(),
        scope: (*scope).to_owned(),
        role: "reader".to_owned(),
        plane: Plane::default(),
    };
    let held = scopes.iter().map(permit).collect();
    let client = Client { id: "client", subject: "user", held: &held, token: &Token::default() };
    Content::new(&endpoints, &client, CredentialType::SharedSecret, None)
}

fn ready_application() -> ApplicationState {
    ApplicationState::Known { content: content(&["read"]), authority: None, disabled: None, accepts_type: true }
}

fn observed(secret: &ClientSecret, delivered: Delivered) -> Observed<'_> {
    observed_at(secret, delivered, at(NOW))
}

fn observed_at(secret: &ClientSecret, delivered: Delivered, now: Timestamp) -> Observed<'_> {
    let application = ready_application();
    let import = secret.spec.existing().map(|_| Import::Unchanged);
    Observed {
        secret,
        application,
        rank: 0,
        has_older_claimant: false,
        delivered,
        secret_uid: None,
        import,
        uses: BTreeMap::new(),
        contested: None,
        rekeyed: BTreeMap::new(),
        unknown_install_key: None,
        requested: None,
        workloads: Vec::new(),
        unavailable: Vec::new(),
        policy: &POLICY,
        now,
    }
}

fn new(id: &str, at: Timestamp) -> Issued {
    Issued { id: id.to_owned(), verification: Verification::of_value(&format!("verifier of {id}")), at }
}

fn issued(id: &str) -> Outcome {
    Outcome::Issued(new(id, at(NOW)))
}

fn ours(version: &str) -> Delivered {
    Delivered::Ours { version: Some(version.to_owned()), contents: Contents::Right, immutable: false }
}

/// A Secret of this ClientSecret with a foreign value.
fn foreign_value() -> Delivered {
    Delivered::Ours { version: None, contents: Contents::Right, immutable: false }
}

fn with_status(secret: &ClientSecret, status: ClientSecretStatus) -> ClientSecret {
    ClientSecret { status: Some(status), ..secret.clone() }
}

/// A ClientSecret with this spec whose version `id` has been issued and recorded.
fn settled(spec: ClientSecretSpec, id: &str) -> ClientSecret {
    let secret = secret(spec);
    with_status(&secret, status(&observed(&secret, Delivered::Absent), &issued(id)))
}

fn states(status: &ClientSecretStatus) -> Vec<(&str, VersionState)> {
    status.versions.iter().map(|version| (version.id.as_str(), version.state)).collect()
}

fn condition(status: &ClientSecretStatus, type_: &str) -> (String, String) {
    let found = status.conditions.iter().find(|condition| condition.type_ == type_).unwrap();
    (found.status.clone(), found.reason.clone())
}

fn message<'s>(status: &'s ClientSecretStatus, type_: &str) -> &'s str {
    &status.conditions.iter().find(|condition| condition.type_ == type_).unwrap().message
}

fn ready_of(status: &ClientSecretStatus) -> (String, String) {
    condition(status, "Ready")
}

#[test]
fn instants_at_the_ends_of_time_in_a_forged_status_stop_no_reconciliation() {
    let lifetime = LifetimePolicy { max: Some(SignedDuration::from_hours(1)), ..LifetimePolicy::default() };
    let policy = Policy { lifetime, ..POLICY.clone() };
    let mut forged = settled(spec(&json!({"rotation": {"every": "24h"}})), "one");
    for instant in [Timestamp::MIN, Timestamp::MAX] {
        let recorded = forged.status.as_mut().unwrap();
        recorded.versions[0].created_at = instant;
        recorded.expires_at = Some(instant);
        assert!(next_due(&forged.spec, recorded, &POLICY, instant).is_none_or(|due| due > instant));
        let next = status(&Observed { policy: &policy, ..observed(&forged, ours("one")) }, &Outcome::Unchanged);
        assert_eq!(next.versions[0].created_at, instant);
    }
}

#[test]
fn a_new_secret_is_created_and_then_unchanged() {
    let new = secret(plain());
    assert_eq!(decide(&observed(&new, Delivered::Absent)), Action::Create);
    let settled = settled(plain(), "one");
    let seen = observed(&settled, ours("one"));
    assert_eq!(decide(&seen), Action::None);
    assert_eq!(Some(&status(&seen, &Outcome::Unchanged)), settled.status.as_ref());
}

#[test]
fn killed_after_the_first_write_the_value_is_adopted() {
    let new = secret(plain());
    assert_eq!(decide(&observed(&new, ours("one"))), Action::Adopt);
    // A Secret that a client created in advance has no value that Postern issued.
    assert_eq!(decide(&observed(&new, foreign_value())), Action::Replace);
    // Later every value is recorded before it is delivered: an unknown value is foreign.
    let settled = settled(plain(), "one");
    assert_eq!(decide(&observed(&settled, ours("two"))), Action::Stage(RotationCause::SecretLost));
}

#[test]
fn a_deleted_secret_is_recreated_with_a_new_value_and_the_old_one_is_retired() {
    let settled = settled(plain(), "one");
    let seen = observed(&settled, Delivered::Absent);
    assert_eq!(decide(&seen), Action::Stage(RotationCause::SecretLost));
    let staged = status(&seen, &Outcome::Staged(new("two", at(NOW)), RotationCause::SecretLost));
    assert_eq!(states(&staged), [("two", VersionState::Active), ("one", VersionState::Retired)]);
    assert_eq!(staged.versions[1].retires_at, Some(at("2026-11-22T02:00:01Z")), "within a second");
    assert_eq!(ready_of(&staged), ("False".to_owned(), "Pending".to_owned()), "no Secret has a value");
    let staged = with_status(&settled, staged);
    // Killed before the new value was written into the Secret: no client knows it.
    assert_eq!(decide(&observed(&staged, Delivered::Absent)), Action::Stage(RotationCause::SecretLost));
    let again = status(
        &observed(&staged, Delivered::Absent),
        &Outcome::Staged(new("three", at(NOW)), RotationCause::SecretLost),
    );
    assert_eq!(states(&again), [("three", VersionState::Active), ("one", VersionState::Retired)]);
    let after = status(&observed(&staged, ours("two")), &Outcome::Unchanged);
    assert_eq!(states(&after), [("two", VersionState::Active), ("one", VersionState::Retired)]);
    assert_eq!(after.versions[1].retires_at, Some(at("2026-11-22T02:00:01Z")), "within a second");
    assert_eq!((after.rotation.as_ref(), ready_of(&after).0.as_str()), (None, "True"));
}

#[test]
fn a_lost_key_pair_is_retired_at_once_although_the_next_one_takes_long_to_generate() {
    let settled = settled(plain(), "one");
    let seen = observed(&settled, Delivered::Absent);
    let told = status(&seen, &Outcome::Generating(RotationCause::SecretLost));
    assert_eq!(states(&told), [("one", VersionState::Retired)]);
    assert_eq!((told.losses, ready_of(&told)), (Some(1), ("False".to_owned(), "Pending".to_owned())));
    let waiting = with_status(&settled, told);
    let seen = observed(&waiting, Delivered::Absent);
    assert_eq!(decide(&seen), Action::Stage(RotationCause::SecretLost));
    let staged = status(&seen, &Outcome::Staged(new("two", at(NOW)), RotationCause::SecretLost));
    assert_eq!((states(&staged)[0], staged.losses), (("two", VersionState::Active), Some(1)), "one loss");
}

#[test]
fn a_rotation_whose_key_pair_takes_long_to_generate_leaves_the_status_as_it_is() {
    let settled = settled(plain(), "one");
    let told = status(&observed(&settled, ours("one")), &Outcome::Generating(RotationCause::Trigger));
    assert_eq!(Some(&told), settled.status.as_ref());
}

#[test]
fn a_credential_is_ready_only_if_the_application_allows_its_method() {
    let (key_pair, value) = (secret(spec(&json!({"type": "PrivateKey"}))), secret(plain()));
    let told = |secret: &ClientSecret, accepts_type| {
        let mut seen = observed(secret, Delivered::Absent);
        seen.application =
            ApplicationState::Known { content: content(&["read"]), authority: None, disabled: None, accepts_type };
        assert_eq!(decide(&seen), Action::Create, "it is delivered in any case");
        status(&seen, &issued("one"))
    };
    for (secret, methods) in [(&key_pair, "private_key_jwt"), (&value, "client_secret_basic or client_secret_post")] {
        let refused = told(secret, false);
        assert_eq!(ready_of(&refused), ("False".to_owned(), "MethodNotAllowed".to_owned()));
        assert!(message(&refused, "Ready").contains(&format!("add {methods} to")));
        assert_eq!(ready_of(&told(secret, true)).0, "True");
    }
    let elsewhere = secret(spec(&json!({"type": "PrivateKey", "usages": ["Direct"]})));
    assert!(message(&told(&elsewhere, true), "Ready").contains("add Token"));
}

fn terminating() -> Delivered {
    Delivered::Terminating { finalizers: "example.com/hold".to_owned() }
}

#[test]
fn the_value_of_a_terminating_secret_is_retired_and_the_next_is_delivered_after_the_deletion() {
    let settled = settled(plain(), "one");
    let seen = observed(&settled, terminating());
    assert_eq!(decide(&seen), Action::None, "no other of its name can be made");
    let told = status(&seen, &Outcome::Unchanged);
    assert_eq!(states(&told), [("one", VersionState::Retired)]);
    assert_eq!(told.binding, None);
    assert_eq!(ready_of(&told), ("False".to_owned(), "SecretTerminating".to_owned()));
    assert_eq!(condition(&told, "Delivered"), ("False".to_owned(), "SecretTerminating".to_owned()));
    for type_ in ["Ready", "Delivered"] {
        let message = message(&told, type_);
        assert!(message.contains("its value is refused") && message.contains(": example.com/hold."), "{message}");
    }
    let ended = with_status(&settled, told.clone());
    assert_eq!(status(&observed(&ended, terminating()), &Outcome::Unchanged), told, "quiet until it is gone");
    let gone = observed(&ended, Delivered::Absent);
    assert_eq!(decide(&gone), Action::Stage(RotationCause::SecretLost), "pods that mount it read it at once");
    let staged = status(&gone, &Outcome::Staged(new("two", at(NOW)), RotationCause::SecretLost));
    let after = status(&observed(&with_status(&ended, staged), ours("two")), &Outcome::Unchanged);
    assert_eq!(states(&after), [("two", VersionState::Active), ("one", VersionState::Retired)]);
    assert_eq!(ready_of(&after), ("True".to_owned(), "Issued".to_owned()));
    assert!(after.conditions.iter().all(|condition| condition.type_ != "Delivered"), "{:?}", after.conditions);
}

#[test]
fn a_value_staged_for_a_terminating_secret_is_retired_too() {
    let one = settled(spec(&json!({"rotation": {"trigger": "a"}})), "one");
    let changed = ClientSecret { spec: spec(&json!({"rotation": {"trigger": "b"}})), ..one };
    let staged = Outcome::Staged(new("two", at(NOW)), RotationCause::Trigger);
    let staged = with_status(&changed, status(&observed(&changed, ours("one")), &staged));
    let told = status(&observed(&staged, terminating()), &Outcome::Unchanged);
    assert_eq!(states(&told), [("two", VersionState::Retired), ("one", VersionState::Retired)]);
    assert_eq!(told.rotation, None);
    let gone = with_status(&changed, told);
    assert_eq!(decide(&observed(&gone, Delivered::Absent)), Action::Stage(RotationCause::SecretLost));
}

#[test]
fn a_one_time_or_imported_value_of_a_terminating_secret_stays_active_with_a_condition() {
    let once = settled(spec(&json!({"delivery": {"mode": "Once", "ttl": "15m"}})), "one");
    let told = status(&observed(&once, terminating()), &Outcome::Unchanged);
    assert_eq!((states(&told), ready_of(&told).0.as_str()), (vec![("one", VersionState::Active)], "True"));
    assert_eq!(condition(&told, "Delivered"), ("False".to_owned(), "SecretTerminating".to_owned()));
    assert!(told.delivery.as_ref().unwrap().removed_at.is_some(), "it is not missed");

    let existing = json!({"source": {"existing": {"secretName": "old", "key": "k"}}});
    let source = SourceStatus {
        uid: "u".to_owned(),
        resource_version: "1".to_owned(),
        key: "k".to_owned(),
        line_break_ignored: false,
    };
    let object = secret(spec(&existing));
    let seen = Observed { import: Some(Import::Changed(source.clone())), ..observed(&object, Delivered::Absent) };
    let known = with_status(&object, status(&seen, &Outcome::Imported(source, Some(new("one", at(NOW))))));
    let seen = observed(&known, terminating());
    assert_eq!(decide(&seen), Action::None);
    let told = status(&seen, &Outcome::Unchanged);
    assert_eq!((states(&told), told.binding.as_ref()), (vec![("one", VersionState::Active)], None));
    assert_eq!(ready_of(&told).1, "SecretTerminating");
    assert_eq!(decide(&observed(&with_status(&object, told), Delivered::Absent)), Action::Deliver);
}

#[test]
fn a_secret_that_is_deleted_while_a_new_value_is_staged_counts_as_lost() {
    let one = settled(spec(&json!({"rotation": {"trigger": "a", "overlap": "24h"}})), "one");
    let changed = ClientSecret { spec: spec(&json!({"rotation": {"trigger": "b", "overlap": "24h"}})), ..one };
    let staged = Outcome::Staged(new("two", at(NOW)), RotationCause::Trigger);
    let staged = with_status(&changed, status(&observed(&changed, ours("one")), &staged));
    assert_eq!(
        states(staged.status.as_ref().unwrap()),
        [("two", VersionState::Active), ("one", VersionState::Retiring)]
    );
    let seen = observed(&staged, Delivered::Absent);
    assert_eq!(decide(&seen), Action::Stage(RotationCause::SecretLost));
    // The staged value may stay the same, if no client has seen it.
    let after = status(&seen, &Outcome::Staged(new("two", at(NOW)), RotationCause::SecretLost));
    assert_eq!(states(&after), [("two", VersionState::Active), ("one", VersionState::Retired)]);
}

#[test]
fn a_refused_secret_is_reported_once_with_the_remedy() {
    let refused = || Outcome::Refused("exceeded quota: none.".to_owned());
    let fresh = secret(plain());
    let seen = observed(&fresh, Delivered::Absent);
    let told = status(&seen, &refused());
    assert_eq!(ready_of(&told), ("False".to_owned(), "DeliveryFailed".to_owned()));
    let message = &told.conditions[0].message;
    assert!(message.contains("exceeded quota: none. Remove the cause"), "{message}");
    let fresh = with_status(&fresh, told.clone());
    assert_eq!(decide(&observed(&fresh, Delivered::Absent)), Action::Create);
    assert_eq!(status(&observed(&fresh, Delivered::Absent), &refused()), told, "tried again, and nothing to write");

    // A replacement of a lost value: a repeated recording reports that too.
    let lost = settled(plain(), "one");
    let staged = |secret: &ClientSecret, id| {
        status(&observed(secret, Delivered::Absent), &Outcome::Staged(new(id, at(NOW)), RotationCause::SecretLost))
    };
    let lost = with_status(&lost, staged(&lost, "two"));
    let told = status(&observed(&lost, Delivered::Absent), &refused());
    assert_eq!(ready_of(&told), ("False".to_owned(), "DeliveryFailed".to_owned()));
    assert_eq!(told.binding, None, "there is no Secret");
    let lost = with_status(&lost, told.clone());
    assert_eq!(staged(&lost, "two"), told, "the same value again: nothing to write");
    assert_eq!(ready_of(&staged(&lost, "three")).1, "DeliveryFailed");
    let after = status(&observed(&lost, ours("two")), &Outcome::Unchanged);
    assert_eq!(ready_of(&after), ("True".to_owned(), "Issued".to_owned()));
}

#[test]
fn a_refused_change_of_the_secret_leaves_its_value_valid_and_is_reported() {
    let one = settled(spec(&json!({"rotation": {"trigger": "a"}})), "one");
    let changed = ClientSecret { spec: spec(&json!({"rotation": {"trigger": "b"}})), ..one };
    let staged = |secret: &ClientSecret| {
        status(&observed(secret, ours("one")), &Outcome::Staged(new("two", at(NOW)), RotationCause::Trigger))
    };
    let changed = with_status(&changed, staged(&changed));
    let told = status(&observed(&changed, ours("one")), &Outcome::Refused("denied".to_owned()));
    assert_eq!(condition(&told, "Delivered"), ("False".to_owned(), "DeliveryFailed".to_owned()));
    assert_eq!(ready_of(&told).0, "True", "it authenticates");
    assert_eq!(states(&told), [("two", VersionState::Active), ("one", VersionState::Retiring)]);
    let changed = with_status(&changed, told.clone());
    assert_eq!(staged(&changed), told, "the same value again: nothing to write");
    let after = status(&observed(&changed, ours("two")), &Outcome::Unchanged);
    assert!(after.conditions.iter().all(|condition| condition.type_ != "Delivered"), "{:?}", after.conditions);
}

#[test]
fn an_entry_of_restrict_to_that_the_application_is_not_granted_is_reported() {
    let restricted = secret(spec(&json!({"restrictTo": {"scopes": ["read", "write"], "roles": ["reader"]}})));
    let held = |scopes: &[&str]| {
        let permit = |scope: &&str| Permit {
            audience: "https://a".to_owned(),
            scope: (*scope).to_owned(),
            role: "reader".to_owned(),
            plane: Plane::Operational,
        };
        let authority = scopes.iter().map(permit).collect();
        let application = ApplicationState::Known {
            content: content(scopes),
            authority: Some(authority),
            disabled: None,
            accepts_type: true,
        };
        status(&Observed { application, ..observed(&restricted, Delivered::Absent) }, &issued("one"))
    };
    let told = held(&["read"]);
    assert_eq!(condition(&told, "RestrictionsResolved"), ("False".to_owned(), "PermissionNotGranted".to_owned()));
    let message = &told.conditions.iter().find(|condition| condition.type_ == "RestrictionsResolved").unwrap().message;
    assert!(
        message.contains("Application sync") && message.contains(": scopes: write. To resolve this, remove them"),
        "{message}"
    );
    assert_eq!(ready_of(&told).0, "True", "it breaks nothing");
    let all = held(&["read", "write"]);
    assert_eq!(condition(&all, "RestrictionsResolved"), ("True".to_owned(), "RestrictionsResolved".to_owned()));
}

#[test]
fn a_change_by_others_is_repaired_and_a_restored_retired_value_is_replaced() {
    let settled = settled(plain(), "one");
    for contents in [Contents::Outdated, Contents::Relabelled, Contents::Changed] {
        let delivered = Delivered::Ours { version: Some("one".into()), contents, immutable: false };
        assert_eq!(decide(&observed(&settled, delivered)), Action::Repair);
    }
    assert_eq!(decide(&observed(&settled, foreign_value())), Action::Stage(RotationCause::SecretLost));
    let staged = status(
        &observed(&settled, Delivered::Absent),
        &Outcome::Staged(new("two", at(NOW)), RotationCause::SecretLost),
    );
    let staged = with_status(&settled, staged);
    let healed = with_status(&settled, status(&observed(&staged, ours("two")), &Outcome::Unchanged));
    assert_eq!(decide(&observed(&healed, ours("one"))), Action::Stage(RotationCause::SecretLost));
}

#[test]
fn an_immutable_secret_is_not_rotated_and_is_reported() {
    let settled = settled(spec(&json!({"rotation": {"every": "1m"}})), "one");
    let immutable = |contents| Delivered::Ours { version: Some("one".into()), contents, immutable: true };
    let changed = observed(&settled, immutable(Contents::Changed));
    assert_eq!(decide(&changed), Action::Repair, "its metadata can be repaired");
    let seen = observed_at(&settled, immutable(Contents::Right), at("2026-11-23T02:00:00Z"));
    assert_eq!(decide(&seen), Action::None, "it is due for rotation");
    let after = status(&seen, &Outcome::Unchanged);
    assert_eq!(condition(&after, "Delivered"), ("False".to_owned(), "SecretImmutable".to_owned()));
    assert_eq!(ready_of(&after).0, "True", "it authenticates");
}

#[test]
fn the_operator_s_minimum_replaces_a_shorter_interval_and_is_reported() {
    let hour = SignedDuration::from_hours(1);
    let policy = Policy {
        lifetime: LifetimePolicy { rotation_interval_min: hour, ..LifetimePolicy::default() },
        ..POLICY.clone()
    };
    let short = "It is rotated every 1 hour, because the operator allows no shorter spec.rotation.every.";
    // In the last row the version expires before it may be rotated: it is not accepted in between, and not rotated
    // earlier.
    let table = [
        (json!({"rotation": {"every": "1m", "overlap": "0s"}}), hour, true),
        (json!({"rotation": {"every": "2h", "overlap": "0s"}}), hour * 2, false),
        (json!({"expiresIn": "10m", "rotation": {"every": "1m", "overlap": "0s"}}), hour, true),
    ];
    for (asked, least, told) in table {
        let secret = secret(spec(&asked));
        let seen = Observed { policy: &policy, ..observed(&secret, Delivered::Absent) };
        let status = status(&seen, &issued("one"));
        let due = status.next_rotation_at.unwrap();
        assert!(due >= at(NOW) + least && due <= at(NOW) + least * 2, "{asked}: {due}");
        assert_eq!(status.conditions[0].message.contains(short), told, "{}", status.conditions[0].message);
        let issued = with_status(&secret, status);
        let early = Observed { policy: &policy, ..observed_at(&issued, ours("one"), at(NOW) + hour / 2) };
        assert_eq!(decide(&early), Action::None, "{asked}");
        let then = Observed { policy: &policy, ..observed_at(&issued, ours("one"), due) };
        assert_eq!(decide(&then), Action::Stage(RotationCause::Interval), "{asked}");
    }
}

#[test]
fn a_rotation_records_delivers_overlaps_and_retires() {
    let spec = spec(&json!({"rotation": {"every": "30d", "overlap": "24h"}}));
    let one = settled(spec, "one");
    let due = one.status.as_ref().unwrap().next_rotation_at.unwrap();
    assert!(due >= at("2026-12-22T02:00:00Z") && due <= at("2026-12-22T02:10:00Z"), "{due}");
    assert_eq!(decide(&observed_at(&one, ours("one"), due - SignedDuration::from_secs(1))), Action::None);
    let seen = observed_at(&one, ours("one"), due);
    assert_eq!(decide(&seen), Action::Stage(RotationCause::Interval));
    let staged = with_status(&one, status(&seen, &Outcome::Staged(new("two", due), RotationCause::Interval)));
    assert_eq!(condition(staged.status.as_ref().unwrap(), "Rotating"), ("True".to_owned(), "Delivering".to_owned()));
    let seen = observed_at(&staged, ours("two"), due);
    assert_eq!(decide(&seen), Action::None);
    let overlap = with_status(&one, status(&seen, &Outcome::Unchanged));
    let after = overlap.status.as_ref().unwrap();
    assert_eq!(states(after), [("two", VersionState::Active), ("one", VersionState::Retiring)]);
    assert_eq!(after.versions[1].retires_at, Some(due + SignedDuration::from_hours(24)));
    assert_eq!(after.rotation.as_ref().unwrap().step, RotationStep::Overlap);
    let end = due + SignedDuration::from_hours(24);
    assert_eq!(next_due(&overlap.spec, after, &POLICY, due), Some(end));
    let after = status(&observed_at(&overlap, ours("two"), end), &Outcome::Unchanged);
    assert_eq!(states(&after), [("two", VersionState::Active), ("one", VersionState::Retired)]);
    assert_eq!(after.rotation, None);
}

#[test]
fn a_changed_trigger_rotates_once_and_not_at_all_if_it_is_reverted_before_delivery() {
    let triggered = |secret: &ClientSecret, trigger: &str| ClientSecret {
        spec: spec(&json!({"rotation": {"trigger": trigger}})),
        ..secret.clone()
    };
    let one = settled(spec(&json!({"rotation": {"trigger": "a"}})), "one");
    assert_eq!(
        decide(&observed(&one, ours("one"))),
        Action::None,
        "the trigger of the first version is nothing to act on"
    );
    let changed = triggered(&one, "b");
    let seen = observed(&changed, ours("one"));
    assert_eq!(decide(&seen), Action::Stage(RotationCause::Trigger));
    let staged = with_status(&changed, status(&seen, &Outcome::Staged(new("two", at(NOW)), RotationCause::Trigger)));
    let back = triggered(&staged, "a");
    assert_eq!(decide(&observed(&back, ours("one"))), Action::None);
    let after = status(&observed(&back, ours("one")), &Outcome::Unchanged);
    assert_eq!((states(&after), &after.rotation), (vec![("one", VersionState::Active)], &None));
    let done = with_status(&changed, status(&observed(&staged, ours("two")), &Outcome::Unchanged));
    assert_eq!(done.status.as_ref().unwrap().observed_trigger.as_deref(), Some("b"));
    assert_eq!(decide(&observed(&done, ours("two"))), Action::None);
}

#[test]
fn a_bearer_may_ask_for_the_next_version_of_the_one_it_has() {
    let one = settled(plain(), "one");
    let asked = |secret, delivered| Observed { requested: Some("one".to_owned()), ..observed(secret, delivered) };
    assert_eq!(decide(&asked(&one, ours("one"))), Action::Stage(RotationCause::Requested));
    let staged = Outcome::Staged(new("two", at(NOW)), RotationCause::Requested);
    let staged = with_status(&one, status(&asked(&one, ours("one")), &staged));
    let two = with_status(&one, status(&asked(&staged, ours("two")), &Outcome::Unchanged));
    assert_eq!(states(two.status.as_ref().unwrap()), [("two", VersionState::Active), ("one", VersionState::Retiring)]);
    assert_eq!(decide(&asked(&two, ours("two"))), Action::None, "it has happened");
}

#[test]
fn a_one_time_secret_is_removed_and_its_value_stays_active() {
    let once = settled(spec(&json!({"delivery": {"mode": "Once", "ttl": "15m"}})), "one");
    let end = at("2026-11-22T02:15:00Z");
    assert_eq!(once.status.as_ref().unwrap().delivery.as_ref().unwrap().remove_at, Some(end));
    assert_eq!(decide(&observed(&once, ours("one"))), Action::None);
    let seen = observed_at(&once, ours("one"), end);
    assert_eq!(decide(&seen), Action::Remove);
    // Killed after the removal: the next reconciliation finds that the Secret is gone.
    for (delivered, outcome) in [(ours("one"), Outcome::Removed), (Delivered::Absent, Outcome::Unchanged)] {
        let after = status(&observed_at(&once, delivered, end), &outcome);
        assert_eq!(states(&after), [("one", VersionState::Active)]);
        assert_eq!((after.binding.clone(), ready_of(&after).0.as_str()), (None, "True"));
        assert_eq!(condition(&after, "Delivered"), ("False".to_owned(), "Removed".to_owned()));
        let removed = with_status(&once, after.clone());
        let later = observed_at(&removed, Delivered::Absent, at("2026-11-23T00:00:00Z"));
        assert_eq!(decide(&later), Action::None);
        assert_eq!(status(&later, &Outcome::Unchanged), after);
        // With mode Keep it is delivered again, and the value in use has its overlap.
        let kept = ClientSecret { spec: plain(), ..removed };
        assert_eq!(decide(&observed(&kept, Delivered::Absent)), Action::Stage(RotationCause::Redelivery));
    }
}

#[test]
fn an_imported_value_is_recorded_first_and_then_delivered() {
    let source = |version: &str| SourceStatus {
        uid: "u".to_owned(),
        resource_version: version.to_owned(),
        key: "k".to_owned(),
        line_break_ignored: false,
    };
    let spec = spec(&json!({"source": {"existing": {"secretName": "old", "key": "k"}}, "rotation": {"every": "1m"}}));
    let object = secret(spec);
    let with = |object, delivered, import| Observed { import: Some(import), ..observed(object, delivered) };
    let seen = with(&object, Delivered::Absent, Import::Changed(source("1")));
    assert_eq!(decide(&seen), Action::Import(source("1")));
    let outcome = Outcome::Imported(source("1"), Some(new("one", at(NOW))));
    let known = with_status(&object, status(&seen, &outcome));
    assert_eq!(known.status.as_ref().unwrap().hint, None, "the first characters of such a value may be half of it");
    assert_eq!(decide(&with(&known, Delivered::Absent, Import::Unchanged)), Action::Deliver);
    assert_eq!(decide(&with(&known, ours("one"), Import::Unchanged)), Action::None);
    assert_eq!(known.status.as_ref().unwrap().next_rotation_at, None);
    // A different value is a new version immediately; a moved value is not.
    let seen = with(&known, ours("one"), Import::Changed(source("2")));
    let other = status(&seen, &Outcome::Imported(source("2"), Some(new("two", at(NOW)))));
    assert_eq!(states(&other), [("two", VersionState::Active), ("one", VersionState::Retired)]);
    let other = with_status(&object, other);
    assert_eq!(decide(&with(&other, ours("one"), Import::Unchanged)), Action::Deliver);
    let same = status(&seen, &Outcome::Imported(source("2"), None));
    assert_eq!(states(&same), [("one", VersionState::Active)]);
    for (import, reason) in [
        (Import::NotFound, "ImportNotFound"),
        (Import::Terminating, "ImportNotFound"),
        (Import::KeyMissing, "ImportKeyMissing"),
        (Import::WrongLength, "ImportValueRefused"),
        (Import::LooksGenerated, "ImportValueRefused"),
    ] {
        let seen = with(&object, Delivered::Absent, import);
        assert_eq!(decide(&seen), Action::None);
        assert_eq!(ready_of(&status(&seen, &Outcome::Unchanged)).1, reason);
    }
}

#[test]
fn an_upcoming_expiry_is_reported_in_time_and_once_for_each_warning() {
    let one = settled(spec(&json!({"expiresIn": "60d"})), "one");
    let told = |day: i64| {
        let seen = observed_at(&one, ours("one"), at(NOW) + SignedDuration::from_hours(day * 24));
        let after = status(&seen, &Outcome::Unchanged);
        let expiring = after.conditions.into_iter().find(|condition| condition.type_ == "Expiring").unwrap();
        (expiring.status, expiring.message)
    };
    assert_eq!(told(29).0, "False");
    let messages: Vec<String> = (30..60)
        .map(told)
        .map(|(status, message)| {
            assert_eq!(status, "True");
            message
        })
        .collect();
    let distinct: std::collections::BTreeSet<_> = messages.iter().collect();
    assert_eq!(distinct.len(), 3, "{distinct:?}");
    let before = one.status.as_ref().unwrap();
    assert_eq!(next_due(&one.spec, before, &POLICY, at(NOW)), Some(at(NOW) + SignedDuration::from_hours(30 * 24)));
    let rotated = settled(spec(&json!({"expiresIn": "20d", "rotation": {"every": "10d"}})), "one");
    assert_eq!(condition(rotated.status.as_ref().unwrap(), "Expiring").0, "False", "it is replaced before");
    let short = settled(spec(&json!({"expiresIn": "20d"})), "one");
    let expires = |day: i64| {
        let seen = observed_at(&short, ours("one"), at(NOW) + SignedDuration::from_hours(day * 24));
        condition(&status(&seen, &Outcome::Unchanged), "Expiring")
    };
    assert_eq!(expires(12).0, "False", "a warning for 30 days is nothing to a credential of 20");
    assert_eq!(expires(13).0, "True");
}

#[test]
fn a_taken_name_has_one_message_whether_or_not_the_secret_exists() {
    let plain = secret(plain());
    let message = |seen: &Observed<'_>| status(seen, &Outcome::Unchanged).conditions[0].message.clone();
    let exists = observed(&plain, Delivered::Foreign);
    let mut claimed = observed(&plain, Delivered::Absent);
    claimed.has_older_claimant = true;
    assert_eq!(message(&exists), message(&claimed));
}

#[test]
fn every_blocker_stops_delivery_and_is_reported_with_the_remedy() {
    let revoked = secret(spec(&json!({"revoke": true})));
    let expired = secret(spec(&json!({"expiresAt": "2026-11-22T01:59:59Z"})));
    let plain = secret(plain());
    let with = |change: fn(&mut Observed<'_>)| {
        let mut seen = observed(&plain, Delivered::Absent);
        change(&mut seen);
        seen
    };
    let table = [
        (observed(&revoked, Delivered::Absent), "Revoked", "Create a new ClientSecret"),
        (observed(&expired, Delivered::Absent), "Expired", "Set spec.expiresIn"),
        (
            with(|seen| seen.application = ApplicationState::Missing),
            "ApplicationNotFound",
            "Application sync does not exist",
        ),
        (
            with(|seen| seen.application = ApplicationState::WithoutClientId),
            "ApplicationNotReady",
            "spec.applicationRef: waiting for Application sync",
        ),
        (
            with(|seen| seen.rank = 20),
            "LimitReached",
            "spec.applicationRef: 20 older ClientSecrets belong to Application sync, and only the oldest 20 are active: delete one",
        ),
        (
            with(|seen| seen.delivered = Delivered::Foreign),
            "SecretNameConflict",
            "Choose another spec.delivery.secretName",
        ),
    ];
    for (seen, reason, remedy) in table {
        assert_eq!(decide(&seen), Action::None, "{reason}");
        let status = status(&seen, &Outcome::Unchanged);
        let ready = if reason == "Revoked" { "True" } else { "False" };
        assert_eq!(ready_of(&status), (ready.to_owned(), reason.to_owned()));
        assert_eq!(is_switched_off(&status.conditions), reason == "Revoked");
        assert!(status.conditions[0].message.contains(remedy), "{}", status.conditions[0].message);
    }
}

#[test]
fn a_suspended_application_still_gets_its_secret_delivered() {
    let new = secret(plain());
    let mut seen = observed(&new, Delivered::Absent);
    seen.application = ApplicationState::Known {
        content: content(&[]),
        authority: None,
        disabled: Some(Disabled { why: "spec.suspend".to_owned(), is_suspended: true }),
        accepts_type: true,
    };
    assert_eq!(decide(&seen), Action::Create);
    let after = status(&seen, &issued("one"));
    assert_eq!(ready_of(&after), ("True".to_owned(), "ApplicationSuspended".to_owned()));
    assert!(is_switched_off(&after.conditions), "{after:?}");
}

#[test]
fn a_lost_secret_is_counted_once_and_invalidates_the_tokens_of_its_value() {
    let lost = |status: &ClientSecretStatus| status.losses.unwrap_or_default();
    let by_loss = |id| Outcome::Staged(new(id, at(NOW)), RotationCause::SecretLost);
    let settled = settled(plain(), "one");
    assert_eq!(settled.status.as_ref().unwrap().losses, None);
    let staged = status(&observed(&settled, Delivered::Absent), &by_loss("two"));
    assert_eq!(lost(&staged), 1);
    let staged = with_status(&settled, staged);
    assert_ne!(staged.credential(), settled.credential());
    // The new value could not be delivered yet and is recorded again; or it is lost as well, whichever client had it.
    assert_eq!(lost(&status(&observed(&staged, Delivered::Absent), &by_loss("two"))), 1);
    assert_eq!(lost(&status(&observed(&staged, Delivered::Absent), &by_loss("three"))), 2);
    let delivered = with_status(&staged, status(&observed(&staged, ours("two")), &Outcome::Unchanged));
    assert_eq!(lost(delivered.status.as_ref().unwrap()), 1);
    assert_eq!(lost(&status(&observed(&delivered, Delivered::Absent), &by_loss("three"))), 2);

    // An overwritten value is accepted until the new one is delivered. Its tokens end with it, those of earlier
    // versions immediately.
    let overwritten = with_status(&settled, status(&observed(&settled, foreign_value()), &by_loss("two")));
    assert_eq!(lost(overwritten.status.as_ref().unwrap()), 1);
    assert_eq!(lost(&status(&observed(&overwritten, foreign_value()), &by_loss("two"))), 1, "it is refused");
    assert_eq!(lost(&status(&observed(&overwritten, Delivered::Absent), &by_loss("two"))), 2, "and then deleted");
    let promoted = with_status(&overwritten, status(&observed(&overwritten, ours("two")), &Outcome::Unchanged));
    assert_eq!(lost(promoted.status.as_ref().unwrap()), 2);
    assert_eq!(lost(&status(&observed(&promoted, ours("two")), &Outcome::Unchanged)), 2);

    // No other Secret can replace it.
    let gone = with_status(&settled, status(&observed(&settled, Delivered::Foreign), &Outcome::Unchanged));
    assert_eq!(lost(gone.status.as_ref().unwrap()), 1);
    assert_eq!(lost(&status(&observed(&gone, Delivered::Foreign), &Outcome::Unchanged)), 1);

    let rotated =
        status(&observed(&settled, ours("one")), &Outcome::Staged(new("two", at(NOW)), RotationCause::Trigger));
    assert_eq!(lost(&rotated), 0, "a rotation ends no token");
}

#[test]
fn the_last_use_of_a_value_is_reported_even_after_the_value_was_retired() {
    let last = at("2026-11-22T01:59:30Z");
    let used = || BTreeMap::from([("one".to_owned(), last)]);
    let mut revoked = settled(plain(), "one");
    revoked.spec.revoke = Some(true);
    let mut seen = observed(&revoked, ours("one"));
    seen.uses = used();
    let after = status(&seen, &Outcome::Unchanged);
    assert_eq!((after.versions[0].last_used_at, after.last_used_at), (Some(last), Some(last)));

    // A replica may report a use after the controller ended the value.
    let ended = with_status(&revoked, status(&observed(&revoked, ours("one")), &Outcome::Unchanged));
    assert_eq!(ended.status.as_ref().unwrap().last_used_at, None);
    let mut seen = observed(&ended, Delivered::Absent);
    seen.uses = used();
    assert_eq!(status(&seen, &Outcome::Unchanged).last_used_at, Some(last));

    let leaked = settled(plain(), "one");
    let mut seen = observed(&leaked, Delivered::Absent);
    seen.uses = used();
    let staged = status(&seen, &Outcome::Staged(new("two", at(NOW)), RotationCause::SecretLost));
    assert_eq!((staged.versions[1].state, staged.versions[1].last_used_at), (VersionState::Retired, Some(last)));
}

#[test]
fn revoking_retires_every_version_permanently() {
    let mut settled = settled(plain(), "one");
    settled.spec.revoke = Some(true);
    let after = status(&observed(&settled, ours("one")), &Outcome::Unchanged);
    assert!(after.versions.iter().all(|version| version.state == VersionState::Retired));
    assert_eq!(message(&after, "Rotating"), "No version is active.");
    // A day before the expiry that it would have had, there is nothing to report.
    let revoked = with_status(&settled, after.clone());
    assert_eq!(decide(&observed(&revoked, ours("one"))), Action::Remove);
    assert_eq!(decide(&observed(&revoked, Delivered::Absent)), Action::None);
    assert_eq!(decide(&observed(&revoked, Delivered::Foreign)), Action::None);
    let removed = status(&observed(&revoked, ours("one")), &Outcome::Removed);
    assert_eq!((removed.binding, removed.secret_uid), (None, None));
    let later = observed_at(&revoked, ours("one"), after.expires_at.unwrap() - SignedDuration::from_hours(24));
    assert_eq!(status(&later, &Outcome::Unchanged), after);
}

#[test]
fn a_value_whose_secret_is_missing_is_retired_even_if_it_cannot_be_replaced() {
    let settled = settled(plain(), "one");
    let taken = observed(&settled, Delivered::Foreign);
    let mut expired = settled.clone();
    expired.spec.expires_in = Some("1s".to_owned().try_into().unwrap());
    let ended = Observed { now: at("2026-11-23T00:00:00Z"), ..observed(&expired, Delivered::Absent) };
    for seen in [taken, ended] {
        let after = status(&seen, &Outcome::Unchanged);
        assert!(after.versions.iter().all(|version| version.state == VersionState::Retired));
        assert_eq!(message(&after, "Rotating"), "No version is active.");
        assert_eq!(after.binding, None, "that Secret holds no value of it");
    }
    let unseen = Observed { application: ApplicationState::Missing, ..observed(&settled, Delivered::Unknown) };
    assert_eq!(status(&unseen, &Outcome::Unchanged).versions[0].state, VersionState::Active);
}

#[test]
fn a_changed_expiry_counts_from_the_issue_and_reactivates_an_expired_credential() {
    let mut settled = settled(plain(), "one");
    settled.spec.expires_in = Some("1h".to_owned().try_into().unwrap());
    let mut seen = observed(&settled, ours("one"));
    seen.now = at("2026-11-22T03:00:00Z");
    let ended = status(&seen, &Outcome::Unchanged);
    assert_eq!((ready_of(&ended).1.as_str(), message(&ended, "Rotating")), ("Expired", "No version is active."));
    let mut extended = settled.clone();
    extended.spec.expires_in = Some(DurationOrNever::Never);
    let seen = Observed { secret: &extended, now: seen.now, ..observed(&extended, ours("one")) };
    let after = status(&seen, &Outcome::Unchanged);
    assert_eq!((ready_of(&after).1.as_str(), after.expires_at), ("Issued", None));
}

mod proptests;

#[test]
fn nothing_keeps_a_rotation_from_being_due_in_time_for_its_overlap() {
    for (life, every, overlap) in [("1h", "1h", "0s"), ("2h", "1h", "1h"), ("1y", "364d", "1d"), ("61m", "1h", "0s")] {
        for number in 0..100 {
            let mut one = secret(spec(&json!({"expiresIn": life, "rotation": {"every": every, "overlap": overlap}})));
            one.metadata.uid = Some(format!("0d0c8f6e-4b7e-4f6c-9a53-{number:012}"));
            let told = status(&observed(&one, Delivered::Absent), &issued("one"));
            let overlap = one.spec.rotation.as_ref().unwrap().overlap();
            assert!(told.next_rotation_at.unwrap() + overlap <= told.expires_at.unwrap(), "{life} {every} {told:?}");
        }
    }
}

#[test]
fn credentials_that_were_issued_together_are_rotated_one_after_the_other() {
    let version: Version =
        serde_json::from_value(json!({"id": "k7Qd0m2x", "state": "Active", "createdAt": NOW, "verifier": "x"}))
            .unwrap();
    let due = |number: u32| {
        let mut secret = secret(spec(&json!({"rotation": {"every": "30d"}})));
        secret.metadata.uid = Some(format!("0d0c8f6e-4b7e-4f6c-9a53-{number:012}"));
        observed(&secret, Delivered::Absent).next_rotation_at(&version).unwrap()
    };
    let from = at(NOW) + SignedDuration::from_hours(30 * 24);
    let mut minutes = [0; 10];
    for number in 0..10_000 {
        let delay = due(number).duration_since(from);
        assert_eq!(due(number), due(number), "it never belongs to another object");
        minutes[usize::try_from(delay.as_mins().min(9)).unwrap()] += 1;
        assert!(delay <= SignedDuration::from_mins(10), "{delay}");
    }
    assert!(minutes.iter().all(|number| *number > 20), "{minutes:?}");
}

#[test]
fn a_new_value_in_the_source_reactivates_an_expired_credential() {
    let existing = json!({"expiresIn": "30d", "source": {"existing": {"secretName": "old", "key": "k"}}});
    let object = secret(spec(&existing));
    let source = |version: &str| SourceStatus {
        uid: "u".to_owned(),
        resource_version: version.to_owned(),
        key: "k".to_owned(),
        line_break_ignored: false,
    };
    let seen = Observed { import: Some(Import::Changed(source("1"))), ..observed(&object, Delivered::Absent) };
    let known = with_status(&object, status(&seen, &Outcome::Imported(source("1"), Some(new("one", at(NOW))))));
    let later = at(NOW) + SignedDuration::from_hours(31 * 24);
    let seen = |import| Observed { import: Some(import), ..observed_at(&known, ours("one"), later) };
    assert_eq!(decide(&seen(Import::Unchanged)), Action::None);
    assert_eq!(ready_of(&status(&seen(Import::Unchanged), &Outcome::Unchanged)).1, "Expired");
    let changed = seen(Import::Changed(source("2")));
    assert_eq!(decide(&changed), Action::Import(source("2")));
    assert_eq!(ready_of(&status(&changed, &Outcome::Imported(source("2"), None))).1, "Expired", "the same value");
    let revived = status(&changed, &Outcome::Imported(source("2"), Some(new("two", later))));
    let revived = with_status(&object, revived);
    let after = status(
        &Observed { import: Some(Import::Unchanged), ..observed_at(&revived, ours("two"), later) },
        &Outcome::Unchanged,
    );
    assert_eq!(ready_of(&after).1, "Issued");
}

#[test]
fn without_its_source_an_imported_value_is_replaced_with_the_usual_overlap() {
    let existing = json!({"source": {"existing": {"secretName": "old", "key": "k"}}});
    let object = secret(spec(&existing));
    let source = SourceStatus {
        uid: "u".to_owned(),
        resource_version: "1".to_owned(),
        key: "k".to_owned(),
        line_break_ignored: false,
    };
    let seen = Observed { import: Some(Import::Changed(source.clone())), ..observed(&object, Delivered::Absent) };
    let known = status(&seen, &Outcome::Imported(source, Some(new("one", at(NOW)))));
    let own = with_status(&secret(plain()), known);
    let seen = observed(&own, ours("one"));
    assert_eq!(decide(&seen), Action::Stage(RotationCause::Trigger));
    let staged = status(&seen, &Outcome::Staged(new("two", at(NOW)), RotationCause::Trigger));
    let staged = with_status(&own, staged);
    assert_eq!(decide(&observed(&staged, ours("one"))), Action::Stage(RotationCause::Trigger), "killed in between");
    let after = status(&observed(&staged, ours("two")), &Outcome::Unchanged);
    assert_eq!(states(&after), [("two", VersionState::Active), ("one", VersionState::Retiring)]);
    assert_eq!(after.versions[1].retires_at, Some(at(NOW) + OVERLAP_DEFAULT));
    assert_eq!(after.source, None);
    let after = with_status(&own, after);
    assert_eq!(decide(&observed(&after, ours("two"))), Action::None);
}

#[test]
fn a_lifetime_that_the_operator_shortens_is_rotated_earlier() {
    let limited = |max: i64| Policy {
        lifetime: LifetimePolicy { max: Some(SignedDuration::from_hours(max)), ..LifetimePolicy::default() },
        ..POLICY.clone()
    };
    for (max, due) in [(30 * 24, 29 * 24), (24, 12)] {
        let one = secret(spec(&json!({"expiresIn": "1y", "rotation": {"every": "90d"}})));
        let policy = limited(max);
        let seen = Observed { policy: &policy, ..observed(&one, Delivered::Absent) };
        let told = status(&seen, &issued("one"));
        assert_eq!(told.next_rotation_at, Some(at(NOW) + SignedDuration::from_hours(due)), "{max} h");
    }
}

/// A secret whose trigger was `b` when version `two` replaced `one`, now with this trigger and overlap.
fn rotated(trigger: &str, overlap: &str) -> ClientSecret {
    let rotation = |trigger: &str, overlap: &str| spec(&json!({"rotation": {"trigger": trigger, "overlap": overlap}}));
    let one = settled(rotation("a", "24h"), "one");
    let changed = ClientSecret { spec: rotation("b", "24h"), ..one };
    let staged = Outcome::Staged(new("two", at(NOW)), RotationCause::Trigger);
    let staged = with_status(&changed, status(&observed(&changed, ours("one")), &staged));
    let two = with_status(&changed, status(&observed(&staged, ours("two")), &Outcome::Unchanged));
    ClientSecret { spec: rotation(trigger, overlap), ..two }
}

#[test]
fn a_rotation_waits_until_the_overlap_of_the_previous_value_ends() {
    let again = rotated("c", "24h");
    let end = at(NOW) + SignedDuration::from_hours(24);
    let seen = observed_at(&again, ours("two"), end - SignedDuration::from_secs(1));
    assert_eq!(decide(&seen), Action::None);
    let told = status(&seen, &Outcome::Unchanged);
    assert_eq!(states(&told), [("two", VersionState::Active), ("one", VersionState::Retiring)]);
    assert_eq!(told.observed_trigger.as_deref(), Some("b"));
    assert!(message(&told, "Rotating").contains("Another rotation is requested"), "{told:?}");
    let waiting = with_status(&again, told);
    assert_eq!(next_due(&waiting.spec, waiting.status.as_ref().unwrap(), &POLICY, at(NOW)), Some(end));
    assert_eq!(decide(&observed_at(&waiting, ours("two"), end)), Action::Stage(RotationCause::Trigger));
    // A lost value is replaced immediately, and an owner who shortens the overlap withdraws the announcement.
    assert_eq!(decide(&observed(&waiting, Delivered::Absent)), Action::Stage(RotationCause::SecretLost));
    assert_eq!(decide(&observed(&rotated("c", "0s"), ours("two"))), Action::Stage(RotationCause::Trigger));
    let settled = rotated("b", "24h");
    assert!(!message(settled.status.as_ref().unwrap(), "Rotating").contains("Another"), "nothing waits");
}

#[test]
fn a_rotation_request_within_the_overlap_is_kept_until_the_overlap_ends() {
    let two = rotated("b", "24h");
    let asked = Observed { requested: Some("two".to_owned()), ..observed(&two, ours("two")) };
    assert_eq!(decide(&asked), Action::None);
    let waiting = with_status(&two, status(&asked, &Outcome::Unchanged));
    // The endpoint has dropped the request by then.
    let forgotten = observed(&waiting, ours("two"));
    assert_eq!(Some(&status(&forgotten, &Outcome::Unchanged)), waiting.status.as_ref());
    let end = at(NOW) + SignedDuration::from_hours(24);
    let then = observed_at(&waiting, ours("two"), end);
    assert_eq!(decide(&then), Action::Stage(RotationCause::Requested));
    let staged = status(&then, &Outcome::Staged(new("three", end), RotationCause::Requested));
    let staged = with_status(&waiting, staged);
    let three = with_status(&waiting, status(&observed_at(&staged, ours("three"), end), &Outcome::Unchanged));
    assert_eq!(decide(&observed_at(&three, ours("three"), end)), Action::None, "it has happened");
}

#[test]
fn the_default_overlap_is_no_longer_than_the_interval() {
    for (rotation, hours) in [(json!({}), 24), (json!({"every": "30d"}), 24), (json!({"every": "1h"}), 1)] {
        let rotation = spec(&json!({"rotation": rotation})).rotation.unwrap();
        assert_eq!(rotation.overlap(), SignedDuration::from_hours(hours));
    }
}

#[test]
fn a_problem_that_would_block_a_rotation_is_reported_before_one_starts() {
    let rollout = json!([{"kind": "Deployment", "name": "nope"}]);
    let one = settled(spec(&json!({"rotation": {"every": "30d", "rollout": rollout}})), "one");
    let workload = one.spec.rotation.as_ref().unwrap().rollout.as_ref().unwrap()[0].clone();
    let seen = Observed { unavailable: vec![(workload, Rollout::Missing)], ..observed(&one, ours("one")) };
    let told = status(&seen, &Outcome::Unchanged);
    assert_eq!(condition(&told, "Rotating"), ("False".to_owned(), "WorkloadUnavailable".to_owned()));
    assert!(message(&told, "Rotating").contains("spec.rotation.rollout: Deployment nope does not exist"), "{told:?}");
    for (uses, expected) in [(json!(["Manage"]), "only a request of its bearer"), (json!(["Token"]), "nothing starts")]
    {
        let idle = settled(spec(&json!({"usages": uses, "rotation": {"overlap": "1h"}})), "one");
        let told = idle.status.unwrap();
        assert_eq!(condition(&told, "Rotating"), ("False".to_owned(), "NoTrigger".to_owned()));
        assert!(message(&told, "Rotating").contains(expected), "{told:?}");
    }
}

#[test]
fn a_value_whose_install_key_is_missing_is_kept_and_reported_until_another_one_is_requested() {
    let settled = settled(spec(&json!({})), "one");
    let unknown = |secret| Observed {
        unknown_install_key: Some("lostlost".to_owned()),
        ..observed(secret, Delivered::Ours { version: None, contents: Contents::Right, immutable: false })
    };
    assert_eq!(decide(&unknown(&settled)), Action::None);
    let kept = status(&unknown(&settled), &Outcome::Unchanged);
    assert_eq!(states(&kept), [("one", VersionState::Active)]);
    assert_eq!(condition(&kept, "Ready"), ("False".to_owned(), "InstallKeyMissing".to_owned()));
    let told = message(&kept, "Ready");
    assert!(
        ["lostlost", "postern-install-key", "spec.rotation.trigger"].iter().all(|part| told.contains(part)),
        "{told}"
    );

    let requested =
        ClientSecret { spec: spec(&json!({"rotation": {"trigger": "lost"}})), ..with_status(&settled, kept) };
    assert_eq!(decide(&unknown(&requested)), Action::Stage(RotationCause::Trigger));
    // A staged value may have reached the Secret before the key was lost.
    let staged = Outcome::Staged(new("two", at(NOW)), RotationCause::Trigger);
    let staged = with_status(&requested, status(&observed(&requested, ours("one")), &staged));
    assert_eq!(decide(&unknown(&staged)), Action::None);
    assert_eq!(status(&unknown(&staged), &Outcome::Unchanged).versions, staged.status.clone().unwrap().versions);
    let deleted = Observed { delivered: Delivered::Absent, ..unknown(&settled) };
    assert_eq!(decide(&deleted), Action::Stage(RotationCause::SecretLost), "its Secret is gone in any case");
}

#[test]
fn a_rekeyed_version_keeps_everything_but_its_verification() {
    let settled = settled(spec(&json!({})), "one");
    let rekeyed = BTreeMap::from([
        ("one".to_owned(), Verification::of_value("verifier under another key")),
        ("gone".to_owned(), Verification::of_value("of no version")),
    ]);
    let told = status(&Observed { rekeyed, ..observed(&settled, ours("one")) }, &Outcome::Unchanged);
    let mut expected = settled.status.clone().unwrap().versions;
    expected[0].verification = Verification::of_value("verifier under another key");
    assert_eq!(told.versions, expected);
    assert_eq!(condition(&told, "Ready").0, "True");
}

#[test]
fn after_a_restore_every_generated_value_from_before_is_replaced_once() {
    let settled = settled(spec(&json!({})), "one");
    let policy = |restored| Policy { restored_at: Some(restored), ..POLICY.clone() };
    let (before, after) = (policy(at(NOW)), policy(at(NOW) + SignedDuration::from_secs(1)));
    let seen = |policy| Observed { policy, ..observed(&settled, ours("one")) };
    assert_eq!(decide(&seen(&before)), Action::None, "it was issued after the restore");
    assert_eq!(decide(&seen(&after)), Action::Stage(RotationCause::Restore));
    let later = at(NOW) + SignedDuration::from_secs(60);
    let staged = status(&seen(&after), &Outcome::Staged(new("two", later), RotationCause::Restore));
    let staged = with_status(&settled, staged);
    let delivered = Observed { policy: &after, ..observed_at(&staged, ours("two"), later) };
    let told = status(&delivered, &Outcome::Unchanged);
    assert_eq!(states(&told), [("two", VersionState::Active), ("one", VersionState::Retiring)]);
    let done = with_status(&staged, told);
    assert_eq!(decide(&Observed { policy: &after, ..observed_at(&done, ours("two"), later) }), Action::None);
}
