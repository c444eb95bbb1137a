//! A service user that names no location is where its namespace is.

use serde_json::{Value, json};

use crate::harness::{Cluster, TestNamespace, access_group, application, client_secret, ensure, eventually, object};

#[tokio::test]
async fn a_service_user_without_a_location_follows_its_namespace() {
    let placed = json!({"annotations": {"postern.dev/location": "/emea/billing"}});
    let tenant = TestNamespace::on(Cluster::shared(), "placed", placed).await;
    let group = tenant.unique_name("readers");
    tenant.apply(&access_group(&group, json!({}))).await;
    tenant.apply(&object("ServiceUser", "sync", json!({"groups": [group]}))).await;
    tenant.apply(&application("sync", "sync", json!({}))).await;
    tenant.apply(&client_secret("blue", "sync", json!({}))).await;
    tenant.ready("ServiceUser", "sync").await;
    tenant.ready("ClientSecret", "blue").await;
    let credential = tenant.delivered("blue").await;
    for claims in tenant.accepted(&credential).await {
        assert_eq!(claims["location"], "/emea/billing", "{claims}");
    }
    acts_at(&tenant, "/emea/billing").await;

    // Without the annotation it is at the root, where the group does not reach.
    let moved = json!({"metadata": {"annotations": {"postern.dev/location": null}}});
    tenant.merge("Namespace", "", &tenant.namespace, moved).await.unwrap();
    acts_at(&tenant, "/").await;
    tenant.wait_not_ready("ServiceUser", "sync", "GroupsNotResolved").await;
}

async fn acts_at(tenant: &TestNamespace, location: &str) {
    eventually(format_args!("it is at {location}"), async || {
        let user: Value = tenant.get("ServiceUser", "sync").await;
        ensure(user["status"]["location"] == location && user["spec"]["location"].is_null(), &user["status"])
    })
    .await;
}
