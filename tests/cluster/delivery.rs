//! The delivered Secret: repaired, healed, and never taken from somebody else.

use serde_json::{Value, json};

use crate::harness::{Tenant, client_secret, eventually, holds};

#[tokio::test]
async fn a_new_client_secret_costs_two_writes_and_a_settled_one_none() {
    let tenant = Tenant::new("writes").await;
    tenant.settle_in().await;
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
async fn what_somebody_changes_is_repaired_and_the_credential_goes_on_working() {
    let tenant = Tenant::new("repair").await;
    tenant.settle_in().await;
    let credential = tenant.issue("blue").await;
    let secret = tenant.get("Secret", "blue").await;
    let edits = [
        ("a key", json!({"stringData": {"token-uri": "https://evil.example.com"}})),
        ("a missing key", json!({"data": {"scopes": null}})),
        ("a label", json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": "Helm"}}})),
        ("an annotation", json!({"metadata": {"annotations": {"postern.dev/content": "x"}}})),
        ("the label by which we watch", json!({"metadata": {"labels": {"postern.dev/component": null}}})),
    ];
    for (what, edit) in edits {
        tenant.merge("Secret", &tenant.namespace, "blue", edit).await.unwrap();
        eventually(format_args!("{what} is repaired"), async || {
            let now = tenant.get("Secret", "blue").await;
            let same = |pointer: &str| now.pointer(pointer) == secret.pointer(pointer);
            holds(
                same("/data") && same("/metadata/labels") && same("/metadata/annotations"),
                format_args!("{:#}", now["metadata"]),
            )
        })
        .await;
    }
    tenant.accepted(&credential).await;
}

#[tokio::test]
async fn a_value_that_somebody_overwrites_is_replaced_by_a_new_one() {
    let tenant = Tenant::new("overwritten").await;
    tenant.settle_in().await;
    let old = tenant.issue("blue").await;
    let edit = json!({"stringData": {"client-secret": "mine"}});
    tenant.merge("Secret", &tenant.namespace, "blue", edit).await.unwrap();
    let new = replaced(&tenant, "blue", |value| value != "mine" && value != old.key("client-secret")).await;
    tenant.accepted(&new).await;
    tenant.turned_away(&old).await;
}

#[tokio::test]
async fn what_others_add_is_left_alone_and_costs_no_write() {
    let tenant = Tenant::new("additions").await;
    tenant.settle_in().await;
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
async fn a_deleted_secret_comes_back_with_a_new_value_and_the_old_one_is_refused() {
    let tenant = Tenant::new("healing").await;
    tenant.settle_in().await;
    let old = tenant.issue("blue").await;
    let before = tenant.writes().await.len();
    tenant.delete("Secret", &tenant.namespace, "blue").await;
    let new = replaced(&tenant, "blue", |value| value != old.key("client-secret")).await;
    tenant.turned_away(&old).await;
    tenant.ready("ClientSecret", "blue").await;
    tenant.accepted(&new).await;
    let status = tenant.get("ClientSecret", "blue").await["status"].clone();
    let kept: Vec<&Value> = status["versions"].as_array().unwrap().iter().map(|version| &version["state"]).collect();
    assert_eq!(kept, ["Active", "Retired"]);
    let writes = tenant.writes().await.split_off(before);
    assert_eq!(writes, ["create secrets blue", "patch clientsecrets/status blue"]);
}

#[tokio::test]
async fn a_foreign_secret_is_never_touched_whatever_its_labels_and_annotations_say() {
    let tenant = Tenant::new("foreign").await;
    tenant.settle_in().await;
    tenant.issue("blue").await;
    let ours = tenant.get("Secret", "blue").await["metadata"].clone();
    // As good a copy as a tenant can make, by somebody who is not the controller.
    let foreign = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "servicebinding.io/oauth2",
        "metadata": {"name": "green", "labels": ours["labels"], "annotations": ours["annotations"]},
        "stringData": {"client-secret": "foreign"},
    });
    let before = tenant.kubernetes.create(&tenant.namespace, &foreign).await.unwrap();
    tenant.apply(&client_secret("green", "sync", json!({}))).await;
    let message = tenant.refused("ClientSecret", "green", "SecretNameConflict").await;
    assert!(message.contains("Secret green") && message.contains("left alone"), "{message}");

    // Its owner may edit it: that is not ours to repair.
    tenant.merge("Secret", &tenant.namespace, "green", json!({"stringData": {"a": "b"}})).await.unwrap();
    let writes = tenant.writes().await;
    assert!(!writes.iter().any(|write| write.contains(" secrets green")), "{writes:?}");
    assert_eq!(tenant.get("Secret", "green").await["metadata"]["uid"], before["metadata"]["uid"]);
    assert_eq!(tenant.delivered("green").await.key("client-secret"), "foreign");

    tenant.delete("ClientSecret", &tenant.namespace, "green").await;
    tenant.settled().await;
    assert_eq!(tenant.delivered("green").await.key("client-secret"), "foreign", "it outlives the ClientSecret");
}

#[tokio::test]
async fn of_two_client_secrets_that_name_one_secret_the_older_keeps_it_and_the_other_is_quiet() {
    let tenant = Tenant::new("one-name").await;
    tenant.settle_in().await;
    let delivery = json!({"delivery": {"secretName": "oauth"}});
    tenant.apply(&client_secret("older", "sync", delivery.clone())).await;
    tenant.ready("ClientSecret", "older").await;
    let credential = tenant.delivered("oauth").await;
    tenant.apply(&client_secret("younger", "sync", delivery)).await;
    let message = tenant.refused("ClientSecret", "younger", "SecretNameConflict").await;
    assert!(message.contains("older") && message.contains("oauth"), "{message}");
    let before = tenant.writes().await;
    assert_eq!(tenant.writes().await, before, "they do not fight");
    tenant.accepted(&credential).await;

    // The name is free again: the other one takes it.
    tenant.delete("ClientSecret", &tenant.namespace, "older").await;
    tenant.turned_away(&credential).await;
    tenant.ready("ClientSecret", "younger").await;
    tenant.accepted(&tenant.delivered("oauth").await).await;
}

/// The credential in a Secret, once its value is such.
async fn replaced(tenant: &Tenant, secret: &str, such: impl Fn(&str) -> bool) -> crate::harness::Credential {
    eventually("the Secret holds another value", async || {
        let found = tenant.find("Secret", &tenant.namespace, secret).await.ok_or("there is none")?;
        let credential = crate::harness::Credential::delivered_in(&found);
        holds(such(credential.key("client-secret")), "it holds the same").map(|()| credential)
    })
    .await
}
