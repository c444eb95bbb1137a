//! Errors that end the operator.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::http::budget::BudgetError;
use crate::http::tls::TlsError;
use crate::oauth::issuer::IssuerError;
use crate::oauth::metadata::NotDocumentation;
use crate::telemetry::logs::LogError;

/// Why the operator cannot start or continue.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// `--issuer` is not an issuer identifier.
    #[error("--issuer {value:?} cannot be used")]
    Issuer {
        /// As given.
        value: String,
        /// The problem.
        source: IssuerError,
    },
    /// `--service-documentation` is not a URL that users can open.
    #[error("--service-documentation {value:?} cannot be used")]
    Documentation {
        /// As given.
        value: String,
        /// The problem.
        source: NotDocumentation,
    },
    /// `--mtls-client-ca-file` contains no CAs.
    #[error("--mtls-client-ca-file {} cannot be used: {problem}", file.display())]
    ClientCa {
        /// As given.
        file: PathBuf,
        /// The problem.
        problem: String,
    },
    /// `--log-level` is not a filter.
    #[error("--log-level cannot be used")]
    Log(#[from] LogError),
    /// The limits do not fit into the memory.
    #[error(transparent)]
    Budget(#[from] BudgetError),
    /// No API server is configured.
    #[error("no Kubernetes API server is configured: run in a pod with a ServiceAccount, or set KUBECONFIG")]
    Config(#[source] Box<kube::config::InferConfigError>),
    /// The configured connection cannot be used.
    #[error("the Kubernetes client cannot be set up")]
    Client(#[source] Box<kube::Error>),
    /// The certificate cannot be served.
    #[error("--tls-cert-file and --tls-key-file cannot be used")]
    Tls(#[from] TlsError),
    /// The process cannot listen on an address.
    #[error("{flag} {address} cannot be listened on")]
    Listen {
        /// The flag.
        flag: &'static str,
        /// As given.
        address: SocketAddr,
        /// The error of the system.
        source: std::io::Error,
    },
    /// The runtime or a signal handler could not be set up.
    #[error("the process cannot be set up")]
    Process(#[from] std::io::Error),
    /// A task that must run until shutdown has exited.
    #[error("{0} exited unexpectedly")]
    Exited(&'static str),
}
