//! The delivered Secret: repaired, replaced, and never taken from another owner.

use std::time::{Duration, Instant};

use postern::crypto::secret::SecretValue;
use serde_json::{Value, json};

use crate::harness::{TestNamespace, application, client_secret, condition, ensure, eventually, object};

#[tokio::test]
async fn a_new_client_secret_costs_two_writes_and_a_settled_one_none() {
    let tenant = TestNamespace::new("writes").await;
    tenant.create_defaults().await;
    let before = tenant.writes().await.len();
    tenant.issue("blue").await;
    let writes = tenant.writes().await.split_off(before);
    let of_the_secret: Vec<&String> = writes.iter().filter(|write| write.ends_with(" blue")).collect();
    assert_eq!(of_the_secret, ["create secrets blue", "patch clientsecrets/status blue"]);
    // The application counts its secrets.
    assert!(writes.len() <= 3, "{writes:?}");
    assert_eq!(tenant.writes().await.len(), before + writes.len(), "a settled system is quiet");
}

#[tokio::test]
async fn a_change_of_a_delivered_secret_is_repaired_and_the_credential_stays_valid() {
    let tenant = TestNamespace::new("repair").await;
    tenant.create_defaults().await;
    let edits = [
        ("a key", json!({"stringData": {"token-uri": "https://evil.example.com"}})),
        ("a missing key", json!({"data": {"scopes": null}})),
        ("a key beside immutable: false", json!({"immutable": false, "stringData": {"provider": "me"}})),
        ("a label", json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": "Helm"}}})),
        ("an annotation", json!({"metadata": {"annotations": {"postern.dev/content": "x"}}})),
        ("the version", json!({"metadata": {"annotations": {"postern.dev/version": "00000000"}}})),
        ("the time of issue", json!({"metadata": {"annotations": {"postern.dev/issued-at": null}}})),
        ("the names of keys", json!({"metadata": {"annotations": {"postern.dev/keys": "data/nothing"}}})),
        ("the MAC", json!({"metadata": {"annotations": {"postern.dev/mac": "AAAAAAAA.AAAA"}}})),
        ("the label by which we watch", json!({"metadata": {"labels": {"postern.dev/component": null}}})),
    ];
    // One Secret for each edit: a Secret that changes all the time is read less and less often.
    let mut issued = Vec::new();
    for number in 0..edits.len() {
        let name = format!("s-{number}");
        let credential = tenant.issue(&name).await;
        let secret = tenant.get("Secret", &name).await;
        issued.push((name, credential, secret));
    }
    // The name of the field manager proves nothing.
    for manager in ["cluster-tests", "postern"] {
        for ((_, edit), (name, ..)) in edits.iter().zip(&issued) {
            tenant.merge_as(manager, "Secret", &tenant.namespace, name, edit.clone()).await;
        }
        for ((what, _), (name, _, secret)) in edits.iter().zip(&issued) {
            eventually(format_args!("{what} is repaired, written by {manager}"), async || {
                let now = tenant.get("Secret", name).await;
                let same = |pointer: &str| now.pointer(pointer) == secret.pointer(pointer);
                ensure(
                    same("/data") && same("/metadata/labels") && same("/metadata/annotations"),
                    format_args!("{:#}", now["metadata"]),
                )
            })
            .await;
        }
    }
    for (name, credential, _) in &issued {
        tenant.accepted(credential).await;
        let status = tenant.get("ClientSecret", name).await["status"].clone();
        assert_eq!(status["versions"].as_array().unwrap().len(), 1, "the value stays: {status}");
    }
    tenant.wait_event("s-0", "Repaired").await;
}

#[tokio::test]
async fn an_overwritten_value_is_replaced_by_a_new_one() {
    let tenant = TestNamespace::new("overwritten").await;
    tenant.create_defaults().await;
    let old = tenant.issue("blue").await;
    let mut last = old.clone();
    let (_, generated) = SecretValue::generate();
    for (manager, mine) in [("kubectl-edit", "mine"), ("postern", "mine too"), ("postern", generated.expose_secret())] {
        let edit = json!({"stringData": {"client-secret": mine}});
        tenant.merge_as(manager, "Secret", &tenant.namespace, "blue", edit).await;
        let new = replaced(&tenant, "blue", |value| value != mine && value != last.key("client-secret")).await;
        tenant.accepted(&new).await;
        tenant.wait_rejected(&last).await;
        tenant.wait_rejected(&new.with_secret(mine)).await;
        last = new;
    }
}

#[tokio::test]
async fn a_secret_that_changes_constantly_is_read_occasionally_and_finally_repaired() {
    let tenant = TestNamespace::new("restless").await;
    tenant.create_defaults().await;
    let credential = tenant.issue("blue").await;
    let reads = || {
        let asked = tenant.cluster.audit.of_the_operator();
        let read = |entry: &&crate::harness::Entry| {
            (entry.verb.as_str(), entry.resource.as_str(), entry.namespace.as_str())
                == ("get", "secrets", tenant.namespace.as_str())
        };
        asked.iter().filter(read).count()
    };
    tenant.settled().await;
    let before = reads();
    for number in 0..100 {
        let edit = json!({"metadata": {"annotations": {"example.com/number": number.to_string()}}});
        tenant.merge("Secret", &tenant.namespace, "blue", edit).await.unwrap();
    }
    let edit = json!({"stringData": {"token-uri": "https://evil.example.com"}});
    tenant.merge("Secret", &tenant.namespace, "blue", edit).await.unwrap();
    eventually("the last change is repaired", async || {
        ensure(tenant.delivered("blue").await.key("token-uri") == credential.key("token-uri"), "not yet")
    })
    .await;
    tenant.settled().await;
    let reads = reads() - before;
    assert!(reads <= 10, "{reads} reads for 101 changes within a second or two");
}

#[tokio::test]
async fn a_label_contested_by_two_controllers_is_written_at_growing_intervals_and_reported() {
    let tenant = TestNamespace::new("contested").await;
    tenant.create_defaults().await;
    let spec = json!({"delivery": {"labels": {"team": "billing"}}});
    tenant.apply(&client_secret("blue", "sync", spec)).await;
    tenant.ready("ClientSecret", "blue").await;
    let disagree = json!({"metadata": {"labels": {"team": "platform"}}});
    let team = async || tenant.get("Secret", "blue").await["metadata"]["labels"]["team"].clone();
    let repairs = || {
        let writes = tenant.cluster.audit.writes_in(&tenant.namespace);
        writes.iter().filter(|write| *write == "patch secrets blue").count()
    };
    let told = async || {
        let secret = tenant.get("ClientSecret", "blue").await;
        condition(&secret, "Delivered").filter(|told| told["reason"] == "Contested").cloned()
    };
    tenant.settled().await;
    let (before, begun, mut written_back) = (repairs(), Instant::now(), 0);
    let contested = eventually("the fourth repair waits", async || {
        if team().await == "billing" {
            tenant.merge("Secret", &tenant.namespace, "blue", disagree.clone()).await.unwrap();
            written_back += 1;
        }
        let contested = told().await.ok_or("it is not told")?;
        ensure(written_back >= 4, written_back).map(|()| contested)
    })
    .await;
    let message = contested["message"].as_str().unwrap();
    assert!(message.contains("metadata.labels[team] (by ") && message.contains("spec.delivery"), "{message}");
    assert_eq!(
        tenant.get("ClientSecret", "blue").await["status"]["conditions"][0]["status"],
        "True",
        "it authenticates"
    );
    let (repairs, took) = (repairs() - before, begun.elapsed());
    let least = Duration::from_secs((1 << (repairs - 1)) - 2);
    assert!(took >= least, "{repairs} repairs take 2 + 4 + 8 … = {least:?} at least, and took {took:?}");

    let events = tenant.list("Event", &tenant.namespace).await;
    let events: Vec<_> = events.iter().filter(|event| event["reason"] == "Repaired").collect();
    assert_eq!(events.len(), 1, "{events:#?}");
    assert!(events[0]["series"]["count"].as_i64() >= Some(2), "{events:#?}");

    // No client disagrees any more.
    eventually("it is restored, and nothing is contested", async || {
        ensure(team().await == "billing" && told().await.is_none(), "not yet")
    })
    .await;
}

#[tokio::test]
async fn additions_by_others_stay_unchanged_and_cause_no_write() {
    let tenant = TestNamespace::new("additions").await;
    tenant.create_defaults().await;
    tenant.issue("blue").await;
    let before = tenant.writes().await;
    let addition = json!({
        "metadata": {"annotations": {"example.com/note": "x"}, "labels": {"team": "billing"}},
        "stringData": {"extra": "value"},
    });
    tenant.merge("Secret", &tenant.namespace, "blue", addition).await.unwrap();
    assert_eq!(tenant.writes().await, before);
    let secret = tenant.get("Secret", "blue").await;
    assert_eq!(secret["metadata"]["labels"]["team"], "billing");
    assert_eq!(secret["metadata"]["annotations"]["example.com/note"], "x");
    assert_eq!(tenant.delivered("blue").await.key("extra"), "value");
}

#[tokio::test]
async fn a_deleted_secret_is_recreated_with_a_new_value_and_the_old_one_is_refused() {
    let tenant = TestNamespace::new("healing").await;
    tenant.create_defaults().await;
    let old = tenant.issue("blue").await;
    let before = tenant.writes().await.len();
    tenant.delete("Secret", &tenant.namespace, "blue").await;
    let new = replaced(&tenant, "blue", |value| value != old.key("client-secret")).await;
    tenant.wait_rejected(&old).await;
    tenant.ready("ClientSecret", "blue").await;
    tenant.accepted(&new).await;
    let status = tenant.get("ClientSecret", "blue").await["status"].clone();
    let kept: Vec<&Value> = status["versions"].as_array().unwrap().iter().map(|version| &version["state"]).collect();
    assert_eq!(kept, ["Active", "Retired"]);
    let writes = tenant.writes().await.split_off(before);
    // Recorded, delivered, and the old one ended: what a pod reads is accepted at every instant.
    let told = "patch clientsecrets/status blue";
    assert_eq!(writes, [told, "create secrets blue", told]);
}

#[tokio::test]
async fn the_older_of_two_client_secrets_keeps_a_shared_secret_name_and_the_other_writes_nothing() {
    let tenant = TestNamespace::new("one-name").await;
    tenant.create_defaults().await;
    let delivery = json!({"delivery": {"secretName": "oauth"}});
    tenant.apply(&client_secret("older", "sync", delivery.clone())).await;
    tenant.ready("ClientSecret", "older").await;
    let credential = tenant.delivered("oauth").await;
    tenant.apply(&client_secret("younger", "sync", delivery)).await;
    let message = tenant.wait_not_ready("ClientSecret", "younger", "SecretNameConflict").await;
    assert!(message.contains("older") && message.contains("oauth"), "{message}");
    let before = tenant.writes().await;
    assert_eq!(tenant.writes().await, before, "they do not fight");
    tenant.accepted(&credential).await;

    // The name is free again: the other one takes it.
    tenant.delete("ClientSecret", &tenant.namespace, "older").await;
    tenant.wait_rejected(&credential).await;
    tenant.ready("ClientSecret", "younger").await;
    tenant.accepted(&tenant.delivered("oauth").await).await;
}

#[tokio::test]
async fn other_names_labels_and_annotations_move_the_content_and_keep_the_credential() {
    let tenant = TestNamespace::new("names").await;
    tenant.create_defaults().await;
    let credential = tenant.issue("blue").await;
    let value = credential.key("client-secret").to_owned();
    tenant.merge("Secret", &tenant.namespace, "blue", json!({"stringData": {"extra": "theirs"}})).await.unwrap();
    let by_default = |secret: &'static str| {
        let mut names = vec![
            "authorization-grant-type",
            "ca.crt",
            "client-id",
            "extra",
            "issuer-uri",
            "jwk-set-uri",
            "jwks-uri",
            "provider",
            "scope",
            "scopes",
            "token-uri",
            "type",
            secret,
        ];
        names.sort_unstable();
        names
    };
    let steps = [
        (
            json!({"delivery": {
                "rename": {"client-secret": "password"}, "labels": {"team": "billing"}, "annotations": {"example.com/a": "1"},
            }}),
            "password",
            by_default("password"),
            (json!("billing"), json!("1")),
        ),
        (
            json!({"delivery": {"keys": "Env", "annotations": {"example.com/a": "2"}}}),
            "CLIENT_SECRET",
            vec!["CLIENT_ID", "CLIENT_SECRET", "ISSUER_URI", "JWKS_URI", "SCOPES", "TOKEN_URI", "extra"],
            (json!(null), json!("2")),
        ),
        (json!({}), "client-secret", by_default("client-secret"), (json!(null), json!(null))),
    ];
    for (delivery, key, names, (label, annotation)) in steps {
        tenant.apply(&client_secret("blue", "sync", delivery)).await;
        eventually(format_args!("the Secret has {names:?}"), async || {
            let secret = tenant.get("Secret", "blue").await;
            let now = tenant.delivered("blue").await;
            let metadata = &secret["metadata"];
            let right = now.names() == names
                && metadata["labels"]["team"] == label
                && metadata["annotations"]["example.com/a"] == annotation;
            ensure(right && now.key(key) == value, format_args!("{:?} {metadata:#}", now.names()))
        })
        .await;
    }
    let status = tenant.get("ClientSecret", "blue").await["status"].clone();
    assert_eq!(status["versions"].as_array().unwrap().len(), 1, "{status}");
    tenant.accepted(&credential).await;
}

