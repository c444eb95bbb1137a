//! F1-F3, F5: pods authenticate with the projected token of their ServiceAccount, and no credential is stored. The tokens are
//! real ones of the API server, bound to pod objects.

use std::path::Path;

use axum::body::Body;
use axum::http::{Request, header};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::harness::{Replica, TestNamespace, application, ensure, eventually, http};
use crate::interop_clients::{AUDIENCE, command, installed};

const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

#[tokio::test]
async fn f1_a_pod_gets_a_token_at_every_replica_without_any_secret() {
    let tenant = TestNamespace::new("pod-tokens").await;
    tenant.create_defaults().await;
    let workload = Workload::new(&tenant, "sync-pods").await;
    workload.accepted().await;
    assert!(tenant.kubernetes.list("ClientSecret", &tenant.namespace).await.is_empty());
    let token = workload.token(json!({})).await;
    let file = NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), &token).expect("write the token");
    let ca = NamedTempFile::new().expect("a file");
    std::fs::write(ca.path(), tenant.cluster.ca()).expect("write the CA");
    let program = Path::new(&installed()).join("go-clients");
    for replica in &tenant.cluster.replicas {
        let mut go = command(&program, &["assertion"]);
        go.env("ASSERTION_FILE", file.path()).env("SSL_CERT_FILE", ca.path()).env("REPLICA", &replica.url);
        go.env("CLIENT_ID", workload.client_id().await).env("SCOPES", "invoices:read");
        let answer: Value = serde_json::from_str(&crate::harness::output(&mut go)).expect("JSON");
        assert!(answer["access_token"].is_string(), "{answer}");
        let (status, answer, _) = workload.send(replica, &[("grant_type", BEARER), ("assertion", &token)]).await;
        assert_eq!((status, &answer["scope"]), (200, &json!("invoices:list invoices:read")), "{answer}");
    }
}

#[tokio::test]
async fn f2_tokens_for_others_or_of_others_are_refused_by_their_own_rules() {
    let tenant = TestNamespace::new("pod-forged").await;
    tenant.create_defaults().await;
    let workload = Workload::new(&tenant, "sync-pods").await;
    workload.accepted().await;
    let kubernetes = &tenant.kubernetes;
    let of = async |account: &str, spec: Value| {
        let token = kubernetes.token_with(&tenant.namespace, account, spec).await.expect("a token");
        token["status"]["token"].as_str().expect("a token").to_owned()
    };
    let issuer = tenant.cluster.issuer();
    tenant.apply(&account("other")).await;
    eventually("there is a default account", async || {
        ensure(kubernetes.find("ServiceAccount", &tenant.namespace, "default").await.is_some(), "not yet")
    })
    .await;
    let both = json!({"audiences": [issuer, "https://other.example.com"]});
    for (token, rule) in [
        (of("sync-pods", json!({})).await, "AssertionAudience"),
        (of("sync-pods", both).await, "AssertionAudience"),
        (of("sync-pods", json!({"audiences": ["https://other.example.com"]})).await, "AssertionAudience"),
        (of("other", json!({"audiences": [issuer]})).await, "ServiceAccountNotListed"),
        (of("default", json!({"audiences": [issuer]})).await, "ServiceAccountDefault"),
    ] {
        workload.refused(&token, rule).await;
    }
}

#[tokio::test]
async fn f3_the_token_of_a_deleted_pod_or_account_is_refused_after_seconds() {
    let tenant = TestNamespace::new("pod-deleted").await;
    tenant.create_defaults().await;
    let workload = Workload::new(&tenant, "sync-pods").await;
    workload.accepted().await;
    let bound = workload.token_of_pod("first").await;
    let unbound = workload.token(json!({})).await;
    assert!(workload.is_accepted(&bound).await && workload.is_accepted(&unbound).await);
    tenant.delete("Pod", &tenant.namespace, "first").await;
    workload.refused(&bound, "PodDeleted").await;
    assert!(workload.is_accepted(&unbound).await, "the account still exists");

    tenant.delete("ServiceAccount", &tenant.namespace, "sync-pods").await;
    workload.refused(&unbound, "ServiceAccountDeleted").await;
    tenant.apply(&account("sync-pods")).await;
    workload.refused(&unbound, "ServiceAccountDeleted").await;
    let again = workload.token(json!({})).await;
    assert!(workload.is_accepted(&again).await, "without a UID, each account with the name may authenticate");
}

#[tokio::test]
async fn f5_an_account_that_was_created_again_is_refused_where_its_uid_is_given() {
    let tenant = TestNamespace::new("pod-uid").await;
    tenant.create_defaults().await;
    let workload = Workload::new(&tenant, "sync-pods").await;
    let uid = tenant.get("ServiceAccount", "sync-pods").await["metadata"]["uid"].clone();
    workload.list(json!({"name": "sync-pods", "uid": uid})).await;
    workload.accepted().await;
    tenant.delete("ServiceAccount", &tenant.namespace, "sync-pods").await;
    tenant.apply(&account("sync-pods")).await;
    let again = workload.token(json!({})).await;
    workload.refused(&again, "ServiceAccountRecreated").await;
    workload.list(json!({"name": "sync-pods", "uid": ""})).await;
    workload.accepted().await;
}

