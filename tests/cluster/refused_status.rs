//! A status that the API server refuses is reported on the object, once, and nothing else of it changes.

use serde_json::{Value, json};

use crate::harness::{
    TestNamespace, access_group, application, client_secret, ensure, eventually, object, service_user,
};

/// A field of each status that no other writes.
const FIELDS: [(&str, &str, &str); 4] = [
    ("AccessGroup", "accessgroups", "members"),
    ("ServiceUser", "serviceusers", "subject"),
    ("Application", "applications", "clientId"),
    ("ClientSecret", "clientsecrets", "versions"),
];

#[tokio::test]
async fn a_refused_status_is_reported_by_an_event_and_by_the_condition_ready() {
    let tenant = TestNamespace::new("refused-status").await;
    tenant.create_defaults().await;
    let name = tenant.unique_name("frozen");
    refuse(&tenant, &name).await;
    for object in [
        access_group(&name, json!({})),
        service_user(&name, &[]),
        application(&name, "sync", json!({})),
        client_secret(&name, "sync", json!({"description": "x"})),
    ] {
        tenant.apply(&object).await;
    }
    for (kind, _, field) in FIELDS {
        let told = tenant.wait_condition(kind, &name, "Ready", "False", "StatusRefused").await;
        let message = told["message"].as_str().unwrap();
        assert!(message.starts_with("status: the API server refuses") && message.contains("frozen today"), "{told}");
        assert!(tenant.get(kind, &name).await["status"][field].is_null());
    }
    for (kind, ..) in FIELDS {
        let home = if kind == "AccessGroup" { "default" } else { &tenant.namespace };
        eventually(format_args!("an event tells it of the {kind}"), async || {
            let events = tenant.list("Event", home).await;
            let about = |event: &Value| event["reason"] == "StatusRefused" && event["regarding"]["name"] == *name;
            ensure(events.iter().any(|event| about(event) && event["regarding"]["kind"] == kind), "it does not")
        })
        .await;
    }
    // It is retried several times during that.
    tokio::time::sleep(std::time::Duration::from_secs(7)).await;
    for (kind, ..) in FIELDS {
        let home = if kind == "AccessGroup" { "default" } else { &tenant.namespace };
        let events = tenant.list("Event", home).await;
        let about = |event: &&Value| event["reason"] == "StatusRefused" && event["regarding"]["name"] == *name;
        let told: Vec<&Value> =
            events.iter().filter(about).filter(|event| event["regarding"]["kind"] == kind).collect();
        assert_eq!(told.len(), 1, "{kind}: {told:#?}");
    }
    tenant.delete("ValidatingAdmissionPolicyBinding", "", &name).await;
    for (kind, _, field) in FIELDS {
        tenant.ready(kind, &name).await;
        assert!(!tenant.get(kind, &name).await["status"][field].is_null(), "{kind}");
    }
    tenant.accepted(&tenant.delivered(&name).await).await;
}

/// From now on no status with one of the fields can be written to objects of this name.
async fn refuse(tenant: &TestNamespace, name: &str) {
    let rules = FIELDS.map(|(_, plural, _)| {
        let resources = [format!("{plural}/status")];
        json!({"apiGroups": ["postern.dev"], "apiVersions": ["*"], "operations": ["UPDATE"], "resources": resources})
    });
    let absent = FIELDS.map(|(_, _, field)| format!("!has(object.status.{field})")).join(" && ");
    let policy = json!({
        "matchConstraints": {"resourceRules": rules},
        "matchConditions": [{"name": "named", "expression": format!("object.metadata.name == '{name}'")}],
        "validations": [{"expression": absent, "message": "frozen today"}],
    });
    let binding = json!({"policyName": name, "validationActions": ["Deny"]});
    tenant.kubernetes.apply("", &object("ValidatingAdmissionPolicy", name, policy)).await;
    tenant.kubernetes.apply("", &object("ValidatingAdmissionPolicyBinding", name, binding)).await;
    // Without the operator: no controller reconciles an object whose deletion was requested.
    let mut probe = service_user(name, &[]);
    probe["metadata"]["finalizers"] = json!(["example.com/probe"]);
    tenant.apply(&probe).await;
    tenant.delete("ServiceUser", &tenant.namespace, name).await;
    eventually("the policy is in force", async || {
        let edit = json!({"status": {"subject": "tried"}});
        let edited = tenant.merge_status("ServiceUser", &tenant.namespace, name, edit).await;
        ensure(edited.is_err_and(|refusal| refusal.contains("frozen today")), "a status can be written")
    })
    .await;
    let free = json!({"metadata": {"finalizers": null}});
    tenant.merge("ServiceUser", &tenant.namespace, name, free).await.unwrap();
    eventually("the probe is gone", async || {
        let found = tenant.find("ServiceUser", &tenant.namespace, name).await;
        ensure(found.is_none(), "it is there")
    })
    .await;
}