#[tokio::test]
async fn a_one_time_secret_is_removed_and_stays_valid_and_a_rotation_delivers_the_next() {
    let tenant = TestNamespace::new("once").await;
    tenant.create_defaults().await;
    let spec = |trigger: &str| json!({"delivery": {"mode": "Once", "ttl": "4s"}, "rotation": {"trigger": trigger, "overlap": "1h"}});
    tenant.apply(&client_secret("blue", "sync", spec("a"))).await;
    tenant.ready("ClientSecret", "blue").await;
    let first = tenant.delivered("blue").await;
    removed(&tenant).await;
    let status = tenant.get("ClientSecret", "blue").await["status"].clone();
    assert_eq!((&status["binding"], &status["delivery"]["removeAt"]), (&Value::Null, &Value::Null), "{status}");
    let before = tenant.writes().await;
    tenant.ready("ClientSecret", "blue").await;
    tenant.accepted(&first).await;
    assert_eq!(tenant.writes().await, before, "it is not restored");

    tenant.apply(&client_secret("blue", "sync", spec("b"))).await;
    let second = eventually("the next value is shown", async || {
        let found = tenant.find("Secret", &tenant.namespace, "blue").await.ok_or("no Secret")?;
        Ok(crate::harness::Credential::delivered_in(&found))
    })
    .await;
    removed(&tenant).await;
    tenant.accepted(&first).await;
    tenant.accepted(&second).await;
}

