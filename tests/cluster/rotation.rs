//! A new value takes the place of the old one without one refused request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::harness::http::{self, Connections};
use crate::harness::{
    Cluster, CrashPoint, Credential, Process, Proxy, Replica, TestNamespace, client_secret, ensure, eventually, object,
};

#[tokio::test]
async fn a_changed_trigger_rotates_with_four_writes_and_the_old_value_expires_with_its_overlap() {
    let tenant = TestNamespace::new("trigger").await;
    tenant.create_defaults().await;
    tenant.apply(&client_secret("blue", "sync", json!({"rotation": {"trigger": "a", "overlap": "20s"}}))).await;
    tenant.ready("ClientSecret", "blue").await;
    let old = tenant.delivered("blue").await;
    let before = tenant.writes().await.len();
    tenant.apply(&client_secret("blue", "sync", json!({"rotation": {"trigger": "b", "overlap": "20s"}}))).await;
    tenant.wait_condition("ClientSecret", "blue", "Rotating", "True", "Overlap").await;
    let new = tenant.delivered("blue").await;
    assert_ne!(new.key("client-secret"), old.key("client-secret"));
    for credential in [&new, &old] {
        // A token of the old value ends with it, as soon as a replica has heard of its end.
        eventually("the tokens of the old value are short, those of the new one are not", async || {
            let lives = |claims: &Value| claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
            let claims = tenant.accepted(credential).await;
            ensure(
                claims.iter().all(|claims| (lives(claims) <= 20) == (credential == &old)),
                format_args!("{claims:?}"),
            )
        })
        .await;
    }
    let status = tenant.get("ClientSecret", "blue").await["status"].clone();
    assert_eq!(status["rotation"]["cause"], "Trigger", "{status}");
    assert!(status["rotation"]["waitsFor"].as_str().unwrap().contains("overlap"), "{status}");
    tenant.wait_rejected(&old).await;
    tenant.wait_condition("ClientSecret", "blue", "Rotating", "False", "NotRotating").await;
    tenant.accepted(&new).await;
    let writes = tenant.writes().await.split_off(before);
    let told = "patch clientsecrets/status blue";
    assert_eq!(writes, [told, "patch secrets blue", told, told]);
    eventually("people are told", async || {
        let events = tenant.list("Event", &tenant.namespace).await;
        let told = |reason: &str| events.iter().filter(|event| event["reason"] == reason).count();
        ensure((told("Issued"), told("Rotated"), told("Retired")) == (1, 1, 1), format_args!("{events:#?}"))
    })
    .await;
}

#[tokio::test]
async fn an_interval_of_a_minute_without_overlap_rotates_on_time_and_retires_the_old_value() {
    let tenant = TestNamespace::new("interval").await;
    tenant.create_defaults().await;
    tenant.apply(&client_secret("blue", "sync", json!({"rotation": {"every": "1m", "overlap": "0s"}}))).await;
    tenant.ready("ClientSecret", "blue").await;
    let old = tenant.delivered("blue").await;
    let status = tenant.get("ClientSecret", "blue").await["status"].clone();
    let instant = |value: &Value| value.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let due = instant(&status["nextRotationAt"]);
    let wait = due.duration_since(instant(&status["versions"][0]["createdAt"])).as_secs();
    assert!((60..=63).contains(&wait), "{wait} s");
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(tenant.delivered("blue").await, old, "not before it is due");
    tokio::time::sleep(Duration::from_secs(32)).await;
    let new = eventually("it rotates", async || {
        let now = tenant.delivered("blue").await;
        ensure(now != old, "it has not").map(|()| now)
    })
    .await;
    tenant.wait_rejected(&old).await;
    tenant.accepted(&new).await;
    let again = tenant.get("ClientSecret", "blue").await["status"].clone();
    assert!(instant(&again["versions"][0]["createdAt"]) >= due, "{again}");
}

