//! What ends a credential before its time: revocation, suspension, deletion.

use serde_json::{Value, json};

use crate::harness::{TestNamespace, client_secret, ensure, eventually};

#[tokio::test]
async fn a_revoked_credential_is_refused_permanently_and_others_of_the_client_stay_valid() {
    let tenant = TestNamespace::new("revoke").await;
    tenant.create_defaults().await;
    let (blue, green) = (tenant.issue("blue").await, tenant.issue("green").await);
    tenant.apply(&client_secret("blue", "sync", json!({"revoke": true}))).await;
    tenant.wait_rejected(&blue).await;
    let message = tenant.switched_off("ClientSecret", "blue", "Revoked", "Revoked").await;
    assert!(message.contains("spec.revoke"), "{message}");
    eventually("its Secret is deleted", async || {
        let secret = tenant.find("Secret", &tenant.namespace, "blue").await;
        ensure(secret.is_none(), "it is there")
    })
    .await;
    tenant.settled().await;
    let status = tenant.get("ClientSecret", "blue").await["status"].clone();
    assert_eq!(status["binding"], Value::Null, "{status}");
    assert!(tenant.find("Secret", &tenant.namespace, "blue").await.is_none(), "and not made again");
    tenant.accepted(&green).await;
}

#[tokio::test]
async fn suspending_an_application_or_its_service_user_is_reversible() {
    let tenant = TestNamespace::new("suspend").await;
    tenant.create_defaults().await;
    let credential = tenant.issue("blue").await;
    for (kind, reason) in [("Application", "Suspended"), ("ServiceUser", "ServiceUserSuspended")] {
        let suspend = |on: bool| json!({"spec": {"suspend": on}});
        tenant.merge(kind, &tenant.namespace, "sync", suspend(true)).await.unwrap();
        tenant.wait_rejected(&credential).await;
        tenant.switched_off(kind, "sync", "Suspended", "Suspended").await;
        assert_eq!(tenant.wait_event("sync", "Suspended").await["type"], "Normal", "what is asked for is no failure");
        tenant.switched_off("Application", "sync", "Suspended", reason).await;
        let message = tenant.switched_off("ClientSecret", "blue", "Suspended", "ApplicationSuspended").await;
        assert!(message.contains("spec.suspend"), "{message}");
        tenant.merge(kind, &tenant.namespace, "sync", suspend(false)).await.unwrap();
        tenant.wait_condition("ClientSecret", "blue", "Ready", "True", "Issued").await;
        tenant.wait_accepted(&credential).await;
    }
}

#[tokio::test]
async fn deleting_any_object_of_the_chain_revokes_the_credential() {
    for kind in ["ClientSecret", "Application", "ServiceUser"] {
        let tenant = TestNamespace::new("deletion").await;
        tenant.create_defaults().await;
        let credential = tenant.issue("sync").await;
        tenant.delete(kind, &tenant.namespace, "sync").await;
        tenant.wait_rejected(&credential).await;
    }
}

#[tokio::test]
async fn deleting_a_client_secret_deletes_its_secret_and_nothing_blocks_deleting_the_namespace() {
    let tenant = TestNamespace::new("namespace").await;
    tenant.create_defaults().await;
    tenant.issue("blue").await;
    tenant.delete("ClientSecret", &tenant.namespace, "blue").await;
    eventually("the Secret is collected", async || {
        ensure(tenant.find("Secret", &tenant.namespace, "blue").await.is_none(), "it is there")
    })
    .await;
    let credential = tenant.issue("green").await;
    tenant.delete("Namespace", "", &tenant.namespace).await;
    eventually("the namespace is gone", async || {
        let found = tenant.find("Namespace", "", &tenant.namespace).await;
        ensure(found.is_none(), format_args!("{found:?}"))
    })
    .await;
    tenant.wait_rejected(&credential).await;
}
