//! Decisions as a table, and the life of a secret through generated histories.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use proptest::prelude::*;

use super::*;
use crate::api::client_secret::ClientSecretSpec;
use crate::api::duration::DurationOrNever;
use crate::plan::content::Endpoints;

const NOW: &str = "2026-11-22T02:00:00Z";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

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

fn spec() -> ClientSecretSpec {
    ClientSecretSpec {
        application_ref: Reference { name: "sync".to_owned() },
        description: None,
        restrict_to: None,
        expires_in: None,
        expires_at: None,
        delivery: None,
        revoke: None,
    }
}

fn content(scopes: &[&str]) -> Content {
    let endpoints =
        Endpoints { issuer: "https://i".to_owned(), token: "https://i/t".to_owned(), jwks: "https://i/j".to_owned() };
    Content::new(&endpoints, "client", &scopes.iter().map(|scope| (*scope).to_owned()).collect::<Vec<_>>())
}

fn ready_application() -> ApplicationState {
    ApplicationState::Known { content: content(&["read"]), not_ready: None }
}

fn observed(secret: &ClientSecret, delivered: Delivered) -> Observed<'_> {
    let application = ready_application();
    Observed { secret, application, rank: 0, limit: 20, older_claimant: None, delivered, now: at(NOW) }
}

fn issued(id: &str) -> Outcome {
    Outcome::Issued {
        id: id.to_owned(),
        verifier: format!("verifier of {id}"),
        hint: format!("pst_{id}"),
        issued_at: at(NOW),
    }
}

fn ours(version: &str) -> Delivered {
    Delivered::Ours { version: Some(version.to_owned()), content: Some(content(&["read"]).digest()), intact: true }
}

/// A secret whose version `id` has been issued and told.
fn settled(id: &str) -> ClientSecret {
    let mut secret = secret(spec());
    secret.status = Some(status(&observed(&secret, Delivered::Absent), &issued(id)));
    secret
}

fn ready_of(status: &ClientSecretStatus) -> (String, String) {
    let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready").unwrap();
    (ready.status.clone(), ready.reason.clone())
}

#[test]
fn a_new_secret_is_created_and_then_left_alone() {
    let new = secret(spec());
    assert_eq!(decide(&observed(&new, Delivered::Absent)), Action::Create);
    let settled = settled("one");
    let seen = observed(&settled, ours("one"));
    assert_eq!(decide(&seen), Action::None);
    assert_eq!(Some(&status(&seen, &Outcome::Unchanged)), settled.status.as_ref());
}

#[test]
fn killed_after_the_first_write_the_value_is_adopted() {
    let new = secret(spec());
    assert_eq!(decide(&observed(&new, ours("one"))), Action::Adopt);
    let settled = settled("one");
    assert_eq!(decide(&observed(&settled, ours("two"))), Action::Adopt);
}

#[test]
fn a_deleted_secret_comes_back_with_a_new_value_and_the_old_one_is_retired() {
    let settled = settled("one");
    let seen = observed(&settled, Delivered::Absent);
    assert_eq!(decide(&seen), Action::Create);
    let after = status(&seen, &issued("two"));
    let states: Vec<_> = after.versions.iter().map(|version| (version.id.as_str(), version.state)).collect();
    assert_eq!(states, [("two", VersionState::Active), ("one", VersionState::Retired)]);
    assert_eq!(after.versions[1].retires_at, Some(at(NOW)));
}

#[test]
fn what_others_changed_is_repaired_and_a_retired_value_that_is_put_back_is_replaced() {
    let settled = settled("one");
    let edited =
        Delivered::Ours { version: Some("one".into()), content: Some(content(&["read"]).digest()), intact: false };
    assert_eq!(decide(&observed(&settled, edited)), Action::Repair);
    let outdated = Delivered::Ours { version: Some("one".into()), content: Some("other".into()), intact: true };
    assert_eq!(decide(&observed(&settled, outdated)), Action::Repair);
    let mut rotated = settled.clone();
    rotated.status = Some(status(&observed(&settled, Delivered::Absent), &issued("two")));
    assert_eq!(decide(&observed(&rotated, ours("one"))), Action::Replace);
}

#[test]
fn every_obstacle_stops_delivery_and_is_told_with_what_to_do() {
    let revoked = secret(ClientSecretSpec { revoke: Some(true), ..spec() });
    let expired = secret(ClientSecretSpec { expires_at: Some(at("2026-11-22T01:59:59Z")), ..spec() });
    let plain = secret(spec());
    let with = |change: fn(&mut Observed<'_>)| {
        let mut seen = observed(&plain, Delivered::Absent);
        change(&mut seen);
        seen
    };
    let table = [
        (observed(&revoked, Delivered::Absent), "Revoked", "Create another ClientSecret"),
        (observed(&expired, Delivered::Absent), "Expired", "Set spec.expiresIn"),
        (
            with(|seen| seen.application = ApplicationState::Missing),
            "ApplicationNotFound",
            "Application sync does not exist",
        ),
        (with(|seen| seen.application = ApplicationState::WithoutClientId), "ApplicationNotReady", "no client id"),
        (with(|seen| seen.rank = 20), "LimitReached", "delete one"),
        (
            with(|seen| seen.delivered = Delivered::Foreign { owner: None }),
            "SecretNameConflict",
            "not managed by Postern",
        ),
        (
            with(|seen| seen.delivered = Delivered::Foreign { owner: Some("ClientSecret red".into()) }),
            "SecretNameConflict",
            "belongs to ClientSecret red",
        ),
        (with(|seen| seen.older_claimant = Some("green".into())), "SecretNameConflict", "ClientSecret green is older"),
    ];
    for (seen, reason, remedy) in table {
        assert_eq!(decide(&seen), Action::None, "{reason}");
        let status = status(&seen, &Outcome::Unchanged);
        assert_eq!(ready_of(&status), ("False".to_owned(), reason.to_owned()));
        assert!(status.conditions[0].message.contains(remedy), "{}", status.conditions[0].message);
    }
}

