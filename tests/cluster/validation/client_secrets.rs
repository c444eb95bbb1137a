use serde_json::{Value, json};

use super::shared::{check, check_changes};
use crate::harness::{TestNamespace, client_secret};

const DURATION: &str = "spec.expiresIn: … must be a duration such as 15m, 90d or 1y6w";
const BOTH: &str = "spec.expiresAt: … expiresIn and expiresAt exclude each other: give one of them";
const FAR: &str = "spec.expiresAt: … must be an instant before the year 9999";
const PAST: &str = "has already passed (it is now ";
const NAME: &str = "spec.delivery: … delivery.secretName is immutable: pods mount it";
const REFERENCE: &str = "spec.applicationRef: … applicationRef is immutable";
const OVERLAP: &str = "spec.rotation.overlap: … overlap must not be longer than every";
const ROOM: &str = "spec.rotation.every: … rotation.every plus rotation.overlap";
const RENAME_KNOWN: &str = "spec.delivery.rename: … rename may name only the keys of spec.delivery.keys";
const RENAME_FREE: &str = "spec.delivery.rename: … rename must not give a key the name of another key";
const LABELS: &str = "spec.delivery.labels: … must have keys of labels";
const NETWORK: &str = "spec.networks[0]: … must be a network in CIDR notation such as 10.20.0.0/16";
const REVOKED: &str = "spec.revoke: … revoke is permanent and cannot be unset";

fn tried(spec: Value) -> Value {
    client_secret("tried", "sync", spec)
}

