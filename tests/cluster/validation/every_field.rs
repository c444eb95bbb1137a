//! Every field of every kind, with texts that were made up: what the API server accepts is decoded, and what it refuses
//! has one message.

use futures::StreamExt as _;
use postern::api::{AccessGroup, Application, ClientSecret, ReplicaState, ServiceUser};
use proptest::prelude::{Strategy, any};
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::harness::{Kubernetes, TestNamespace, object};

/// Requests at the same time.
const AT_ONCE: usize = 16;
/// Changes of each text that are made up.
const CHANGES: usize = 6;

/// What one reading of a format accepts and another one refuses.
const TRICKY: [&str; 34] = [
    "",
    " ",
    "a",
    "never",
    "Never",
    "0s",
    "0000000000s",
    "59s",
    "9999999999s",
    "99999999h",
    "999y9999w99999d9999999h99999999m9999999999s",
    "1d1y",
    "-1d",
    "1.5h",
    "/",
    "//",
    "/a/",
    "2030-01-01T00:00:00+12:60",
    "2030-01-01T00:00:00+24:00",
    "2030-01-01T24:00:00Z",
    "2030-01-01T00:00:60Z",
    "2030-02-30T00:00:00Z",
    "2030-01-01t00:00:00z",
    "2030-01-01 00:00:00Z",
    "2030-01-01T00:00:00,5Z",
    "0000-01-01T00:00:00Z",
    "9998-12-31T23:59:59-23:59",
    "9999-12-31T23:59:59Z",
    "10.0.0.0/08",
    "::ffff:10.0.0.0/112",
    "fe80::1%eth0/64",
    "https://[::1]/\u{a0}",
    "a\u{7f}",
    "a\u{2028}",
];

/// A coordinate of a key.
const X: &str = "axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY";

/// A key with the members of every type.
fn public_key() -> Value {
    json!({
        "kty": "EC", "crv": "P-256", "kid": "one", "alg": "ES256", "use": "sig", "x": X, "y": X, "n": "AAAA", "e": "AQAB",
        "key_ops": ["verify"], "x5c": ["AAAA"], "x5t": "AAAA", "x5t#S256": "AAAA",
    })
}

/// Values of other types.
fn other_types() -> Vec<Value> {
    vec![
        Value::Null,
        json!(true),
        json!(1),
        json!(-1),
        json!(1.5),
        json!(1e30),
        json!(9_223_372_036_854_775_808_u64),
        json!([]),
        json!({}),
    ]
}

