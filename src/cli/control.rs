//! Flags of the controller, which writes Secrets and status.

use std::path::PathBuf;

use clap::Args;

use super::subject_alt_name;

/// How credentials are issued.
#[derive(Args, Clone, Debug)]
pub struct ControlArgs {
    /// Further DNS name or IP address of the certificate that Postern makes; may be given several times, and not with a
    /// certificate of your own. The issuer's host, localhost and 127.0.0.1 are always among them.
    #[arg(
        long,
        env = "POSTERN_TLS_SAN",
        hide_env_values = true,
        value_name = "NAME",
        value_delimiter = ',',
        value_parser = subject_alt_name::parse,
        conflicts_with_all = ["insecure_http", "no_certificate"],
        help_heading = "TLS"
    )]
    pub tls_san: Vec<String>,

    /// Restart no workloads. A rotation that asks for it (`spec.rotation.rollout`) waits until a user has restarted them.
    #[arg(long, env = "POSTERN_NO_ROLLOUT", hide_env_values = true)]
    pub no_rollout: bool,

    /// Make no certificate: the serving processes are given one (`--tls-cert-file`).
    #[arg(long, env = "POSTERN_NO_CERTIFICATE", hide_env_values = true, help_heading = "TLS")]
    pub no_certificate: bool,

    /// File in PEM with the CA of the certificate that clients see, where Postern does not make it: of your certificate, or of
    /// a proxy in front. Delivered Secrets have its certificates as ca.crt. It is read again when it changes; a file that does
    /// not exist is no CA.
    #[arg(long, env = "POSTERN_CA_FILE", hide_env_values = true, value_name = "FILE", help_heading = "TLS")]
    pub ca_file: Option<PathBuf>,

    /// After the loss of the install key: adopt the values of delivered Secrets although nothing proves that Postern wrote
    /// them. Each ClientSecret that is older than the new key and has no version is reconciled once; after that the flag
    /// has no effect. Remove it after that start.
    #[arg(long, env = "POSTERN_ADOPT_UNVERIFIED_SECRETS", hide_env_values = true)]
    pub adopt_unverified_secrets: bool,
}
