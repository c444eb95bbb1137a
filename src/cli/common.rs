//! Flags of every process: names of the installation, monitoring addresses, and the operator's limits.

use std::net::SocketAddr;

use clap::Args;

use super::duration;
use super::outbound::OutboundArgs;
use super::policy::PolicyArgs;
use crate::api::duration::ConfigDuration;

/// Flags that `run`, `serve` and `control` have in common. The processes of an installation get the same values.
#[derive(Args, Clone, Debug)]
pub struct CommonArgs {
    /// Issuer identifier (RFC 8414): the URL under which clients reach the endpoint, without query and fragment.
    /// It becomes `iss` of every token, byte for byte.
    #[arg(long, env = "POSTERN_ISSUER", hide_env_values = true, value_name = "URL")]
    pub issuer: String,

    /// Serve plain HTTP. Set it only if a proxy in front of Postern terminates TLS.
    #[arg(long, env = "POSTERN_INSECURE_HTTP", hide_env_values = true, help_heading = "TLS")]
    pub insecure_http: bool,

    /// Namespace of the operator. It contains the keys, the certificate and the leases.
    #[arg(
        long,
        env = "POSTERN_NAMESPACE",
        hide_env_values = true,
        value_name = "NAME",
        default_value = "postern-system"
    )]
    pub namespace: String,

    /// Name of this process in leases and events. Each process needs a different name. Default: host name and process
    /// id.
    #[arg(
        long,
        env = "POSTERN_REPLICA_NAME", hide_env_values = true,
        value_name = "NAME",
        default_value_t = own_name(),
        hide_default_value = true
    )]
    pub replica_name: String,

    /// Address of /livez and /readyz (plain HTTP). [::] means every IPv6 and IPv4 address.
    #[arg(
        long,
        env = "POSTERN_HEALTH_LISTEN",
        hide_env_values = true,
        value_name = "ADDRESS:PORT",
        default_value = "[::]:8081"
    )]
    pub health_listen: SocketAddr,

    /// Address of /metrics (plain HTTP). [::] means every IPv6 and IPv4 address.
    #[arg(
        long,
        env = "POSTERN_METRICS_LISTEN",
        hide_env_values = true,
        value_name = "ADDRESS:PORT",
        default_value = "[::]:9090"
    )]
    pub metrics_listen: SocketAddr,

    /// Require a bearer token at /metrics. The API server must authenticate the token (TokenReview), and its user must
    /// have the right to `get` the URL /metrics (SubjectAccessReview).
    #[arg(long, env = "POSTERN_METRICS_AUTH", hide_env_values = true)]
    pub metrics_auth: bool,

    /// What the operator allows.
    #[command(flatten)]
    pub policy: PolicyArgs,

    /// Which hosts may be requested.
    #[command(flatten)]
    pub outbound: OutboundArgs,

    /// Times before the expiry of a ClientSecret at which Postern reports a warning, as a condition, an event and a
    /// metric. Each warning is reported once.
    #[arg(
        long,
        env = "POSTERN_EXPIRY_WARNINGS", hide_env_values = true,
        value_name = "DURATION,…",
        default_value = "30d,7d,1d",
        value_delimiter = ',',
        value_parser = duration
    )]
    pub expiry_warnings: Vec<ConfigDuration>,

    /// How often a replica reports which secrets and which methods were used. `lastUsedAt` in the status of ClientSecrets and
    /// Applications follows at most half a minute later.
    #[arg(
        long,
        env = "POSTERN_LAST_USE_INTERVAL", hide_env_values = true,
        value_name = "DURATION",
        default_value = "20s",
        value_parser = duration,
        overrides_with = "last_use_interval"
    )]
    pub last_use_interval: ConfigDuration,

    /// How long tokens are issued from the last synced state while the API server cannot be reached. A replaced signing key
    /// is accepted for that long in addition.
    #[arg(
        long,
        env = "POSTERN_STALENESS_MAX", hide_env_values = true,
        value_name = "DURATION",
        default_value = "24h",
        value_parser = duration,
        help_heading = "Limits"
    )]
    pub staleness_max: ConfigDuration,

    /// How long APIs may cache the key set: `max-age` of the JWK Set and of the metadata. A new signing key is published
    /// for twice as long before it signs.
    #[arg(
        long,
        env = "POSTERN_JWKS_MAX_AGE", hide_env_values = true,
        value_name = "DURATION",
        default_value = "5m",
        value_parser = duration,
        help_heading = "Keys"
    )]
    pub jwks_max_age: ConfigDuration,

    /// Minimum level of log lines (error, warn, info, debug or trace), or directives such as `postern=debug,kube=info`.
    #[arg(long, env = "POSTERN_LOG_LEVEL", hide_env_values = true, value_name = "FILTER", default_value = "info")]
    pub log_level: String,
}

fn own_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}-{}", host.trim(), std::process::id())
}
