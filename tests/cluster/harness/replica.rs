//! One replica of the operator: a process of the `postern` binary with the rights of the chart's ServiceAccount.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::StatusCode;

use super::controlplane::OPERATOR_NAMESPACE;
use super::eventually::{eventually, holds};
use super::http;
use super::process::Process;

/// Where a replica listens and how it is started; it may run or not.
pub struct Replica {
    /// Its name.
    pub name: String,
    /// `https://127.0.0.1:PORT`
    pub url: String,
    /// `http://127.0.0.1:PORT`
    pub metrics_url: String,
    /// What it prints, over all its starts.
    pub log: PathBuf,
    command: Vec<String>,
    process: Mutex<Option<Arc<Process>>>,
}

impl Replica {
    /// A replica that does not run yet. Without `issuer` its own address is the issuer.
    pub fn new(name: &str, issuer: Option<&str>, log: PathBuf) -> Self {
        let (listen, metrics) = (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
        let url = format!("https://{listen}");
        let issuer = issuer.unwrap_or(&url);
        let command = [
            ["--issuer", issuer],
            ["--listen", &listen],
            ["--metrics-listen", &metrics],
            ["--namespace", OPERATOR_NAMESPACE],
            ["--replica-name", name],
            // Where the tests' own proxies call from.
            ["--trusted-proxies", "127.0.0.1/32"],
            // Whatever it may ever print is searched for credentials.
            ["--log-level", "trace"],
            // Tests count writes; those about the last use say how often they want it told.
            ["--last-use-interval", "1d"],
            // Tests wait for a rotation.
            ["--rotation-interval-min", "1m"],
        ];
        Self {
            command: command.concat().into_iter().map(str::to_owned).collect(),
            name: name.to_owned(),
            metrics_url: format!("http://{metrics}"),
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

    /// Starts it with the credentials of a kubeconfig; returns at once.
    pub fn start(&self, kubeconfig: &std::path::Path) -> Arc<Process> {
        self.start_with(kubeconfig, &[])
    }

    /// The same with further arguments, this time.
    pub fn start_with(&self, kubeconfig: &std::path::Path, arguments: &[&str]) -> Arc<Process> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_postern"));
        command.arg("run").args(&self.command).args(arguments).env("KUBECONFIG", kubeconfig);
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
            holds(status == StatusCode::OK, status)
        })
        .await;
    }

    /// Asks `/readyz` or `/livez`; `Err` when nobody answers.
    pub async fn probe(&self, path: &str) -> Result<StatusCode, String> {
        let answer = http::get(&http::trusting(b""), &format!("{}/{path}", self.metrics_url)).await?;
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

    fn tail(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<Arc<Process>>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A port of 127.0.0.1 that nobody listens on, below those that the kernel and `hack/lib/ports.sh` draw from.
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
