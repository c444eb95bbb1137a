//! D: metadata.

use serde_json::json;

use postern::oauth::client_record::ClientRecord;

use crate::assertions::{Key, header};
use crate::server::{CLIENT_ID, FORM, GRANT, NOW, Options, TestServer, instant, record};

const AUTHORIZATION_SERVER: &str = "/.well-known/oauth-authorization-server";
const OPENID: &str = "/.well-known/openid-configuration";

#[tokio::test]
async fn d1_both_documents_exist_and_have_the_same_content() {
    let server = TestServer::start().await;
    let (one, two) = (server.get(AUTHORIZATION_SERVER).await, server.get(OPENID).await);
    assert_eq!((one.status, two.status), (200, 200));
    assert_eq!(one.header("content-type"), Some("application/json"));
    assert_eq!(one.json(), two.json());
}

#[tokio::test]
async fn d1_an_issuer_with_a_path_has_them_in_both_positions_and_its_endpoints_below_it() {
    let server = TestServer::start_with(Options { issuer_path: "/emea/prod", ..Options::default() }).await;
    for well_known in [AUTHORIZATION_SERVER, OPENID] {
        for target in [format!("{well_known}/emea/prod"), format!("/emea/prod{well_known}")] {
            let reply = server.get(&target).await;
            assert_eq!((reply.status, &reply.json()["issuer"]), (200, &json!(server.issuer)), "{target}");
        }
    }
    let document = server.get("/emea/prod/.well-known/openid-configuration").await.json();
    let path = |member: &str| {
        document[member].as_str().unwrap().strip_prefix(&format!("http://{}", server.addr)).unwrap().to_owned()
    };
    assert_eq!(
        (path("token_endpoint").as_str(), path("jwks_uri").as_str()),
        ("/emea/prod/oauth2/token", "/emea/prod/oauth2/jwks")
    );
    assert_eq!(server.get(&path("jwks_uri")).await.status, 200);
    let authorization = server.credential.basic();
    let reply = server.send("POST", &path("token_endpoint"), &[("authorization", &authorization), FORM], GRANT).await;
    assert_eq!(reply.status, 200);
}

#[tokio::test]
async fn d2_the_issuer_is_the_configured_string_and_equals_iss() {
    // A trailing slash is part of the string.
    let server = TestServer::start_with(Options { issuer_path: "/", ..Options::default() }).await;
    let document = server.get(OPENID).await.json();
    assert_eq!(document["issuer"], server.issuer);
    assert!(server.issuer.ends_with('/'));
    assert_eq!(server.claims("").await["iss"], server.issuer);
    assert_eq!(document["token_endpoint"], format!("{}oauth2/token", server.issuer));
}

#[tokio::test]
async fn d3_and_d4_exactly_what_exists_is_listed() {
    let server = TestServer::start().await;
    let document = server.get(AUTHORIZATION_SERVER).await.json();
    let methods = json!(["client_secret_basic", "client_secret_post", "private_key_jwt", "kubernetes_service_account"]);
    let expected = json!({
        "issuer": server.issuer,
        "token_endpoint": format!("{}/oauth2/token", server.issuer),
        "introspection_endpoint": format!("{}/oauth2/introspect", server.issuer),
        "revocation_endpoint": format!("{}/oauth2/revoke", server.issuer),
        "userinfo_endpoint": format!("{}/oauth2/userinfo", server.issuer),
        "jwks_uri": format!("{}/oauth2/jwks", server.issuer),
        "scopes_supported": ["openid", "profile", "email"],
        "response_types_supported": [],
        "grant_types_supported": ["client_credentials", "urn:ietf:params:oauth:grant-type:jwt-bearer"],
        "token_endpoint_auth_methods_supported": methods,
        "token_endpoint_auth_signing_alg_values_supported": ["ES256", "RS256", "PS256", "EdDSA"],
        "introspection_endpoint_auth_methods_supported": methods,
        "introspection_endpoint_auth_signing_alg_values_supported": ["ES256", "RS256", "PS256", "EdDSA"],
        "introspection_signing_alg_values_supported": ["ES256", "RS256"],
        "revocation_endpoint_auth_methods_supported": methods,
        "revocation_endpoint_auth_signing_alg_values_supported": ["ES256", "RS256", "PS256", "EdDSA"],
        "dpop_signing_alg_values_supported": ["ES256", "RS256", "PS256", "EdDSA"],
        "service_documentation": "https://docs.example.com",
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256", "RS256"],
    });
    assert_eq!(document, expected);
}

#[tokio::test]
async fn d4_tokens_of_other_issuers_are_listed_where_their_keys_can_be_fetched() {
    let server = TestServer::start_with(Options { other_issuers: true, ..Options::default() }).await;
    let document = server.get(AUTHORIZATION_SERVER).await.json();
    for endpoint in ["token", "introspection", "revocation"] {
        let methods = document[format!("{endpoint}_endpoint_auth_methods_supported")].as_array().unwrap();
        assert!(methods.contains(&json!("federated_jwt")), "{document}");
    }
}

#[tokio::test]
async fn d4_each_listed_grant_works() {
    let server = TestServer::start().await;
    let document = server.get(AUTHORIZATION_SERVER).await.json();
    let key = Key::new("one");
    server.clients.put(ClientRecord { keys: vec![key.public()], ..record(&server.credential) });
    let exp = instant(NOW).as_second() + 60;
    let claims = json!({"iss": CLIENT_ID, "sub": CLIENT_ID, "aud": server.issuer, "exp": exp});
    let (basic, assertion) = (server.credential.basic(), key.sign(&header(), &claims));
    for grant in document["grant_types_supported"].as_array().unwrap() {
        let grant = grant.as_str().unwrap();
        let headers: &[(&str, &str)] = if grant == "client_credentials" { &[("authorization", &basic)] } else { &[] };
        // Each grant ignores the parameters of the other.
        let reply = server.post(headers, &format!("grant_type={grant}&assertion={assertion}")).await;
        assert_eq!(reply.status, 200, "{grant}: {}", reply.text());
    }
}

#[tokio::test]
async fn d5_there_is_no_authorization_endpoint_and_no_registration() {
    let server = TestServer::start().await;
    let document = server.get(OPENID).await.json();
    for absent in ["authorization_endpoint", "registration_endpoint"] {
        assert!(document.get(absent).is_none(), "{absent}");
    }
    assert!(document["subject_types_supported"].is_array());
}

#[tokio::test]
async fn the_metadata_is_cacheable_and_revalidates() {
    let server = TestServer::start().await;
    let reply = server.get(OPENID).await;
    let etag = reply.header("etag").unwrap();
    assert_eq!(server.send("GET", OPENID, &[("if-none-match", etag)], "").await.status, 304);
}
