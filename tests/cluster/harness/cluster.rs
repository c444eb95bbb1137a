//! A control plane with the chart installed, and the processes of the operator.

use std::collections::{BTreeMap, HashSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};

use kube::config::AuthInfo;
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use super::audit::{AuditLog, Entry};
use super::controlplane::{ControlPlane, OPERATOR_NAMESPACE, RELEASE};
use super::eventually::{ensure, eventually};
use super::fixtures::service_user;
use super::http::{self, Connections};
use super::kubernetes::Kubernetes;
use super::process::Process;
use super::replica::{Part, Replica};
use super::secret_scan::{leaks, secret_material};
use super::token::Credential;

/// Where tests happen.
pub struct Cluster {
    /// The control plane.
    pub controlplane: ControlPlane,
    /// What serves; the first one's address is the issuer.
    pub replicas: Vec<Replica>,
    /// What writes Secrets and status, where the replicas do not.
    pub controllers: Vec<Replica>,
    /// What the API server was asked.
    pub audit: AuditLog,
    ca: OnceLock<Vec<u8>>,
    tokens: BTreeMap<Part, String>,
    /// Secret values that were seen before there was this cluster.
    seen_before: usize,
}

/// The ConfigMap in which the operator publishes the CA of its certificate.
const CA: &str = "postern-ca";

/// Which processes there are.
#[derive(Clone, Copy)]
enum Shape {
    /// So many that do everything.
    Single(usize),
    /// So many that serve, and so many that control.
    Split(usize, usize),
}

impl Cluster {
    /// The one of the whole run, before any operator runs: the chart is installed.
    pub fn installed() -> Arc<Self> {
        static INSTALLED: LazyLock<Arc<Cluster>> =
            LazyLock::new(|| Arc::new(Cluster::on(ControlPlane::shared(), Shape::Split(2, 1), &[], &[])));
        INSTALLED.clone()
    }

    /// The one of the whole run: two replicas and a controller, ready.
    pub fn shared() -> Arc<Self> {
        // A dedicated runtime: that of the first test would end with the test.
        static STARTED: LazyLock<Arc<Cluster>> = LazyLock::new(|| {
            let starting = std::thread::spawn(|| {
                let cluster = Cluster::installed();
                tokio::runtime::Runtime::new().expect("a runtime").block_on(cluster.start());
                cluster
            });
            starting.join().expect("the operator starts")
        });
        STARTED.clone()
    }

    /// One of a test's own, with the chart installed and so many replicas, each of which does everything. None runs yet.
    pub fn dedicated(replicas: usize) -> Arc<Self> {
        Self::dedicated_with(replicas, &[])
    }

    /// The same with further arguments for every replica.
    pub fn dedicated_with(replicas: usize, arguments: &[&str]) -> Arc<Self> {
        Arc::new(Self::on(ControlPlane::another(), Shape::Single(replicas), arguments, &["mode=Single"]))
    }

    /// One of a test's own with so many processes that serve, and so many that write Secrets and status.
    pub fn split(replicas: usize, controllers: usize) -> Arc<Self> {
        Self::split_with(replicas, controllers, &[], &[])
    }

    /// The same with further arguments for every process, and values of the chart.
    pub fn split_with(replicas: usize, controllers: usize, arguments: &[&str], values: &[&str]) -> Arc<Self> {
        Arc::new(Self::on(ControlPlane::another(), Shape::Split(replicas, controllers), arguments, values))
    }

    fn on(controlplane: ControlPlane, shape: Shape, arguments: &[&str], values: &[&str]) -> Self {
        let seen_before = Credential::seen();
        let (serving, replicas, controllers) = match shape {
            Shape::Single(replicas) => (Part::Run, replicas, 0),
            Shape::Split(replicas, controllers) => (Part::Serve, replicas, controllers),
        };
        let process = |part: Part, name: &str, issuer: Option<&str>| {
            static NEXT: AtomicUsize = AtomicUsize::new(1);
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let log = controlplane.scratch().join(format!("{name}-{}-{number}.log", std::process::id()));
            Replica::of(part, name, issuer, log).with(arguments)
        };
        let mut all: Vec<Replica> = Vec::new();
        for number in 0..replicas {
            let issuer = all.first().map(|first| first.url.clone());
            all.push(process(serving, &format!("postern-{number}"), issuer.as_deref()));
        }
        let issuer = all[0].url.clone();
        let control = |number| process(Part::Control, &format!("postern-control-{number}"), Some(&issuer));
        let controllers: Vec<Replica> = (0..controllers).map(control).collect();
        controlplane.install_chart(&issuer, values);
        let parts = if serving == Part::Run { &[Part::Run][..] } else { &[Part::Serve, Part::Control] };
        let tokens = parts.iter().map(|part| (*part, controlplane.token_of(&part.account()))).collect();
        let audit = AuditLog::new(controlplane.audit_log());
        Self { controlplane, replicas: all, controllers, audit, ca: OnceLock::new(), tokens, seen_before }
    }