async fn removed(tenant: &TestNamespace) {
    tenant.wait_condition("ClientSecret", "blue", "Delivered", "False", "Removed").await;
    assert!(tenant.find("Secret", &tenant.namespace, "blue").await.is_none());
}

#[tokio::test]
async fn an_immutable_secret_and_one_of_another_type_are_reported_without_repeated_writes() {
    let tenant = TestNamespace::new("stuck").await;
    tenant.create_defaults().await;
    let credential = tenant.issue("blue").await;
    tenant.merge("Secret", &tenant.namespace, "blue", json!({"immutable": true})).await.unwrap();
    tenant.apply(&client_secret("blue", "sync", json!({"rotation": {"trigger": "x"}}))).await;
    tenant.wait_condition("ClientSecret", "blue", "Delivered", "False", "SecretImmutable").await;
    tenant.accepted(&credential).await;
    let before = tenant.writes().await;
    assert_eq!(tenant.writes().await, before, "it is not tried again and again");
    // Without the label of the watch, its deletion would not be noticed.
    let hidden = json!({"metadata": {"labels": {"postern.dev/component": null}}});
    tenant.merge("Secret", &tenant.namespace, "blue", hidden).await.unwrap();
    eventually("the label is restored", async || {
        let secret = tenant.get("Secret", "blue").await;
        let label = secret["metadata"]["labels"]["postern.dev/component"].clone();
        ensure(label == "credential", label)
    })
    .await;
    tenant.accepted(&credential).await;
    tenant.delete("Secret", &tenant.namespace, "blue").await;
    tenant.wait_rejected(&credential).await;
    let healed = tenant.get("ClientSecret", "blue").await;
    assert_eq!(crate::harness::condition(&healed, "Delivered"), None, "{healed:#}");

    // One that is there before there is anything to deliver.
    tenant.apply(&client_secret("green", "later", json!({}))).await;
    let owner = tenant.get("ClientSecret", "green").await["metadata"]["uid"].clone();
    let ours = json!({"apiVersion": "postern.dev/v1alpha1", "kind": "ClientSecret", "name": "green", "uid": owner, "controller": true});
    let other = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": {"name": "green", "ownerReferences": [ours], "labels": {"postern.dev/component": "credential"}},
    });
    tenant.kubernetes.create(&tenant.namespace, &other).await.unwrap();
    tenant.apply(&application("later", "sync", json!({}))).await;
    let message = tenant.wait_not_ready("ClientSecret", "green", "SecretNameConflict").await;
    assert!(message.contains("servicebinding.io/oauth2"), "{message}");
    let before = tenant.writes().await;
    assert_eq!(tenant.writes().await, before);
}

