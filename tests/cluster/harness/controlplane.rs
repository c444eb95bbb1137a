//! A Kubernetes control plane: the one of the whole run, or one of a test's own.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use super::replica::Part;
use super::secret_scan::Place;

/// The namespace of the operator.
pub const OPERATOR_NAMESPACE: &str = "postern-system";
/// The release, and with it the name of the ServiceAccount and the roles.
pub const RELEASE: &str = "postern";

/// The kinds that people read.
const READABLE: &str = "events,accessgroups,serviceusers,applications,clientsecrets,replicastates,configmaps";

/// A control plane. It ends with its last clone.
#[derive(Clone)]
pub struct ControlPlane {
    folder: PathBuf,
    _keeper: Option<Arc<Keeper>>,
}

/// Control planes that tests have returned. To start one takes ten times the processor time of emptying one.
static RETURNED: Mutex<Vec<ControlPlane>> = Mutex::new(Vec::new());

/// `hack/with-controlplane cat`: ends, and takes the control plane along, when our end of the pipe is closed. The kernel
/// closes it when this process dies.
struct Keeper {
    process: Child,
    pipe: Option<ChildStdin>,
}

/// What is not of the API server's own. The policies go first, as some of them guard the rest.
const EMPTY: &str = "
delete() { kubectl delete --ignore-not-found --timeout=2m \"$@\"; }
policies=validatingadmissionpolicies,validatingadmissionpolicybindings
delete --all $policies,mutatingadmissionpolicies,mutatingadmissionpolicybindings
delete --selector '!kubernetes.io/bootstrapping' clusterroles,clusterrolebindings
delete --all accessgroups
delete --all --namespace default serviceusers,applications,clientsecrets,secrets,deployments,events
own='metadata.name!=default,metadata.name!=kube-system,metadata.name!=kube-public,metadata.name!=kube-node-lease'
delete --field-selector \"$own\" namespaces
";

impl ControlPlane {
    /// The one that `make test` started.
    pub fn shared() -> Self {
        let folder = std::env::var_os("POSTERN_TEST_CONTROLPLANE")
            .expect("these tests need a control plane: run `make test`, or `hack/with-controlplane cargo test`");
        Self { folder: folder.into(), _keeper: None }
    }

    /// Another one. It holds no more than definitions of the chart.
    pub fn another() -> Self {
        let returned = RETURNED.lock().unwrap_or_else(PoisonError::into_inner).pop();
        returned.filter(Self::is_emptied).unwrap_or_else(Self::start)
    }

    /// Another test may have this one. Only the definitions of the chart stay, as they are.
    pub fn give_back(&self) {
        RETURNED.lock().unwrap_or_else(PoisonError::into_inner).push(self.clone());
    }

    /// Deletes what a test, the chart and the operator created, apart from the CustomResourceDefinitions.
    fn is_emptied(&self) -> bool {
        let mut command = Command::new("bash");
        let path = format!("{}:{}", self.programs().display(), std::env::var("PATH").unwrap_or_default());
        command.args(["-euo", "pipefail", "-c", EMPTY]).stdin(Stdio::null()).stdout(Stdio::null());
        let status = command.env("KUBECONFIG", self.kubeconfig()).env("PATH", path).status();
        status.expect("run bash").success()
    }

    /// A new one, which holds nothing at all.
    pub fn start() -> Self {
        let mut process = Command::new(checkout().join("hack/with-controlplane"))
            .args(["sh", "-c", "echo \"$POSTERN_TEST_CONTROLPLANE\" && exec cat >/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("run hack/with-controlplane");
        let mut folder = String::new();
        let output = process.stdout.take().expect("its output is piped");
        BufReader::new(output).read_line(&mut folder).expect("read the folder of the control plane");
        assert!(!folder.is_empty(), "hack/with-controlplane started no control plane");
        let pipe = process.stdin.take();
        Self { folder: folder.trim().into(), _keeper: Some(Arc::new(Keeper { process, pipe })) }
    }

    /// Kubeconfig of an admin.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    /// The API server's audit log.
    pub fn audit_log(&self) -> PathBuf {
        self.folder.join("audit.log")
    }

    /// The CA of the API server.
    pub fn ca(&self) -> PathBuf {
        self.folder.join("pki/ca.crt")
    }

    /// A folder for the files of what runs beside this control plane; gone with it.
    pub fn scratch(&self) -> PathBuf {
        self.folder.join("logs")
    }

    /// The folder of its programs, kubectl and helm among them.
    pub fn programs(&self) -> PathBuf {
        self.folder.join("bin")
    }

    /// The list of all secret values that tests came across, one per line.
    pub fn seen_values(&self) -> PathBuf {
        self.folder.join("seen-values")
    }

    /// Runs kubectl, helm, … of this control plane as its admin, and returns what it printed.
    pub fn run(&self, program: &str, arguments: &[&str]) -> String {
        let mut command = Command::new(self.programs().join(program));
        output(command.args(arguments).env("KUBECONFIG", self.kubeconfig()).stdin(Stdio::null()))
    }

    /// What every operator process printed.
    pub fn process_logs(&self) -> Vec<Place> {
        let files = std::fs::read_dir(self.scratch()).expect("the folder of the logs");
        let paths = files.map(|file| file.expect("a file").path());
        let logs = paths.filter(|path| path.extension().is_some_and(|extension| extension == "log"));
        logs.map(|log| (log.display().to_string(), std::fs::read_to_string(&log).expect("read a log"))).collect()
    }

    /// The tokens in the kubeconfigs of the operator's processes.
    pub fn operator_tokens(&self) -> Vec<String> {
        let read = |part: Part| {
            let text = std::fs::read(self.operator_kubeconfig(part)).ok()?;
            let kubeconfig: Value = serde_json::from_slice(&text).expect("JSON");
            let token = kubeconfig.pointer("/users/0/user/token").and_then(Value::as_str);
            Some(token.expect("a token").to_owned())
        };
        [Part::Run, Part::Serve, Part::Control].into_iter().filter_map(read).collect()
    }

    /// Where the processes of this part find their kubeconfig.
    pub fn operator_kubeconfig(&self, part: Part) -> PathBuf {
        self.scratch().join(format!("{}.kubeconfig", part.account()))
    }

    /// Every Secret of every namespace.
    pub fn stored_secrets(&self) -> Vec<Value> {
        let stored = self.run("kubectl", &["get", "secrets", "--all-namespaces", "--output", "json"]);
        let mut stored: Value = serde_json::from_str(&stored).expect("JSON");
        serde_json::from_value(stored["items"].take()).expect("a list")
    }

    /// Every object that people read, as JSON.
    pub fn readable_objects(&self) -> String {
        self.run("kubectl", &["get", READABLE, "--all-namespaces", "--output", "json"])
    }

    /// Runs commands as a person does whose shell finds kubectl and is the admin of this control plane.
    pub fn shell(&self, commands: &str) -> String {
        let path = format!("{}:{}", self.programs().display(), std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new("bash");
        let command = command.args(["-euo", "pipefail", "-c", commands]).stdin(Stdio::null());
        output(command.env("KUBECONFIG", self.kubeconfig()).env("PATH", path))
    }

    /// Does something to a component (`kill`, `stop`, `start`, `restart`), such as `kube-apiserver`.
    pub fn component(&self, action: &str, name: &str) {
        let mut command = Command::new(checkout().join("hack/controlplane/component"));
        output(command.arg(&self.folder).args([action, name]).stdin(Stdio::null()));
    }

    /// Copies what etcd keeps, while no client writes. [`ControlPlane::restore`] brings it back.
    pub fn back_up(&self) {
        self.exchange("etcd", "etcd.backup");
    }

    /// As an administrator does after a disaster: what happened since the backup never did.
    pub fn restore(&self) {
        self.exchange("etcd.backup", "etcd");
    }

    fn exchange(&self, from: &str, to: &str) {
        for component in ["kube-apiserver", "etcd"] {
            self.component("stop", component);
        }
        let path = |name: &str| self.folder.join(name).to_str().expect("a path in UTF-8").to_owned();
        output(Command::new("rm").args(["-rf", &path(to)]));
        output(Command::new("cp").args(["-a", &path(from), &path(to)]));
        for component in ["etcd", "kube-apiserver"] {
            self.component("start", component);
        }
    }

    /// Installs the chart, as a person would, with some of its values.
    pub fn install_chart(&self, issuer: &str, values: &[&str]) {
        let chart = checkout().join("charts/postern");
        let issuer = format!("issuer={issuer}");
        let (chart, namespace) = (chart.to_str().expect("a path in UTF-8"), ["--namespace", OPERATOR_NAMESPACE]);
        let what = ["upgrade", "--install", RELEASE, chart, "--create-namespace", "--set-string", &issuer];
        let values: Vec<&str> = values.iter().flat_map(|value| ["--set", *value]).collect();
        self.run("helm", &[&what[..], &values, &namespace[..]].concat());
    }

    /// A token of a ServiceAccount of the operator's namespace.
    pub fn token_of(&self, account: &str) -> String {
        let token =
            self.run("kubectl", &["create", "token", account, "--namespace", OPERATOR_NAMESPACE, "--duration=24h"]);
        token.trim().to_owned()
    }

    /// The address of the API server.
    pub fn address(&self) -> String {
        self.run("kubectl", &["config", "view", "--output", "jsonpath={.clusters[0].cluster.server}"])
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.pipe.take());
        let _ = self.process.wait();
    }
}

/// Runs a command that has to succeed.
pub fn output(command: &mut Command) -> String {
    let result = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(result.status.success(), "{command:?} failed:\n{}{}", text(&result.stdout), text(&result.stderr));
    text(&result.stdout)
}

/// The root of the repository.
pub fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
