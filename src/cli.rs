//! The command line. Every flag is an environment variable too; bad values end the program with one clear line.

mod certificate_name;
mod explain;
mod line;

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use ipnet::IpNet;
use jiff::SignedDuration;

use crate::api::duration::ConfigDuration;
use crate::oauth::scope::AudienceScope;

pub use explain::{ExplainArgs, What};
pub use line::one_line;

/// Machine credentials for Kubernetes: service users, OAuth clients and their secrets as custom resources, and the token
/// endpoint that honours them.
#[derive(Debug, Parser)]
#[command(name = "postern", version, max_term_width = 110)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the controller and the token endpoint. Every replica serves; the holder of the lease writes.
    Run(Box<RunArgs>),
    /// Explain what a client or a token holds now, and where each permission comes from or why it is missing.
    ///
    /// Reads the objects of the API with your own rights (KUBECONFIG, as kubectl does), and nothing else; changes
    /// nothing. Ends with 0 when it is explained, with 1 when it cannot be (not found, a right is missing), and with 2
    /// when something else has to be asked.
    Explain(Box<ExplainArgs>),
    /// Print the CustomResourceDefinitions as YAML.
    Crds,
}

/// How to run.
#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    /// Issuer identifier (RFC 8414): the URL under which clients reach the endpoint, without query and fragment.
    /// It becomes `iss` of every token, byte for byte.
    #[arg(long, env = "POSTERN_ISSUER", hide_env_values = true, value_name = "URL")]
    pub issuer: String,

    /// Documentation for developers, as the metadata names it (RFC 8414, service_documentation): an https URL, or http with
    /// --insecure-http.
    #[arg(long, env = "POSTERN_SERVICE_DOCUMENTATION", hide_env_values = true, value_name = "URL")]
    pub service_documentation: Option<String>,

    /// Address of the token endpoint.
    #[arg(
        long,
        env = "POSTERN_LISTEN",
        hide_env_values = true,
        value_name = "ADDRESS:PORT",
        default_value = "0.0.0.0:8443"
    )]
    pub listen: SocketAddr,

    /// Address of /livez, /readyz and /metrics (plain HTTP).
    #[arg(
        long,
        env = "POSTERN_METRICS_LISTEN",
        hide_env_values = true,
        value_name = "ADDRESS:PORT",
        default_value = "0.0.0.0:9090"
    )]
    pub metrics_listen: SocketAddr,

    /// Namespace of the operator: its keys, its certificate and its lease live there.
    #[arg(
        long,
        env = "POSTERN_NAMESPACE",
        hide_env_values = true,
        value_name = "NAME",
        default_value = "postern-system"
    )]
    pub namespace: String,

    /// Name of this replica, for the lease and events; different for each. Default: host name and process id.
    #[arg(
        long,
        env = "POSTERN_REPLICA_NAME", hide_env_values = true,
        value_name = "NAME",
        default_value_t = own_name(),
        hide_default_value = true
    )]
    pub replica_name: String,

    /// Certificate chain (PEM) of the endpoint; read again when it changes. Without it Postern makes a certificate of
    /// its own and publishes the CA in the ConfigMap postern-ca.
    #[arg(
        long,
        env = "POSTERN_TLS_CERT_FILE",
        hide_env_values = true,
        value_name = "FILE",
        requires = "tls_key_file",
        help_heading = "TLS"
    )]
    pub tls_cert_file: Option<PathBuf>,

    /// Private key (PEM) of the certificate.
    #[arg(
        long,
        env = "POSTERN_TLS_KEY_FILE",
        hide_env_values = true,
        value_name = "FILE",
        requires = "tls_cert_file",
        help_heading = "TLS"
    )]
    pub tls_key_file: Option<PathBuf>,

    /// Further DNS name or IP address of the certificate that Postern makes; may be given several times, and not with a
    /// certificate of your own. The issuer's host, localhost and 127.0.0.1 are always among them.
    #[arg(
        long,
        env = "POSTERN_TLS_SAN",
        hide_env_values = true,
        value_name = "NAME",
        value_delimiter = ',',
        value_parser = certificate_name::parse,
        conflicts_with = "tls_cert_file",
        help_heading = "TLS"
    )]
    pub tls_san: Vec<String>,

    /// Serve plain HTTP: only where TLS is terminated in front of Postern.
    #[arg(
        long,
        env = "POSTERN_INSECURE_HTTP", hide_env_values = true,
        conflicts_with_all = ["tls_cert_file", "tls_san"],
        help_heading = "TLS"
    )]
    pub insecure_http: bool,

    /// Network of proxies whose X-Forwarded-For is believed; may be given several times. Without one, the address of the
    /// connection is the source, for `networks` of ClientSecrets and in audit lines.
    #[arg(long, env = "POSTERN_TRUSTED_PROXIES", hide_env_values = true, value_name = "CIDR", value_delimiter = ',')]
    pub trusted_proxies: Vec<IpNet>,

    /// A scope that names an audience, besides urn:postern:aud:{id}, with {id} in the place of the audience: for clients
    /// that were written for another server.
    #[arg(
        long,
        env = "POSTERN_AUDIENCE_SCOPE",
        hide_env_values = true,
        value_name = "PATTERN",
        default_value = "urn:zitadel:iam:org:project:id:{id}:aud"
    )]
    pub audience_scope: AudienceScope,

    /// The most ClientSecrets of one Application that count; the oldest do.
    #[arg(
        long,
        env = "POSTERN_SECRETS_PER_APPLICATION", hide_env_values = true,
        value_name = "NUMBER",
        default_value_t = 20,
        value_parser = clap::value_parser!(u16).range(1..=1000),
        help_heading = "Limits"
    )]
    pub secrets_per_application: u16,

    /// Longest life of a ClientSecret's version, whatever its spec asks for. Without it there is no limit.
    #[arg(
        long,
        env = "POSTERN_SECRET_LIFETIME_MAX", hide_env_values = true,
        value_name = "DURATION",
        value_parser = duration,
        help_heading = "Limits"
    )]
    pub secret_lifetime_max: Option<ConfigDuration>,

    /// Give ClientSecrets with `expiresIn: Never` the default life of a year.
    #[arg(long, env = "POSTERN_FORBID_NEVER", hide_env_values = true, help_heading = "Limits")]
    pub forbid_never: bool,

    /// How long before the end of a ClientSecret people are told: condition, event and metric, once for each.
    #[arg(
        long,
        env = "POSTERN_EXPIRY_WARNINGS", hide_env_values = true,
        value_name = "DURATION,…",
        default_value = "30d,7d,1d",
        value_delimiter = ',',
        value_parser = duration
    )]
    pub expiry_warnings: Vec<ConfigDuration>,

    /// How often a replica reports which secrets were used; `status.lastUsedAt` is at most half a minute behind that.
    #[arg(
        long,
        env = "POSTERN_LAST_USE_INTERVAL", hide_env_values = true,
        value_name = "DURATION",
        default_value = "20s",
        value_parser = duration,
        overrides_with = "last_use_interval"
    )]
    pub last_use_interval: ConfigDuration,

    /// Longest life of a token, whatever the Application asks for; at most 364d.
    #[arg(
        long,
        env = "POSTERN_TOKEN_LIFETIME_MAX", hide_env_values = true,
        value_name = "DURATION",
        default_value = "24h",
        value_parser = token_lifetime,
        help_heading = "Limits"
    )]
    pub token_lifetime_max: ConfigDuration,

    /// With the API server out of reach, tokens are issued from the last synced state for this long.
    #[arg(
        long,
        env = "POSTERN_STALENESS_MAX", hide_env_values = true,
        value_name = "DURATION",
        default_value = "24h",
        value_parser = duration,
        help_heading = "Limits"
    )]
    pub staleness_max: ConfigDuration,

    /// Connections to the token endpoint at the same time; also requests, of which one of HTTP/2 may carry many.
    #[arg(
        long,
        env = "POSTERN_CONNECTIONS_MAX", hide_env_values = true,
        value_name = "NUMBER",
        default_value_t = 4096,
        value_parser = clap::value_parser!(u32).range(1..),
        help_heading = "Limits"
    )]
    pub connections_max: u32,

    /// Largest request body, in bytes.
    #[arg(
        long,
        env = "POSTERN_BODY_BYTES_MAX", hide_env_values = true,
        value_name = "BYTES",
        default_value_t = 65_536,
        value_parser = clap::value_parser!(u32).range(1024..),
        help_heading = "Limits"
    )]
    pub body_bytes_max: u32,

    /// How long a TLS handshake, and the body of a request, may take to arrive (its headers: 30s).
    #[arg(
        long,
        env = "POSTERN_READ_TIMEOUT", hide_env_values = true,
        value_name = "DURATION",
        default_value = "10s",
        value_parser = duration,
        help_heading = "Limits"
    )]
    pub read_timeout: ConfigDuration,

    /// How long requests in flight may take to finish after SIGTERM; shorter than the pod's grace period.
    #[arg(
        long,
        env = "POSTERN_SHUTDOWN_GRACE", hide_env_values = true,
        value_name = "DURATION",
        default_value = "20s",
        value_parser = duration,
        help_heading = "Limits"
    )]
    pub shutdown_grace: ConfigDuration,

    /// Which log lines: error, warn, info, debug, trace, or directives such as `postern=debug,kube=info`.
    #[arg(long, env = "POSTERN_LOG_LEVEL", hide_env_values = true, value_name = "FILTER", default_value = "info")]
    pub log_level: String,
}