#[test]
fn a_suspended_application_still_gets_its_secret_delivered() {
    let new = secret(spec());
    let mut seen = observed(&new, Delivered::Absent);
    seen.application = ApplicationState::Known { content: content(&[]), not_ready: Some("suspended".to_owned()) };
    assert_eq!(decide(&seen), Action::Create);
    assert_eq!(ready_of(&status(&seen, &issued("one"))), ("False".to_owned(), "ApplicationNotReady".to_owned()));
}

#[test]
fn revoking_retires_every_version_for_good() {
    let mut settled = settled("one");
    settled.spec.revoke = Some(true);
    let after = status(&observed(&settled, ours("one")), &Outcome::Unchanged);
    assert!(after.versions.iter().all(|version| version.state == VersionState::Retired));
}

#[test]
fn a_value_whose_secret_is_gone_is_retired_also_when_it_cannot_be_replaced() {
    let settled = settled("one");
    let taken = observed(&settled, Delivered::Foreign { owner: None });
    let mut expired = settled.clone();
    expired.spec.expires_in = Some("1s".to_owned().try_into().unwrap());
    let ended = Observed { now: at("2026-11-23T00:00:00Z"), ..observed(&expired, Delivered::Absent) };
    for seen in [taken, ended] {
        let after = status(&seen, &Outcome::Unchanged);
        assert!(after.versions.iter().all(|version| version.state == VersionState::Retired));
    }
    let unseen = Observed { application: ApplicationState::Missing, ..observed(&settled, Delivered::Unknown) };
    assert_eq!(status(&unseen, &Outcome::Unchanged).versions[0].state, VersionState::Active);
}

#[test]
fn a_changed_expiry_takes_effect_from_the_issue_and_revives_what_had_only_ended() {
    let mut settled = settled("one");
    settled.spec.expires_in = Some("1h".to_owned().try_into().unwrap());
    let mut seen = observed(&settled, ours("one"));
    seen.now = at("2026-11-22T03:00:00Z");
    assert_eq!(ready_of(&status(&seen, &Outcome::Unchanged)).1, "Expired");
    let mut extended = settled.clone();
    extended.spec.expires_in = Some(DurationOrNever::Never);
    let seen = Observed { secret: &extended, now: seen.now, ..observed(&extended, ours("one")) };
    let after = status(&seen, &Outcome::Unchanged);
    assert_eq!((ready_of(&after).1.as_str(), after.expires_at), ("Issued", None));
}

/// A world of one ClientSecret and its Secret, in which the controller may be killed between any two writes.
#[derive(Debug, Default)]
struct World {
    delivered: Option<String>,
    issues: u32,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Reconcile,
    KilledAfterFirstWrite,
    SecretDeleted,
}

impl World {
    fn reconcile(&mut self, secret: &mut ClientSecret, killed: bool) {
        let delivered = self.delivered.as_deref().map_or(Delivered::Absent, ours);
        let seen = observed(secret, delivered);
        let outcome = match decide(&seen) {
            Action::None | Action::Repair => Outcome::Unchanged,
            Action::Adopt => issued(self.delivered.as_deref().unwrap()),
            Action::Create | Action::Replace => {
                self.issues += 1;
                self.delivered = Some(format!("v{}", self.issues));
                issued(self.delivered.as_deref().unwrap())
            }
        };
        if !killed {
            secret.status = Some(status(&seen, &outcome));
        }
    }
}

proptest! {
    #[test]
    fn whatever_happens_it_converges_to_one_active_version_and_then_is_quiet(
        history in proptest::collection::vec(
            prop_oneof![Just(Step::Reconcile), Just(Step::KilledAfterFirstWrite), Just(Step::SecretDeleted)], 0..20)
    ) {
        let (mut world, mut object) = (World::default(), secret(spec()));
        let mut losses = 0;
        for step in history {
            match step {
                Step::Reconcile => world.reconcile(&mut object, false),
                Step::KilledAfterFirstWrite => world.reconcile(&mut object, true),
                Step::SecretDeleted => losses += u32::from(world.delivered.take().is_some()),
            }
        }
        world.reconcile(&mut object, false);
        let status = object.status.clone().unwrap();
        let active: Vec<_> = status.versions.iter().filter(|v| v.state == VersionState::Active).collect();
        prop_assert_eq!(active.len(), 1);
        prop_assert_eq!(Some(&active[0].id), world.delivered.as_ref());
        // Once only: a value for the first version and one for each loss, however often it was killed.
        prop_assert_eq!(world.issues, losses + 1);
        let before = world.issues;
        world.reconcile(&mut object, false);
        prop_assert_eq!(object.status.as_ref(), Some(&status));
        prop_assert_eq!(world.issues, before);
    }
}