/// An object with every field, once for each set of fields that exclude each other.
fn complete() -> Vec<Value> {
    let restriction = json!({"roles": ["r"], "audiences": ["a"], "scopes": ["s"]});
    let selector = json!({
        "matchLabels": {"team": "billing"}, "matchExpressions": [{"key": "team", "operator": "In", "values": ["billing"]}],
    });
    let group = json!({
        "displayName": "Readers", "description": "Who reads.", "role": "reader", "plane": "Admin", "location": "/emea",
        "reach": "Subtree", "permissions": [{"audience": "a", "scopes": ["s"]}],
        "namespaces": {"names": ["billing"], "selector": selector},
    });
    let user = json!({
        "displayName": "Sync", "description": "Copies.", "email": "team@example.com", "location": "/emea",
        "groups": ["readers"], "suspend": false,
    });
    let application = json!({
        "displayName": "Sync", "url": "https://sync.example.com", "description": "Copies.",
        "serviceUserRef": {"name": "sync"}, "clientId": "3f0c3a52-9d55-4d0e-8b6a-0f1f2a6f5c1e", "restrictTo": restriction,
        "suspend": false,
        "auth": {
            "methods": ["client_secret_basic"], "jwks": {"keys": [public_key()]},
            "serviceAccounts": [{"name": "sync", "uid": "3f0c3a52-9d55-4d0e-8b6a-0f1f2a6f5c1e", "allowDefault": false}],
            "issuers": [{"issuer": "https://token.actions.example.com", "subject": "repo:acme/sync", "audience": "api://sync"}],
            "certificates": [
                {"sanDns": "sync.billing.svc"}, {"sanUri": "spiffe://example.com/sync"},
                {"subjectDn": "CN=sync,O=Example"}, {"thumbprintSha256": "9f".repeat(32)},
            ],
            "networks": ["10.20.0.0/16"],
        },
        "token": {
            "format": "Opaque", "type": "JWT", "idleTimeout": "30m", "lifetime": "1h", "signingAlgorithm": "ES256",
            "scopePolicy": "Narrow", "defaultScopes": ["s"], "defaultAudience": "a", "multipleAudiences": true,
            "senderConstraint": "DPoP", "requestsPerMinute": 600,
        },
        "lockout": {"mode": "Enabled", "scope": "Source", "attempts": 5, "duration": "60m"},
    });
    let mut published = application.clone();
    published["auth"] = json!({"methods": ["private_key_jwt"], "jwksUri": "https://keys.example.com/jwks.json"});
    let delivery = json!({
        "secretName": "oauth", "mode": "Once", "ttl": "1h", "keys": "Default", "rename": {"client-id": "id"},
        "labels": {"team": "billing"}, "annotations": {"example.com/match": "true"},
    });
    let generated = json!({
        "applicationRef": {"name": "sync"}, "description": "Copies.", "restrictTo": restriction, "usages": ["Token"],
        "networks": ["10.20.0.0/16"], "expiresIn": "1y", "delivery": delivery, "revoke": false,
        "rotation": {
            "every": "30d", "overlap": "1d", "quietPeriod": "10m", "rollout": [{"kind": "Deployment", "name": "sync"}],
            "trigger": "now",
        },
    });
    let imported = json!({
        "applicationRef": {"name": "sync"}, "expiresAt": "2099-01-01T00:00:00Z",
        "source": {"existing": {"secretName": "legacy", "key": "password"}},
    });
    let key_pair = json!({
        "applicationRef": {"name": "sync"}, "type": "PrivateKey", "privateKey": {"algorithm": "RS256", "bits": 3072},
    });
    let at = "2030-01-01T00:00:00Z";
    let reports = json!([{"namespace": "billing", "name": "sync", "version": "k7Qd2mXa", "at": at}]);
    let state = json!({
        "replica": "postern-0", "reportedAt": at, "uses": reports, "rotations": reports,
        "methods": [{"namespace": "billing", "name": "sync", "uid": "u", "method": "private_key_jwt", "at": at}],
        "revoked": [{"id": "token", "until": at}],
        "serves": {"accessGroups": 1, "serviceUsers": 1, "applications": 1, "clientSecrets": 1, "namespaces": 1},
        "keys": {"accepted": ["a", "b"], "signing": ["a"]},
        "sessions": [{"id": "token", "namespace": "billing", "at": at, "until": at}],
        "authMethods": ["private_key_jwt"],
        "wrongSecrets": [{
            "namespace": "billing", "name": "sync", "uid": "u", "network": "10.20.0.0/24", "fingerprint": "0123456789abcdef",
            "at": at, "until": at, "unlock": "0".repeat(32),
        }],
        "locks": [{
            "namespace": "billing", "name": "sync", "uid": "u", "network": "10.20.0.0/24", "at": at, "until": at,
            "unlock": "0".repeat(32),
        }],
    });
    vec![
        object("AccessGroup", "tried", group),
        object("ServiceUser", "tried", user),
        object("Application", "tried", application),
        object("Application", "tried", published),
        object("ClientSecret", "tried", generated),
        object("ClientSecret", "tried", imported),
        object("ClientSecret", "tried", key_pair),
        object("ReplicaState", "tried", state),
    ]
}