#[tokio::test]
async fn the_bearer_of_a_secret_asks_for_the_next_value_once() {
    let tenant = TestNamespace::new("requested").await;
    tenant.create_defaults().await;
    let old = tenant.issue("blue").await;
    tenant.accepted(&old).await;
    let before = tenant.writes().await.len();
    for replica in &tenant.cluster.replicas {
        // Twice by the same value: one rotation.
        let answer = old.manage(&tenant.connections, &replica.url, "rotate").await;
        assert_eq!(answer.status, axum::http::StatusCode::ACCEPTED, "{answer:?}");
    }
    tenant.wait_condition("ClientSecret", "blue", "Rotating", "True", "Overlap").await;
    let status = tenant.get("ClientSecret", "blue").await["status"].clone();
    assert_eq!(status["rotation"]["cause"], "Requested", "{status}");
    let new = tenant.delivered("blue").await;
    assert_ne!(new, old);
    tenant.accepted(&new).await;
    tenant.accepted(&old).await;
    let told = "patch clientsecrets/status blue";
    assert_eq!(tenant.writes().await.split_off(before), [told, "patch secrets blue", told]);
}

#[tokio::test]
async fn a_rotation_refused_by_a_policy_leaves_the_old_value_valid_and_continues_when_allowed() {
    let tenant = TestNamespace::new("refused").await;
    tenant.create_defaults().await;
    let rotation = |trigger: &str| json!({"rotation": {"trigger": trigger, "overlap": "1h"}});
    tenant.apply(&client_secret("blue", "sync", rotation("a"))).await;
    tenant.ready("ClientSecret", "blue").await;
    let old = tenant.delivered("blue").await;
    let policy = tenant.unique_name("frozen");
    freeze_secrets(&tenant, &policy).await;

    tenant.apply(&client_secret("blue", "sync", rotation("b"))).await;
    let told = tenant.wait_condition("ClientSecret", "blue", "Delivered", "False", "DeliveryFailed").await;
    assert!(told["message"].as_str().unwrap().contains("nothing is changed today"), "{told}");
    tenant.ready("ClientSecret", "blue").await;
    assert_eq!(tenant.delivered("blue").await, old);
    tenant.accepted(&old).await;
    let staged = tenant.get("ClientSecret", "blue").await["status"]["versions"][0]["id"].clone();
    let before = tenant.writes().await;
    let attempts = patches_refused(&tenant);
    eventually("it is tried again", async || {
        let now = patches_refused(&tenant);
        ensure(now > attempts, now)
    })
    .await;
    assert_eq!(tenant.writes().await, before, "it writes nothing meanwhile");

    tenant.delete("ValidatingAdmissionPolicyBinding", "", &policy).await;
    tenant.wait_condition("ClientSecret", "blue", "Rotating", "True", "Overlap").await;
    let new = tenant.delivered("blue").await;
    assert!(new.key("client-secret").contains(staged.as_str().unwrap()), "the value that was recorded is delivered");
    tenant.accepted(&new).await;
    tenant.accepted(&old).await;
    let now = tenant.get("ClientSecret", "blue").await;
    assert_eq!(crate::harness::condition(&now, "Delivered"), None, "{now:#}");
}

/// From now on no Secret of the namespace can be changed.
async fn freeze_secrets(tenant: &TestNamespace, name: &str) {
    let rule = json!({"apiGroups": [""], "apiVersions": ["v1"], "resources": ["secrets"], "operations": ["UPDATE"]});
    let policy = json!({
        "matchConstraints": {"resourceRules": [rule]},
        "validations": [{"expression": "false", "message": "nothing is changed today"}],
    });
    let here = json!({"matchLabels": {"kubernetes.io/metadata.name": tenant.namespace}});
    let binding = json!({
        "policyName": name, "validationActions": ["Deny"], "matchResources": {"namespaceSelector": here},
    });
    tenant.kubernetes.apply("", &object("ValidatingAdmissionPolicy", name, policy)).await;
    tenant.kubernetes.apply("", &object("ValidatingAdmissionPolicyBinding", name, binding)).await;
    let mut number = 0;
    eventually("the policy is in force", async || {
        number += 1;
        let edit = json!({"metadata": {"annotations": {"example.com/edit": number.to_string()}}});
        let edited = tenant.merge("Secret", &tenant.namespace, "blue", edit).await;
        ensure(edited.is_err(), "the Secret can be changed")
    })
    .await;
}

