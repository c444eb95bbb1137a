//! A value that is planted in a Secret never becomes a credential.

use postern::crypto::secret::SecretValue;
use serde_json::{Value, json};

use crate::harness::{Credential, TestNamespace, User, application, client_secret, ensure, eventually};

/// A Secret as Postern would deliver it to the ClientSecret `name`: only the value, and what proves it, are of the attacker.
fn planted(name: &str, owner: &Value, annotations: &Value, data: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "servicebinding.io/oauth2",
        "metadata": {
            "name": name,
            "labels": {"app.kubernetes.io/managed-by": "postern", "postern.dev/component": "credential"},
            "annotations": annotations,
            "ownerReferences": [{
                "apiVersion": "postern.dev/v1alpha1", "kind": "ClientSecret", "name": name,
                "uid": owner["metadata"]["uid"], "controller": true,
            }],
        },
        "data": data,
    })
}

/// Data like those of `like`, with another value.
fn with_value(like: &Value, value: &str) -> Value {
    let mut data = like["data"].clone();
    data.as_object_mut().unwrap().remove("client-secret");
    data["client-secret"] = json!(base64(value));
    data
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

#[tokio::test]
async fn a_user_with_only_create_on_secrets_cannot_plant_a_value_before_one_is_issued() {
    let tenant = TestNamespace::new("planted").await;
    tenant.create_defaults().await;
    let mallory = User::person(&tenant, "mallory").await;
    mallory.may("create", "", "secrets", &[]).await;
    tenant.issue("model").await;
    let model = tenant.get("Secret", "model").await;
    let (id, value) = SecretValue::generate();
    // Everything that a tenant sees of a real one, with a chosen value; and a real one as a whole, in the place of another.
    let chosen = with_value(&model, value.expose_secret());
    let mut named = model["metadata"]["annotations"].clone();
    named["postern.dev/version"] = json!(id.to_string());
    let mut dated = named.clone();
    dated["postern.dev/issued-at"] = json!("2099-01-01T00:00:00Z");
    let mut unproven = named.clone();
    unproven.as_object_mut().unwrap().remove("postern.dev/mac");
    let real = (model["metadata"]["annotations"].clone(), model["data"].clone());
    let plants =
        [("a", (named, chosen.clone())), ("b", (dated, chosen.clone())), ("c", (unproven, chosen)), ("d", real)];
    for (name, (annotations, data)) in &plants {
        let owner = tenant.apply(&client_secret(name, "later", json!({"expiresIn": "1h"}))).await;
        mallory.create(&tenant.namespace, &planted(name, &owner, annotations, data)).await.unwrap();
    }
    tenant.apply(&application("later", "sync", json!({}))).await;
    for (name, (_, data)) in &plants {
        tenant.ready("ClientSecret", name).await;
        let delivered = tenant.delivered(name).await;
        let secret = tenant.get("Secret", name).await;
        assert_ne!(secret["data"]["client-secret"], data["client-secret"], "{name}: it was adopted");
        tenant.accepted(&delivered).await;
        tenant.wait_rejected(&delivered.with_secret(value.expose_secret())).await;
        let status = tenant.get("ClientSecret", name).await["status"].clone();
        assert_ne!(status["versions"][0]["id"], id.to_string(), "{name}");
        assert!(status["expiresAt"].as_str().unwrap() < "2098", "{name}: {status}");
        tenant.wait_event(name, "ValueNotVerified").await;
    }
    // The real value is accepted where it belongs, and nowhere else.
    tenant.accepted(&tenant.delivered("model").await).await;
    let moved = tenant.delivered("model").await.key("client-secret").to_owned();
    tenant.wait_rejected(&tenant.delivered("d").await.with_secret(&moved)).await;
}

#[tokio::test]
async fn the_value_of_a_deleted_secret_is_refused_even_if_it_is_recreated_from_a_copy() {
    let tenant = TestNamespace::new("copy").await;
    tenant.create_defaults().await;
    let leaked = tenant.issue("blue").await;
    let copy = tenant.get("Secret", "blue").await;
    let owner = tenant.get("ClientSecret", "blue").await;
    // As a backup tool, or an attacker with the leaked value, restores it: with everything that proved it.
    let again = planted("blue", &owner, &copy["metadata"]["annotations"], &copy["data"]);
    tenant.delete("Secret", &tenant.namespace, "blue").await;
    let planted = tenant.kubernetes.create(&tenant.namespace, &again).await;
    // The operator may have been faster.
    if let Err(refusal) = planted {
        assert!(refusal.contains("already exists"), "{refusal}");
    }
    let new = eventually("the Secret holds another value", async || {
        let now = tenant.delivered("blue").await;
        ensure(now.key("client-secret") != leaked.key("client-secret"), "it holds the leaked one").map(|()| now)
    })
    .await;
    tenant.wait_rejected(&leaked).await;
    tenant.ready("ClientSecret", "blue").await;
    tenant.accepted(&new).await;
}

#[tokio::test]
async fn a_value_between_deletion_and_delivery_is_overwritten() {
    let tenant = TestNamespace::new("between").await;
    tenant.create_defaults().await;
    let old = tenant.issue("blue").await;
    let owner = tenant.get("ClientSecret", "blue").await;
    let model = tenant.get("Secret", "blue").await;
    // The name of the next version stands in status while it is on its way: a value can name it, but not be it.
    let (_, value) = SecretValue::generate();
    tenant.delete("Secret", &tenant.namespace, "blue").await;
    let data = with_value(&model, value.expose_secret());
    let _ = tenant
        .kubernetes
        .create(&tenant.namespace, &planted("blue", &owner, &model["metadata"]["annotations"], &data))
        .await;
    tenant.wait_rejected(&old).await;
    tenant.ready("ClientSecret", "blue").await;
    let new = eventually("a value that works is delivered", async || {
        let now: Credential = tenant.delivered("blue").await;
        let planted = now.key("client-secret") == value.expose_secret();
        ensure(!planted && now.key("client-secret") != old.key("client-secret"), "another value").map(|()| now)
    })
    .await;
    tenant.wait_accepted(&new).await;
    tenant.wait_rejected(&new.with_secret(value.expose_secret())).await;
}
