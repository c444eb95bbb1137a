//! The explanation of a client.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    AUDIENCE, CLIENT, NOW, SUBJECT, Settings, claimant, facts, group, metadata, now, read, secret, settings, uid,
    version,
};
use crate::api::application::SenderConstraint;
use crate::api::fingerprint::application_fingerprint;
use crate::api::permissions::{NamespaceLocation, resolve};
use crate::explain::client::{self, ExplainedClient, Permissions};
use crate::explain::lists::claimants;
use crate::explain::permissions::{PermissionOrigin, RestrictedPermissions};
use crate::explain::print;
use crate::explain::snapshot::Snapshot;
use crate::oauth::client_store::Lookup;

pub(super) fn explain(facts: &Snapshot) -> ExplainedClient {
    client::explain(facts, &settings(), now())
}

fn json_of(facts: &Snapshot) -> Value {
    serde_json::to_value(explain(facts)).unwrap()
}

fn text_of(facts: &Snapshot) -> String {
    let mut out = Vec::new();
    print::client(&explain(facts), now(), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn known(facts: &Snapshot) -> RestrictedPermissions {
    match explain(facts).permissions {
        Permissions::Known(known) => known,
        Permissions::FromStatus { .. } => panic!("the groups can be read"),
    }
}

#[test]
fn every_permission_is_listed_with_its_role_and_its_group() {
    let held = known(&facts(&["readers"]));
    let told: Vec<_> = held.permissions.iter().map(|held| (held.scope.as_str(), held.groups.join(","))).collect();
    assert_eq!(told, [("invoices:list", "readers".to_owned()), ("invoices:read", "readers".to_owned())]);
    assert!(held.permissions.iter().all(|held| held.role == "billing.reader" && held.audience == AUDIENCE));
}

#[test]
fn each_group_that_grants_nothing_is_listed_with_its_reason() {
    let told = json_of(&facts(&["readers", "missing", "closed", "elsewhere"]));
    let reasons: Vec<_> = told["groups"].as_array().unwrap().iter().map(|group| group["reason"].as_str()).collect();
    assert_eq!(reasons, [None, Some("NotFound"), Some("NamespaceNotAdmitted"), Some("OtherLocation")]);
    assert_eq!(told["groups"][0]["standing"], "Active");
    assert_eq!(told["serviceUser"]["ready"]["reason"], "GroupsNotResolved");
}

#[test]
fn the_limit_of_token_requests_is_that_of_the_application_or_of_the_operator() {
    let number = std::num::NonZeroU32::new;
    for (own, default, expected) in
        [(None, None, None), (None, number(60), number(60)), (Some(5), number(60), number(5))]
    {
        let mut facts = facts(&["readers"]);
        facts.application.spec.token = Some(read(json!({"requestsPerMinute": own})));
        let settings = Settings { token_requests_per_minute: default, ..settings() };
        let explained = client::explain(&facts, &settings, now());
        assert_eq!(explained.application.token_requests_per_minute, expected);
        let mut text = Vec::new();
        print::client(&explained, now(), &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let line = expected.map(|limit| format!("at most {limit} a minute at each replica"));
        assert!(line.map_or(!text.contains("Token requests"), |line| text.contains(&line)), "{text}");
    }
}

#[test]
fn a_group_that_needs_a_location_of_the_namespace_is_explained_with_the_remedy() {
    let mut facts = facts(&["subtree"]);
    let (name, group) = group("subtree", &json!({"location": "/emea", "reach": "Subtree"}));
    facts.groups = Some(Arc::new([(name, group)].into()));
    let settings = Settings { namespace_location: NamespaceLocation::Required, ..settings() };
    let explained = serde_json::to_value(client::explain(&facts, &settings, now())).unwrap();
    assert_eq!(explained["groups"][0]["reason"], "NoNamespaceLocation", "{explained:#}");
    let message = explained["groups"][0]["message"].as_str().unwrap();
    assert!(message.contains("set spec.location to /emea, or ask the platform team"), "{message}");
    assert_eq!(json_of(&facts)["groups"][0]["standing"], "Active", "without the setting");
}

#[test]
fn a_user_outside_the_location_of_its_namespace_has_no_active_group() {
    let mut facts = facts(&["readers"]);
    facts.namespace.bound = Some(Ok("/apac".to_owned().try_into().unwrap()));
    let told = json_of(&facts);
    assert_eq!(told["groups"][0]["reason"], "LocationNotAllowed");
    assert!(told["groups"][0]["message"].as_str().unwrap().contains("/apac"), "{told:#}");
    assert_eq!(told["permissions"]["permissions"], json!([]));
}

#[test]
fn permissions_removed_by_restrict_to_and_entries_without_effect_are_reported() {
    let mut facts = facts(&["readers"]);
    facts.application.spec.restrict_to = Some(read(json!({"scopes": ["invoices:read", "invoices:shred"]})));
    let blue = secret("blue", 1, &json!({"restrictTo": {"scopes": []}}), &json!([version("Active", None)]));
    facts.secrets = vec![blue];
    let held = known(&facts);
    let scopes = |held: &[PermissionOrigin]| held.iter().map(|held| held.scope.clone()).collect::<Vec<_>>();
    assert_eq!(scopes(&held.permissions), ["invoices:read"]);
    assert_eq!(scopes(&held.taken_away), ["invoices:list"]);
    assert_eq!(held.not_granted, ["scopes: invoices:shred"]);
    let told = json_of(&facts);
    assert_eq!(told["clientSecrets"][0]["restricted"]["permissions"], json!([]));
    assert_eq!(told["clientSecrets"][0]["restricted"]["takenAway"][0]["scope"], "invoices:read");
}

#[test]
fn each_reason_that_disables_a_client_is_reported_with_its_rule() {
    type Change = fn(&mut Snapshot);
    let table: [(&str, Change); 7] = [
        ("Suspended", |facts| facts.application.spec.suspend = Some(true)),
        ("ServiceUserNotFound", |facts| facts.user = None),
        ("ServiceUserSuspended", |facts| facts.user.as_mut().unwrap().spec.suspend = Some(true)),
        ("ClientIdTaken", |facts| facts.claimants.insert(0, claimant("other", "older"))),
        ("ClientIdTaken", |facts| facts.is_subject = true),
        ("Deleting", |facts| {
            facts.application.metadata.deletion_timestamp = facts.application.metadata.creation_timestamp.clone();
        }),
        ("Deleting", |facts| facts.namespace.terminating = true),
    ];
    for (rule, change) in table {
        let mut facts = facts(&["readers"]);
        change(&mut facts);
        let told = json_of(&facts);
        assert_eq!(told["application"]["ready"]["reason"], rule);
        assert_eq!(told["application"]["ready"]["active"], false, "{rule}");
        assert_eq!(told["clientSecrets"][0]["ready"]["active"], false, "{rule}: its secret does not authenticate");
        if let Lookup::Disabled(denial) = facts.objects(None, &settings()).lookup(&settings().limits()) {
            let of_endpoint = if facts.namespace.terminating { "NamespaceUnknown" } else { rule };
            assert_eq!(denial.rule.name(), of_endpoint);
        }
    }
}

#[test]
fn only_an_application_that_has_the_client_id_is_reported_as_older() {
    let message = |change: fn(&mut Snapshot)| {
        let mut facts = facts(&["readers"]);
        change(&mut facts);
        explain(&facts).application.ready.message
    };
    let by_application = message(|facts| facts.claimants.insert(0, claimant("other", "first")));
    assert!(by_application.contains(" belongs to Application other/first, which is older: create"), "{by_application}");
    let by_user = message(|facts| facts.is_subject = true);
    assert!(by_user.contains(" belongs to a ServiceUser, as its subject: create"), "{by_user}");
    assert!(!by_user.contains("older"), "{by_user}");
}

#[test]
fn each_secret_is_reported_as_issued_or_with_the_rule_that_refuses_it() {
    let live = || json!([version("Active", None)]);
    let mut facts = facts(&["readers"]);
    facts.secrets = vec![
        secret("revoked", 1, &json!({"revoke": true}), &live()),
        secret("ended", 2, &json!({"expiresAt": "2026-11-21T00:00:00Z"}), &live()),
        secret("too-many", 3, &json!({}), &live()),
    ];
    let rules = |facts: &Snapshot| -> Vec<String> {
        explain(facts).client_secrets.into_iter().map(|secret| secret.ready.reason).collect()
    };
    assert_eq!(rules(&facts), ["Revoked", "Expired", "LimitReached"]);
    facts.secrets = vec![
        secret("without-value", 1, &json!({}), &json!([])),
        secret("retired", 2, &json!({}), &json!([version("Retired", Some("2026-11-21T00:00:00Z"))])),
    ];
    assert_eq!(rules(&facts), ["Pending", "Pending"]);
    facts.secrets = vec![secret("blue", 1, &json!({}), &live())];
    assert_eq!(rules(&facts), ["Issued"]);
}

#[test]
fn the_reason_why_no_value_is_issued_is_taken_from_status() {
    let mut facts = facts(&["readers"]);
    let mut taken = secret("taken", 1, &json!({}), &json!([]));
    taken.status.as_mut().unwrap().conditions = read(json!([{
        "type": "Ready", "status": "False", "reason": "SecretNameConflict", "message": "Secret taken belongs to …",
        "lastTransitionTime": NOW,
    }]));
    facts.secrets = vec![taken];
    assert_eq!(explain(&facts).client_secrets[0].ready.reason, "SecretNameConflict");
}

#[test]
fn values_are_listed_with_their_expiry_and_expired_values_are_omitted() {
    let mut facts = facts(&["readers"]);
    let mut older = version("Retiring", Some("2026-11-22T03:00:00Z"));
    older["id"] = json!("older");
    let mut over = version("Retiring", Some("2026-11-22T01:00:00Z"));
    over["id"] = json!("over");
    facts.secrets =
        vec![secret("blue", 1, &json!({"expiresIn": "Never"}), &json!([version("Active", None), older, over]))];
    let told = json_of(&facts)["clientSecrets"][0]["versions"].clone();
    let expected = json!([
        {"id": "k7Qd0m2x", "state": "Active"},
        {"id": "older", "state": "Retiring", "until": "2026-11-22T03:00:00Z"},
    ]);
    assert_eq!(told, expected);
}

#[test]
fn a_stale_status_is_reported_with_the_reason() {
    let mut facts = facts(&["readers"]);
    let age = |facts: &Snapshot| explain(facts).application.status;
    assert!(!age(&facts).up_to_date, "the digest of the authority is not there yet");
    let told = facts.application.status.as_mut().unwrap();
    let user = &facts.user.as_ref().unwrap().spec;
    let authority =
        resolve(user, &facts.namespace, NamespaceLocation::Optional, |name| facts.groups.as_ref().unwrap().get(name));
    told.fingerprint =
        Some(application_fingerprint(&authority.authority, CLIENT, SUBJECT, SenderConstraint::None, None));
    assert!(age(&facts).up_to_date);
    facts.application.metadata.generation = Some(2);
    assert_eq!(age(&facts).behind.unwrap(), "it describes generation 1, and the object is at 2");
}

#[test]
fn a_caller_who_may_not_read_groups_gets_the_permissions_recorded_in_status() {
    let mut facts = facts(&["readers", "closed"]);
    facts.groups = None;
    let status = facts.user.as_mut().unwrap().status.as_mut().unwrap();
    status.grants = Some(read(json!([{
        "role": "billing.reader", "plane": "Operational", "location": "/emea/billing", "group": "readers",
    }])));
    let permissions = json!([{"audience": AUDIENCE, "scopes": ["invoices:read"]}]);
    facts.application.status.as_mut().unwrap().permissions = Some(read(permissions.clone()));
    let told = json_of(&facts);
    let says = |number: usize| told["groups"][number]["message"].as_str().unwrap().to_owned();
    assert!(says(0).starts_with("active (from the status") && says(1).starts_with("grants nothing (from"), "{told:#}");
    assert_eq!(told["permissions"], json!({"fromStatus": permissions}));
    assert_eq!(told["clientSecrets"][0]["ready"]["active"], true);
}

#[test]
fn the_oldest_of_several_claimants_has_the_client_id() {
    let claims = |name: &str, created: &str| -> crate::api::Application {
        let mut metadata = metadata(name, &uid(9));
        metadata["creationTimestamp"] = json!(created);
        read(json!({
            "apiVersion": "postern.dev/v1alpha1", "kind": "Application", "metadata": metadata,
            "spec": {"serviceUserRef": {"name": "sync"}, "clientId": CLIENT},
        }))
    };
    let all = [claims("younger", "2026-11-22T00:00:00Z"), claims("older", "2026-11-21T00:00:00Z")];
    let claimants = claimants(&all);
    let found: Vec<_> = claimants[CLIENT].iter().map(|one| one.metadata.name.clone().unwrap()).collect();
    assert_eq!(found, ["older", "younger"]);
    assert!(!claimants.contains_key(&*uid(9)));
}

#[test]
fn the_text_is_aligned_and_every_line_ends_without_trailing_spaces() {
    let mut facts = facts(&["readers", "missing"]);
    facts.secrets.push(secret("narrow", 2, &json!({"restrictTo": {"scopes": ["invoices:read"]}}), &json!([])));
    let mut out = Vec::new();
    print::client(&explain(&facts), now(), &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    for line in [
        "  readers  active: billing.reader (Operational) at /emea/billing",
        "  missing  grants nothing, NotFound: AccessGroup missing does not exist: correct the name in spec.groups, or create the group.",
        "  AUDIENCE                     SCOPE          FROM",
        "  https://billing.example.com  invoices:list  billing.reader (readers)",
        "ClientSecret narrow",
        "  Taken away by spec.restrictTo:",
    ] {
        assert!(text.lines().any(|printed| printed == line), "{line:?} is not in\n{text}");
    }
    assert!(text.lines().all(|line| line == line.trim_end()) && text.ends_with('\n'), "{text}");
}

#[test]
fn the_networks_of_the_application_and_the_last_use_of_each_method_are_printed() {
    let mut facts = facts(&["readers"]);
    let auth = json!({"methods": ["client_secret_basic"], "networks": ["10.0.0.0/8", "fd00::/8"]});
    facts.application.spec.auth = serde_json::from_value(auth).unwrap();
    // A method that is no longer allowed has its last use too, and a later version may have further methods.
    let used = json!([
        {"method": "client_secret_basic", "lastUsedAt": "2026-11-22T01:59:58Z"},
        {"method": "private_key_jwt", "lastUsedAt": "2026-11-21T02:00:00Z"},
        {"method": "telepathy", "lastUsedAt": NOW},
    ]);
    facts.application.status.as_mut().unwrap().auth_methods = serde_json::from_value(used).unwrap();
    let mut out = Vec::new();
    print::client(&explain(&facts), now(), &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    for line in [
        "  Only from     10.0.0.0/8, fd00::/8",
        "  client_secret_basic          accepted: ClientSecrets blue; last used 2026-11-22T01:59:58Z (2s ago)",
        "  client_secret_post           not accepted: not in spec.auth.methods",
        "  private_key_jwt              not accepted: not in spec.auth.methods; last used 2026-11-21T02:00:00Z (1d ago)",
    ] {
        assert!(text.lines().any(|printed| printed == line), "{line:?} is not in\n{text}");
    }
    let told = json_of(&facts);
    assert_eq!(told["application"]["networks"], json!(["10.0.0.0/8", "fd00::/8"]));
    assert_eq!(told["methods"][2]["lastUsedAt"], "2026-11-21T02:00:00Z");
    assert_eq!(told["methods"][1].get("lastUsedAt"), None);
}

#[test]
fn each_method_is_accepted_or_has_the_reason_why_not() {
    let state = |facts: &Snapshot| {
        let explained = json_of(facts);
        let methods = explained["methods"].as_array().unwrap().iter();
        methods.map(|it| format!("{} {}", it["accepted"], it["detail"].as_str().unwrap())).collect::<Vec<_>>()
    };
    let mut facts = facts(&["readers"]);
    let secrets = state(&facts);
    assert!(secrets[0].starts_with("true ClientSecrets ") && secrets[0] == secrets[1], "{secrets:?}");
    assert_eq!(secrets[2], "false not in spec.auth.methods");
    let auth = json!({"methods": ["private_key_jwt"], "jwks": {"keys": [{
        "kty": "EC", "crv": "P-256", "kid": "one", "x": "axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY",
        "y": "T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU",
    }]}});
    facts.application.spec.auth = serde_json::from_value(auth).unwrap();
    let not_listed = "false not in spec.auth.methods";
    assert_eq!(
        state(&facts),
        [not_listed, not_listed, "true keys one", not_listed, not_listed, not_listed, not_listed]
    );
    let thumbprint = "9F:2C".to_owned() + &":00".repeat(30);
    let auth = json!({
        "methods": ["tls_client_auth", "self_signed_tls_client_auth"],
        "certificates": [{"sanDns": "sync.svc"}, {"subjectDn": "CN=sync,O=Example"}, {"thumbprintSha256": thumbprint}],
    });
    facts.application.spec.auth = serde_json::from_value(auth).unwrap();
    let names = "true certificates of the operator's CAs with sanDns sync.svc, subjectDn CN=sync,O=Example, if the operator accepts \
                 certificates";
    let single = format!(
        "true certificates with thumbprintSha256 9f2c{}, if the operator accepts certificates",
        "00".repeat(30)
    );
    assert_eq!(state(&facts), [not_listed, not_listed, not_listed, not_listed, not_listed, names, &single]);
    // The replicas report which methods the operator's settings admit.
    facts.admitted_methods =
        Some(["private_key_jwt", "self_signed_tls_client_auth"].map(str::to_owned).into_iter().collect());
    let certain = state(&facts);
    assert_eq!(certain[5], "false the settings of the operator do not admit it");
    assert_eq!(certain[6], format!("true certificates with thumbprintSha256 9f2c{}", "00".repeat(30)));
    facts.admitted_methods = None;
    let auth = json!({
        "methods": ["tls_client_auth", "self_signed_tls_client_auth"], "certificates": [{"subjectDn": "nonsense=a"}],
    });
    facts.application.spec.auth = serde_json::from_value(auth).unwrap();
    let unusable = state(&facts);
    assert_eq!(unusable[5], "false no usable sanDns, sanUri or subjectDn in spec.auth.certificates");
    assert!(unusable[6].starts_with("false no thumbprintSha256 in spec.auth.certificates"), "{unusable:?}");
    let auth = json!({"methods": ["federated_jwt"], "issuers": [{"issuer": "https://a.example.com", "subject": "b"}]});
    facts.application.spec.auth = serde_json::from_value(auth).unwrap();
    assert_eq!(state(&facts)[4], "true tokens of b of https://a.example.com");
    let mut status = facts.application.status.clone().unwrap_or_default();
    let unavailable = json!([{
        "type": "Ready", "status": "False", "reason": "KeySetUnavailable", "message": "", "lastTransitionTime": NOW,
    }]);
    status.conditions = serde_json::from_value(unavailable).unwrap();
    let before = facts.application.status.replace(status);
    assert_eq!(state(&facts)[4], "false no key was fetched: see the condition KeysResolved");
    assert_eq!(json_of(&facts)["application"]["ready"]["reason"], "KeySetUnavailable");
    facts.application.status = before;
    let notes = json_of(&facts)["notes"].to_string();
    assert!(notes.contains("The keys at https://a.example.com were not requested"), "{notes}");
    facts.application.spec.suspend = Some(true);
    assert_eq!(state(&facts), ["false the client is disabled"; 7]);
}

#[test]
fn locked_secrets_are_shown_with_the_networks_and_the_end() {
    let mut facts = facts(&["readers"]);
    let lines = |facts: &Snapshot| {
        let methods = json_of(facts)["methods"].clone();
        (methods[0]["accepted"].clone(), methods[0]["detail"].as_str().unwrap().to_owned(), text_of(facts))
    };
    let mut status = facts.application.status.clone().unwrap_or_default();
    status.locked_until = Some("2026-11-22T03:00:00Z".parse().unwrap());
    let source = json!([{"network": "192.0.2.0/24", "until": "2026-11-22T03:00:00Z"}]);
    status.locked_sources = serde_json::from_value(source).unwrap();
    facts.application.status = Some(status.clone());
    let locked = "locked for 192.0.2.0/24 until 2026-11-22T03:00:00Z; to unlock, give the annotation postern.dev/unlock a new value";
    let (accepted, detail, text) = lines(&facts);
    assert_eq!(accepted, json!(true), "from other networks");
    assert!(detail.ends_with(locked), "{detail}");
    assert!(text.contains(&format!("  Secrets       {locked}")), "{text}");
    status.locked_sources.clear();
    facts.application.status = Some(status.clone());
    let (accepted, detail, _) = lines(&facts);
    assert_eq!((accepted, detail.contains("locked for all callers")), (json!(false), true));
    status.locked_until = Some(NOW.parse().unwrap());
    facts.application.status = Some(status);
    assert!(!lines(&facts).2.contains("locked"), "it has ended");
}
