//! Flags of the token endpoint.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use ipnet::IpNet;

use super::{duration, size};
use crate::api::duration::ConfigDuration;
use crate::oauth::scope::AudienceScope;

/// How the token endpoint is served.
#[derive(Args, Clone, Debug)]
pub struct ServeArgs {
    /// Address of the token endpoint. [::] is every address, of IPv4 too; where IPv6 is off it means 0.0.0.0.
    #[arg(
        long,
        env = "POSTERN_LISTEN",
        hide_env_values = true,
        value_name = "ADDRESS:PORT",
        default_value = "[::]:8443"
    )]
    pub listen: SocketAddr,

    /// Documentation for developers, as the metadata names it (RFC 8414, service_documentation): an https URL, or http with
    /// --insecure-http.
    #[arg(long, env = "POSTERN_SERVICE_DOCUMENTATION", hide_env_values = true, value_name = "URL")]
    pub service_documentation: Option<String>,

    /// Certificate chain (PEM) of the endpoint; read again when it changes. Without it the controller makes a certificate
    /// and publishes its CA in the ConfigMap postern-ca.
    #[arg(
        long,
        env = "POSTERN_TLS_CERT_FILE",
        hide_env_values = true,
        value_name = "FILE",
        requires = "tls_key_file",
        conflicts_with = "insecure_http",
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

    /// Say in tokens and introspection who created the service user: the claim created_by. Every API that gets a token
    /// learns that name. Audit lines have it in either case.
    #[arg(long, env = "POSTERN_CREATED_BY_CLAIM", hide_env_values = true)]
    pub created_by_claim: bool,

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

    /// Memory that this process may use, such as 256Mi. The bounds of connections, requests and bodies are derived from it.
    /// Default: the limit of the cgroup, or what the machine has.
    #[arg(
        long,
        env = "POSTERN_MEMORY_LIMIT", hide_env_values = true,
        value_name = "BYTES",
        value_parser = size::parse,
        help_heading = "Limits"
    )]
    pub memory_limit: Option<u64>,

    /// Connections to the token endpoint at the same time. Default: as many as the memory limit has room for, at most 4096.
    #[arg(
        long,
        env = "POSTERN_CONNECTIONS_MAX", hide_env_values = true,
        value_name = "NUMBER",
        value_parser = clap::value_parser!(u32).range(1..),
        help_heading = "Limits"
    )]
    pub connections_max: Option<u32>,

    /// Largest request body, in bytes. Tokens that do not fit into one are not issued.
    #[arg(
        long,
        env = "POSTERN_BODY_BYTES_MAX", hide_env_values = true,
        value_name = "BYTES",
        default_value_t = 65_536,
        value_parser = clap::value_parser!(u32).range(4096..),
        help_heading = "Limits"
    )]
    pub body_bytes_max: u32,

    /// How long a connection without a request is kept: for longer than the load balancers in front of Postern reuse theirs.
    /// When there is no place for a new connection, the one that has been idle for longest is closed before.
    #[arg(
        long,
        env = "POSTERN_IDLE_TIMEOUT", hide_env_values = true,
        value_name = "DURATION",
        default_value = "620s",
        value_parser = duration,
        help_heading = "Limits"
    )]
    pub idle_timeout: ConfigDuration,

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
}
