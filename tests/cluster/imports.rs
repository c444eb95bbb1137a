//! Imported values.

use serde_json::{Value, json};

use crate::harness::{Credential, TestNamespace, client_secret, condition, ensure, eventually};

/// With every character that the two encodings of Basic spell differently.
const VALUE: &str = "3@rn0i+0y5j%2BB8_n:~/=";

fn existing() -> Value {
    json!({"source": {"existing": {"secretName": "legacy", "key": "password"}}})
}

fn legacy(value: &str, allowed: bool) -> Value {
    let labels = if allowed { json!({"postern.dev/import": "true"}) } else { json!({}) };
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "legacy", "labels": labels}, "stringData": {"password": value},
    })
}

#[tokio::test]
async fn an_imported_value_works_in_either_encoding_and_a_change_takes_effect_immediately() {
    let tenant = TestNamespace::new("import").await;
    tenant.create_defaults().await;
    tenant.apply(&legacy(VALUE, true)).await;
    tenant.apply(&client_secret("blue", "sync", existing())).await;
    tenant.ready("ClientSecret", "blue").await;
    let delivered = eventually("it is delivered with all that belongs to it", async || {
        let found = tenant.find("Secret", &tenant.namespace, "blue").await.ok_or("no Secret")?;
        Ok(Credential::delivered_in(&found))
    })
    .await;
    assert_eq!(delivered.key("client-secret"), VALUE);
    tenant.accepted(&delivered).await;
    tenant.accepted(&delivered.form_encoded()).await;
    let status = tenant.get("ClientSecret", "blue").await["status"].clone();
    assert_eq!(status["hint"], Value::Null, "{status}");
    assert!(status["versions"][0]["verifier"].as_str().unwrap().starts_with("i1."), "{status}");

    let before = tenant.writes().await;
    tenant
        .merge("Secret", &tenant.namespace, "legacy", json!({"metadata": {"labels": {"team": "billing"}}}))
        .await
        .unwrap();
    eventually("it is seen that the value is the same", async || {
        let secret = tenant.get("Secret", "legacy").await;
        let told = tenant.get("ClientSecret", "blue").await["status"]["source"]["resourceVersion"].clone();
        ensure(told == secret["metadata"]["resourceVersion"], &told)
    })
    .await;
    assert_eq!(tenant.writes().await.len(), before.len() + 1);

    tenant.apply(&legacy("another value of some length", true)).await;
    tenant.wait_rejected(&delivered).await;
    let changed = eventually("the new value is delivered", async || {
        let now = tenant.delivered("blue").await;
        ensure(now.key("client-secret") != VALUE, "it is the old one").map(|()| now)
    })
    .await;
    tenant.accepted(&changed).await;
    tenant.wait_rejected(&changed.with_secret("a wrong value of some length")).await;
}