#[tokio::test]
async fn f1_tokens_end_when_the_application_no_longer_lists_the_account() {
    let tenant = TestNamespace::new("pod-unlisted").await;
    tenant.create_defaults().await;
    let workload = Workload::new(&tenant, "sync-pods").await;
    workload.accepted().await;
    let api = tenant.api().await;
    let replica = &tenant.cluster.replicas[0];
    let form = workload.token(json!({})).await;
    let (_, answer, _) = workload.send(replica, &[("grant_type", BEARER), ("assertion", &form)]).await;
    let token = answer["access_token"].as_str().expect("a token").to_owned();
    tenant.wait_active(&api, &token, true).await;
    workload.list(json!({"name": "another"})).await;
    tenant.wait_active(&api, &token, false).await;
}

fn account(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}})
}

/// An Application that lists a ServiceAccount.
pub(crate) struct Workload<'a> {
    tenant: &'a TestNamespace,
    account: &'static str,
}

impl<'a> Workload<'a> {
    /// Creates the ServiceAccount, and an Application with its name.
    pub(crate) async fn new(tenant: &'a TestNamespace, account: &'static str) -> Self {
        let workload = Self { tenant, account };
        tenant.apply(&self::account(account)).await;
        workload.list(json!({"name": account})).await;
        tenant.ready("Application", account).await;
        workload
    }

    /// Lets the Application list this entry only.
    async fn list(&self, entry: Value) {
        let auth = json!({"methods": ["kubernetes_service_account"], "serviceAccounts": [entry]});
        self.tenant.apply(&application(self.account, "sync", json!({"auth": auth}))).await;
    }

    async fn client_id(&self) -> String {
        let application = self.tenant.get("Application", self.account).await;
        application["status"]["clientId"].as_str().expect("a client id").to_owned()
    }

    /// A token for Postern, changed.
    async fn token(&self, changes: Value) -> String {
        let mut spec = json!({"audiences": [self.tenant.cluster.issuer()], "expirationSeconds": 3600});
        spec.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let kubernetes = &self.tenant.kubernetes;
        let token = kubernetes.token_with(&self.tenant.namespace, self.account, spec).await.expect("a token");
        token["status"]["token"].as_str().expect("a token").to_owned()
    }

    /// A token that is bound to a new pod.
    async fn token_of_pod(&self, name: &str) -> String {
        let spec = json!({
            "serviceAccountName": self.account, "automountServiceAccountToken": false,
            "containers": [{"name": "sync", "image": "sync:1"}],
        });
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec});
        self.tenant.apply(&pod).await;
        let uid = self.tenant.get("Pod", name).await["metadata"]["uid"].clone();
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid});
        self.token(json!({"boundObjectRef": pod})).await
    }

    /// Status, answer and request id.
    async fn send(&self, replica: &Replica, form: &[(&str, &str)]) -> (u16, Value, String) {
        let request = Request::post(format!("{}/oauth2/token", replica.url))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish()))
            .expect("a request");
        let answer = http::send(&self.tenant.connections, request).await.expect("an answer");
        let id = answer.headers.get("x-request-id").and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned();
        (answer.status.as_u16(), serde_json::from_slice(&answer.body).unwrap_or_default(), id)
    }

    async fn authenticate(&self, replica: &Replica, token: &str) -> (u16, Value, String) {
        let client_id = self.client_id().await;
        let form = [
            ("grant_type", "client_credentials"),
            ("client_assertion_type", TYPE),
            ("client_assertion", token),
            ("client_id", &client_id),
            ("resource", AUDIENCE),
        ];
        self.send(replica, &form).await
    }

    async fn is_accepted(&self, token: &str) -> bool {
        self.authenticate(&self.tenant.cluster.replicas[0], token).await.0 == 200
    }

    /// Waits until every replica accepts a token of the account.
    pub(crate) async fn accepted(&self) {
        let token = self.token(json!({})).await;
        eventually("every replica accepts the token of a pod", async || {
            for replica in &self.tenant.cluster.replicas {
                let (status, answer, _) = self.authenticate(replica, &token).await;
                ensure(status == 200, answer)?;
            }
            Ok(())
        })
        .await;
    }

    /// Waits until every replica refuses a token by this rule. The caller does not learn the rule.
    async fn refused(&self, token: &str, rule: &str) {
        eventually(format_args!("every replica refuses the token: {rule}"), async || {
            for replica in &self.tenant.cluster.replicas {
                let (status, answer, id) = self.authenticate(replica, token).await;
                ensure((status, &answer["error"]) == (401, &json!("invalid_client")), &answer)?;
                let log = std::fs::read_to_string(&replica.log).expect("the log of the replica");
                let line = log.lines().find(|line| line.contains(&id) && line.contains("postern::audit"));
                let line = line.ok_or("the line is not there yet")?;
                ensure(line.contains(&format!("\"rule\":\"{rule}\"")), line)?;
            }
            Ok(())
        })
        .await;
    }
}
