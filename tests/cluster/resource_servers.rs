//! APIs with libraries that others wrote: what they learn of a token, offline and by asking, at every replica.

use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{checkout, example, output};
use crate::interop_clients::{AUDIENCE, Scene, command, installed};

#[tokio::test]
async fn oauth4webapi_verifies_and_introspects_a_token_until_it_is_revoked() {
    let scene = Scene::set("node-api").await;
    let api = scene.tenant.api().await;
    scene.tenant.accepted(&api).await;
    let script = format!("{}/node/resource_server.js", installed());
    let answers = scene.everywhere(|| {
        let mut node = command(Path::new("node"), &[&script]);
        node.env("API_CLIENT_ID", api.key("client-id")).env("API_CLIENT_SECRET", api.key("client-secret"));
        node
    });
    for answer in answers {
        let (before, after) = (&answer["before"], &answer["after"]);
        for told in ["verified", "introspected", "signed"] {
            assert_eq!((&before[told]["sub"], &before[told]["aud"]), (&scene.subject, &json!(AUDIENCE)), "{told}");
        }
        assert_eq!(before["introspected"], before["signed"]);
        assert_eq!(before["elsewhere"], Value::Null, "it is for another API");
        assert_eq!((&after["introspected"], &after["signed"]), (&Value::Null, &Value::Null));
        assert_eq!(after["verified"], before["verified"], "offline nobody hears of it");
    }
}

#[tokio::test]
async fn requests_oauth2client_introspects_and_revokes_its_token() {
    let scene = Scene::set("python-revokes").await;
    let folder = installed();
    let python = Path::new(&folder).join("venv/bin/python");
    let script = format!("{folder}/python/requests_oauth2client_client.py");
    for method in ["basic", "post"] {
        for answer in scene.everywhere(|| command(&python, &[&script, method])) {
            assert_eq!((&answer["before"]["active"], &answer["before"]["sub"]), (&json!(true), &scene.subject));
            assert_eq!((&answer["revoked"], &answer["after"]), (&json!(true), &json!({"active": false})));
        }
    }
}

#[tokio::test]
async fn kube_apiserver_authenticates_a_token_as_its_service_user_with_its_roles() {
    let scene = Scene::set("kube").await;
    let token = scene.tenant.token_with(&scene.credential, "invoices:read").await;
    let (head, signature) = token.rsplit_once('.').expect("a JWT");
    let altered = format!("{head}.{}", signature.chars().rev().collect::<String>());
    for answer in kube_authenticator(&scene, AUDIENCE, &[&token, &altered, "pat_x"]) {
        let user = &answer[0];
        assert_eq!(user["name"], format!("postern:{}", scene.subject.as_str().expect("a UID")));
        assert_eq!(user["groups"], json!(["postern:billing.reader"]));
        assert_eq!(user["extra"]["postern.dev/client-id"], json!([scene.credential.key("client-id")]));
        assert!(answer[1].as_str().is_some_and(|refusal| refusal.contains("failed to verify signature")), "{answer}");
        assert_eq!(answer[2], "not for this authenticator");
    }
    for answer in kube_authenticator(&scene, "https://kubernetes.example.com", &[&token]) {
        assert!(answer[0].as_str().is_some_and(|refusal| refusal.contains("expected audience")), "{answer}");
    }
}

/// What it says of each token, with the documented configuration for this audience; once for each replica, at which it
/// discovers the issuer.
fn kube_authenticator(scene: &Scene, audience: &str, tokens: &[&str]) -> Vec<Value> {
    let cluster = &scene.tenant.cluster;
    let program = Path::new(&installed()).join("kube-authenticator");
    let folder = tempfile::tempdir().expect("a folder");
    let answers = cluster.replicas.iter().map(|replica| {
        let discovery = format!("{}/.well-known/openid-configuration", replica.url);
        let changes = [
            ("https://postern.example.com", format!("{}\n      discoveryURL: {discovery}", cluster.issuer())),
            ("https://kubernetes.example.com", audience.to_owned()),
            (
                r#""-----BEGIN CERTIFICATE-----\n…\n-----END CERTIFICATE-----\n""#,
                json!(String::from_utf8_lossy(cluster.ca())).to_string(),
            ),
        ];
        let file = folder.path().join("authentication.yaml");
        std::fs::write(&file, example("resource-servers/kube-apiserver.yaml", &changes)).expect("write a file");
        let mut program = command(&program, tokens);
        serde_json::from_str(&output(program.env("AUTHENTICATION_CONFIG", file))).expect("JSON")
    });
    answers.collect()
}

#[test]
fn the_page_for_owners_of_apis_shows_what_these_tests_run() {
    let read = |file: &str| std::fs::read_to_string(checkout().join(file)).expect("a file of the checkout");
    let files = ["node.js", "AccessTokens.java", "apache.conf", "apache-certificate.conf", "kube-apiserver.yaml"]
        .map(|file| format!("examples/resource-servers/{file}"));
    let shown =
        files.iter().map(String::as_str).chain(["examples/introspecting-api.yaml"]).map(read).collect::<String>();
    let page = read("docs/resource-servers.md");
    let blocks: Vec<&str> = page.split("\n```").skip(1).step_by(2).collect();
    assert!(blocks.len() > 5);
    for block in blocks {
        let (_, code) = block.split_once('\n').expect("a language");
        assert!(shown.contains(code), "in no file: {code}");
    }
}
