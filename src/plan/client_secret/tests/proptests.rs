//! Generated histories: edits, deletions, restarts and clock changes in any order. The controller may be killed between
//! any two writes.

use proptest::prelude::*;

use super::tests::*;
use crate::api::jwks::Jwk;

#[derive(Clone, Copy, Debug)]
enum Step {
    /// The controller reconciles, and is killed after this many writes.
    Reconcile(Option<u8>),
    SecretDeleted,
    /// The deletion of the Secret is requested, and a finalizer blocks it until the next `SecretDeleted`.
    SecretTerminating,
    Trigger(Option<u8>),
    Every(Option<u8>),
    Overlap(u8),
    Once(bool),
    /// A quota or an admission policy rejects every write of a Secret; or it is removed.
    Refusing(bool),
    /// Key pairs take long to generate, or are there at once.
    Slow(bool),
    /// Time passes, or the clock is changed: minutes, forward or back.
    Clock(i64),
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Reconcile(None)),
        2 => (0..3u8).prop_map(|writes| Step::Reconcile(Some(writes))),
        1 => Just(Step::SecretDeleted),
        1 => Just(Step::SecretTerminating),
        1 => proptest::option::of(0..3u8).prop_map(Step::Trigger),
        1 => proptest::option::of(0..3u8).prop_map(Step::Every),
        1 => (0..3u8).prop_map(Step::Overlap),
        1 => any::<bool>().prop_map(Step::Once),
        1 => any::<bool>().prop_map(Step::Refusing),
        1 => any::<bool>().prop_map(Step::Slow),
        3 => (-60..600i64).prop_map(Step::Clock),
    ]
}

fn types() -> impl Strategy<Value = CredentialType> {
    prop_oneof![Just(CredentialType::SharedSecret), Just(CredentialType::PrivateKey)]
}

fn credential(id: &str, is_key_pair: bool, at: Timestamp) -> Issued {
    if is_key_pair {
        Issued { id: id.to_owned(), verification: Verification::of_key(Jwk::default(), "mac"), at }
    } else {
        new(id, at)
    }
}

/// The API server's state, and the history so far.
struct Simulation {
    object: ClientSecret,
    /// The version in the Secret.
    delivered: Option<String>,
    /// A finalizer blocks the deletion of the Secret.
    terminating: bool,
    refusing: bool,
    /// No key pair is generated yet.
    slow: bool,
    /// The last rejected value, which the process remembers.
    undelivered: Option<Issued>,
    now: Timestamp,
    generated: u32,
    /// Ids in the order of their delivery, with the cause of each.
    deliveries: Vec<(String, Option<RotationCause>)>,
    triggers: u32,
    losses: u32,
}

impl Simulation {
    fn new(type_: CredentialType) -> Self {
        Self {
            object: secret(ClientSecretSpec { type_: Some(type_), ..plain() }),
            delivered: None,
            terminating: false,
            refusing: false,
            slow: false,
            undelivered: None,
            now: at(NOW),
            generated: 0,
            deliveries: Vec::new(),
            triggers: 0,
            losses: 0,
        }
    }

    fn rotation(&mut self, field: &str, value: Option<&str>) {
        let mut rotation = json!(self.object.spec.rotation.clone().unwrap_or_default());
        rotation[field] = json!(value);
        self.object.spec.rotation = Some(serde_json::from_value(rotation).unwrap());
    }

    fn apply(&mut self, step: Step) {
        match step {
            Step::Reconcile(dies_after) => self.reconcile(dies_after),
            Step::SecretDeleted => {
                self.terminating = false;
                self.lose();
            }
            Step::SecretTerminating => {
                self.terminating |= self.delivered.is_some();
                self.lose();
            }
            Step::Trigger(text) => {
                self.triggers += 1;
                self.rotation("trigger", text.map(|n| format!("t{n}")).as_deref());
            }
            Step::Every(hours) => self.rotation("every", hours.map(|hours| format!("{}h", hours + 1)).as_deref()),
            Step::Overlap(minutes) => self.rotation("overlap", Some(&format!("{}m", u32::from(minutes) * 30))),
            Step::Once(once) => {
                let mode = if once { "Once" } else { "Keep" };
                self.object.spec.delivery = Some(serde_json::from_value(json!({"mode": mode, "ttl": "1h"})).unwrap());
            }
            Step::Refusing(refusing) => self.refusing = refusing,
            // A value is always there at once.
            Step::Slow(slow) => self.slow = slow && self.object.spec.is_key_pair(),
            Step::Clock(minutes) => self.now += SignedDuration::from_mins(minutes),
        }
    }

