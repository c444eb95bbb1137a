//! What tools that know kstatus make of the objects: Helm's `--wait` is one, Flux another.

use serde_json::{Value, json};

use crate::harness::{TestNamespace, application, client_secret, service_user};

#[tokio::test]
async fn an_object_that_is_disabled_by_its_spec_counts_as_installed_for_helm() {
    let tenant = TestNamespace::new("kstatus").await;
    tenant.create_defaults().await;
    let mut user = service_user("off", &[&tenant.unique_name("readers")]);
    user["spec"]["suspend"] = json!(true);
    installs(
        &tenant,
        &[
            user,
            application("of-suspended-user", "off", json!({})),
            client_secret("of-suspended-user", "of-suspended-user", json!({})),
            application("suspended", "sync", json!({"suspend": true})),
            client_secret("of-suspended", "suspended", json!({})),
            client_secret("revoked", "sync", json!({"revoke": true})),
        ],
    );
    tenant.switched_off("ServiceUser", "off", "Suspended", "Suspended").await;
    tenant.switched_off("Application", "of-suspended-user", "Suspended", "ServiceUserSuspended").await;
    tenant.switched_off("ClientSecret", "of-suspended-user", "Suspended", "ApplicationSuspended").await;
    tenant.switched_off("Application", "suspended", "Suspended", "Suspended").await;
    tenant.switched_off("ClientSecret", "revoked", "Revoked", "Revoked").await;
}

/// `helm install --wait` succeeds with a chart of these objects.
fn installs(tenant: &TestNamespace, objects: &[Value]) {
    let controlplane = &tenant.cluster.controlplane;
    let chart = controlplane.scratch().join(tenant.unique_name("chart"));
    std::fs::create_dir_all(chart.join("templates")).unwrap();
    let description = json!({"apiVersion": "v2", "name": "clients", "version": "1.0.0"});
    std::fs::write(chart.join("Chart.yaml"), description.to_string()).unwrap();
    for (number, object) in objects.iter().enumerate() {
        std::fs::write(chart.join(format!("templates/{number}.yaml")), object.to_string()).unwrap();
    }
    let chart = chart.to_str().unwrap();
    controlplane
        .run("helm", &["install", "clients", chart, "--namespace", &tenant.namespace, "--wait", "--timeout=3m"]);
}
