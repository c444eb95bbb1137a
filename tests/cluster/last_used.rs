//! When a secret and a method were used last, and what hangs on it.

use serde_json::{Value, json};

use crate::explain::{BILLING, explained};
use crate::harness::{
    Cluster, Credential, OPERATOR_NAMESPACE, TestNamespace, application, client_secret, ensure, eventually,
};

#[tokio::test]
async fn every_replica_publishes_the_last_use_in_batches_and_an_idle_system_writes_nothing() {
    let cluster = Cluster::dedicated_with(2, &["--last-use-interval", "1s"]);
    cluster.start().await;
    let tenant = TestNamespace::on(cluster.clone(), "usage", json!({})).await;
    tenant.create_defaults().await;
    let credential = tenant.issue("blue").await;
    assert_eq!(last_use(&tenant).await, Value::Null);
    tenant.accepted(&credential).await;
    let first = eventually("the use is told", async || {
        let told = last_use(&tenant).await;
        ensure(told.is_string(), &told).map(|()| told)
    })
    .await;
    let callers = explained(&tenant, &["audience", BILLING, "--namespace", &tenant.namespace, "--output", "json"]);
    let callers: Value = serde_json::from_str(&callers).unwrap();
    assert_eq!(callers["callers"][0]["lastUsedAt"], first, "{callers:#}");
    for replica in &cluster.replicas {
        let name = format!("endpoint-{}-0", replica.name);
        eventually("each replica tells its own", async || {
            let state = tenant.kubernetes.find("ReplicaState", OPERATOR_NAMESPACE, &name).await.unwrap_or_default();
            ensure(state["spec"]["uses"][0]["name"] == "blue", &state)
        })
        .await;
    }
    let columns = cluster.controlplane.run("kubectl", &["get", "csec", "--namespace", &tenant.namespace]);
    // The age of the use, in seconds.
    let last_used = columns.lines().nth(1).and_then(|row| row.split_whitespace().nth(4));
    let is_age = last_used.is_some_and(|age| age.ends_with('s'));
    assert!(columns.contains("LAST USED") && is_age, "{columns}");

    // Idle: nothing is written, neither about the secret nor by the replicas.
    let versions = async || {
        let states = tenant.kubernetes.list("ReplicaState", OPERATOR_NAMESPACE).await;
        states.iter().map(|state| state["metadata"]["resourceVersion"].clone()).collect::<Vec<_>>()
    };
    let writes = tenant.writes().await;
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    let states = versions().await;
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    assert_eq!(versions().await, states);
    assert_eq!(tenant.writes().await, writes);

    // A use just before shutdown is reported at shutdown.
    tenant.accepted(&credential).await;
    for replica in &cluster.replicas {
        replica.process().terminate();
        assert!(replica.process().ended().await.success());
    }
    cluster.start().await;
    let second = eventually("the later use is told", async || {
        let told = last_use(&tenant).await;
        ensure(told.as_str() > first.as_str(), &told).map(|()| told)
    })
    .await;

    // So is what was used just before its revocation.
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    tenant.wait_accepted(&credential).await;
    tenant.apply(&client_secret("blue", "sync", json!({"revoke": true}))).await;
    tenant.switched_off("ClientSecret", "blue", "Revoked", "Revoked").await;
    eventually("the last use is told", async || {
        let told = last_use(&tenant).await;
        ensure(told.as_str() > second.as_str(), &told)
    })
    .await;
}