    /// Every process.
    pub fn processes(&self) -> impl Iterator<Item = &Replica> {
        self.replicas.iter().chain(&self.controllers)
    }

    /// Starts a process; returns at once.
    pub fn launch(&self, process: &Replica) -> Arc<Process> {
        self.launch_at(process, &self.controlplane.address())
    }

    /// The same with another address of the API server.
    pub fn launch_at(&self, process: &Replica, address: &str) -> Arc<Process> {
        process.start(&self.kubeconfig_of(process.part, address))
    }

    /// Starts all processes and waits until they are ready.
    pub async fn start(&self) {
        let address = self.controlplane.address();
        for process in self.processes() {
            self.launch_at(process, &address);
        }
        self.wait_policies_active().await;
        self.ready().await;
    }

    /// Waits until the API server has taken up the chart's admission policies, which it does within a second or two.
    pub async fn wait_policies_active(&self) {
        let kubernetes = self.kubernetes().await;
        let mut operators = Vec::new();
        for account in self.operator_accounts().await {
            let user = format!("system:serviceaccount:{OPERATOR_NAMESPACE}:{account}");
            operators.push(Kubernetes::impersonating(&self.controlplane.kubeconfig(), &user).await);
        }
        eventually("the chart's admission policies are in force", async || {
            let mut tried = service_user("tried", &[]);
            tried["metadata"]["annotations"] = json!({"postern.dev/created-by": "nobody"});
            let created = kubernetes.try_create("default", &tried).await?;
            let creator = &created["metadata"]["annotations"]["postern.dev/created-by"];
            let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "tried"}});
            for operator in &operators {
                ensure(operator.try_create("default", &secret).await.is_err(), "the operator is not limited yet")?;
            }
            ensure(*creator != "nobody", "not yet")
        })
        .await;
    }

    /// Names of the ServiceAccounts that the chart made for the operator.
    pub async fn operator_accounts(&self) -> Vec<String> {
        let accounts = self.kubernetes().await.list("ServiceAccount", OPERATOR_NAMESPACE).await;
        let names = accounts.iter().filter_map(|account| account["metadata"]["name"].as_str());
        names.filter(|name| name.starts_with(RELEASE)).map(str::to_owned).collect()
    }

    /// Waits until all processes are ready.
    pub async fn ready(&self) {
        for process in self.processes() {
            process.ready().await;
        }
        if self.ca.get().is_none() {
            let ca = self.published_ca().await;
            // Once: a program that reads it at the same time would find half of it.
            std::fs::write(self.ca_file(), &ca).expect("write the CA");
            let _ = self.ca.set(ca);
        }
    }

    /// The process that writes: it runs, and holds the lease.
    pub async fn leader(&self) -> &Replica {
        eventually("somebody leads", async || {
            let lease = self.lease().await;
            let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
            let found = self.processes().find(|process| process.name == holder);
            found.filter(|found| found.process().exit_status().is_none()).ok_or(format!("{holder:?} does not run"))
        })
        .await
    }

    /// Waits until the lease has just been renewed, after which it lasts for longest.
    pub async fn renewed(&self) {
        let before = self.lease().await["spec"]["renewTime"].clone();
        eventually("the lease is renewed", async || {
            let now = self.lease().await["spec"]["renewTime"].clone();
            ensure(now != before, now)
        })
        .await;
    }

    async fn lease(&self) -> Value {
        self.kubernetes().await.find("Lease", OPERATOR_NAMESPACE, "postern").await.unwrap_or_default()
    }

    /// A kubeconfig of the ServiceAccount of whatever writes, for an API server at `address`.
    pub fn operator_kubeconfig(&self, address: &str) -> PathBuf {
        self.kubeconfig_of(if self.controllers.is_empty() { Part::Run } else { Part::Control }, address)
    }

    /// A kubeconfig of a part's ServiceAccount for an API server at `address`.
    pub fn kubeconfig_of(&self, part: Part, address: &str) -> PathBuf {
        let ca = self.controlplane.ca();
        let cluster = json!({"server": address, "certificate-authority": ca});
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "operator",
            "contexts": [{"name": "operator", "context": {"cluster": "operator", "user": "operator"}}],
            "clusters": [{"name": "operator", "cluster": cluster}],
            "users": [{"name": "operator", "user": {"token": self.tokens[&part]}}],
        });
        let scratch = self.controlplane.scratch();
        let path = self.controlplane.operator_kubeconfig(part);
        // A process that was launched just now may be about to read it.
        let mut file = NamedTempFile::new_in(scratch).expect("a file");
        file.write_all(kubeconfig.to_string().as_bytes()).expect("write a kubeconfig");
        file.persist(&path).expect("put the kubeconfig in its place");
        path
    }

    /// The issuer, and the address of the first replica.
    pub fn issuer(&self) -> &str {
        &self.replicas[0].url
    }

    /// The published CA (PEM); nothing before the operator was ready once.
    pub fn ca(&self) -> &[u8] {
        self.ca.get().map_or(b"", Vec::as_slice)
    }

    /// The file of the published CA, for other people's programs.
    pub fn ca_file(&self) -> PathBuf {
        self.controlplane.scratch().join("postern-ca.crt")
    }

    /// Connections that trust the operator's certificate.
    pub fn connections(&self) -> Connections {
        http::trusting(self.ca())
    }

    /// An admin's connection to the API server.
    pub async fn kubernetes(&self) -> Kubernetes {
        Kubernetes::connect(&self.controlplane.kubeconfig()).await
    }

    /// The tokens with which the operator speaks to the API server: no log may show them.
    pub fn operator_tokens(&self) -> impl Iterator<Item = String> {
        self.tokens.values().cloned()
    }

    /// Connections with the token of each ServiceAccount that writes Secrets, as a thief of these tokens has.
    pub async fn operators(&self) -> Vec<Kubernetes> {
        let kubeconfig = self.controlplane.kubeconfig();
        let mut thieves = Vec::new();
        for (_, token) in self.tokens.iter().filter(|(part, _)| **part != Part::Serve) {
            let credentials = json!({"token": token});
            let stolen = |auth: &mut AuthInfo| *auth = serde_json::from_value(credentials).expect("credentials");
            thieves.push(Kubernetes::connect_with(&kubeconfig, stolen).await);
        }
        thieves
    }

    /// What every process printed.
    pub fn logs(&self) -> impl Iterator<Item = &Path> {
        self.processes().map(|process| process.log.as_path())
    }

    async fn published_ca(&self) -> Vec<u8> {
        let kubernetes = self.kubernetes().await;
        eventually("the operator publishes its CA", async || {
            let found = kubernetes.find("ConfigMap", OPERATOR_NAMESPACE, CA).await;
            let text = found.as_ref().and_then(|map| map.pointer("/data/ca.crt")).and_then(Value::as_str);
            text.map(|pem| pem.as_bytes().to_vec()).ok_or(format!("{found:?}"))
        })
        .await
    }
}