#[tokio::test]
async fn a_secret_refused_by_a_quota_is_reported_without_further_writes_and_delivered_later() {
    let tenant = TestNamespace::new("quota").await;
    tenant.create_defaults().await;
    let old = tenant.issue("blue").await;
    no_more_secrets(&tenant).await;

    // One that was never delivered, and one whose value has leaked: that is refused, whatever becomes of the new one.
    tenant.apply(&client_secret("green", "sync", json!({}))).await;
    tenant.delete("Secret", &tenant.namespace, "blue").await;
    tenant.wait_rejected(&old).await;
    for name in ["green", "blue"] {
        let message = tenant.wait_not_ready("ClientSecret", name, "DeliveryFailed").await;
        assert!(message.contains(&format!("Secret {name} ")) && message.contains("exceeded quota: few"), "{message}");
        assert!(message.contains("Remove the cause"), "{message}");
        tenant.wait_condition("ClientSecret", name, "Stalled", "True", "DeliveryFailed").await;
    }
    let before = tenant.writes().await;
    let attempts = refusals(&tenant);
    eventually("it is tried again", async || ensure(refusals(&tenant) > attempts, refusals(&tenant))).await;
    assert_eq!(tenant.writes().await, before, "it writes nothing meanwhile");
    eventually("people are told once", async || {
        let events = tenant.list("Event", &tenant.namespace).await;
        let warned = |event: &&Value| event["reason"] == "DeliveryFailed" && event["type"] == "Warning";
        let told = events.iter().filter(warned).count();
        ensure(told == 2, format_args!("{told} events"))
    })
    .await;

    tenant.delete("ResourceQuota", &tenant.namespace, "few").await;
    for name in ["green", "blue"] {
        tenant.ready("ClientSecret", name).await;
        let credential = tenant.delivered(name).await;
        assert_ne!(credential.key("client-secret"), old.key("client-secret"));
        tenant.accepted(&credential).await;
    }
    tenant.wait_rejected(&old).await;
}

