//! The LZ4 dictionaries of the cache: one object of each kind as the controller leaves it, with today's fields and
//! messages. `hack/generate` writes them, and runs this test to check them. A stale one would make stored objects
//! larger, and nothing else would show it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in tests a panic is the report; clippy's own exception covers test functions, not their helpers"
)]

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};
use postern::api::access_group::Plane;
use postern::api::application::Token;
use postern::api::client_secret::{CredentialType, Verification};
use postern::api::permissions::{Authority, Membership, Permit};
use postern::api::service_user::RoleGrant;
use postern::api::{Application, ClientSecret, ServiceUser};
use postern::plan::client_secret::{self, ApplicationState, Delivered, Issued, Outcome, Policy};
use postern::plan::secret_content::{Client, Content, Endpoints};
use postern::plan::{application, service_user};
use serde::Serialize;
use serde_json::{Value, json};

/// Set by `hack/generate`, which writes the files; otherwise they are compared.
const WRITE: &str = "POSTERN_WRITE_DICTIONARIES";

fn now() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn object<K: serde::de::DeserializeOwned>(kind: &str, annotations: &Value, spec: &Value) -> K {
    let metadata = json!({
        "name": "n", "namespace": "n", "uid": "u", "resourceVersion": "1", "generation": 1,
        "creationTimestamp": "2026-01-01T00:00:00Z", "annotations": annotations,
    });
    let object = json!({"apiVersion": "postern.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec});
    serde_json::from_value(object).unwrap()
}

fn authority() -> Authority {
    let permit = |scope: &str| Permit {
        audience: "https://".to_owned(),
        scope: scope.to_owned(),
        role: "r".to_owned(),
        plane: Plane::Operational,
    };
    [":list", ":read", ":write"].map(permit).into()
}

fn typical_user() -> ServiceUser {
    let created_by = json!({"postern.dev/created-by": "system:serviceaccount:"});
    let spec =
        json!({"description": "d", "displayName": "d", "email": "@example.com", "groups": ["g"], "location": "/"});
    let mut user: ServiceUser = object("ServiceUser", &created_by, &spec);
    let location = user.spec.location.as_ref().unwrap().to_string();
    let grant = RoleGrant { group: "g".to_owned(), role: "r".to_owned(), plane: Plane::Operational, location };
    let membership = Membership { grants: [grant].into(), authority: authority(), ..Membership::default() };
    user.status = Some(service_user::status(&user, &membership, now()));
    user
}

fn typical_application(user: &ServiceUser) -> Application {
    let spec = json!({"displayName": "d", "serviceUserRef": {"name": "n"}});
    let mut application: Application = object("Application", &Value::Null, &spec);
    // Once with its epoch, and then when every replica serves it.
    for served in [false, true] {
        application.status = Some(application::status(&application::Observed {
            unusable_keys: Vec::new(),
            published_keys: Vec::new(),
            unusable_certificates: Vec::new(),
            application: &application,
            user: Some(user),
            authority: &authority(),
            client_id_taken_by: None,
            signs: Some(true),
            served,
            locks: Vec::new(),
            method_uses: BTreeMap::from([("client_secret_basic".to_owned(), now())]),
            secrets: application::SecretCounts { active: 1, total: 1, has_key_pair: false },
            secrets_limit: 20,
            token_lifetime_max_seconds: 3600,
            now: now(),
        }));
    }
    application
}

fn typical_secret() -> ClientSecret {
    let spec = json!({
        "applicationRef": {"name": "n"}, "description": "d", "expiresIn": "90d", "rotation": {"every": "30d"},
    });
    let mut secret: ClientSecret = object("ClientSecret", &Value::Null, &spec);
    let authority = authority();
    let endpoints = Endpoints { issuer: String::new(), token: String::new(), jwks: String::new(), ca: None };
    let client = Client { id: "c", subject: "u", held: &authority, token: &Token::default() };
    let policy = Policy {
        warnings: [30, 7, 1].map(|days| SignedDuration::from_hours(days * 24)).to_vec(),
        limit: 20,
        ..Policy::default()
    };
    let issued = Issued { id: "i".to_owned(), verification: Verification::of_value("g1."), at: now() };
    let status = client_secret::status(
        &client_secret::Observed {
            secret: &secret,
            application: ApplicationState::Known {
                content: Content::new(&endpoints, &client, CredentialType::SharedSecret, None),
                authority: Some(authority.clone()),
                disabled: None,
                accepts_type: true,
            },
            rank: 0,
            has_older_claimant: false,
            delivered: Delivered::Absent,
            secret_uid: None,
            import: None,
            uses: BTreeMap::new(),
            contested: None,
            rekeyed: BTreeMap::default(),
            unknown_install_key: None,
            requested: None,
            workloads: Vec::new(),
            unavailable: Vec::new(),
            policy: &policy,
            now: now(),
        },
        &Outcome::Issued(issued),
    );
    secret.status = Some(status);
    secret
}

fn check(name: &str, object: &impl Serialize) {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/cache/dictionaries").join(name);
    let wanted = serde_json::to_string_pretty(object).unwrap() + "\n";
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&file, wanted).expect("write a dictionary");
    } else {
        let found = std::fs::read_to_string(&file).expect("a dictionary");
        assert_eq!(found, wanted, "{} is not up to date: run hack/generate", file.display());
    }
}

#[test]
fn the_dictionaries_equal_the_objects_that_the_controller_writes() {
    let user = typical_user();
    check("service_user.json", &user);
    check("application.json", &typical_application(&user));
    check("client_secret.json", &typical_secret());
}