/// A status with every field, by kind.
fn statuses() -> [(&'static str, Value); 4] {
    let at = "2030-01-01T00:00:00Z";
    let condition = json!({
        "type": "Ready", "status": "True", "reason": "Accepted", "message": "Yes.", "observedGeneration": 1,
        "lastTransitionTime": at,
    });
    let common = |mut more: Value| {
        more["observedGeneration"] = json!(1);
        more["conditions"] = json!([condition]);
        more
    };
    let grant = json!({"role": "r", "plane": "Admin", "location": "/", "group": "readers"});
    let version = json!({
        "id": "k7Qd2mXa", "state": "Active", "createdAt": at, "retiresAt": at, "lastUsedAt": at, "verifier": "none",
        "publicKey": public_key(), "mac": "none",
    });
    let rotation = json!({"step": "Overlap", "since": at, "cause": "Trigger", "deliveredAt": at, "waitsFor": "The end.", "requested": "k7Qd2mXa"});
    [
        ("AccessGroup", common(json!({"plane": "Admin", "namespaces": "billing", "members": 1}))),
        (
            "ServiceUser",
            common(json!({
                "subject": "u", "location": "/", "epoch": 1, "fingerprint": "a", "roles": ["r"], "summary": "r",
                "grants": [grant],
            })),
        ),
        (
            "Application",
            common(json!({
                "clientId": "c", "subject": "u", "epoch": 1, "fingerprint": "a", "roles": ["r"],
                "permissions": [{"audience": "a", "scopes": ["s"]}],
                "secrets": {"active": 1, "total": 1, "limit": 1, "summary": "1/1"},
                "authMethods": [{"method": "private_key_jwt", "lastUsedAt": at}],
                "lockedUntil": at, "lockedSources": [{"network": "10.20.0.0/24", "until": at}],
            })),
        ),
        (
            "ClientSecret",
            common(json!({
                "binding": {"name": "oauth"}, "secretUID": "u", "losses": 1, "hint": "pst_k7Qd", "usages": "Token", "expiresAt": at, "nextRotationAt": at, "lastUsedAt": at,
                "rotation": rotation, "observedTrigger": "now", "delivery": {"removeAt": at, "removedAt": at},
                "source": {"uid": "u", "resourceVersion": "1", "key": "password", "lineBreakIgnored": true}, "versions": [version],
            })),
        ),
    ]
}

#[tokio::test]
async fn every_valid_spec_is_decoded_and_every_invalid_one_has_one_message() {
    let tenant = TestNamespace::without_operator("every-field").await;
    missing_fields(&tenant).await;
    for base in complete() {
        let name = format!("{} without a change", base["kind"]);
        tenant.try_create(&tenant.namespace, &base).await.unwrap_or_else(|refusal| panic!("{name}: {refusal}"));
        let tried = changes("/spec", &base).into_iter().map(|(path, object)| {
            let tenant = &tenant;
            async move { evaluate(&path, &object, tenant.try_create(&tenant.namespace, &object).await) }
        });
        report(tried).await;
    }
}

#[tokio::test]
async fn every_valid_status_is_decoded() {
    let tenant = TestNamespace::without_operator("every-status").await;
    for base in complete() {
        let kind = base["kind"].as_str().unwrap().to_owned();
        let Some((_, status)) = statuses().into_iter().find(|(of, _)| *of == kind) else { continue };
        let mut object = base.clone();
        object["metadata"]["name"] = tenant.unique_name("tried").into();
        // The second ClientSecret has the same status.
        if tenant.create(&tenant.namespace, &object).await.is_err() {
            continue;
        }
        object["status"] = status;
        let tried = changes("/status", &object).into_iter().map(|(path, object)| {
            let (tenant, name) = (&tenant, object["metadata"]["name"].as_str().unwrap_or_default().to_owned());
            let kind = kind.clone();
            async move {
                let change = json!({"status": object["status"]});
                let answer = tenant.try_merge_status(&kind, &tenant.namespace, &name, change).await;
                evaluate(&path, &object, answer)
            }
        });
        report(tried).await;
    }
}

/// The objects are complete: each field of the CRDs that is no object is in one of them.
async fn missing_fields(kubernetes: &Kubernetes) {
    for base in complete() {
        let kind = base["kind"].as_str().unwrap();
        let plural = format!("{}s.postern.dev", kind.to_lowercase());
        let crd = kubernetes.get("CustomResourceDefinition", "", &plural).await;
        let properties = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
        let all: Vec<Value> = complete().into_iter().filter(|other| other["kind"] == kind).collect();
        compare("spec", &properties["spec"], &all.iter().map(|object| &object["spec"]).collect::<Vec<_>>());
        if let Some((_, status)) = statuses().iter().find(|(of, _)| *of == kind) {
            compare("status", &properties["status"], &[status]);
        }
    }
}

fn compare(path: &str, schema: &Value, values: &[&Value]) {
    // Fields that no object can have.
    if schema["description"].as_str().is_some_and(|text| text.starts_with("Refused: ")) {
        return;
    }
    assert!(values.iter().any(|value| !value.is_null()), "{path} is tried nowhere: add it");
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        compare(&format!("{path}.{name}"), property, &values.iter().map(|value| &value[name]).collect::<Vec<_>>());
    }
    if schema["items"].is_object() {
        let items = values.iter().filter_map(|value| value.as_array()).flatten();
        compare(&format!("{path}[]"), &schema["items"], &items.collect::<Vec<_>>());
    }
}