#[tokio::test]
async fn an_unreachable_webhook_is_reported_and_causes_no_further_writes() {
    let tenant = TestNamespace::new("webhook").await;
    tenant.create_defaults().await;
    let old = tenant.issue("blue").await;
    let name = tenant.unique_name("unreachable");
    let rule = json!({"apiGroups": [""], "apiVersions": ["v1"], "resources": ["secrets"], "operations": ["CREATE"]});
    let webhook = json!({
        "name": "unreachable.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None",
        "clientConfig": {"url": "https://127.0.0.1:1/"}, "rules": [rule],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": tenant.namespace}},
    });
    let configuration = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": name}, "webhooks": [webhook],
    });
    tenant.kubernetes.apply("", &configuration).await;
    refuses_secrets(&tenant, "failed calling webhook").await;

    tenant.delete("Secret", &tenant.namespace, "blue").await;
    tenant.wait_rejected(&old).await;
    let message = tenant.wait_not_ready("ClientSecret", "blue", "DeliveryFailed").await;
    assert!(message.contains("failed calling webhook"), "{message}");
    let before = tenant.writes().await;
    let attempts = refusals(&tenant);
    eventually("it is tried again", async || ensure(refusals(&tenant) > attempts, refusals(&tenant))).await;
    assert_eq!(tenant.writes().await, before, "it writes nothing meanwhile");
    tenant.delete("ValidatingWebhookConfiguration", "", &name).await;
    tenant.ready("ClientSecret", "blue").await;
    tenant.accepted(&tenant.delivered("blue").await).await;
}