#[tokio::test]
async fn the_last_use_of_each_method_is_that_of_all_replicas_and_stays() {
    let cluster = Cluster::dedicated_with(2, &["--last-use-interval", "1s"]);
    cluster.start().await;
    let tenant = TestNamespace::on(cluster.clone(), "methods", json!({})).await;
    tenant.create_defaults().await;
    let allow = async |methods: &[&str]| {
        tenant.apply(&application("sync", "sync", json!({"auth": {"methods": methods}}))).await;
        tenant.ready("Application", "sync").await;
    };
    allow(&["client_secret_basic", "private_key_jwt"]).await;
    let secret = tenant.issue("blue").await;
    tenant.apply(&client_secret("pair", "sync", json!({"type": "PrivateKey"}))).await;
    tenant.ready("ClientSecret", "pair").await;
    let pair = tenant.delivered("pair").await;
    assert!(methods_used(&tenant).await.is_empty());
    let status = async || tenant.get("Application", "sync").await["status"].clone();
    tenant.wait_condition("Application", "sync", "Propagated", "True", "Served").await;
    let before = eventually("both ClientSecrets are counted", async || {
        let told = status().await;
        ensure(told["secrets"]["summary"] == "2/2", &told).map(|()| told)
    })
    .await;

    // Each replica sees another method.
    ask(&tenant, &secret, 0).await;
    ask(&tenant, &pair, 1).await;
    let first = eventually("both methods are told", async || {
        let told = methods_used(&tenant).await;
        let names: Vec<_> = told.iter().map(|used| used["method"].as_str().unwrap_or_default()).collect();
        ensure(names == ["client_secret_basic", "private_key_jwt"], format!("{told:?}"))?;
        Ok(told)
    })
    .await;
    assert!(first.iter().all(|used| used["lastUsedAt"].is_string()), "{first:?}");
    let explained = explained(&tenant, &["client", &format!("{}/sync", tenant.namespace)]);
    for used in &first {
        let (method, at) = (used["method"].as_str().unwrap(), used["lastUsedAt"].as_str().unwrap());
        let is_told = |line: &str| line.trim_start().starts_with(method) && line.contains(&format!("last used {at}"));
        assert!(explained.lines().any(is_told), "{used} {explained}");
    }

    // The later use counts, whichever replica saw it. The other method keeps its time.
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    ask(&tenant, &secret, 1).await;
    let later = eventually("the later use is told", async || {
        let told = methods_used(&tenant).await;
        ensure(told[0]["lastUsedAt"].as_str() > first[0]["lastUsedAt"].as_str(), format!("{told:?}"))?;
        Ok(told)
    })
    .await;
    assert_eq!(later[1], first[1]);
    let mut after = status().await;
    assert_eq!(after.as_object_mut().unwrap().remove("authMethods"), Some(json!(later)));
    assert_eq!(after, before, "a use changes nothing else in status: no epoch, and no token");

    // It outlives the replicas, and what they publish, and the permission to use the method.
    allow(&["client_secret_basic"]).await;
    for replica in &cluster.replicas {
        replica.process().terminate();
        assert!(replica.process().ended().await.success());
    }
    let published = tenant.kubernetes.list("ReplicaState", OPERATOR_NAMESPACE).await;
    for state in published.iter().filter(|state| state["spec"]["methods"].is_array()) {
        tenant.kubernetes.delete("ReplicaState", OPERATOR_NAMESPACE, state["metadata"]["name"].as_str().unwrap()).await;
    }
    cluster.start().await;
    tenant.settled().await;
    assert_eq!(methods_used(&tenant).await, later);
}

#[tokio::test]
async fn an_old_value_that_is_no_longer_used_is_retired_before_its_overlap_ends() {
    let cluster = Cluster::dedicated_with(2, &["--last-use-interval", "1s"]);
    cluster.start().await;
    let tenant = TestNamespace::on(cluster.clone(), "quiet", json!({})).await;
    tenant.create_defaults().await;
    let rotation = |trigger: &str| json!({"rotation": {"trigger": trigger, "overlap": "1h", "quietPeriod": "4s"}});
    tenant.apply(&client_secret("blue", "sync", rotation("a"))).await;
    tenant.ready("ClientSecret", "blue").await;
    let old = tenant.delivered("blue").await;
    tenant.apply(&client_secret("blue", "sync", rotation("b"))).await;
    tenant.wait_condition("ClientSecret", "blue", "Rotating", "True", "WaitingForIdle").await;
    tenant.accepted(&old).await;
    // In use by one of the replicas: it lives on, well beyond the quiet period and the time of a report.
    for _ in 0..20 {
        old.ask(&tenant.connections, &cluster.replicas[1].url, &[]).await.unwrap().claims().unwrap();
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
    tenant.wait_condition("ClientSecret", "blue", "Rotating", "False", "NotRotating").await;
    tenant.wait_rejected(&old).await;
    tenant.accepted(&tenant.delivered("blue").await).await;
}

async fn last_use(tenant: &TestNamespace) -> Value {
    tenant.get("ClientSecret", "blue").await["status"]["lastUsedAt"].clone()
}

/// What status tells of the methods of the Application.
async fn methods_used(tenant: &TestNamespace) -> Vec<Value> {
    let application = tenant.get("Application", "sync").await;
    application["status"]["authMethods"].as_array().cloned().unwrap_or_default()
}

/// Gets a token of one replica.
async fn ask(tenant: &TestNamespace, credential: &Credential, replica: usize) {
    let url = &tenant.cluster.replicas[replica].url;
    let answer = credential.ask(&tenant.connections, url, &[]).await.unwrap();
    answer.claims().unwrap_or_else(|error| panic!("refused: {error}"));
}
