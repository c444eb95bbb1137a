//! One bad object harms only itself.

use serde_json::{Value, json};

use crate::harness::{Cluster, TestNamespace, application, client_secret, ensure, eventually, object};

#[tokio::test]
async fn an_object_that_cannot_be_decoded_harms_no_other_also_not_at_a_restart() {
    let cluster = Cluster::dedicated(2);
    cluster.start().await;
    let tenant = TestNamespace::on(cluster.clone(), "undecodable", json!({})).await;
    tenant.create_defaults().await;
    let credential = tenant.issue("blue").await;

    let mut strict = Vec::new();
    for kind in ["accessgroups", "serviceusers", "applications", "clientsecrets"] {
        strict.push((kind, accept_anything(&tenant, kind).await));
    }
    // What an older or a newer version may have stored.
    for (kind, spec) in [
        ("AccessGroup", json!({"role": "r", "location": "not a location", "permissions": []})),
        ("ServiceUser", json!({"location": "not a location"})),
        ("Application", json!({"serviceUserRef": {"name": "sync"}, "token": 7})),
        ("ClientSecret", json!({"applicationRef": {"name": "sync"}, "expiresIn": "soon"})),
    ] {
        let broken = object(kind, &tenant.unique_name("broken"), spec);
        stored(&tenant, &broken).await;
        let told = tenant.wait_condition(kind, &tenant.unique_name("broken"), "Ready", "False", "NotDecoded").await;
        assert!(told["message"].as_str().unwrap().contains("cannot be decoded and counts as absent"), "{told}");
        let home = if kind == "AccessGroup" { "default" } else { &tenant.namespace };
        eventually("an event tells it", async || {
            let events = tenant.list("Event", home).await;
            let about = |event: &&Value| event["reason"] == "NotDecoded" && event["regarding"]["kind"] == kind;
            ensure(events.iter().filter(about).count() == 1, format_args!("{events:#?}"))
        })
        .await;
    }
    works(&tenant, &credential, "green").await;

    // A good object that becomes undecodable is absent from then on.
    let victim = tenant.issue("victim").await;
    let damage = json!({"spec": {"expiresIn": {"years": 1}}});
    tenant.merge("ClientSecret", &tenant.namespace, "victim", damage).await.unwrap();
    tenant.wait_rejected(&victim).await;

    for replica in &cluster.replicas {
        replica.process().kill();
    }
    cluster.start().await;
    tenant.wait_rejected(&victim).await;
    works(&tenant, &credential, "red").await;

    for (kind, versions) in strict {
        has_versions(&tenant, kind, &versions).await;
    }
}

/// Old credentials work, and new ones are issued.
async fn works(tenant: &TestNamespace, credential: &crate::harness::Credential, name: &str) {
    tenant.accepted(credential).await;
    tenant.apply(&application(name, "sync", json!({}))).await;
    tenant.apply(&client_secret(name, name, json!({}))).await;
    tenant.ready("ClientSecret", name).await;
    // A change of a CRD ends its watches; a replica that has not caught up answers 503.
    tenant.wait_accepted(&tenant.delivered(name).await).await;
}

/// Takes every rule out of a kind's schema, as if another version of the CRD were installed. What the operator selects
/// by stays text. Returns the versions as they were.
async fn accept_anything(tenant: &TestNamespace, plural: &str) -> Value {
    let definition = tenant.kubernetes.get("CustomResourceDefinition", "", &format!("{plural}.postern.dev")).await;
    let mut versions = definition["spec"]["versions"].clone();
    let version = &mut versions[0];
    let mut spec = anything();
    for field in version["selectableFields"].as_array().unwrap() {
        let Some(path) = field["jsonPath"].as_str().unwrap().strip_prefix(".spec.") else { continue };
        let parent = path.split('.').fold(&mut spec, |parent, step| {
            let property = &mut parent["properties"][step];
            if property.is_null() {
                *property = anything();
            }
            property
        });
        *parent = json!({"type": "string"});
    }
    version["schema"]["openAPIV3Schema"]["properties"]["spec"] = spec;
    has_versions(tenant, plural, &versions).await;
    definition["spec"]["versions"].clone()
}

async fn has_versions(tenant: &TestNamespace, plural: &str, versions: &Value) {
    let name = format!("{plural}.postern.dev");
    tenant.merge("CustomResourceDefinition", "", &name, json!({"spec": {"versions": versions}})).await.unwrap();
}

fn anything() -> Value {
    json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

/// Creates an object as soon as the API server has taken over the new schema.
async fn stored(tenant: &TestNamespace, object: &Value) {
    eventually("the API server accepts a broken object", async || {
        let created = tenant.kubernetes.create(&tenant.namespace, object).await;
        created.map(drop).or_else(|refusal| ensure(refusal.contains("already exists"), refusal))
    })
    .await;
}