#[tokio::test]
async fn a_client_secret_is_refused_for_each_rule_it_breaks() {
    let cases = [
        ("a description too long", json!({"description": "x".repeat(1025)}), "spec.description: Too long"),
        ("no application", json!({"applicationRef": {}}), "spec.applicationRef.name: Required value"),
        (
            "an application that cannot be",
            json!({"applicationRef": {"name": "A"}}),
            "spec.applicationRef.name: … must be the name of an object",
        ),
        (
            "a scope with a space",
            json!({"restrictTo": {"scopes": ["a b"]}}),
            "spec.restrictTo.scopes[0]: … must be an RFC 6749 scope-token",
        ),
        (
            "a role with a space",
            json!({"restrictTo": {"roles": ["a b"]}}),
            "spec.restrictTo.roles[0]: … must be 1-128 visible ASCII characters",
        ),
        (
            "an audience with a space",
            json!({"restrictTo": {"audiences": ["a b"]}}),
            "spec.restrictTo.audiences[0]: … must be 1-256 visible ASCII characters",
        ),
        ("both ways to expire", json!({"expiresIn": "1y", "expiresAt": "2099-01-01T00:00:00Z"}), BOTH),
        ("never and an instant", json!({"expiresIn": "Never", "expiresAt": "2099-01-01T00:00:00Z"}), BOTH),
        ("a past instant", json!({"expiresAt": "2020-01-01T00:00:00Z"}), PAST),
        ("an instant without zone", json!({"expiresAt": "2099-01-01T00:00:00"}), "spec.expiresAt: Invalid value"),
        ("a day", json!({"expiresAt": "2099-01-01"}), "spec.expiresAt: Invalid value"),
        ("the end of time", json!({"expiresAt": "9999-12-31T23:59:59Z"}), FAR),
        ("no such zone", json!({"expiresAt": "2099-01-01T00:00:00+99:99"}), FAR),
        ("a zone of 60 minutes", json!({"expiresAt": "2030-01-01T00:00:00+12:60"}), FAR),
        ("no such day", json!({"expiresAt": "2030-02-30T00:00:00Z"}), FAR),
        ("no such fraction", json!({"expiresAt": "2099-01-01T00:00:00x5Z"}), "spec.expiresAt: Invalid value"),
        (
            "more than nanoseconds",
            json!({"expiresAt": "2099-01-01T00:00:00.1234567891Z"}),
            "spec.expiresAt: Invalid value",
        ),
        ("a comma", json!({"expiresAt": "2099-01-01T00:00:00,5Z"}), "spec.expiresAt: Invalid value"),
        ("nanoseconds elsewhere", json!({"expiresAt": "2099-01-01T00:00:00.123456789+01:00"}), ""),
        ("no time at all", json!({"expiresIn": "0d"}), "spec.expiresIn: … must be greater than zero"),
        ("a negative time", json!({"expiresIn": "-1d"}), DURATION),
        ("an overflowing time", json!({"expiresIn": "1000y"}), DURATION),
        ("never in lower case", json!({"expiresIn": "never"}), DURATION),
        (
            "a Secret that cannot be",
            json!({"delivery": {"secretName": "My Secret"}}),
            "spec.delivery.secretName: … must be the name of an object",
        ),
        (
            "a Secret name too long",
            json!({"delivery": {"secretName": "s".repeat(254)}}),
            "spec.delivery.secretName: Too long",
        ),
        (
            "a mode that there is not",
            json!({"delivery": {"mode": "Twice"}}),
            r#"spec.delivery.mode: Unsupported value: "Twice""#,
        ),
        ("a field that there is not", json!({"rotation": {"each": "30d"}}), r#"unknown field "spec.rotation.each""#),
    ];
    check(tried, &cases).await;
}

#[tokio::test]
async fn purposes_and_networks_are_refused_for_each_rule_they_break() {
    let cases = [
        ("no use at all", json!({"usages": []}), "spec.usages: … should have at least 1 items"),
        (
            "a use that there is not",
            json!({"usages": ["Everything"]}),
            r#"spec.usages[0]: Unsupported value: "Everything""#,
        ),
        ("a use twice", json!({"usages": ["Token", "Token"]}), r#"spec.usages[1]: Duplicate value: "Token""#),
        ("no network at all", json!({"networks": []}), "spec.networks: … should have at least 1 items"),
        ("too many networks", json!({"networks": networks(33)}), "spec.networks: Too many: 33: must have at most 32"),
        ("a network twice", json!({"networks": ["10.0.0.0/8", "10.0.0.0/8"]}), "spec.networks[1]: Duplicate value"),
        ("an address", json!({"networks": ["10.20.0.5"]}), NETWORK),
        ("a name", json!({"networks": ["localhost"]}), NETWORK),
        ("nothing", json!({"networks": [""]}), "spec.networks[0]: … must be a network in CIDR"),
        ("too long a prefix", json!({"networks": ["10.20.0.0/33"]}), NETWORK),
        ("a mask", json!({"networks": ["10.20.0.0/255.255.0.0"]}), NETWORK),
        (
            "bits after the prefix",
            json!({"networks": ["10.20.0.5/16"]}),
            "spec.networks[0]: … must have no bit set after",
        ),
        ("an IPv4 address in IPv6", json!({"networks": ["::ffff:10.20.0.0/112"]}), NETWORK),
        ("single uses", json!({"usages": ["Direct"]}), ""),
        ("every use", json!({"usages": ["Token", "Direct", "Manage"]}), ""),
        ("networks of both kinds", json!({"networks": ["10.20.0.0/16", "10.20.0.5/32", "2001:db8::/32", "::/0"]}), ""),
        ("the most networks", json!({"networks": networks(32)}), ""),
    ];
    check(tried, &cases).await;
}

fn networks(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("10.{number}.0.0/16")).collect()
}

#[tokio::test]
async fn a_rotation_is_refused_for_each_rule_it_breaks() {
    let cases = [
        ("too often", json!({"every": "59s"}), "spec.rotation.every: … must be at least 1m"),
        ("never", json!({"every": "Never"}), "spec.rotation.every: … must be a duration"),
        ("no time at all", json!({"every": "0d"}), "spec.rotation.every: … must be at least 1m"),
        ("a negative overlap", json!({"overlap": "-1h"}), "spec.rotation.overlap: … must be a duration"),
        ("an overlap longer than the interval", json!({"every": "1h", "overlap": "61m"}), OVERLAP),
        ("an overlap as long as the interval", json!({"every": "1h", "overlap": "60m"}), ""),
        ("an interval shorter than the default overlap", json!({"every": "1h"}), ""),
        (
            "no quiet time at all",
            json!({"quietPeriod": "0s"}),
            "spec.rotation.quietPeriod: … must be greater than zero",
        ),
        (
            "a workload that cannot be restarted",
            json!({"rollout": [{"kind": "Job", "name": "x"}]}),
            r#"spec.rotation.rollout[0].kind: Unsupported value: "Job""#,
        ),
        (
            "a workload twice",
            json!({"rollout": [{"kind": "Deployment", "name": "x"}, {"kind": "Deployment", "name": "x"}]}),
            "spec.rotation.rollout[1]: Duplicate value",
        ),
        (
            "a workload without a name",
            json!({"rollout": [{"kind": "Deployment"}]}),
            "spec.rotation.rollout[0].name: Required",
        ),
        (
            "a quiet time that is none",
            json!({"quietPeriod": "soon"}),
            "spec.rotation.quietPeriod: … must be a duration",
        ),
        (
            "a workload that cannot be",
            json!({"rollout": [{"kind": "Deployment", "name": "X"}]}),
            "spec.rotation.rollout[0].name: … must be the name of an object",
        ),
        ("an empty trigger", json!({"trigger": ""}), "spec.rotation.trigger: … must be plain text on one line"),
        ("a trigger that YAML refuses", json!({"trigger": "a\u{7f}"}), "spec.rotation.trigger: … must be plain text"),
        ("a trigger on two lines", json!({"trigger": "a\u{2028}b"}), "spec.rotation.trigger: … must be plain text"),
        ("no room for the default overlap", json!({"every": "365d"}), ROOM),
        ("no room for its overlap", json!({"every": "300d", "overlap": "66d"}), ROOM),
        ("just room", json!({"every": "300d", "overlap": "65d"}), ""),
        ("no overlap", json!({"every": "1y", "overlap": "0s"}), ""),
        ("in other words", json!({"every": "1w", "overlap": "1d12h", "trigger": "2026-11-22"}), ""),
    ];
    check(|rotation| tried(json!({"rotation": rotation})), &cases).await;
    let cases = [
        ("a short life", json!({"expiresIn": "119m", "rotation": {"every": "1h", "overlap": "60m"}}), ROOM),
        ("a short life and the default overlap", json!({"expiresIn": "119m", "rotation": {"every": "1h"}}), ROOM),
        ("a life long enough for the default overlap", json!({"expiresIn": "2h", "rotation": {"every": "1h"}}), ""),
        (
            "rotation of an imported value",
            json!({"source": {"existing": {"secretName": "s", "key": "k"}}, "rotation": {"trigger": "now"}}),
            "spec.rotation: … rotation does not apply to an imported value",
        ),
        ("a life just long enough", json!({"expiresIn": "2h", "rotation": {"every": "1h", "overlap": "60m"}}), ""),
        ("no end", json!({"expiresIn": "Never", "rotation": {"every": "3y"}}), ""),
        ("an instant", json!({"expiresAt": "2099-01-01T00:00:00Z", "rotation": {"every": "3y"}}), ""),
    ];
    check(tried, &cases).await;
}

#[tokio::test]
async fn a_key_pair_is_refused_for_each_rule_it_breaks() {
    let key_pair = |more: Value| {
        let mut spec = json!({"type": "PrivateKey"});
        spec.as_object_mut().expect("a spec").extend(more.as_object().cloned().expect("fields"));
        tried(spec)
    };
    let bits = |algorithm: &str, bits: i32| json!({"privateKey": {"algorithm": algorithm, "bits": bits}});
    let cases = [
        ("no algorithm", json!({}), ""),
        ("an empty object", json!({"privateKey": {}}), ""),
        ("a curve", json!({"privateKey": {"algorithm": "EdDSA"}}), ""),
        ("RSA", bits("RS256", 4096), ""),
        ("PSS", bits("PS256", 2048), ""),
        ("symmetric", json!({"privateKey": {"algorithm": "HS256"}}), "spec.privateKey.algorithm: Unsupported value"),
        ("short", bits("RS256", 1024), "spec.privateKey.bits: … bits must be 2048, 3072 or 4096"),
        ("long", bits("RS256", 8192), "spec.privateKey.bits: … bits must be 2048, 3072 or 4096"),
        ("bits of a curve", bits("ES256", 2048), "spec.privateKey.bits: … bits is the size of an RSA key"),
        ("bits of the default", json!({"privateKey": {"bits": 2048}}), "spec.privateKey.bits: … bits is the size"),
        (
            "an imported value",
            json!({"source": {"existing": {"secretName": "s", "key": "k"}}}),
            "spec.source: … source.existing imports a value, and a key pair is always generated",
        ),
        ("its keys", json!({"delivery": {"rename": {"private-key": "tls.key", "key.json": "sa.json"}}}), ""),
        ("its variables", json!({"delivery": {"keys": "Env", "rename": {"PRIVATE_KEY": "KEY"}}}), ""),
        ("a key of a value", json!({"delivery": {"rename": {"client-secret": "x"}}}), RENAME_KNOWN),
        ("another key's name", json!({"delivery": {"rename": {"private-key": "key-id"}}}), RENAME_FREE),
        ("the name of a key that it has not", json!({"delivery": {"rename": {"private-key": "client-secret"}}}), ""),
    ];
    check(key_pair, &cases).await;
    let cases = [
        ("another type", json!({"type": "Certificate"}), "spec.type: Unsupported value"),
        (
            "an algorithm of a value",
            json!({"privateKey": {"algorithm": "ES256"}}),
            "spec.privateKey: … privateKey describes a key pair: set type to PrivateKey",
        ),
        ("a key of a key pair", json!({"delivery": {"rename": {"private-key": "x"}}}), RENAME_KNOWN),
        ("the name of a key pair's key", json!({"delivery": {"rename": {"client-secret": "private-key"}}}), ""),
    ];
    check(tried, &cases).await;
    let type_ = "spec.type: … type is immutable";
    let tenant = TestNamespace::without_operator("key-pair-changes").await;
    let cases =
        [("another type", json!({"type": "PrivateKey"}), type_), ("its type", json!({"type": "SharedSecret"}), "")];
    check_changes(&tenant.kubernetes, &tenant.namespace, &tried(json!({})), &cases).await;
    let cases = [
        ("no type", json!({"type": null}), type_),
        ("another algorithm", json!({"privateKey": {"algorithm": "RS256"}}), ""),
    ];
    let object = client_secret("pair", "sync", json!({"type": "PrivateKey"}));
    check_changes(&tenant.kubernetes, &tenant.namespace, &object, &cases).await;
}

#[tokio::test]
async fn a_delivery_is_refused_for_each_rule_it_breaks() {
    let cases = [
        ("no time at all", json!({"mode": "Once", "ttl": "0s"}), "spec.delivery.ttl: … must be greater than zero"),
        ("a time that is none", json!({"mode": "Once", "ttl": "soon"}), "spec.delivery.ttl: … must be a duration"),
        ("keys that there are not", json!({"keys": "Upper"}), r#"spec.delivery.keys: Unsupported value: "Upper""#),
        ("a key that there is not", json!({"rename": {"password": "x"}}), RENAME_KNOWN),
        ("a key of the other set", json!({"keys": "Env", "rename": {"client-secret": "x"}}), RENAME_KNOWN),
        ("another key's name", json!({"rename": {"client-secret": "client-id"}}), RENAME_FREE),
        ("one name for two", json!({"rename": {"client-secret": "x", "client-id": "x"}}), RENAME_FREE),
        (
            "a name that cannot be",
            json!({"rename": {"client-secret": "a b"}}),
            "spec.delivery.rename… must be a key of a Secret",
        ),
        ("this folder", json!({"rename": {"client-secret": "."}}), "spec.delivery.rename… must be a key of a Secret"),
        (
            "the folder above",
            json!({"rename": {"client-secret": ".."}}),
            "spec.delivery.rename… must be a key of a Secret",
        ),
        (
            "two dots first",
            json!({"rename": {"client-secret": "..x"}}),
            "spec.delivery.rename… must be a key of a Secret",
        ),
        ("one dot first", json!({"rename": {"client-secret": ".x..y"}}), ""),
        (
            "a label of ours",
            json!({"labels": {"postern.dev/component": "x"}}),
            "spec.delivery.labels: … must not have keys under postern.dev/",
        ),
        (
            "a label of Kubernetes",
            json!({"labels": {"app.kubernetes.io/name": "x"}}),
            "spec.delivery.labels: … must not have keys under postern.dev/",
        ),
        ("a label that cannot be", json!({"labels": {"-x": "y"}}), LABELS),
        ("a domain that cannot be", json!({"labels": {"a..b/x": "y"}}), LABELS),
        ("a domain too long", json!({"labels": {format!("{}/x", "a".repeat(254)): "y"}}), LABELS),
        ("a name too long", json!({"labels": {format!("a/{}", "x".repeat(64)): "y"}}), LABELS),
        ("two domains", json!({"labels": {"a/b/x": "y"}}), LABELS),
        (
            "an annotation that cannot be",
            json!({"annotations": {"a..b/x": "y"}}),
            "spec.delivery.annotations: … must have keys of annotations",
        ),
        ("the longest key", json!({"labels": {format!("{}/{}", "a".repeat(253), "x".repeat(63)): "y"}}), ""),
        (
            "a value that cannot be",
            json!({"labels": {"x": "a b"}}),
            "spec.delivery.labels… must be the value of a label",
        ),
        (
            "an annotation of ours",
            json!({"annotations": {"postern.dev/version": "x"}}),
            "spec.delivery.annotations: … must not have keys under postern.dev/",
        ),
        (
            "everything",
            json!({
                "mode": "Once", "ttl": "1s", "keys": "Env", "rename": {"CLIENT_SECRET": "PASSWORD"},
                "labels": {"team": "billing", "example.com/x": ""}, "annotations": {"reloader.stakater.com/match": "true"},
            }),
            "",
        ),
        ("a key renamed to itself", json!({"rename": {"client-secret": "client-secret"}}), ""),
    ];
    check(|delivery| tried(json!({"delivery": delivery})), &cases).await;
}

#[tokio::test]
async fn an_import_is_refused_for_each_rule_it_breaks() {
    let cases = [
        ("no Secret", json!({"key": "k"}), "spec.source.existing.secretName: Required value"),
        ("no key", json!({"secretName": "s"}), "spec.source.existing.key: Required value"),
        (
            "a key that cannot be",
            json!({"secretName": "s", "key": "a b"}),
            "spec.source.existing.key: … must be a key of a Secret",
        ),
        (
            "the folder above",
            json!({"secretName": "s", "key": ".."}),
            "spec.source.existing.key: … must be a key of a Secret",
        ),
        (
            "a Secret elsewhere",
            json!({"secretName": "other/s", "key": "k"}),
            "spec.source.existing.secretName: … must be the name of an object",
        ),
        (
            "a namespace",
            json!({"secretName": "s", "key": "k", "namespace": "other"}),
            r#"unknown field "spec.source.existing.namespace""#,
        ),
        ("all it takes", json!({"secretName": "s", "key": "k"}), ""),
    ];
    check(|existing| tried(json!({"source": {"existing": existing}})), &cases).await;
}

#[tokio::test]
async fn a_client_secret_may_go_to_each_limit() {
    let cases = [
        ("never", json!({"expiresIn": "Never"}), ""),
        ("a second", json!({"expiresIn": "1s"}), ""),
        ("two years", json!({"expiresIn": "2y"}), ""),
        ("an instant to come", json!({"expiresAt": "2099-01-01T00:00:00+02:00"}), ""),
        ("the last instant", json!({"expiresAt": "9998-12-31T23:59:59.999999999Z"}), ""),
        (
            "the longest name of a Secret",
            json!({"delivery": {"secretName": format!("{}.x", "s".repeat(251)), "mode": "Keep"}}),
            "",
        ),
        ("revoked from the start", json!({"revoke": true}), ""),
    ];
    check(tried, &cases).await;
}

#[tokio::test]
async fn the_application_and_the_secret_name_of_a_client_secret_are_immutable() {
    let tenant = TestNamespace::without_operator("immutable").await;
    let named = client_secret("named", "sync", json!({"delivery": {"secretName": "oauth"}}));
    let changes = [
        ("another application", json!({"applicationRef": {"name": "other"}}), REFERENCE),
        ("another name of the Secret", json!({"delivery": {"secretName": "other"}}), NAME),
        ("no name of the Secret", json!({"delivery": null}), NAME),
        ("another description", json!({"description": "free to change"}), ""),
        ("another expiry", json!({"expiresIn": "2y"}), ""),
        ("both ways to expire", json!({"expiresAt": "2099-01-01T00:00:00Z"}), BOTH),
        ("an end that has passed: it ends now", json!({"expiresIn": null, "expiresAt": "2020-01-01T00:00:00Z"}), ""),
    ];
    check_changes(&tenant, &tenant.namespace, &named, &changes).await;
    let added = [("a name of the Secret, later", json!({"delivery": {"secretName": "oauth"}}), NAME)];
    check_changes(&tenant, &tenant.namespace, &client_secret("unnamed", "sync", json!({})), &added).await;
}

#[tokio::test]
async fn a_revocation_is_permanent() {
    let tenant = TestNamespace::without_operator("revocation").await;
    let changes = [
        ("not yet", json!({"revoke": false}), ""),
        ("revoked", json!({"revoke": true}), ""),
        ("taken back", json!({"revoke": false}), REVOKED),
        ("taken out", json!({"revoke": null}), REVOKED),
    ];
    check_changes(&tenant, &tenant.namespace, &client_secret("revoked", "sync", json!({})), &changes).await;
}
