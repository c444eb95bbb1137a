//! The main job: from YAML to a token.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::{
    Cluster, TestNamespace, access_group, application, client_secret, ensure, eventually, service_user,
};

#[tokio::test]
async fn yaml_becomes_a_secret_and_the_secret_becomes_a_token_at_every_replica() {
    let tenant = TestNamespace::new("life").await;
    tenant.create_defaults().await;
    let credential = tenant.issue("blue").await;
    let user = tenant.get("ServiceUser", "sync").await;
    let app = tenant.get("Application", "sync").await;
    for claims in tenant.accepted(&credential).await {
        assert_eq!(claims["iss"], tenant.cluster.issuer());
        assert_eq!(claims["sub"], user["metadata"]["uid"]);
        assert_eq!(claims["client_id"], app["metadata"]["uid"]);
        assert_eq!(claims["aud"], "https://billing.example.com");
        assert_eq!(claims["scope"], "invoices:list invoices:read");
        assert_eq!(claims["roles"], json!(["billing.reader"]));
    }
}

#[tokio::test]
async fn the_delivered_secret_is_what_pods_and_the_service_binding_specification_expect() {
    let tenant = TestNamespace::new("delivered").await;
    tenant.create_defaults().await;
    tenant.apply(&client_secret("blue", "sync", json!({"delivery": {"secretName": "oauth"}}))).await;
    tenant.ready("ClientSecret", "blue").await;

    let secret = tenant.get("Secret", "oauth").await;
    let owner = tenant.get("ClientSecret", "blue").await;
    assert_eq!(secret["type"], "servicebinding.io/oauth2");
    assert_eq!(secret["metadata"]["ownerReferences"][0]["uid"], owner["metadata"]["uid"]);
    assert_eq!(secret["metadata"]["ownerReferences"][0]["controller"], true);

    let issuer = tenant.cluster.issuer();
    let credential = tenant.delivered("oauth").await;
    let client_id = tenant.get("Application", "sync").await["metadata"]["uid"].clone();
    let expected = [
        ("authorization-grant-type", "client_credentials".to_owned()),
        ("ca.crt", String::from_utf8(tenant.cluster.ca().to_vec()).unwrap()),
        ("client-id", client_id.as_str().unwrap().to_owned()),
        ("issuer-uri", issuer.to_owned()),
        ("jwks-uri", credential.key("jwks-uri").to_owned()),
        ("jwk-set-uri", credential.key("jwks-uri").to_owned()),
        ("provider", "postern".to_owned()),
        ("scope", "invoices:list,invoices:read".to_owned()),
        ("scopes", "invoices:list invoices:read".to_owned()),
        ("token-uri", format!("{issuer}/oauth2/token")),
        ("type", "oauth2".to_owned()),
    ];
    for (key, value) in &expected {
        assert_eq!(credential.key(key), value, "{key}");
    }
    let keys: BTreeSet<_> = expected.iter().map(|(key, _)| *key).chain(["client-secret"]).collect();
    assert_eq!(credential.names().into_iter().collect::<BTreeSet<_>>(), keys);
    let ask = credential.ask(&tenant.connections, issuer, &[]).await.expect("an answer");
    ask.claims().expect("a token");
}

#[tokio::test]
async fn the_status_of_a_new_credential_contains_everything_but_the_secret() {
    let tenant = TestNamespace::new("status").await;
    tenant.create_defaults().await;
    let credential = tenant.issue("blue").await;
    let status = tenant.get("ClientSecret", "blue").await["status"].clone();
    assert_eq!(status["binding"]["name"], "blue");
    let hint = status["hint"].as_str().unwrap();
    assert!(credential.key("client-secret").starts_with(hint) && hint.len() < 12, "{hint}");
    assert_eq!(status["versions"].as_array().unwrap().len(), 1);
    assert_eq!(status["versions"][0]["state"], "Active");
    assert!(status["versions"][0]["verifier"].as_str().unwrap().starts_with("g1."));
    let describe = ["describe", "clientsecret", "blue", "--namespace", &tenant.namespace];
    let described = tenant.cluster.controlplane.run("kubectl", &describe);
    assert!(described.contains("Verifier:") && !described.contains("argon2"), "{described}");
    assert_eq!(status["conditions"][0]["reason"], "Issued");
    let counted = eventually("the application counts its secret", async || {
        let app = tenant.get("Application", "sync").await;
        let secrets = app["status"]["secrets"].clone();
        ensure(secrets["active"] == 1, &secrets).map(|()| secrets)
    });
    assert_eq!(counted.await, json!({"active": 1, "total": 1, "limit": 20, "summary": "1/1"}));
    let members = eventually("the group counts its member", async || {
        let group = tenant.get("AccessGroup", &tenant.unique_name("readers")).await;
        ensure(group["status"]["members"] == 1, &group["status"])
    });
    members.await;
}

#[tokio::test]
async fn an_event_reports_that_a_credential_was_issued() {
    let tenant = TestNamespace::new("event").await;
    tenant.create_defaults().await;
    tenant.issue("blue").await;
    let issued = tenant.wait_event("blue", "Issued").await;
    assert!(issued["note"].as_str().unwrap().contains("Secret blue"), "{issued}");
}

#[tokio::test]
async fn objects_may_be_applied_in_any_order() {
    let orders = [[3, 2, 1, 0], [2, 3, 0, 1], [1, 0, 3, 2], [3, 0, 2, 1], [0, 3, 1, 2]];
    for order in orders {
        let tenant = TestNamespace::new("order").await;
        let group = tenant.unique_name("readers");
        let objects: [Value; 4] = [
            access_group(&group, json!({})),
            service_user("sync", &[&group]),
            application("sync", "sync", json!({})),
            client_secret("blue", "sync", json!({})),
        ];
        for number in order {
            tenant.apply(&objects[number]).await;
            // The earlier objects have been reconciled when the next one comes.
            tenant.settled().await;
        }
        tenant.ready("ClientSecret", "blue").await;
        tenant.ready("ServiceUser", "sync").await;
        let credential = tenant.delivered("blue").await;
        tenant.accepted(&credential).await;
        eventually("the delivered scopes follow", async || {
            let scopes = tenant.delivered("blue").await.key("scopes").to_owned();
            ensure(scopes == "invoices:list invoices:read", scopes)
        })
        .await;
        tenant.wait_event("blue", "Issued").await;
        let events = tenant.list("Event", &tenant.namespace).await;
        let warnings: Vec<&Value> = events.iter().filter(|event| event["type"] == "Warning").collect();
        assert!(warnings.is_empty(), "nobody did anything wrong: {warnings:#?}");
    }
}

/// New credentials of one look: as many as a replica may catch up for at once, however fast they come.
const AT_ONCE: usize = 20;

#[tokio::test]
async fn ready_means_usable_at_every_replica() {
    // Catching up is bounded for the whole replica: other tests would take their share.
    let cluster = Cluster::dedicated(2);
    cluster.start().await;
    let tenant = TestNamespace::on(cluster, "usable", json!({})).await;
    tenant.create_defaults().await;
    // Once every replica knows what the service user holds, a token is the only right answer.
    tenant.wait_accepted(&tenant.issue("first").await).await;
    for number in 0..AT_ONCE {
        let name = format!("app-{number}");
        tenant.apply(&application(&name, "sync", json!({}))).await;
        tenant.apply(&client_secret(&name, &name, json!({}))).await;
        tenant.ready("ClientSecret", &name).await;
        let credential = tenant.delivered(&name).await;
        assert_eq!(tenant.accepted_at_once(&credential).await.len(), 2, "{name}");
    }
}
