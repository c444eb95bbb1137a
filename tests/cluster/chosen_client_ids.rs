//! Client ids that a client brings from another system.

use std::path::Path;

use serde_json::{Value, json};

use crate::explain::{explained, postern};
use crate::harness::{TestNamespace, application, client_secret, ensure, eventually};
use crate::interop_clients::{Scene, command, installed};

const VALUE: &str = "3@rn0i+0y5j%2BB8_n:~/=";

#[tokio::test]
async fn a_client_migrates_with_its_id_and_its_secret_and_is_found_by_its_id() {
    const ID: &str = "billing-sync.prod~1";
    let tenant = TestNamespace::new("migrated").await;
    tenant.create_defaults().await;
    tenant.apply(&application("billing", "sync", json!({"clientId": ID}))).await;
    tenant
        .apply(&json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "legacy", "labels": {"postern.dev/import": "true"}}, "stringData": {"password": VALUE},
        }))
        .await;
    let source = json!({"source": {"existing": {"secretName": "legacy", "key": "password"}}});
    tenant.apply(&client_secret("billing", "billing", source)).await;
    tenant.ready("ClientSecret", "billing").await;
    eventually("it is delivered", async || {
        ensure(tenant.find("Secret", &tenant.namespace, "billing").await.is_some(), "there is no Secret")
    })
    .await;
    let credential = tenant.delivered("billing").await;
    assert_eq!((credential.key("client-id"), credential.key("client-secret")), (ID, VALUE));
    for claims in tenant.accepted(&credential).await {
        assert_eq!(claims["client_id"], ID);
    }
    let api = tenant.api().await;
    let token = tenant.token(&credential, 0).await;
    tenant.wait_active(&api, &token, true).await;
    for said in tenant.introspected(&api, &token).await {
        assert_eq!(said["client_id"], ID);
    }

    let subject = tenant.get("ServiceUser", "sync").await["metadata"]["uid"].clone();
    let scene = Scene { tenant, credential, subject };
    let folder = installed();
    let (python, node) = (Path::new(&folder).join("venv/bin/python"), Path::new("node"));
    for method in ["basic", "post"] {
        let script = format!("{folder}/python/authlib_client.py");
        scene.verified(|| command(&python, &[script.as_str(), method]));
        let script = format!("{folder}/node/openid_client.js");
        scene.verified(|| command(node, &[script.as_str(), "oauth2", method]));
    }

    for replica in &scene.tenant.cluster.replicas {
        eventually("the audit line of a token shows the client id", async || {
            let log = std::fs::read_to_string(&replica.log).expect("a log");
            let shown = format!(r#""client_id":"{ID}""#);
            ensure(log.lines().any(|line| line.contains("token issued") && line.contains(&shown)), "no such line")
        })
        .await;
    }
    let told: Value = serde_json::from_str(&explained(&scene.tenant, &["client", ID, "--output", "json"])).unwrap();
    assert_eq!(told["application"]["name"], format!("{}/billing", scene.tenant.namespace));
}

#[tokio::test]
async fn every_client_id_that_is_allowed_works_everywhere_as_soon_as_it_is_ready() {
    let tenant = TestNamespace::new("odd-ids").await;
    tenant.create_defaults().await;
    let api = tenant.api().await;
    let longest = "Aa0._~-x".repeat(16);
    for (number, id) in [".", "..", "~", "-", "_", &longest].into_iter().enumerate() {
        let name = format!("odd-{number}");
        tenant.apply(&application(&name, "sync", json!({"clientId": id}))).await;
        tenant.apply(&client_secret(&name, &name, json!({}))).await;
        tenant.ready("ClientSecret", &name).await;
        let credential = tenant.delivered(&name).await;
        assert_eq!(credential.key("client-id"), id);
        for claims in tenant.accepted_at_once(&credential).await {
            assert_eq!(claims["client_id"], id);
        }
        let token = tenant.token(&credential, 0).await;
        tenant.wait_active(&api, &token, true).await;
        let text = explained(&tenant, &["client", id]);
        assert!(text.starts_with(&format!("Client {id}\n")), "{text}");
    }
}

#[tokio::test]
async fn a_text_that_is_the_client_id_of_one_application_and_the_name_of_another_has_to_be_qualified() {
    let tenant = TestNamespace::new("either").await;
    tenant.create_defaults().await;
    let (id, namespace) = (tenant.unique_name("either"), &tenant.namespace);
    tenant.apply(&application("holder", "sync", json!({"clientId": id}))).await;
    tenant.ready("Application", "holder").await;
    let text = explained(&tenant, &["client", &id, "--namespace", namespace]);
    assert!(text.contains(&format!("{namespace}/holder")), "{text}");

    tenant.apply(&application(&id, "sync", json!({}))).await;
    let admin = tenant.cluster.controlplane.kubeconfig();
    let answer = postern(&admin, &["client", &id, "--namespace", namespace], "");
    let problem = String::from_utf8(answer.stderr).unwrap();
    let said = format!(
        "{id} is the client id of Application {namespace}/holder and the name of Application {namespace}/{id}: write \
         NAMESPACE/NAME"
    );
    assert!(answer.status.code() == Some(2) && problem.contains(&said), "{problem}");
    for name in ["holder", &id] {
        let named = format!("{namespace}/{name}");
        let text = explained(&tenant, &["client", &named]);
        assert!(text.contains(&named), "{text}");
    }
    // In another namespace the text is a client id alone.
    let text = explained(&tenant, &["client", &id, "--namespace", "default"]);
    assert!(text.contains(&format!("{namespace}/holder")), "{text}");
}