    fn lose(&mut self) {
        if let Some(lost) = self.delivered.take()
            && self.object.status.as_ref().is_some_and(|status| status.versions.iter().any(|v| v.id == lost))
        {
            self.losses += 1;
        }
    }

    /// Runs the controller, which may be killed between its writes.
    fn reconcile(&mut self, dies_after: Option<u8>) {
        let mut writes_left = dies_after.unwrap_or(u8::MAX);
        let mut write = || {
            let alive = writes_left > 0;
            writes_left = writes_left.saturating_sub(1);
            alive
        };
        let absent = if self.terminating { terminating() } else { Delivered::Absent };
        let delivered = self.delivered.as_deref().map_or(absent, ours);
        let seen = observed_at(&self.object, delivered, self.now);
        let action = decide(&seen);
        let value = match action {
            Action::Create | Action::Stage(_) => {
                let recorded = self.object.status.as_ref().and_then(|status| status.versions.first());
                let kept = self.undelivered.take().filter(|kept| recorded.is_some_and(|newest| newest.id == kept.id));
                let kept = kept.filter(|_| dies_after.is_none());
                kept.or_else(|| {
                    (!self.slow).then(|| {
                        self.generated += 1;
                        credential(&format!("v{}", self.generated), self.object.spec.is_key_pair(), self.now)
                    })
                })
            }
            _ => None,
        };
        let (before, between, outcome) = match (action, value) {
            (Action::None | Action::Repair, _) => (None, None, Outcome::Unchanged),
            (Action::Create, None) => return,
            (Action::Stage(cause), None) => (None, None, Outcome::Generating(cause)),
            (Action::Create, Some(_)) if self.refusing => (None, None, Outcome::Refused("denied".to_owned())),
            (Action::Stage(cause), Some(value)) if self.refusing => {
                let staged = status(&seen, &Outcome::Staged(value.clone(), cause));
                self.undelivered = Some(value);
                let is_new = self.object.status.as_ref() != Some(&staged);
                (is_new.then_some(staged), None, Outcome::Refused("denied".to_owned()))
            }
            (Action::Create, Some(value)) => (None, Some((value.id.clone(), None)), Outcome::Issued(value)),
            (Action::Adopt, _) => (None, None, Outcome::Issued(self.adopted())),
            (Action::Stage(cause), Some(value)) => {
                let staged = status(&seen, &Outcome::Staged(value.clone(), cause));
                (Some(staged), Some((value.id, Some(cause))), Outcome::Unchanged)
            }
            (Action::Remove, _) => (None, None, Outcome::Removed),
            (action, _) => panic!("{action:?}"),
        };
        let staging = before.is_some();
        let after = status(&seen, &outcome);
        if let Some(staged) = before {
            if !write() {
                return;
            }
            self.object.status = Some(staged);
            self.is_sound();
        }
        if let Some((id, cause)) = between {
            if !write() {
                return;
            }
            self.delivered = Some(id.clone());
            self.deliveries.push((id, cause));
            self.is_sound();
        }
        if outcome == Outcome::Removed {
            if !write() {
                return;
            }
            self.delivered = None;
            self.terminating = false;
        }
        if !staging && self.object.status.as_ref() != Some(&after) && write() {
            self.object.status = Some(after);
        }
        self.is_sound();
    }

    fn adopted(&self) -> Issued {
        credential(self.delivered.as_deref().unwrap(), self.object.spec.is_key_pair(), self.now)
    }

    fn live(&self) -> Vec<&Version> {
        let versions = self.object.status.iter().flat_map(|status| &status.versions);
        versions
            .filter(|version| match version.state {
                VersionState::Active => true,
                VersionState::Retiring => version.retires_at.is_none_or(|end| end > self.now),
                VersionState::Retired => false,
            })
            .collect()
    }

