//! One process of the operator: the `postern` binary with the rights of the ServiceAccount that the chart makes for it.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::StatusCode;

use super::controlplane::{OPERATOR_NAMESPACE, RELEASE};
use super::eventually::{ensure, eventually};
use super::http;
use super::process::Process;

/// What a process does.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Part {
    /// Everything.
    Run,
    /// The token endpoint.
    Serve,
    /// The controller.
    Control,
}

impl Part {
    /// The subcommand, and the component of the chart.
    pub fn command(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Serve => "serve",
            Self::Control => "control",
        }
    }

    /// What the chart calls its ServiceAccount and its roles.
    pub fn account(self) -> String {
        match self {
            Self::Run => RELEASE.to_owned(),
            Self::Serve | Self::Control => format!("{RELEASE}-{}", self.command()),
        }
    }
}

/// Where a process listens and how it is started; it may run or not.
pub struct Replica {
    /// What it does.
    pub part: Part,
    /// Its name.
    pub name: String,
    /// `https://127.0.0.1:PORT`; unused by a control process.
    pub url: String,
    /// `http://127.0.0.1:PORT`
    pub metrics_url: String,
    /// `http://127.0.0.1:PORT`
    pub health_url: String,
    /// What it prints, over all its starts.
    pub log: PathBuf,
    command: Vec<String>,
    process: Mutex<Option<Arc<Process>>>,
}

impl Replica {
    /// A process that does everything and does not run yet. Without `issuer` its own address is the issuer.
    pub fn new(name: &str, issuer: Option<&str>, log: PathBuf) -> Self {
        Self::of(Part::Run, name, issuer, log)
    }

    /// A process that does this part.
    pub fn of(part: Part, name: &str, issuer: Option<&str>, log: PathBuf) -> Self {
        let [listen, metrics, health] = [(); 3].map(|()| format!("127.0.0.1:{}", free_port()));
        let url = format!("https://{listen}");
        let issuer = issuer.unwrap_or(&url);
        let mut command = vec![
            ["--issuer", issuer],
            ["--metrics-listen", &metrics],
            ["--health-listen", &health],
            ["--namespace", OPERATOR_NAMESPACE],
            ["--replica-name", name],
            // Whatever it may ever print is searched for credentials.
            ["--log-level", "trace"],
            // Tests count writes; those about the last use set how often it is reported.
            ["--last-use-interval", "1d"],
        ];
        if part != Part::Control {
            // Where the tests' own proxies call from.
            command.extend([["--listen", &listen], ["--trusted-proxies", "127.0.0.1/32"]]);
            // All tests have one address, and many of them fail to authenticate.
            command.push(["--failed-authentications-per-minute", "0"]);
        }
        Self {
            part,
            command: command.concat().into_iter().map(str::to_owned).collect(),
            name: name.to_owned(),
            metrics_url: format!("http://{metrics}"),
            health_url: format!("http://{health}"),
            url,
            log,
            process: Mutex::new(None),
        }
    }

    /// The same with further arguments.
    pub fn with(mut self, arguments: &[&str]) -> Self {
        self.command.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }

    /// The same in another namespace than the operator's.
    pub fn in_namespace(mut self, namespace: &str) -> Self {
        let flag =
            self.command.iter().position(|argument| argument == "--namespace").expect("it is told its namespace");
        namespace.clone_into(&mut self.command[flag + 1]);
        self
    }

    /// Starts it with the credentials of a kubeconfig; returns at once.
    pub fn start(&self, kubeconfig: &std::path::Path) -> Arc<Process> {
        self.start_with(kubeconfig, &[])
    }

    /// The same with further arguments, this time.
    pub fn start_with(&self, kubeconfig: &std::path::Path, arguments: &[&str]) -> Arc<Process> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_postern"));
        command.arg(self.part.command()).args(&self.command).args(arguments).env("KUBECONFIG", kubeconfig);
        let process = Arc::new(Process::start(&self.name, &command, &self.log));
        *self.slot() = Some(process.clone());
        process
    }

    /// Waits until it says it is ready.
    pub async fn ready(&self) {
        eventually(format_args!("{} is ready (log: {})", self.name, self.log.display()), async || {
            if let Some(status) = self.process().exit_status() {
                panic!("{} has ended with {status}:\n{}", self.name, self.tail());
            }
            let status = self.probe("readyz").await?;
            ensure(status == StatusCode::OK, status)
        })
        .await;
    }

    /// Asks `/readyz` or `/livez`; `Err` when there is no answer.
    pub async fn probe(&self, path: &str) -> Result<StatusCode, String> {
        let answer = http::get(&http::trusting(b""), &format!("{}/{path}", self.health_url)).await?;
        Ok(answer.status)
    }

    /// The text of `/metrics`.
    pub async fn metrics(&self) -> String {
        let answer = http::get(&http::trusting(b""), &format!("{}/metrics", self.metrics_url)).await.expect("metrics");
        String::from_utf8(answer.body.into()).expect("text")
    }

    /// The process that runs.
    pub fn process(&self) -> Arc<Process> {
        self.slot().clone().expect("it was started")
    }

    /// Ends the process, if one was started, as a crash would.
    pub fn kill(&self) {
        if let Some(process) = self.slot().take() {
            process.kill();
        }
    }

    fn tail(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<Arc<Process>>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A free port of 127.0.0.1, below those that the kernel and `hack/lib/ports.sh` draw from.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let spread = u16::try_from(std::process::id() % 8_000).expect("below 8000");
    loop {
        let port = 10_000 + (spread + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
