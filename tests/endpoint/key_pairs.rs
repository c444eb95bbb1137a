//! A8: client authentication with a key pair that Postern generated (ClientSecret of the type PrivateKey).

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use postern::crypto::install_key::InstallKeys;
use postern::crypto::key_pair::{self, KeyAlgorithm, KeyKind, KeyPair};
use postern::crypto::public_key::PublicKey;
use postern::crypto::public_key_mac::{self, IssuedKey};
use postern::oauth::client_record::{self, ClientRecord, Denial, SecretVersion, Usages, Verification};
use postern::oauth::denial_rule::DenialRule;
use serde_json::{Value, json};

use crate::authentication::reforge;
use crate::http_client::Reply;
use crate::operations::audit;
use crate::server::{CLIENT_ID, Credential, GRANT, NOW, TestServer, UID, basic, claims, instant, object, record};

const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
pub(crate) const ID: &str = "k7Qd0m2x";

/// A key pair, and its version in the record of its client.
pub(crate) struct Pair {
    text: String,
    pair: KeyPair,
}

impl Pair {
    pub(crate) fn new() -> Self {
        let text = key_pair::generate(KeyKind::P256).unwrap().expose_secret().to_owned();
        let pair = KeyPair::parse(&text, KeyAlgorithm::Es256).unwrap();
        Self { text, pair }
    }

    fn public(&self) -> PublicKey {
        PublicKey::from_jwk(&self.pair.public_jwk(ID)).unwrap()
    }