#[tokio::test]
async fn a_refusal_with_a_new_message_each_time_is_reported_and_retried_at_growing_intervals() {
    let tenant = TestNamespace::new("words").await;
    tenant.create_defaults().await;
    let name = tenant.unique_name("words");
    let rule = json!({"apiGroups": [""], "apiVersions": ["v1"], "resources": ["secrets"], "operations": ["CREATE"]});
    // The version is another one with each attempt.
    let words = "'none of ' + object.metadata.?annotations[?'postern.dev/version'].orValue('no version')";
    let policy = json!({
        "matchConstraints": {"resourceRules": [rule]},
        "validations": [{"expression": "false", "message": "none", "messageExpression": words}],
    });
    let here = json!({"matchLabels": {"kubernetes.io/metadata.name": tenant.namespace}});
    let binding = json!({
        "policyName": name, "validationActions": ["Deny"], "matchResources": {"namespaceSelector": here},
    });
    tenant.kubernetes.apply("", &object("ValidatingAdmissionPolicy", &name, policy)).await;
    tenant.kubernetes.apply("", &object("ValidatingAdmissionPolicyBinding", &name, binding)).await;
    refuses_secrets(&tenant, "none of no version").await;

    tenant.apply(&client_secret("green", "sync", json!({}))).await;
    tenant.wait_not_ready("ClientSecret", "green", "DeliveryFailed").await;
    eventually("it is tried again", async || ensure(refusals(&tenant) > 4, refusals(&tenant))).await;
    let told = tenant.writes().await.iter().filter(|write| *write == "patch clientsecrets/status green").count();
    let attempts = refusals(&tenant);
    // The status write causes one more attempt, which writes nothing.
    assert!(told > 1 && 2 * told <= attempts + 1, "told {told} times of {attempts}");
    tenant.delete("ValidatingAdmissionPolicyBinding", "", &name).await;
    tenant.ready("ClientSecret", "green").await;
}

