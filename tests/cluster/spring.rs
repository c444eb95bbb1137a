//! Spring Boot as a client, configured by nothing but a delivered Secret (Service Binding Specification), and as an API.

use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{application, client_secret, output};
use crate::interop_clients::{AUDIENCE, Scene, command, installed};

/// Name of the binding. Spring makes it the id of the client registration.
const BINDING: &str = "billing";

#[tokio::test]
async fn spring_boot_starts_with_the_delivered_secret_and_accepts_tokens_with_the_recipe() {
    let scene = Scene::set("spring").await;
    let answer = spring_boot(&scene, AUDIENCE);
    assert_eq!(answer["default"]["status"], 401, "{answer}");
    assert!(answer["default"]["challenge"].as_str().is_some_and(|why| why.contains("typ")), "{answer}");
    accepted(&scene, &answer["recipe"]);
    let answer = spring_boot(&scene, "https://another.example.com");
    assert_eq!(answer["recipe"]["status"], 401, "for another API: {answer}");
}

#[tokio::test]
async fn spring_boot_accepts_tokens_of_type_jwt_as_it_is() {
    let scene = Scene::set("spring-jwt").await;
    let tenant = &scene.tenant;
    tenant.apply(&application("sync", "sync", json!({"token": {"type": "JWT"}}))).await;
    tenant.ready("Application", "sync").await;
    crate::harness::eventually("the first replica issues tokens of type JWT", async || {
        let token = tenant.token(&scene.credential, 0).await;
        let header = jsonwebtoken::decode_header(&token).expect("a header");
        crate::harness::ensure(header.typ.as_deref() == Some("JWT"), format_args!("{header:?}"))
    })
    .await;
    let answer = spring_boot(&scene, AUDIENCE);
    accepted(&scene, &answer["default"]);
    assert_eq!(answer["recipe"]["status"], 401, "the recipe expects at+jwt: {answer}");
}

#[tokio::test]
async fn the_scope_that_spring_requests_equals_the_scope_of_a_request_without_one() {
    let scene = Scene::set("spring-scope").await;
    let tenant = &scene.tenant;
    assert_eq!(scene.credential.key("scope"), "invoices:list,invoices:read");
    let default = json!({"token": {"defaultScopes": ["invoices:read"]}});
    tenant.apply(&application("narrow", "sync", default)).await;
    tenant.apply(&client_secret("narrow", "narrow", json!({}))).await;
    tenant.ready("ClientSecret", "narrow").await;
    assert_eq!(tenant.delivered("narrow").await.key("scope"), "invoices:read");
    assert_eq!(tenant.delivered("narrow").await.key("scopes"), "invoices:list invoices:read");
}

fn accepted(scene: &Scene, call: &Value) {
    assert_eq!(call["status"], 200, "{call}");
    let claims: Value = serde_json::from_str(call["body"].as_str().expect("a body")).expect("JSON");
    assert_eq!(claims["sub"], scene.subject, "{claims}");
    assert_eq!((&claims["scope"], &claims["aud"]), (&json!("invoices:list invoices:read"), &json!([AUDIENCE])));
}

/// What the API says that expects tokens for `audience`.
fn spring_boot(scene: &Scene, audience: &str) -> Value {
    let folder = tempfile::tempdir().expect("a folder");
    let bindings = folder.path().join("bindings");
    let binding = bindings.join(BINDING);
    std::fs::create_dir_all(&binding).expect("create a folder");
    for key in scene.credential.names() {
        std::fs::write(binding.join(key), scene.credential.key(key)).expect("write a file");
    }
    let trusted = trust_store(&folder, &binding.join("ca.crt"));
    let java = Path::new(&installed()).join("java");
    let classes = format!("{0}/classes:{0}/lib/*", java.display());
    let arguments = [
        "-XX:TieredStopAtLevel=1",
        "-Dorg.springframework.cloud.bindings.boot.enable=true",
        "-Djavax.net.ssl.trustStorePassword=changeit",
        &format!("-Djavax.net.ssl.trustStore={trusted}"),
        "-classpath",
        &classes,
        "SpringBoot",
        BINDING,
        audience,
    ];
    let mut java = command(Path::new("java"), &arguments);
    java.env("SERVICE_BINDING_ROOT", &bindings).env("ISSUER_URI", scene.credential.key("issuer-uri"));
    serde_json::from_str(&output(&mut java)).expect("JSON")
}

/// What docs/resource-servers.md says of the CA.
fn trust_store(folder: &TempDir, ca: &Path) -> String {
    let file = folder.path().join("trusted.p12").display().to_string();
    let ca = ca.display().to_string();
    let arguments =
        ["-importcert", "-noprompt", "-alias", "postern", "-file", &ca, "-keystore", &file, "-storepass", "changeit"];
    output(&mut command(Path::new("keytool"), &arguments));
    file
}