#[tokio::test]
async fn an_invalid_import_is_refused_with_the_remedy_and_accepted_once_it_is_corrected() {
    let tenant = TestNamespace::new("import-refused").await;
    tenant.create_defaults().await;
    tenant.apply(&client_secret("blue", "sync", existing())).await;
    let missing = tenant.wait_not_ready("ClientSecret", "blue", "ImportNotFound").await;
    assert!(missing.contains("spec.source.existing: Secret legacy"), "{missing}");
    tenant.apply(&legacy("short", false)).await;
    tenant.apply(&client_secret("green", "sync", existing())).await;
    let not_allowed = tenant.wait_not_ready("ClientSecret", "green", "ImportNotFound").await;
    assert_eq!(not_allowed, missing, "it does not show which Secrets exist");
    assert!(not_allowed.contains(r#"postern.dev/import: "true""#), "{not_allowed}");
    let companions = async |name: &str| {
        let object = tenant.get("ClientSecret", name).await;
        ["Reconciling", "Stalled"].map(|type_| condition(&object, type_).is_some())
    };
    assert_eq!(companions("green").await, companions("blue").await);
    tenant.apply(&legacy("short", true)).await;
    let message = tenant.wait_not_ready("ClientSecret", "green", "ImportValueRefused").await;
    assert!(message.contains("must have 16 to 256 characters"), "{message}");
    tenant.wait_not_ready("ClientSecret", "blue", "ImportValueRefused").await;
    tenant.apply(&legacy("a value with\ta tab in it", true)).await;
    eventually("a control character is refused", async || {
        let message = tenant.wait_not_ready("ClientSecret", "green", "ImportValueRefused").await;
        ensure(message.contains("the value under password of Secret legacy has a control character"), message)
    })
    .await;
    tenant.apply(&legacy("pst_of another install", true)).await;
    let refusal = async || tenant.wait_not_ready("ClientSecret", "green", "ImportValueRefused").await;
    eventually("that is refused, too", async || {
        let message = refusal().await;
        ensure(message.contains("must not start with \"pst_\""), message)
    })
    .await;
    let other_key = json!({"source": {"existing": {"secretName": "legacy", "key": "nothing"}}});
    tenant.apply(&client_secret("green", "sync", other_key)).await;
    tenant.wait_not_ready("ClientSecret", "green", "ImportKeyMissing").await;
    tenant.apply(&legacy("a value that is long enough", true)).await;
    tenant.ready("ClientSecret", "blue").await;
}

#[tokio::test]
async fn one_line_break_at_the_end_of_the_source_is_left_out_and_reported() {
    let tenant = TestNamespace::new("import-line-break").await;
    tenant.create_defaults().await;
    tenant.apply(&legacy(&format!("{VALUE}\n"), true)).await;
    tenant.apply(&client_secret("blue", "sync", existing())).await;
    let ready = tenant.ready("ClientSecret", "blue").await;
    assert!(ready["message"].as_str().unwrap().contains("without the line break at its end"), "{ready}");
    let delivered = delivers(&tenant, "blue", VALUE).await;
    tenant.accepted(&delivered).await;
    tenant.wait_rejected(&delivered.with_secret(&format!("{VALUE}\n"))).await;
    tenant.wait_event("blue", "LineBreakIgnored").await;
    // Taken away in the source, it is the same value.
    tenant.apply(&legacy(VALUE, true)).await;
    eventually("nothing is said of it any more", async || {
        let ready = tenant.ready("ClientSecret", "blue").await;
        ensure(!ready["message"].as_str().unwrap().contains("line break"), &ready)
    })
    .await;
    assert_eq!(tenant.get("ClientSecret", "blue").await["status"]["versions"].as_array().unwrap().len(), 1);
    tenant.accepted(&delivered).await;
}

#[tokio::test]
async fn another_key_of_the_source_is_another_value_and_a_restored_source_is_imported_again() {
    const OTHER: &str = "another value of some length";
    let tenant = TestNamespace::new("import-again").await;
    tenant.create_defaults().await;
    let mut source = legacy(VALUE, true);
    source["stringData"]["other"] = json!(OTHER);
    tenant.apply(&source).await;
    tenant.apply(&client_secret("blue", "sync", existing())).await;
    tenant.ready("ClientSecret", "blue").await;
    let first = delivers(&tenant, "blue", VALUE).await;
    tenant.accepted(&first).await;
    let by_other_key = json!({"source": {"existing": {"secretName": "legacy", "key": "other"}}});
    tenant.apply(&client_secret("blue", "sync", by_other_key)).await;
    let second = delivers(&tenant, "blue", OTHER).await;
    tenant.wait_accepted(&second).await;
    tenant.wait_rejected(&first).await;

    // Without its source the deleted Secret cannot be made again: its value ends.
    tenant.delete("Secret", &tenant.namespace, "legacy").await;
    tenant.wait_not_ready("ClientSecret", "blue", "ImportNotFound").await;
    tenant.delete("Secret", &tenant.namespace, "blue").await;
    tenant.wait_rejected(&second).await;
    tenant.apply(&source).await;
    tenant.wait_accepted(&delivers(&tenant, "blue", OTHER).await).await;
    tenant.ready("ClientSecret", "blue").await;
}

#[tokio::test]
async fn an_imported_value_may_be_shown_once() {
    let tenant = TestNamespace::new("import-once").await;
    tenant.create_defaults().await;
    tenant.apply(&legacy(VALUE, true)).await;
    let mut once = existing();
    once["delivery"] = json!({"mode": "Once", "ttl": "5s"});
    tenant.apply(&client_secret("blue", "sync", once)).await;
    let credential = delivers(&tenant, "blue", VALUE).await;
    eventually("it is removed", async || {
        let found = tenant.kubernetes.find("Secret", &tenant.namespace, "blue").await;
        ensure(found.is_none(), "it is there")
    })
    .await;
    tenant.wait_condition("ClientSecret", "blue", "Delivered", "False", "Removed").await;
    tenant.wait_accepted(&credential).await;
}

/// The credential, once it is delivered with this value.
async fn delivers(tenant: &TestNamespace, name: &str, value: &str) -> Credential {
    eventually(format_args!("{name} is delivered"), async || {
        let found = tenant.kubernetes.find("Secret", &tenant.namespace, name).await.ok_or("there is none")?;
        let credential = Credential::delivered_in(&found);
        ensure(credential.key("client-secret") == value, "another value")?;
        Ok(credential)
    })
    .await
}