fn own_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}-{}", host.trim(), std::process::id())
}

fn duration(text: &str) -> Result<ConfigDuration, crate::api::duration::MalformedDuration> {
    text.to_owned().try_into()
}

/// No token lives longer, whatever anybody asks for: clients expect `expires_in` to be under a year.
const TOKEN_LIFETIME_CAP: SignedDuration = SignedDuration::from_hours(364 * 24);

fn token_lifetime(text: &str) -> Result<ConfigDuration, Box<dyn Error + Send + Sync>> {
    let lifetime = duration(text)?;
    if lifetime.length() > TOKEN_LIFETIME_CAP {
        return Err("a token may live 364d at most".into());
    }
    Ok(lifetime)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_is_an_environment_variable() {
        let command = Cli::command();
        let run = command.find_subcommand("run").unwrap();
        for flag in run.get_arguments().filter(|flag| flag.get_id() != "help") {
            let expected = format!("POSTERN_{}", flag.get_id().as_str().to_uppercase());
            assert_eq!(flag.get_env().and_then(|name| name.to_str()), Some(expected.as_str()), "{}", flag.get_id());
        }
    }

    #[test]
    fn a_setting_of_the_operator_has_the_same_flag_and_default_wherever_it_is_explained() {
        let command = Cli::command();
        let [run, explain] = ["run", "explain"].map(|name| command.find_subcommand(name).unwrap());
        let settings: Vec<_> = explain.get_arguments().filter(|flag| flag.get_env().is_some()).collect();
        assert_eq!(settings.len(), 6);
        for flag in settings {
            let same = run.get_arguments().find(|other| other.get_long() == flag.get_long()).unwrap();
            assert_eq!(flag.get_env(), same.get_env(), "{}", flag.get_id());
            assert_eq!(flag.get_default_values(), same.get_default_values(), "{}", flag.get_id());
        }
    }

    #[test]
    fn a_bad_value_is_named_with_its_flag() {
        let parse = |args: &[&str]| Cli::try_parse_from([&["postern", "run", "--issuer", "https://a"], args].concat());
        let message = |args: &[&str]| parse(args).unwrap_err().to_string();
        assert!(message(&["--token-lifetime-max", "soon"]).contains("--token-lifetime-max"));
        assert!(message(&["--token-lifetime-max", "365d"]).contains("364d"));
        assert!(parse(&["--token-lifetime-max", "364d"]).is_ok());
        assert!(message(&["--secrets-per-application", "0"]).contains("--secrets-per-application"));
        assert!(message(&["--tls-cert-file", "a"]).contains("--tls-key-file"));
        assert!(message(&["--insecure-http", "--tls-san", "a"]).contains("--insecure-http"));
        assert!(message(&["--tls-cert-file", "a", "--tls-key-file", "b", "--tls-san", "c"]).contains("--tls-san"));
        let refused = message(&["--tls-san", "a.example.com,exämple.com"]);
        assert!(refused.contains("--tls-san") && refused.contains("DNS name"), "{refused}");
        assert!(parse(&["--tls-san", "*.example.com,10.0.0.1,fd00::1"]).is_ok());
        assert!(message(&["--trusted-proxies", "10.0.0.1"]).contains("--trusted-proxies"));
        assert!(parse(&["--trusted-proxies", "10.0.0.0/8,fd00::/8"]).is_ok());
        assert!(parse(&[]).is_ok());
    }
}