/// The object with each of its leaves below `root` changed in many ways, with the path of the leaf.
fn changes(root: &str, base: &Value) -> Vec<(String, Value)> {
    let mut leaves = Vec::new();
    collect(root.to_owned(), base.pointer(root).unwrap(), &mut leaves);
    let mut changed = Vec::new();
    for leaf in leaves {
        let value = base.pointer(&leaf).unwrap();
        let texts =
            value.as_str().into_iter().flat_map(|text| TRICKY.iter().map(|text| json!(text)).chain(made_up(text)));
        for change in texts.chain(other_types()) {
            let mut object = base.clone();
            *object.pointer_mut(&leaf).unwrap() = change;
            changed.push((leaf.clone(), object));
        }
    }
    changed
}

fn collect(path: String, value: &Value, leaves: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                collect(format!("{path}/{}", name.replace('/', "~1")), field, leaves);
            }
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(at, item)| collect(format!("{path}/{at}"), item, leaves));
        }
        _ => leaves.push(path),
    }
}

/// The text with one character replaced, added or taken away.
fn made_up(text: &str) -> Vec<Value> {
    let character =
        proptest::prop_oneof![any::<char>(), proptest::char::range(' ', '~'), proptest::char::range('0', '9')];
    let change = (character, 0..=text.len(), 0..3_usize);
    let mut runner = TestRunner::deterministic();
    let one = |(character, at, how): (char, usize, usize)| {
        let mut characters: Vec<char> = text.chars().collect();
        match how {
            0 if at < characters.len() => characters[at] = character,
            1 if at < characters.len() => drop(characters.remove(at)),
            _ => characters.insert(at.min(characters.len()), character),
        }
        Value::from(characters.into_iter().collect::<String>())
    };
    (0..CHANGES).map(|_| one(change.new_tree(&mut runner).unwrap().current())).collect()
}

/// What is wrong with the API server's answer, if anything is.
fn evaluate(path: &str, object: &Value, answer: Result<Value, String>) -> Option<String> {
    let value = object.pointer(path);
    match answer {
        Ok(accepted) => {
            let error = decode(accepted).err()?;
            Some(format!("{path} {value:?} is accepted, and not decoded: {error}"))
        }
        Err(message) => {
            let field = path.trim_start_matches('/').split('/').map(|part| match part.parse::<usize>() {
                Ok(at) => format!("[{at}]"),
                Err(_) => format!(".{part}"),
            });
            let field = format!("{}: ", field.collect::<String>().trim_start_matches('.'));
            let messages = message.matches(&field).count();
            (messages > 1 && value.is_some_and(Value::is_string))
                .then(|| format!("{value:?} has several messages: {message}"))
        }
    }
}

fn decode(object: Value) -> Result<(), serde_json::Error> {
    match object["kind"].as_str().unwrap_or_default() {
        "AccessGroup" => serde_json::from_value::<AccessGroup>(object).map(drop),
        "ServiceUser" => serde_json::from_value::<ServiceUser>(object).map(drop),
        "Application" => serde_json::from_value::<Application>(object).map(drop),
        "ClientSecret" => serde_json::from_value::<ClientSecret>(object).map(drop),
        _ => serde_json::from_value::<ReplicaState>(object).map(drop),
    }
}

async fn report(tried: impl Iterator<Item = impl Future<Output = Option<String>>>) {
    let wrong: Vec<Option<String>> = futures::stream::iter(tried).buffer_unordered(AT_ONCE).collect().await;
    assert!(wrong.len() > 100, "only {} changes were tried", wrong.len());
    let wrong: Vec<String> = wrong.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
