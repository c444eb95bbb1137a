//! A client that authenticates with the tokens of another issuer (`spec.auth.issuers`), whose metadata and keys the key server
//! publishes.

use jsonwebtoken::{Algorithm, Header};
use serde_json::{Value, json};

use super::super::Client;
use super::KeyServer;
use crate::harness::{application, ensure, eventually};
use postern::clock::{Clock as _, SystemClock};

const SUBJECT: &str = "repo:acme/invoices:ref:refs/heads/main";

/// A partner whose issuer is the key server.
struct Partner<'a> {
    client: &'a Client,
    issuer: String,
    replica: &'a str,
}

impl Partner<'_> {
    async fn apply(&self, issuer: &str, subject: &str) {
        let auth = json!({"methods": ["federated_jwt"], "issuers": [{"issuer": issuer, "subject": subject}]});
        self.client.tenant.apply(&application("sync", "sync", json!({"auth": auth}))).await;
    }

    /// The status and the body of the answer to a token of the partner.
    async fn send(&self, changes: &Value) -> (u16, Value) {
        let Client { id, addresses, .. } = self.client;
        let now = SystemClock.now().as_second();
        let mut claims = json!({
            "iss": self.issuer, "sub": SUBJECT, "aud": addresses.key("issuer-uri"), "iat": now, "exp": now + 300,
        });
        claims.as_object_mut().expect("claims").extend(changes.as_object().expect("claims").clone());
        let kid = self.client.jwk["kid"].as_str().map(str::to_owned);
        let header = Header { kid, ..Header::new(Algorithm::ES256) };
        let token = jsonwebtoken::encode(&header, &claims, &self.client.private).expect("a token");
        self.client.send_form(self.replica, &token, &[("client_id", id)]).await
    }

    async fn until(&self, what: &str, changes: &Value, expected: u16) -> Value {
        eventually(what, async || {
            let (status, answer) = self.send(changes).await;
            ensure(status == expected, &answer)?;
            Ok(answer)
        })
        .await
    }
}

/// The key server publishes the key of the client, as an issuer.
pub(super) async fn clients_authenticate_with_tokens_of_an_issuer(client: &Client, server: &KeyServer, replica: &str) {
    let partner = Partner { client, issuer: server.issuer(), replica };
    let issuer = partner.issuer.clone();
    server.publish(&[&client.jwk]);
    partner.apply(&issuer, SUBJECT).await;
    client.tenant.ready("Application", "sync").await;
    let condition = client.tenant.wait_condition("Application", "sync", "KeysResolved", "True", "Resolved").await;
    assert_eq!(condition["message"], format!("Keys of {issuer} can verify assertions."));
    let answer = partner.until("the partner gets a token", &json!({}), 200).await;
    let api = client.tenant.api().await;
    let token = answer["access_token"].as_str().expect("a token").to_owned();
    client.tenant.wait_active(&api, &token, true).await;
    for (changes, why) in [
        (json!({"sub": "repo:acme/invoices:ref:refs/heads/other"}), "another subject"),
        (json!({"aud": "https://other.example.com"}), "another audience"),
        (json!({"iss": "https://other.example.com"}), "another issuer"),
    ] {
        let (status, answer) = partner.send(&changes).await;
        assert_eq!(status, 401, "{why}: {answer}");
    }

    server.stop();
    let (status, answer) = partner.send(&json!({})).await;
    assert_eq!(status, 200, "the keys are kept while the issuer is down: {answer}");

    partner.apply(&issuer, "repo:acme/other:ref:refs/heads/main").await;
    partner.until("the subject is not trusted any more", &json!({}), 401).await;
    client.tenant.wait_active(&api, &token, false).await;

    // An access token of Postern is for an API, which must not act as its client with it.
    let own = client.addresses.key("issuer-uri");
    partner.apply(own, SUBJECT).await;
    let (status, answer) = client.send_form(replica, &token, &[("client_id", &client.id)]).await;
    assert_eq!(status, 401, "{answer}");
    let message = client.tenant.wait_not_ready("Application", "sync", "KeySetUnavailable").await;
    assert!(message.starts_with(&format!("spec.auth.issuers: no keys from {own}: ")), "{message}");

    server.publish_as("https://other.example.com", &[&client.jwk]);
    partner.apply(&format!("{issuer}/other"), SUBJECT).await;
    let message = client.tenant.wait_not_ready("Application", "sync", "KeySetUnavailable").await;
    let expected =
        "its metadata names another issuer. Its tokens are refused. Write the issuer exactly as in its metadata.";
    assert!(message.contains(expected), "{message}");
}
