//! The status of an object, as a tenant with the right to write it can forge it.

#![no_main]

use std::collections::BTreeMap;
use std::fmt::Debug;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use libfuzzer_sys::fuzz_target;
use postern::api::ClientSecret;
use postern::api::application::{ApplicationStatus, Token};
use postern::api::client_secret::{ClientSecretSpec, ClientSecretStatus, CredentialType, VersionState};
use postern::api::fingerprint::{counted_epoch, next_epoch};
use postern::api::permissions::Authority;
use postern::api::service_user::ServiceUserStatus;
use postern::plan::client_secret::{
    Action, ApplicationState, Contents, Delivered, Import, Observed, Outcome, Policy, decide, next_due, status,
};
use postern::plan::secret_content::{Client, Content, Endpoints};
use serde::Serialize;
use serde::de::DeserializeOwned;

const NOW: i64 = 1_800_000_000;
/// Each step of a rotation may take one.
const STEPS_MAX: usize = 5;
const SPEC: &str = r#"{"applicationRef": {"name": "sync"}}"#;

// The first line is a status, the second the spec of a ClientSecret.
fuzz_target!(|text: &str| {
    let (json, spec) = text.split_once('\n').unwrap_or((text, SPEC));
    let of_application = read::<ApplicationStatus>(json).map(|status| (status.epoch, status.fingerprint));
    let of_user = read::<ServiceUserStatus>(json).map(|status| (status.epoch, status.fingerprint));
    for (epoch, fingerprint) in of_application.into_iter().chain(of_user) {
        // Every change raises the epoch, and the epoch that is written is one that counts.
        let next = next_epoch(epoch, fingerprint.as_deref(), "changed");
        assert_eq!(counted_epoch(Some(next)), Some(next));
        assert!(fingerprint.as_deref() == Some("changed") || Some(next) != epoch);
    }
    let (Ok(spec), Some(forged)) = (serde_json::from_str::<ClientSecretSpec>(spec), read::<ClientSecretStatus>(json))
    else {
        return;
    };
    let newest = forged.versions.first().map(|version| version.id.clone());
    let ours = |version| Delivered::Ours { version, contents: Contents::Right, immutable: false };
    for delivered in [Delivered::Absent, Delivered::Foreign, ours(newest), ours(None)] {
        reconcile(&spec, &forged, &delivered);
    }
});

/// The status, if it can be read. What is written again is the same.
fn read<T: DeserializeOwned + Serialize + PartialEq + Debug>(json: &str) -> Option<T> {
    let status: T = serde_json::from_str(json).ok()?;
    let written = serde_json::to_string(&status).unwrap();
    assert_eq!(serde_json::from_str::<T>(&written).unwrap(), status);
    Some(status)
}

/// No status brings back a version that has ended, and reconciliations without an action soon lead to a status that stays.
fn reconcile(spec: &ClientSecretSpec, forged: &ClientSecretStatus, delivered: &Delivered) {
    let metadata = ObjectMeta { name: Some("blue".to_owned()), generation: Some(1), ..ObjectMeta::default() };
    let mut secret = ClientSecret { metadata, spec: spec.clone(), status: Some(forged.clone()) };
    let policy = Policy { warnings: vec![SignedDuration::from_hours(720)], limit: 20, ..Policy::default() };
    for _ in 0..STEPS_MAX {
        let (action, next) = unchanged(&secret, delivered, &policy);
        for version in &next.versions {
            let mut before = forged.versions.iter().filter(|before| before.id == version.id);
            assert!(
                before.any(|before| before.state != VersionState::Retired || version.state == VersionState::Retired)
            );
        }
        assert!(next_due(spec, &next, &policy, now()).is_none_or(|due| due > now()));
        if action != Action::None || secret.status.as_ref() == Some(&next) {
            return;
        }
        secret.status = Some(next);
    }
    panic!("the status changes in each reconciliation");
}

/// The action that is due, and the status without it.
fn unchanged(secret: &ClientSecret, delivered: &Delivered, policy: &Policy) -> (Action, ClientSecretStatus) {
    let none = Authority::default();
    let client = Client { id: "client", subject: "user", held: &none, token: &Token::default() };
    let delivery = secret.spec.delivery.as_deref();
    let content = Content::new(&Endpoints::default(), &client, CredentialType::SharedSecret, delivery);
    let observed = Observed {
        secret,
        application: ApplicationState::Known { content, authority: None, disabled: None, accepts_type: true },
        rank: 0,
        has_older_claimant: false,
        delivered: delivered.clone(),
        secret_uid: None,
        import: secret.spec.existing().map(|_| Import::Unchanged),
        uses: BTreeMap::new(),
        requested: None,
        workloads: Vec::new(),
        unavailable: Vec::new(),
        contested: None,
        rekeyed: BTreeMap::new(),
        unknown_install_key: None,
        policy,
        now: now(),
    };
    (decide(&observed), status(&observed, &Outcome::Unchanged))
}

fn now() -> Timestamp {
    Timestamp::from_second(NOW).unwrap()
}