    /// The MAC of this install for the key in another place.
    pub(crate) fn mac(&self, install: &InstallKeys, other: impl Fn(&mut IssuedKey<'_>)) -> String {
        let key = self.public();
        let mut issued = IssuedKey { owner: UID, version: ID, algorithm: "ES256", thumbprint: key.thumbprint() };
        other(&mut issued);
        public_key_mac::sign(install, &issued).unwrap()
    }

    pub(crate) fn version(&self, mac: &str) -> SecretVersion {
        let pair = client_record::KeyPair { key: self.public(), algorithm: "ES256".into(), mac: mac.into() };
        let verification = Verification::KeyPair(Arc::new(pair));
        SecretVersion { id: ID.to_owned(), verification, accepted_until: None, memory: Arc::default() }
    }

    pub(crate) fn sign(&self, issuer: &str, key_id: Option<&str>) -> String {
        static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let now = instant(NOW).as_second();
        let jti = format!("pair-{}", NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        let claims = json!({"iss": CLIENT_ID, "sub": CLIENT_ID, "aud": issuer, "exp": now + 60, "jti": jti});
        let header = Header { kid: key_id.map(str::to_owned), ..Header::new(Algorithm::ES256) };
        let key = EncodingKey::from_ec_der(pem::parse(&self.text).unwrap().contents());
        jsonwebtoken::encode(&header, &claims, &key).unwrap()
    }
}

/// A server with one client, whose only credential is a key pair.
struct Scene {
    server: TestServer,
    pair: Pair,
}

impl Scene {
    async fn new() -> Self {
        let scene = Self { server: TestServer::start().await, pair: Pair::new() };
        scene.put(|_| ());
        scene
    }

    fn client(&self, version: SecretVersion) -> ClientRecord {
        let mut client = record(&self.server.credential);
        client.secrets[0].versions = vec![Arc::new(version)];
        client
    }

    fn put(&self, change: impl FnOnce(&mut ClientRecord)) {
        let mut client = self.client(self.pair.version(&self.pair.mac(&self.server.install, |_| ())));
        change(&mut client);
        self.server.clients.put(client);
    }

    async fn send(&self, key_id: Option<&str>) -> Reply {
        self.present(&self.pair.sign(&self.server.issuer, key_id)).await
    }

    async fn present(&self, assertion: &str) -> Reply {
        let body = format!("{GRANT}&client_assertion_type={TYPE}&client_assertion={assertion}");
        self.server.post(&[], &body).await
    }

    /// The rule by which the log says that the assertion was refused.
    async fn rule(&self, key_id: Option<&str>) -> String {
        let reply = self.send(key_id).await;
        assert_eq!(reply.error(), (401, "invalid_client".to_owned()), "{}", reply.text());
        audit(&reply)["rule"].as_str().unwrap_or_default().to_owned()
    }
}

#[tokio::test]
async fn a8_a_key_pair_authenticates_with_and_without_its_id_and_the_log_names_its_secret() {
    let scene = Scene::new().await;
    for key_id in [Some(ID), None] {
        let reply = scene.send(key_id).await;
        assert_eq!(claims(&reply)["client_id"], CLIENT_ID);
        let line = audit(&reply);
        assert_eq!((&line["method"], &line["secret_version"]), (&json!("private_key_jwt"), &json!(ID)), "{line}");
        assert!(line["secret"].as_str().is_some() && line["key_id"] == Value::Null, "{line}");
    }
    assert_eq!(scene.rule(Some("another1")).await, "AssertionKeyUnknown");
}

#[tokio::test]
async fn a8_a_public_key_without_the_mac_of_this_install_for_this_version_verifies_nothing() {
    let scene = Scene::new().await;
    let (install, foreign) = (&scene.server.install, InstallKeys::generate().unwrap());
    let other = Pair::new();
    for (what, mac) in [
        ("of another object", scene.pair.mac(install, |issued| issued.owner = [6; 16])),
        ("of another version", scene.pair.mac(install, |issued| issued.version = "k7Qd0m2y")),
        ("of another algorithm", scene.pair.mac(install, |issued| issued.algorithm = "RS256")),
        ("of another key", other.mac(install, |_| ())),
        ("of another install", scene.pair.mac(&foreign, |_| ())),
        ("none", String::new()),
    ] {
        scene.server.clients.put(scene.client(scene.pair.version(&mac)));
        for key_id in [Some(ID), None] {
            assert_eq!(scene.rule(key_id).await, "AssertionKeyUnknown", "{what}");
        }
    }
}

/// A change of the client.
type Change = Box<dyn FnOnce(&mut ClientRecord)>;

#[tokio::test]
async fn a8_the_rules_of_secrets_apply_to_key_pairs() {
    let scene = Scene::new().await;
    let revoked = Denial { rule: DenialRule::Revoked, object: object("ClientSecret", "invoice-sync-0") };
    let changes: [(&str, Change); 5] = [
        ("Revoked", Box::new(|client| client.secrets[0].disabled = Some(Box::new(revoked)))),
        ("Expired", Box::new(|client| client.secrets[0].expires_at = Some(instant(NOW)))),
        (
            "NetworkNotAllowed",
            Box::new(|client| client.secrets[0].networks = Some(["10.1.0.0/16".parse().unwrap()].into())),
        ),
        ("MethodNotAllowed", Box::new(|client| client.auth_methods = [].into_iter().collect())),
        (
            "Retired",
            Box::new(|client| {
                let version = &client.secrets[0].versions[0];
                client.secrets[0].versions[0] = Arc::new(SecretVersion {
                    id: ID.to_owned(),
                    verification: version.verification.clone(),
                    accepted_until: Some(instant(NOW)),
                    memory: Arc::default(),
                });
            }),
        ),
    ];
    for (rule, change) in changes {
        scene.put(change);
        assert_eq!(scene.rule(Some(ID)).await, rule);
    }
    // Without an id, only keys that could be accepted are tried.
    let mut retired = scene.client(scene.pair.version(&scene.pair.mac(&scene.server.install, |_| ())));
    retired.secrets[0].expires_at = Some(instant(NOW));
    scene.server.clients.put(retired);
    assert_eq!(scene.rule(None).await, "AssertionKeyUnknown");
    scene.put(|client| client.secrets[0].usages = Usages { token: false, ..Usages::ALL });
    let reply = scene.send(Some(ID)).await;
    assert_eq!(
        (reply.error().1.as_str(), audit(&reply)["rule"].as_str()),
        ("unauthorized_client", Some("UseNotAllowed"))
    );
}

#[tokio::test]
async fn a8_a_use_of_a_key_pair_is_recorded() {
    let scene = Scene::new().await;
    let version = Arc::new(scene.pair.version(&scene.pair.mac(&scene.server.install, |_| ())));
    scene.put(|client| client.secrets[0].versions = vec![Arc::clone(&version)]);
    assert_eq!(version.memory.last_used(), None);
    assert_eq!(scene.send(Some(ID)).await.status, 200);
    assert!(version.memory.last_used().is_some());
}

#[tokio::test]
async fn a_refused_replay_is_not_a_use_of_a_key_pair() {
    let scene = Scene::new().await;
    let version = Arc::new(scene.pair.version(&scene.pair.mac(&scene.server.install, |_| ())));
    scene.put(|client| client.secrets[0].versions = vec![Arc::clone(&version)]);
    let captured = scene.pair.sign(&scene.server.issuer, Some(ID));
    assert_eq!(scene.present(&captured).await.status, 200);
    assert_eq!(version.memory.last_used(), Some(instant(NOW)));
    scene.server.clock.fetch_add(5, std::sync::atomic::Ordering::Relaxed);
    let reply = scene.present(&captured).await;
    assert_eq!((reply.status, audit(&reply)["rule"].as_str()), (401, Some("AssertionReplayed")));
    assert_eq!(version.memory.last_used(), Some(instant(NOW)), "the version can become idle");
    assert_eq!(scene.send(Some(ID)).await.status, 200);
    assert_eq!(version.memory.last_used().unwrap().as_second(), instant(NOW).as_second() + 5);
}

#[tokio::test]
async fn a8_a_key_pair_matches_no_value_and_a_value_verifies_no_assertion() {
    let scene = Scene::new().await;
    let thumbprint = scene.pair.public().thumbprint().to_owned();
    let encoded = URL_SAFE_NO_PAD.encode(&scene.pair.text);
    let named = reforge(&scene.server.credential.value, ID);
    for value in [thumbprint.as_str(), &encoded[..200], &named] {
        let reply = scene.server.post(&[("authorization", &basic(&format!("{CLIENT_ID}:{value}")))], GRANT).await;
        assert_eq!(reply.error(), (401, "invalid_client".to_owned()));
        assert_eq!(audit(&reply)["rule"], "UnknownSecret");
    }
    // The id of a value.
    let Credential { version, .. } = &scene.server.credential;
    scene.server.clients.put(record(&scene.server.credential));
    assert_eq!(scene.rule(Some(&version.id)).await, "AssertionKeyUnknown");
}
