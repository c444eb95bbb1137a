//! Epochs over generated histories: they never decrease, and increase exactly when their fingerprint changes.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use proptest::prelude::*;

use crate::api::access_group::{AccessGroupSpec, Namespaces, Permission};
use crate::api::application::{ApplicationSpec, Reference, Restriction};
use crate::api::permissions::{Authority, Membership, NamespaceLocation, narrow, resolve};
use crate::api::service_user::ServiceUserSpec;
use crate::api::{AccessGroup, Application, NamespaceFacts, ServiceUser};
use crate::plan::{application, service_user};

/// A change between two reconciliations.
#[derive(Clone, Debug)]
enum Step {
    /// The scopes that a group permits; none: the group is deleted.
    Group { number: usize, scopes: Vec<u8> },
    /// The groups of the user.
    Groups(Vec<usize>),
    /// The user is suspended or resumed.
    Suspend(bool),
    /// The application is suspended or resumed.
    SuspendApplication(bool),
    /// Scopes that the application is restricted to.
    Narrow(Option<Vec<u8>>),
    /// The application acts for another user with the same groups.
    Swap(u8),
    /// A change that does not affect authority.
    Describe(u8),
    /// The controller reconciles again, possibly another process after a restart.
    Reconcile,
}

fn steps() -> impl Strategy<Value = Step> {
    let scopes = || proptest::collection::btree_set(0..3u8, 0..3).prop_map(|scopes| scopes.into_iter().collect());
    let groups = proptest::collection::btree_set(0..3usize, 0..3).prop_map(|groups| groups.into_iter().collect());
    prop_oneof![
        (0..3usize, scopes()).prop_map(|(number, scopes)| Step::Group { number, scopes }),
        groups.prop_map(Step::Groups),
        any::<bool>().prop_map(Step::Suspend),
        any::<bool>().prop_map(Step::SuspendApplication),
        proptest::option::of(scopes()).prop_map(Step::Narrow),
        (0..2u8).prop_map(Step::Swap),
        (0..2u8).prop_map(Step::Describe),
        Just(Step::Reconcile),
    ]
}

struct Simulation {
    groups: HashMap<String, AccessGroup>,
    user: ServiceUser,
    application: Application,
}

/// What each epoch represents, without digests.
type StandsFor = (Authority, bool);

impl Simulation {
    fn new() -> Self {
        let user = ServiceUserSpec {
            display_name: None,
            description: None,
            email: None,
            location: None,
            groups: Some(vec!["g0".to_owned()]),
            suspend: None,
        };
        let application = ApplicationSpec {
            display_name: None,
            url: None,
            description: None,
            service_user_ref: Reference { name: "u0".to_owned() },
            client_id: None,
            restrict_to: None,
            auth: None,
            token: None,
            lockout: None,
            suspend: None,
        };
        let mut world = Self {
            groups: HashMap::new(),
            user: ServiceUser::new("u0", user),
            application: Application::new("app", application),
        };
        world.user.metadata.uid = Some("subject-0".to_owned());
        world
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Group { number, scopes } => {
                let name = format!("g{number}");
                if scopes.is_empty() {
                    self.groups.remove(&name);
                } else {
                    self.groups.insert(name.clone(), group(&name, scopes));
                }
            }
            Step::Groups(groups) => {
                self.user.spec.groups = Some(groups.iter().map(|number| format!("g{number}")).collect());
            }
            Step::Suspend(suspend) => self.user.spec.suspend = Some(*suspend),
            Step::SuspendApplication(suspend) => self.application.spec.suspend = Some(*suspend),
            Step::Narrow(scopes) => {
                let scopes = scopes.as_ref().map(|scopes| scopes.iter().map(|scope| format!("s{scope}")).collect());
                self.application.spec.restrict_to =
                    scopes.map(|scopes| Restriction { scopes: Some(scopes), ..Restriction::default() });
            }
            Step::Swap(user) => self.user.metadata.uid = Some(format!("subject-{user}")),
            Step::Describe(text) => {
                self.user.spec.description = Some(text.to_string());
                self.application.spec.description = Some(text.to_string());
            }
            Step::Reconcile => {}
        }
    }

    fn membership(&self) -> Membership {
        resolve(&self.user.spec, &NamespaceFacts::default(), NamespaceLocation::Optional, |name| self.groups.get(name))
    }

    /// Writes both statuses as the controller would.
    fn reconcile(&mut self) {
        let membership = self.membership();
        let user = service_user::status(&self.user, &membership, Timestamp::UNIX_EPOCH);
        let observed = application::Observed {
            application: &self.application,
            user: Some(&self.user),
            authority: &membership.authority,
            client_id_taken_by: None,
            unusable_keys: Vec::new(),
            published_keys: Vec::new(),
            unusable_certificates: Vec::new(),
            signs: Some(true),
            served: false,
            method_uses: BTreeMap::new(),
            locks: Vec::new(),
            secrets: application::SecretCounts::default(),
            secrets_limit: 20,
            token_lifetime_max_seconds: 900,
            now: Timestamp::UNIX_EPOCH,
        };
        self.application.status = Some(application::status(&observed));
        self.user.status = Some(user);
    }

    fn epochs(&self) -> (i64, i64) {
        let of = |epoch: Option<i64>| epoch.unwrap_or_default();
        let user = self.user.status.as_ref().map(|status| of(status.epoch)).unwrap_or_default();
        (user, self.application.status.as_ref().map(|status| of(status.epoch)).unwrap_or_default())
    }

    fn fingerprints(&self) -> (StandsFor, (StandsFor, bool, Option<String>)) {
        let authority = self.membership().authority;
        let narrowed = narrow(&authority, self.application.spec.restrict_to.as_ref());
        let (off, application_off) = (self.user.spec.is_suspended(), self.application.spec.is_suspended());
        // Once the application is suspended, suspending its user does not affect its epoch.
        let disabled = (narrowed, off && !application_off);
        ((authority, off), (disabled, application_off, self.user.metadata.uid.clone()))
    }
}

fn group(name: &str, scopes: &[u8]) -> AccessGroup {
    let scopes = scopes.iter().map(|scope| format!("s{scope}")).collect();
    let spec = AccessGroupSpec {
        display_name: None,
        description: None,
        role: format!("role-{name}"),
        plane: None,
        location: "/".to_owned().try_into().unwrap(),
        reach: None,
        permissions: vec![Permission { audience: "a".to_owned(), scopes }],
        namespaces: Some(Namespaces { names: Some(vec![String::new()]), selector: None }),
    };
    AccessGroup::new(name, spec)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn epochs_never_fall_and_rise_exactly_when_the_fingerprint_changes(
        history in proptest::collection::vec(steps(), 1..40)
    ) {
        let mut world = Simulation::new();
        world.reconcile();
        for step in &history {
            let (before, fingerprint_before) = (world.epochs(), world.fingerprints());
            world.take(step);
            world.reconcile();
            let (after, fingerprint) = (world.epochs(), world.fingerprints());
            prop_assert_eq!(after.0 - before.0, i64::from(fingerprint_before.0 != fingerprint.0), "the user, after {:?}", step);
            prop_assert_eq!(after.1 - before.1, i64::from(fingerprint_before.1 != fingerprint.1), "the application, after {:?}", step);
        }
    }
}