/// A cluster of a test's own ends with its test. No secret value that the test came across, or that is stored, is in any
/// log, event or status of it, and the operator asked for nothing that it may not do; of the cluster of the run that is
/// said by `invariants.rs`.
impl Drop for Cluster {
    fn drop(&mut self) {
        // One report is enough, and a second panic would end the whole run.
        if std::thread::panicking() {
            return;
        }
        let mut secrets = Credential::seen_after(self.seen_before);
        secrets.extend(self.operator_tokens());
        secrets.extend(secret_material(&self.controlplane.stored_secrets()));
        let mut places = self.controlplane.process_logs();
        places.push(("some object".to_owned(), self.controlplane.readable_objects()));
        let leaks = leaks(&secrets, &places);
        assert!(leaks.is_empty(), "{}", leaks.join("\n"));
        // An API server that has just started refuses for a moment what it grants later.
        let asked = self.audit.of_the_operator();
        let right =
            |entry: &Entry| (entry.user.clone(), entry.verb.clone(), entry.group.clone(), entry.resource.clone());
        let granted: HashSet<_> = asked.iter().filter(|entry| entry.authorized).map(right).collect();
        let missing: Vec<_> = asked.iter().filter(|entry| !granted.contains(&right(entry))).collect();
        assert!(missing.is_empty(), "{missing:?}");

        for process in self.processes() {
            process.kill();
        }
        self.controlplane.give_back();
    }
}
