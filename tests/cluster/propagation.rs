//! A change is one step at each replica, in one direction, and it can be seen when all of them have taken it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::http::StatusCode;
use postern::clock::{Clock, SystemClock};
use serde_json::{Value, json};

use crate::harness::{
    Cluster, Credential, OPERATOR_NAMESPACE, Proxy, TestNamespace, access_group, application, client_secret, condition,
    ensure, eventually, object, service_user,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_with_frozen_watches_serves_the_old_state_then_the_new_and_503_for_newer_tokens() {
    let cluster = Cluster::split(2, 1);
    let proxy = start_the_second_behind_a_proxy(&cluster).await;
    let tenant = TestNamespace::on(cluster.clone(), "frozen", json!({})).await;
    tenant.create_defaults().await;
    let credential = tenant.issue("blue").await;
    tenant.apply(&service_user("other", &[&tenant.unique_name("readers")])).await;
    tenant.ready("ServiceUser", "other").await;
    tenant.wait_condition("Application", "sync", "Propagated", "True", "Served").await;
    let (old, new) = (subject(&tenant, "sync").await, subject(&tenant, "other").await);
    let before = tenant.token(&credential, 0).await;
    tenant.wait_active(&credential, &before, true).await;
    let load = Load::start(&tenant, &credential);

    proxy.freeze(true);
    tenant.apply(&application("sync", "other", json!({}))).await;
    eventually("the first replica serves the new one", async || {
        let claims = credential.ask(&tenant.connections, &cluster.replicas[0].url, &[]).await?.claims()?;
        ensure(claims["sub"] == new.as_str(), &claims["sub"])
    })
    .await;
    tenant.wait_condition("Application", "sync", "Propagated", "False", "Propagating").await;
    let after = eventually("a token of the new epoch", async || {
        let answer = credential.ask(&tenant.connections, &cluster.replicas[0].url, &[]).await?;
        let epoch = tenant.get("Application", "sync").await["status"]["epoch"].clone();
        ensure(answer.claims()?["postern_epoch"][1] == epoch, epoch)?;
        Ok(answer.token().to_owned())
    })
    .await;
    // The frozen one still believes in the old one, and knows from the token that there is something newer.
    let frozen = &cluster.replicas[1].url;
    assert_eq!(credential.ask(&tenant.connections, frozen, &[]).await.unwrap().claims().unwrap()["sub"], old.as_str());
    let (status, said) = credential.introspect(&tenant.connections, frozen, &after).await;
    assert_eq!((status, &said["error"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("temporarily_unavailable")));
    let told = tenant.get("Application", "sync").await;
    assert_eq!(condition(&told, "Propagated").unwrap()["status"], "False", "it is not served everywhere");

    proxy.freeze(false);
    tenant.wait_condition("Application", "sync", "Propagated", "True", "Served").await;
    tenant.wait_active(&credential, &after, true).await;
    tenant.wait_active(&credential, &before, false).await;
    for (replica, subjects) in load.stop().await.into_iter().enumerate() {
        let switched = subjects.iter().position(|subject| *subject == new).expect("it got there");
        assert!(switched > 0, "it began with the old one");
        assert!(subjects[..switched].iter().all(|subject| *subject == old), "replica {replica}: {subjects:?}");
        assert!(subjects[switched..].iter().all(|subject| *subject == new), "replica {replica}: {subjects:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_with_a_stale_cache_accepts_a_new_credential_at_the_first_request() {
    let cluster = Cluster::split(2, 1);
    let proxy = start_the_second_behind_a_proxy(&cluster).await;
    let tenant = TestNamespace::on(cluster.clone(), "unheard", json!({})).await;
    tenant.create_defaults().await;
    tenant.wait_accepted(&tenant.issue("first").await).await;
    // The first row is a new secret of a client that it knows, the second a new client.
    for application_of_it in ["sync", "new"] {
        proxy.freeze(true);
        tenant.apply(&application(application_of_it, "sync", json!({}))).await;
        let name = format!("of-{application_of_it}");
        tenant.apply(&client_secret(&name, application_of_it, json!({}))).await;
        tenant.ready("ClientSecret", &name).await;
        let credential = tenant.delivered(&name).await;
        let reads = catch_ups(&cluster);
        let (connections, behind) = (tenant.connections.clone(), cluster.replicas[1].url.clone());
        let asked = tokio::spawn(async move { credential.ask(&connections, &behind, &[]).await });
        eventually("it asks the API server, or answers", async || {
            ensure(asked.is_finished() || catch_ups(&cluster) > reads, "it does neither")
        })
        .await;
        proxy.freeze(false);
        asked.await.unwrap().unwrap().claims().unwrap_or_else(|refusal| panic!("{name}: {refusal}"));
    }
}

/// How often a replica looked up a client that it did not know.
fn catch_ups(cluster: &Cluster) -> usize {
    let answered = cluster.audit.of_the_operator();
    answered.iter().filter(|entry| entry.uri.contains("status.clientId")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_issued_before_its_change_has_an_epoch_stays_valid_afterwards() {
    let cluster = Cluster::split(1, 1);
    cluster.start().await;
    let tenant = TestNamespace::on(cluster.clone(), "numbered", json!({})).await;
    tenant.create_defaults().await;
    let (credential, api) = (tenant.issue("blue").await, tenant.api().await);
    tenant.wait_condition("Application", "sync", "Propagated", "True", "Served").await;
    let numbers = async || {
        let epoch = async |kind: &str| tenant.get(kind, "sync").await["status"]["epoch"].clone();
        json!([epoch("ServiceUser").await, epoch("Application").await])
    };
    let (before, leader) = (numbers().await, cluster.leader().await);
    let replica = &cluster.replicas[0].url;

    // No other replica takes over.
    cluster.renewed().await;
    leader.process().pause();
    let more = json!([{"audience": "https://billing.example.com", "scopes": ["invoices:read", "more"]}]);
    tenant.apply(&access_group(&tenant.unique_name("readers"), json!({"permissions": more}))).await;
    let answer = eventually("the replica serves the change", async || {
        let answer = credential.ask(&tenant.connections, replica, &[("scope", "more")]).await?;
        answer.claims().map(|_| answer)
    })
    .await;
    let (_, said) = api.introspect(&tenant.connections, replica, answer.token()).await;
    assert_eq!(said["active"], true, "{said}");
    assert_eq!(numbers().await, before, "nobody has numbered the change");

    leader.process().resume();
    let numbered = eventually("the change is numbered", async || {
        let now = numbers().await;
        ensure(now[0] != before[0] && now[1] != before[1], &now).map(|()| now)
    })
    .await;
    assert_eq!(answer.claims().unwrap()["postern_epoch"], numbered);
    tenant.wait_condition("Application", "sync", "Propagated", "True", "Served").await;
    tenant.wait_active(&api, answer.token(), true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_replica_delays_propagation_no_longer_than_its_lease() {
    let cluster = Cluster::split(2, 1);
    cluster.start().await;
    let tenant = TestNamespace::on(cluster.clone(), "killed", json!({})).await;
    tenant.create_defaults().await;
    tenant.wait_condition("Application", "sync", "Propagated", "True", "Served").await;
    let before = tenant.get("Application", "sync").await["status"]["epoch"].as_i64().unwrap();
    cluster.replicas[1].process().kill();
    tenant.apply(&service_user("sync", &[])).await;
    eventually("the change has the next epoch, which is served", async || {
        let told = tenant.get("Application", "sync").await;
        let propagated = condition(&told, "Propagated").cloned().unwrap_or_default();
        ensure(told["status"]["epoch"] == before + 1 && propagated["status"] == "True", &told["status"])
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_lease_is_recreated_and_another_replica_takes_over() {
    let cluster = Cluster::dedicated(2);
    cluster.start().await;
    let tenant = TestNamespace::on(cluster.clone(), "lease", json!({})).await;
    tenant.create_defaults().await;
    let leader = cluster.leader().await;
    cluster.kubernetes().await.delete("Lease", OPERATOR_NAMESPACE, "postern").await;
    leader.process().kill();
    let credential = tenant.issue("blue").await;
    let successor = cluster.leader().await;
    assert_ne!(successor.name, leader.name);
    let answer = credential.ask(&tenant.connections, &successor.url, &[]).await.unwrap();
    assert!(answer.claims().is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_fails_to_publish_its_applied_revisions_retries_until_it_succeeds() {
    let cluster = Cluster::split(2, 1);
    let proxy = start_the_second_behind_a_proxy(&cluster).await;
    let tenant = TestNamespace::on(cluster.clone(), "untold", json!({})).await;
    tenant.create_defaults().await;
    tenant.settled().await;
    proxy.lose(Some("/replicastates"));
    tenant.apply(&service_user("sync", &[])).await;
    tenant.wait_condition("Application", "sync", "Propagated", "False", "Propagating").await;
    let log = &cluster.replicas[1].log;
    let tried = || std::fs::read_to_string(log).unwrap().matches("failed to publish applied revisions").count();
    // Again and again, also when nothing changes any more.
    let first = tried();
    eventually("it tries again", async || ensure(tried() > first + 1, format_args!("{} times", tried()))).await;
    proxy.lose(None);
    tenant.wait_condition("Application", "sync", "Propagated", "True", "Served").await;
}

#[tokio::test]
async fn replica_state_is_removed_when_it_is_no_longer_needed_and_not_before() {
    let cluster = Cluster::dedicated(1);
    let kubernetes = cluster.kubernetes().await;
    let state = |replica: &str, more: Value| {
        let mut spec = json!({"replica": replica, "reportedAt": "2026-01-01T00:00:00Z"});
        spec.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        object("ReplicaState", &format!("endpoint-{replica}"), spec)
    };
    let serves = || {
        let kinds = ["accessGroups", "serviceUsers", "applications", "clientSecrets", "namespaces"];
        json!({"serves": kinds.map(|kind| (kind.to_owned(), json!(1))).into_iter().collect::<serde_json::Map<_, _>>()})
    };
    let revoked = |until: &str| json!({"revoked": [{"id": "token", "until": until}]});
    let mut lease = object(
        "Lease",
        "silent",
        json!({
            "holderIdentity": "silent", "leaseDurationSeconds": 15,
            "renewTime": format!("{:.6}", SystemClock.now()),
        }),
    );
    lease["metadata"]["labels"] = json!({"postern.dev/component": "replica"});
    kubernetes.apply(OPERATOR_NAMESPACE, &lease).await;
    for state in [
        state("silent", serves()),
        state("departed", serves()),
        state("revokes", revoked("2100-01-01T00:00:00Z")),
        state("revoked", revoked("2026-01-01T01:00:00Z")),
    ] {
        kubernetes.apply(OPERATOR_NAMESPACE, &state).await;
    }
    cluster.start().await;
    let there = async |replica: &str| {
        kubernetes.find("ReplicaState", OPERATOR_NAMESPACE, &format!("endpoint-{replica}")).await.is_some()
    };
    for replica in ["departed", "revoked"] {
        eventually(format_args!("{replica} is forgotten"), async || ensure(!there(replica).await, "it is not")).await;
    }
    assert!(there("silent").await, "it is there, and has nothing new to tell");
    assert!(there("revokes").await, "its token is not over");
}

#[tokio::test]
async fn the_propagation_time_of_changes_is_measured() {
    let tenant = TestNamespace::new("measured").await;
    tenant.create_defaults().await;
    for replica in &tenant.cluster.replicas {
        eventually("changes are counted", async || {
            let text = replica.metrics().await;
            let count = text.lines().find_map(|line| line.strip_prefix("postern_propagation_seconds_count "));
            ensure(count.is_some_and(|count| count != "0"), format_args!("{count:?}"))
        })
        .await;
    }
}

async fn start_the_second_behind_a_proxy(cluster: &Arc<Cluster>) -> Proxy {
    cluster.launch(&cluster.replicas[0]);
    cluster.launch(&cluster.controllers[0]);
    let proxy = Proxy::before(cluster).await;
    cluster.launch_at(&cluster.replicas[1], &proxy.address);
    cluster.wait_policies_active().await;
    cluster.ready().await;
    proxy
}

async fn subject(tenant: &TestNamespace, user: &str) -> String {
    tenant.get("ServiceUser", user).await["metadata"]["uid"].as_str().unwrap().to_owned()
}

/// Asks each replica for one token after the other.
struct Load {
    over: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<Vec<String>>>,
}

impl Load {
    fn start(tenant: &TestNamespace, credential: &Credential) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let task = |url: String| {
            let (over, credential, connections) = (over.clone(), credential.clone(), tenant.connections.clone());
            tokio::spawn(async move {
                let mut subjects = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    let claims: Value = credential.ask(&connections, &url, &[]).await.unwrap().claims().unwrap();
                    subjects.push(claims["sub"].as_str().unwrap().to_owned());
                }
                subjects
            })
        };
        let tasks = tenant.cluster.replicas.iter().map(|replica| task(replica.url.clone())).collect();
        Self { over, tasks }
    }

    async fn stop(self) -> Vec<Vec<String>> {
        self.over.store(true, Ordering::Relaxed);
        futures::future::join_all(self.tasks).await.into_iter().map(|subjects| subjects.unwrap()).collect()
    }
}