/// How often the operator was refused a change of a Secret in the namespace.
fn patches_refused(tenant: &TestNamespace) -> usize {
    let refused = |entry: &&crate::harness::Entry| {
        (entry.verb.as_str(), entry.resource.as_str()) == ("patch", "secrets")
            && entry.status >= 400
            && entry.namespace == tenant.namespace
    };
    tenant.cluster.audit.of_the_operator().iter().filter(refused).count()
}

#[tokio::test]
async fn a_third_value_waits_until_the_first_has_had_its_overlap() {
    let tenant = TestNamespace::new("two").await;
    tenant.create_defaults().await;
    let rotate = async |trigger: &str, overlap: &str| {
        let rotation = json!({"rotation": {"trigger": trigger, "overlap": overlap}});
        tenant.apply(&client_secret("blue", "sync", rotation)).await;
    };
    let done = async |trigger: &str| {
        eventually("it is done", async || {
            let status = tenant.get("ClientSecret", "blue").await["status"].clone();
            ensure(status["observedTrigger"] == trigger && status["rotation"]["step"] != "Delivering", &status)
        })
        .await;
        tenant.delivered("blue").await
    };
    rotate("a", "1h").await;
    let first = done("a").await;
    rotate("b", "1h").await;
    let second = done("b").await;
    let announced = tenant.get("ClientSecret", "blue").await["status"]["versions"][1]["retiresAt"].clone();

    rotate("c", "1h").await;
    // The bearer asks for the same: one rotation waits.
    let asked = second.manage(&tenant.connections, &tenant.cluster.replicas[0].url, "rotate").await;
    assert_eq!(asked.status, axum::http::StatusCode::ACCEPTED, "{asked:?}");
    eventually("it says that a rotation waits", async || {
        let told = tenant.wait_condition("ClientSecret", "blue", "Rotating", "True", "Overlap").await;
        let requested = tenant.get("ClientSecret", "blue").await["status"]["rotation"]["requested"].is_string();
        ensure(told["message"].as_str().unwrap().contains("Another rotation is requested") && requested, &told)
    })
    .await;
    tenant.settled().await;
    assert_eq!(tenant.delivered("blue").await, second);
    assert_eq!(tenant.get("ClientSecret", "blue").await["status"]["versions"][1]["retiresAt"], announced);
    tenant.accepted(&first).await;

    // The end of the overlap gives the next value at once.
    rotate("c", "0s").await;
    let third = done("c").await;
    assert_ne!(third, second);
    tenant.wait_rejected(&first).await;
    tenant.wait_rejected(&second).await;
    tenant.accepted(&third).await;
}

/// A pod's client through three rotations and a deleted Secret, with the replica that writes killed in each step.
#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_reads_its_secret_is_never_refused_while_replicas_are_killed() {
    is_never_refused("SharedSecret").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_reads_its_private_key_is_never_refused_while_replicas_are_killed() {
    is_never_refused("PrivateKey").await;
}