    /// Invariants after every single write.
    fn is_sound(&self) {
        let live = self.live();
        assert!(live.len() <= 2, "more than two live versions: {live:?}");
        if self.is_told_lost() {
            assert!(live.len() <= 1, "the Secret is gone, and what was in it is accepted: {live:?}");
        }
        for version in self.object.status.iter().flat_map(|status| &status.versions) {
            assert_eq!(version.verification.public_key.is_some(), self.object.spec.is_key_pair());
        }
        let told = self.object.status.as_ref().is_some_and(|status| !status.versions.is_empty());
        if let Some(delivered) = self.delivered.as_ref().filter(|_| told) {
            assert!(live.iter().any(|version| version.id == *delivered), "a pod reads {delivered}, accepted: {live:?}");
        }
    }

    /// Whether status has recorded the deletion of a Secret with mode Keep.
    fn is_told_lost(&self) -> bool {
        let rotation = self.object.status.as_ref().and_then(|status| status.rotation.as_ref());
        self.delivered.is_none()
            && rotation.is_some_and(|rotation| {
                (rotation.step, rotation.cause) == (RotationStep::Delivering, RotationCause::SecretLost)
            })
    }

    /// Reconciles until there is nothing to do, without time passing.
    fn settle(&mut self) {
        for _ in 0..6 {
            let before = (self.object.status.clone(), self.delivered.clone());
            self.reconcile(None);
            if before == (self.object.status.clone(), self.delivered.clone()) {
                return;
            }
        }
        panic!("it does not become quiet: {:?}", self.object.status);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn the_value_that_a_pod_reads_is_accepted_and_each_cause_counts_once_after_any_history(
        type_ in types(), history in proptest::collection::vec(steps(), 0..40)
    ) {
        let mut world = Simulation::new(type_);
        for step in history {
            world.apply(step);
        }
        // No further action while the write is rejected.
        world.settle();
        world.refusing = false;
        world.settle();
        world.slow = false;
        world.settle();
        // No further action while a finalizer blocks the deletion of the Secret.
        world.terminating = false;
        world.settle();
        let deliveries = world.deliveries.len();
        world.settle();
        prop_assert_eq!(world.deliveries.len(), deliveries, "quiet");
        let status = world.object.status.clone().unwrap();
        let active: Vec<_> = status.versions.iter().filter(|v| v.state == VersionState::Active).collect();
        prop_assert_eq!(active.len(), 1);
        if let Some(delivered) = &world.delivered {
            prop_assert_eq!(&active[0].id, delivered);
        } else {
            prop_assert!(status.delivery.as_ref().is_some_and(|delivery| delivery.removed_at.is_some()));
        }
        let count = |cause| world.deliveries.iter().filter(|(_, of)| *of == Some(cause)).count();
        // A Secret that is deleted while its value is staged is delivered again for the same cause.
        let causes = usize::try_from(world.triggers + world.losses).unwrap();
        prop_assert!(count(RotationCause::Trigger) + count(RotationCause::SecretLost) <= causes);
    }

    #[test]
    fn a_version_is_replaced_once_for_each_interval_whatever_the_clock_does(
        type_ in types(),
        history in proptest::collection::vec(
            prop_oneof![3 => Just(Step::Reconcile(None)), 1 => (0..3u8).prop_map(|n| Step::Reconcile(Some(n))),
                        2 => (-60..90i64).prop_map(Step::Clock)], 0..60)
    ) {
        let mut world = Simulation::new(type_);
        world.rotation("every", Some("1h"));
        world.rotation("overlap", Some("10m"));
        let (mut earliest, mut latest) = (world.now, world.now);
        for step in history {
            world.apply(step);
            (earliest, latest) = (earliest.min(world.now), latest.max(world.now));
        }
        world.settle();
        let hours = latest.duration_since(earliest).as_hours();
        // One for the first value, and one for each hour of the clock.
        prop_assert!(i64::try_from(world.deliveries.len()).unwrap() <= 1 + hours, "{:?} in {hours} h", world.deliveries);
    }
}
