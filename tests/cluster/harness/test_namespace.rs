//! A fresh namespace, and what a team does in it.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::cluster::Cluster;
use super::eventually::{ensure, eventually};
use super::fixtures::{access_group, application, client_secret, service_user};
use super::http::Connections;
use super::kubernetes::Kubernetes;
use super::token::{Credential, TokenAnswer};

/// A team with its namespace.
pub struct TestNamespace {
    pub cluster: Arc<Cluster>,
    pub kubernetes: Kubernetes,
    pub namespace: String,
    pub connections: Connections,
}

impl TestNamespace {
    /// A new namespace, named after the test, on the cluster of the run.
    pub async fn new(name: &str) -> Self {
        Self::on(Cluster::shared(), name, json!({})).await
    }

    /// The same while no operator need run.
    pub async fn without_operator(name: &str) -> Self {
        Self::on(Cluster::installed(), name, json!({})).await
    }

    /// The same on any cluster, `metadata` is that of the namespace.
    pub async fn on(cluster: Arc<Cluster>, name: &str, mut metadata: Value) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(1);
        let namespace = format!("{name}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        metadata["name"] = namespace.clone().into();
        let kubernetes = cluster.kubernetes().await;
        kubernetes.apply("", &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})).await;
        let connections = cluster.connections();
        Self { cluster, kubernetes, namespace, connections }
    }

    /// A name for a cluster-scoped object that no other test has.
    pub fn unique_name(&self, name: &str) -> String {
        format!("{}-{name}", self.namespace)
    }

    /// Applies an object in this namespace.
    pub async fn apply(&self, object: &Value) -> Value {
        self.kubernetes.apply(&self.namespace, object).await
    }

    /// Applies the usual: a group, and under the name `sync` a service user that holds it and an application.
    pub async fn create_defaults(&self) {
        let group = self.unique_name("readers");
        self.apply(&access_group(&group, json!({}))).await;
        self.apply(&service_user("sync", &[&group])).await;
        self.apply(&application("sync", "sync", json!({}))).await;
        self.ready("ServiceUser", "sync").await;
        self.ready("Application", "sync").await;
        // Kinds are watched side by side. Who hears of the application before the group first numbers one that holds
        // nothing.
        eventually("the application holds what the group gives", async || {
            let status = &self.get("Application", "sync").await["status"];
            ensure(status["permissions"].as_array().is_some_and(|held| !held.is_empty()), status)
        })
        .await;
    }

    /// Applies a ClientSecret of the application `sync`, waits for it, and takes what was delivered.
    pub async fn issue(&self, name: &str) -> Credential {
        self.apply(&client_secret(name, "sync", json!({}))).await;
        self.ready("ClientSecret", name).await;
        self.delivered(name).await
    }

    /// Lets the application `sync` authenticate with key pairs, and with nothing else.
    pub async fn allow_key_pairs(&self) {
        self.apply(&application("sync", "sync", json!({"auth": {"methods": ["private_key_jwt"]}}))).await;
        self.ready("Application", "sync").await;
    }

    /// The same as [`Self::issue`] with a key pair; `private_key` is `spec.privateKey`.
    pub async fn issue_key_pair(&self, name: &str, private_key: Value) -> Credential {
        let spec = json!({"type": "PrivateKey", "privateKey": private_key});
        self.apply(&client_secret(name, "sync", spec)).await;
        self.ready("ClientSecret", name).await;
        self.delivered(name).await
    }

    /// An object of this namespace that exists.
    pub async fn get(&self, kind: &str, name: &str) -> Value {
        self.kubernetes.get(kind, &self.namespace, name).await
    }

    /// The credential in a Secret of this namespace.
    pub async fn delivered(&self, secret: &str) -> Credential {
        Credential::delivered_in(&self.get("Secret", secret).await)
    }

    /// Waits until `Ready` is True for the present generation.
    pub async fn ready(&self, kind: &str, name: &str) -> Value {
        self.wait_condition(kind, name, "Ready", "True", "").await
    }

    /// Waits until `Ready` is False for `reason`, and returns the message.
    pub async fn wait_not_ready(&self, kind: &str, name: &str, reason: &str) -> String {
        let condition = self.wait_condition(kind, name, "Ready", "False", reason).await;
        condition["message"].as_str().expect("a message").to_owned()
    }

    /// Waits until it is refused as its spec asks, for `reason`, and returns the message of `condition`.
    pub async fn switched_off(&self, kind: &str, name: &str, condition: &str, reason: &str) -> String {
        self.wait_condition(kind, name, "Ready", "True", reason).await;
        let condition = self.wait_condition(kind, name, condition, "True", reason).await;
        condition["message"].as_str().expect("a message").to_owned()
    }

    /// Waits until an event about an object of this namespace was written for this reason.
    pub async fn wait_event(&self, name: &str, reason: &str) -> Value {
        eventually(format_args!("an event tells {reason} of {name}"), async || {
            let events = self.list("Event", &self.namespace).await;
            let told = events.iter().find(|event| event["reason"] == reason && event["regarding"]["name"] == name);
            told.cloned().ok_or_else(|| format!("{events:#?}"))
        })
        .await
    }

    /// Waits until a condition is so for the present generation. An empty reason is any.
    pub async fn wait_condition(&self, kind: &str, name: &str, type_: &str, status: &str, reason: &str) -> Value {
        let what = format!("{kind} {}/{name} says {type_}={status} {reason}", self.namespace);
        eventually(what, async || {
            let object = self.get(kind, name).await;
            let found = condition(&object, type_).filter(|found| {
                found["status"] == status
                    && (reason.is_empty() || found["reason"] == reason)
                    && found["observedGeneration"] == object["metadata"]["generation"]
                    && object["status"]["observedGeneration"] == object["metadata"]["generation"]
            });
            found.cloned().ok_or_else(|| format!("{:#}", object["status"]))
        })
        .await
    }

    /// Asks every replica for a token with this credential.
    pub async fn ask_everywhere(&self, credential: &Credential, form: &[(&str, &str)]) -> Vec<TokenAnswer> {
        let mut answers = Vec::new();
        for replica in &self.cluster.replicas {
            answers.push(credential.ask(&self.connections, &replica.url, form).await.expect("an answer"));
        }
        answers
    }

    /// The answers of every replica, each asked again while it refuses an authenticated client otherwise than `expected`
    /// (`None`: at all). `Ready` promises that a credential authenticates; a replica may hear of a group after that.
    /// A token, and a client that is not let in, are final.
    pub async fn ask_settled(
        &self,
        credential: &Credential,
        form: &[(&str, &str)],
        expected: Option<&str>,
    ) -> Vec<TokenAnswer> {
        eventually("every replica knows what the client holds", async || {
            let answers = self.ask_everywhere(credential, form).await;
            let settled = |answer: &TokenAnswer| match answer.claims() {
                Ok(_) => true,
                Err(refusal) => Some(refusal.as_str()) == expected || refusal.starts_with("401"),
            };
            if answers.iter().all(settled) { Ok(answers) } else { Err(format!("{answers:?}")) }
        })
        .await
    }

    /// The claims of the tokens that every replica grants now.
    pub async fn accepted(&self, credential: &Credential) -> Vec<Value> {
        let answers = self.ask_settled(credential, &[], None).await;
        answers.iter().map(|answer| answer.claims().unwrap_or_else(|error| panic!("refused: {error}"))).collect()
    }

    /// The claims of the tokens that every replica grants to its first request. That is what `Ready` promises where the
    /// replicas know the service user and its groups: nothing is asked again.
    pub async fn accepted_at_once(&self, credential: &Credential) -> Vec<Value> {
        let answers = self.ask_everywhere(credential, &[]).await;
        answers.iter().map(|answer| answer.claims().unwrap_or_else(|error| panic!("refused: {error}"))).collect()
    }

    /// A token that a replica grants now.
    pub async fn token(&self, credential: &Credential, replica: usize) -> String {
        let replica = &self.cluster.replicas[replica].url;
        eventually("a token is granted", async || {
            let answer = credential.ask(&self.connections, replica, &[]).await?;
            ensure(answer.status == 200, &answer.body)?;
            Ok(answer.token().to_owned())
        })
        .await
    }

    /// A token with this scope, of the first replica.
    pub async fn token_with(&self, credential: &Credential, scope: &str) -> String {
        let answers = self.ask_settled(credential, &[("scope", scope)], None).await;
        answers[0].token().to_owned()
    }

    /// What every replica says of a token to this credential.
    pub async fn introspected(&self, api: &Credential, token: &str) -> Vec<Value> {
        let mut answers = Vec::new();
        for replica in &self.cluster.replicas {
            let (status, said) = api.introspect(&self.connections, &replica.url, token).await;
            answers.push(if status == 200 { said } else { json!(status.as_u16()) });
        }
        answers
    }

    /// Waits until every replica says that the token is active, or that it is not.
    pub async fn wait_active(&self, api: &Credential, token: &str, active: bool) {
        eventually(format_args!("every replica says active: {active}"), async || {
            let said = self.introspected(api, token).await;
            ensure(said.iter().all(|answer| answer["active"] == active), format_args!("{said:?}"))
        })
        .await;
    }

    /// The credential of an API that may introspect tokens for the audience of [`access_group`].
    pub async fn api(&self) -> Credential {
        let group = self.unique_name("api");
        let permissions = json!([{"audience": "https://billing.example.com", "scopes": ["introspect"]}]);
        self.apply(&access_group(&group, json!({"role": "billing.api", "permissions": permissions}))).await;
        self.apply(&service_user("api", &[&group])).await;
        self.apply(&application("api", "api", json!({}))).await;
        self.apply(&client_secret("api", "api", json!({}))).await;
        self.ready("ClientSecret", "api").await;
        self.delivered("api").await
    }

    /// Waits until every replica accepts the credential.
    pub async fn wait_accepted(&self, credential: &Credential) {
        eventually("every replica accepts the credential", async || {
            let answers = self.ask_everywhere(credential, &[]).await;
            ensure(answers.iter().all(|answer| answer.claims().is_ok()), format_args!("{answers:?}"))
        })
        .await;
    }

    /// Waits until every replica refuses the credential as `invalid_client`.
    pub async fn wait_rejected(&self, credential: &Credential) {
        self.answers_everywhere(credential, &[], "401 invalid_client").await;
    }

    /// Waits until every replica answers with this refusal.
    pub async fn answers_everywhere(&self, credential: &Credential, form: &[(&str, &str)], refusal: &str) {
        eventually(format_args!("every replica answers {refusal}"), async || {
            let answers = self.ask_everywhere(credential, form).await;
            let all = answers.iter().all(|answer| answer.claims().is_err_and(|error| error == refusal));
            ensure(all, format_args!("{answers:?}"))
        })
        .await;
    }

    /// Waits until the operator has worked off what it knew of: objects that came later are done, in the audit log too.
    pub async fn settled(&self) {
        static NEXT: AtomicUsize = AtomicUsize::new(1);
        self.counted().await;
        for _ in 0..2 {
            let marker = format!("marker-{}", NEXT.fetch_add(1, Ordering::Relaxed));
            self.apply(&service_user(&marker, &[])).await;
            self.ready("ServiceUser", &marker).await;
            eventually(format_args!("{marker} is in the audit log"), async || {
                let writes = self.cluster.audit.writes_in(&self.namespace);
                ensure(writes.iter().any(|write| write.ends_with(&marker)), "it is not")
            })
            .await;
        }
    }

    /// Waits until what is created now is younger than `object`: age counts in seconds, and after that by UID.
    pub async fn later_than(&self, object: &Value) {
        eventually("the API server's clock goes on", async || {
            let user = service_user("clock", &[]);
            let now = self.try_create(&self.namespace, &user).await?;
            let age = |object: &Value| object["metadata"]["creationTimestamp"].as_str().map(str::to_owned);
            ensure(age(&now) > age(object), format_args!("{:?}", age(&now)))
        })
        .await;
    }

    /// Waits until every application reports how many secrets it has: that is written late, once for many of them, and
    /// that every replica serves it.
    async fn counted(&self) {
        eventually("applications count their secrets", async || {
            let secrets = self.list("ClientSecret", &self.namespace).await;
            for application in self.list("Application", &self.namespace).await {
                let mine =
                    |secret: &&Value| secret["spec"]["applicationRef"]["name"] == application["metadata"]["name"];
                let (total, active) =
                    (secrets.iter().filter(mine), secrets.iter().filter(mine).filter(|it| is_active(it)));
                let (said, is) = (&application["status"]["secrets"], json!([active.count(), total.count()]));
                ensure(json!([said["active"], said["total"]]) == is, format_args!("{said}, not {is}"))?;
                let propagated = condition(&application, "Propagated").cloned().unwrap_or_default();
                ensure(propagated["status"] == "True", &propagated)?;
            }
            Ok(())
        })
        .await;
    }

    /// What the operator wrote in this namespace, markers of [`Self::settled`] left out.
    pub async fn writes(&self) -> Vec<String> {
        self.settled().await;
        let writes = self.cluster.audit.writes_in(&self.namespace);
        writes.into_iter().filter(|write| !write.contains(" marker-")).collect()
    }
}

impl Deref for TestNamespace {
    type Target = Kubernetes;

    fn deref(&self) -> &Kubernetes {
        &self.kubernetes
    }
}

/// A condition of an object.
pub fn condition<'a>(object: &'a Value, type_: &str) -> Option<&'a Value> {
    object.pointer("/status/conditions")?.as_array()?.iter().find(|condition| condition["type"] == type_)
}

fn is_active(client_secret: &Value) -> bool {
    let mut versions = client_secret["status"]["versions"].as_array().into_iter().flatten();
    let counts = condition(client_secret, "Ready").is_none_or(|ready| ready["reason"] != "LimitReached");
    counts && versions.any(|version| version["state"] == "Active")
}