#[tokio::test]
async fn a_label_mutated_by_an_admission_policy_is_reported_without_new_versions() {
    let tenant = TestNamespace::new("mutated").await;
    tenant.create_defaults().await;
    let name = tenant.unique_name("mutated");
    let label = "app.kubernetes.io/managed-by";
    let rule = json!({
        "apiGroups": [""], "apiVersions": ["v1"], "resources": ["secrets"], "operations": ["CREATE", "UPDATE"],
    });
    let path = format!("'/metadata/labels/' + jsonpatch.escapeKey('{label}')");
    let change = format!("[JSONPatch{{op: 'add', path: {path}, value: 'another-tool'}}]");
    let labelled = format!("has(object.metadata.labels) && '{label}' in object.metadata.labels");
    let policy = json!({
        "failurePolicy": "Fail", "reinvocationPolicy": "Never",
        "matchConstraints": {"resourceRules": [rule]},
        "matchConditions": [{"name": "labelled", "expression": labelled}],
        "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": change}}],
    });
    let here = json!({"matchLabels": {"kubernetes.io/metadata.name": tenant.namespace}});
    let binding = json!({"policyName": name, "matchResources": {"namespaceSelector": here}});
    tenant.kubernetes.apply("", &object("MutatingAdmissionPolicy", &name, policy)).await;
    tenant.kubernetes.apply("", &object("MutatingAdmissionPolicyBinding", &name, binding)).await;
    eventually("the policy is in force", async || {
        let metadata = json!({"name": "tried", "labels": {label: "x"}});
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata});
        let tried = tenant.try_create(&tenant.namespace, &secret).await?;
        ensure(tried["metadata"]["labels"][label] == "another-tool", &tried["metadata"])
    })
    .await;

    tenant.apply(&client_secret("blue", "sync", json!({}))).await;
    let told = tenant.wait_condition("ClientSecret", "blue", "Delivered", "False", "DeliveryFailed").await;
    let message = told["message"].as_str().unwrap();
    assert!(message.contains(&format!("changes labels/{label} while it is written")), "{message}");
    tenant.accepted(&tenant.delivered("blue").await).await;
    let attempts = || {
        let asked = tenant.cluster.audit.writes_in(&tenant.namespace);
        asked.iter().filter(|write| *write == "patch secrets blue").count()
    };
    eventually("it is tried again", async || ensure(attempts() >= 3, attempts())).await;
    let status = tenant.get("ClientSecret", "blue").await["status"].clone();
    assert_eq!(status["versions"].as_array().unwrap().len(), 1, "{status}");

    tenant.delete("MutatingAdmissionPolicyBinding", "", &name).await;
    eventually("the label is restored", async || {
        let secret = tenant.get("Secret", "blue").await;
        ensure(secret["metadata"]["labels"][label] == "postern", &secret["metadata"])
    })
    .await;
    eventually("nothing is left to say", async || {
        let found = tenant.get("ClientSecret", "blue").await;
        ensure(crate::harness::condition(&found, "Delivered").is_none(), &found["status"])
    })
    .await;
    assert!(attempts() <= 8, "{} attempts", attempts());
}

/// From now on the API server refuses Secrets, by a quota. The tests' control plane has no quota controller.
async fn no_more_secrets(tenant: &TestNamespace) {
    let none = json!({"count/secrets": "0"});
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"}, "spec": {"hard": none},
    });
    tenant.apply(&quota).await;
    let counted = json!({"status": {"hard": none, "used": none}});
    tenant.merge_status("ResourceQuota", &tenant.namespace, "few", counted).await.unwrap();
    refuses_secrets(tenant, "exceeded quota").await;
}

/// Waits until the API server refuses a new Secret with such words.
async fn refuses_secrets(tenant: &TestNamespace, words: &str) {
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "one-more"}});
    eventually("Secrets are refused", async || match tenant.try_create(&tenant.namespace, &secret).await {
        Err(refusal) => ensure(refusal.contains(words), refusal),
        Ok(_) => Err("they are not".to_owned()),
    })
    .await;
}

/// How often the operator was refused a Secret in the namespace.
fn refusals(tenant: &TestNamespace) -> usize {
    let refused = |entry: &&crate::harness::Entry| {
        (entry.verb.as_str(), entry.resource.as_str()) == ("create", "secrets")
            && entry.status >= 400
            && entry.namespace == tenant.namespace
    };
    tenant.cluster.audit.of_the_operator().iter().filter(refused).count()
}

/// The credential in a Secret, once its value is such.
async fn replaced(tenant: &TestNamespace, secret: &str, such: impl Fn(&str) -> bool) -> crate::harness::Credential {
    eventually("the Secret holds another value", async || {
        let found = tenant.find("Secret", &tenant.namespace, secret).await.ok_or("there is none")?;
        let credential = crate::harness::Credential::delivered_in(&found);
        ensure(such(credential.key("client-secret")), "it holds the same").map(|()| credential)
    })
    .await
}
