//! What status reports of keys at a URL.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::api::permissions::Authority;
use crate::api::service_user::ServiceUserSpec;
use crate::api::{Application, ServiceUser};
use crate::plan::application::{Observed, SecretCounts, status};

fn application(methods: &[&str]) -> Application {
    let auth = json!({"methods": methods, "jwksUri": "https://keys.example.com/jwks.json"});
    let spec = json!({"serviceUserRef": {"name": "sync"}, "auth": auth});
    let mut application = Application::new("sync", serde_json::from_value(spec).unwrap());
    (application.metadata.generation, application.metadata.uid) = (Some(1), Some("uid".to_owned()));
    application
}

/// Writes the status for these keys. Returns `(status, reason, message)` of the conditions, and whether a client is rejected.
fn reconcile(application: &mut Application, keys: Vec<PublishedKeys>) -> [(String, String, String); 2] {
    reconcile_with(application, keys, false)
}

fn reconcile_with(
    application: &mut Application,
    keys: Vec<PublishedKeys>,
    has_key_pair: bool,
) -> [(String, String, String); 2] {
    let user = ServiceUser::new("sync", serde_json::from_value::<ServiceUserSpec>(json!({})).unwrap());
    let written = status(&Observed {
        application,
        user: Some(&user),
        authority: &Authority::new(),
        client_id_taken_by: None,
        unusable_keys: Vec::new(),
        unusable_certificates: Vec::new(),
        published_keys: keys,
        signs: Some(true),
        served: true,
        method_uses: BTreeMap::new(),
        locks: Vec::new(),
        secrets: SecretCounts { has_key_pair, ..SecretCounts::default() },
        secrets_limit: 20,
        token_lifetime_max_seconds: 900,
        now: Timestamp::UNIX_EPOCH,
    });
    let reported = ["Ready", "KeysResolved"].map(|type_| {
        let found = written.conditions.iter().find(|condition| condition.type_ == type_).unwrap();
        (found.status.clone(), found.reason.clone(), found.message.clone())
    });
    application.status = Some(written);
    reported
}

fn keys(usable: Option<usize>, problem: bool) -> Vec<PublishedKeys> {
    let host = "keys.example.com".to_owned();
    vec![published(KeyOwner::Client { host }, usable, problem)]
}

fn published(owner: KeyOwner, usable: Option<usize>, problem: bool) -> PublishedKeys {
    let problem = problem
        .then(|| KeysProblem { what: "the host is not allowed".to_owned(), remedy: "Ask the operator.".to_owned() });
    PublishedKeys { owner, usable, problem }
}

#[test]
fn ready_reports_missing_keys_of_a_client_that_has_no_other_credential() {
    let mut only = application(&["private_key_jwt"]);
    let [ready, resolved] = reconcile(&mut only, keys(None, true));
    assert_eq!((ready.0.as_str(), ready.1.as_str()), ("False", "KeySetUnavailable"));
    assert_eq!(ready, resolved);
    assert_eq!(
        ready.2,
        "spec.auth.jwksUri: no keys from keys.example.com: the host is not allowed. Assertions of the client are refused. Ask \
         the operator."
    );
    let epoch = only.status.as_ref().unwrap().epoch;
    let [ready, resolved] = reconcile(&mut only, keys(Some(2), false));
    assert_eq!((ready.0.as_str(), ready.1.as_str()), ("True", "Accepted"));
    assert_eq!((resolved.0.as_str(), resolved.1.as_str()), ("True", "Resolved"));
    let [ready, resolved] = reconcile(&mut only, keys(Some(2), true));
    assert_eq!((ready.0.as_str(), resolved.1.as_str()), ("True", "KeySetUnavailable"), "the keys are kept");
    assert_eq!(only.status.as_ref().unwrap().epoch, epoch, "a host that is down does not change the authority");

    let [ready, _] = reconcile_with(&mut only, keys(None, true), true);
    assert_eq!(ready.0, "True", "a ClientSecret is a key pair");

    let mut with_secret = application(&["private_key_jwt", "client_secret_basic"]);
    let [ready, resolved] = reconcile(&mut with_secret, keys(None, true));
    assert_eq!((ready.0.as_str(), resolved.0.as_str()), ("True", "False"));
}

#[test]
fn another_number_of_keys_changes_no_status() {
    let mut object = application(&["private_key_jwt"]);
    let [_, resolved] = reconcile(&mut object, keys(Some(1), false));
    assert_eq!(resolved.2, "Keys of keys.example.com can verify assertions.");
    for (usable, problem) in [(1, false), (1, true)] {
        reconcile(&mut object, keys(Some(usable), problem));
        let before = serde_json::to_value(&object.status).unwrap();
        reconcile(&mut object, keys(Some(usable + 1), problem));
        assert_eq!(serde_json::to_value(&object.status).unwrap(), before);
    }
}

#[test]
fn a_restarted_controller_writes_nothing_before_it_has_fetched_the_keys() {
    let mut object = application(&["private_key_jwt"]);
    let [ready, resolved] = reconcile(&mut object, keys(None, false));
    assert_eq!((ready.1.as_str(), resolved.1.as_str()), ("Pending", "Pending"));
    for known in [keys(Some(1), false), keys(Some(1), true), keys(None, true)] {
        reconcile(&mut object, known);
        let before = serde_json::to_value(&object.status).unwrap();
        reconcile(&mut object, keys(None, false));
        assert_eq!(serde_json::to_value(&object.status).unwrap(), before);
    }
    object.metadata.generation = Some(2);
    let [_, resolved] = reconcile(&mut object, keys(None, false));
    assert_eq!(resolved.1, "Pending", "it may be another URL");
    assert_eq!(object.spec.auth.as_ref().map(|auth| json!(auth.jwks)), Some(Value::Null));
}

#[test]
fn f4_ready_needs_the_keys_of_one_issuer_and_the_condition_names_each() {
    let issuer = |name: &str| KeyOwner::Issuer(format!("https://{name}.example.com"));
    let auth = json!({"methods": ["federated_jwt"], "issuers": [
        {"issuer": "https://one.example.com", "subject": "a"}, {"issuer": "https://two.example.com", "subject": "a"},
    ]});
    let spec = json!({"serviceUserRef": {"name": "sync"}, "auth": auth});
    let mut object = Application::new("sync", serde_json::from_value(spec).unwrap());
    object.metadata.generation = Some(1);
    let both =
        |one, two| vec![published(issuer("one"), one, one.is_none()), published(issuer("two"), two, two.is_none())];
    let [ready, resolved] = reconcile(&mut object, both(None, None));
    assert_eq!((ready.1.as_str(), resolved.1.as_str()), ("KeySetUnavailable", "KeySetUnavailable"));
    for name in ["one", "two"] {
        let part = format!(
            "spec.auth.issuers: no keys from https://{name}.example.com: the host is not allowed. Its tokens are refused."
        );
        assert!(resolved.2.contains(&part), "{}", resolved.2);
    }
    let [ready, resolved] = reconcile(&mut object, both(Some(1), None));
    assert_eq!((ready.0.as_str(), resolved.0.as_str()), ("True", "False"), "the tokens of one issuer are accepted");
    let [ready, resolved] = reconcile(&mut object, both(Some(1), Some(2)));
    assert_eq!((ready.0.as_str(), resolved.0.as_str()), ("True", "True"));
    let before = serde_json::to_value(&object.status).unwrap();
    let pending = vec![published(issuer("one"), Some(1), false), published(issuer("two"), None, false)];
    reconcile(&mut object, pending);
    assert_eq!(serde_json::to_value(&object.status).unwrap(), before, "after a restart");
}