async fn is_never_refused(type_: &str) {
    let cluster = Cluster::dedicated(2);
    let proxy = Proxy::before(&cluster).await;
    for replica in &cluster.replicas {
        cluster.launch_at(replica, &proxy.address);
    }
    cluster.ready().await;
    let tenant = Arc::new(TestNamespace::on(cluster.clone(), "pod", json!({})).await);
    tenant.create_defaults().await;
    if type_ == "PrivateKey" {
        tenant.allow_key_pairs().await;
    }
    let rotation = |trigger: &str| json!({"type": type_, "rotation": {"trigger": trigger, "overlap": "5s"}});
    tenant.apply(&client_secret("blue", "sync", rotation("start"))).await;
    tenant.ready("ClientSecret", "blue").await;
    tenant.settled().await;
    let pod = Pod::start(tenant.clone());
    for (number, (write, moment)) in
        [(1, CrashPoint::After), (2, CrashPoint::Before), (3, CrashPoint::After)].into_iter().enumerate()
    {
        let leader = cluster.leader().await;
        let victim = leader.process();
        proxy.arm(write, moment, victim.clone());
        let trigger = format!("rotation-{number}");
        tenant.apply(&client_secret("blue", "sync", rotation(&trigger))).await;
        victim.ended().await;
        cluster.launch_at(leader, &proxy.address);
        tenant.wait_condition("ClientSecret", "blue", "Rotating", "False", "NotRotating").await;
        let status = tenant.get("ClientSecret", "blue").await["status"].clone();
        assert_eq!(status["observedTrigger"], trigger, "{status}");
    }
    let before = tenant.delivered("blue").await;
    tenant.delete("Secret", &tenant.namespace, "blue").await;
    eventually("it is healed", async || {
        let found = tenant.find("Secret", &tenant.namespace, "blue").await.ok_or("there is none")?;
        ensure(Credential::delivered_in(&found) != before, "it is the old one")
    })
    .await;
    tenant.wait_condition("ClientSecret", "blue", "Rotating", "False", "NotRotating").await;
    let Requests { granted, lost, refused } = pod.stop().await;
    assert!(granted > 200, "only {granted} tokens");
    assert_eq!(refused, Vec::<String>::new(), "and {granted} tokens");
    // Each of three killed processes can have one request at a time.
    assert!(lost <= 3, "{lost} requests were at a process that was killed");
}

/// What became of the requests.
#[derive(Default)]
struct Requests {
    granted: usize,
    /// Requests that a process did not answer because it was killed.
    lost: usize,
    refused: Vec<String>,
}

/// Asks for tokens with what is mounted, twenty times a second.
struct Pod {
    stopped: Arc<AtomicBool>,
    work: tokio::task::JoinHandle<Requests>,
}

impl Pod {
    fn start(tenant: Arc<TestNamespace>) -> Self {
        let stopped = Arc::<AtomicBool>::default();
        let stop = stopped.clone();
        let work = tokio::spawn(async move {
            let connections = http::trusting(tenant.cluster.ca());
            let mut requests = Requests::default();
            let mut mounted = tenant.delivered("blue").await;
            while !stop.load(Ordering::Relaxed) {
                // A volume keeps its files while there is no Secret.
                if let Some(secret) = tenant.find("Secret", &tenant.namespace, "blue").await {
                    mounted = Credential::delivered_in(&secret);
                }
                for replica in &tenant.cluster.replicas {
                    requests.send(&connections, replica, &mounted).await;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            requests
        });
        Self { stopped, work }
    }

    async fn stop(self) -> Requests {
        self.stopped.store(true, Ordering::Relaxed);
        self.work.await.expect("the pod lives")
    }
}

impl Requests {
    /// One request to this replica, which a load balancer passes to it only if it is ready.
    async fn send(&mut self, connections: &Connections, replica: &Replica, mounted: &Credential) {
        let process = replica.process();
        if replica.probe("readyz").await != Ok(StatusCode::OK) {
            return;
        }
        let answer = mounted.ask(connections, &replica.url, &[]).await;
        match answer.and_then(|answer| answer.claims().map(drop)) {
            Ok(()) => self.granted += 1,
            Err(_) if is_killed(&process).await => self.lost += 1,
            Err(refusal) => {
                let version = mounted.version();
                self.refused.push(format!(
                    "{refusal} at {} for {}",
                    replica.name,
                    version.get(..12).unwrap_or(version)
                ));
            }
        }
    }
}

/// Whether the process has ended. Its connections are closed a moment before the kernel reports it.
async fn is_killed(process: &Process) -> bool {
    for _ in 0..20 {
        if process.exit_status().is_some() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    false
}
