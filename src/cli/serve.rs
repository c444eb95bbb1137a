//! Flags of the token endpoint.

use std::error::Error;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::{ArgGroup, Args, ValueEnum};
use ipnet::IpNet;

use super::{duration, size};
use crate::api::duration::ConfigDuration;
use crate::oauth::mtls_url::MtlsUrl;
use crate::oauth::scope::AudienceScope;

/// A header that names the certificate of a client.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum ClientCertHeader {
    /// `Client-Cert` and `Client-Cert-Chain` (RFC 9440).
    ClientCert,
    /// The header of ingress-nginx, with `$ssl_client_escaped_cert`: percent-encoded PEM.
    SslClientCert,
}

/// How the token endpoint is served.
#[derive(Args, Clone, Debug)]
#[command(group = ArgGroup::new("certificates").multiple(true))]
pub struct ServeArgs {
    /// Address of the token endpoint. [::] means every IPv6 and IPv4 address. On a machine without IPv6 it means
    /// 0.0.0.0.
    #[arg(
        long,
        env = "POSTERN_LISTEN",
        hide_env_values = true,
        value_name = "ADDRESS:PORT",
        default_value = "[::]:8443"
    )]
    pub listen: SocketAddr,

    /// URL of the documentation for developers, for `service_documentation` in the metadata (RFC 8414). It must be an
    /// https URL, or http with --insecure-http.
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

    /// Network of proxies whose header X-Forwarded-For is trusted. The flag can be repeated. The resulting source
    /// address is compared with `networks` of Applications and ClientSecrets, and appears in audit lines. Absent: the
    /// source is the address of the connection.
    #[arg(long, env = "POSTERN_TRUSTED_PROXIES", hide_env_values = true, value_name = "CIDR", value_delimiter = ',')]
    pub trusted_proxies: Vec<IpNet>,

    /// Address of a second listener with the same paths, which requests a certificate of the client in the TLS handshake.
    /// It has the certificate of the endpoint. Absent: no such listener.
    #[arg(
        long,
        env = "POSTERN_MTLS_LISTEN",
        hide_env_values = true,
        value_name = "ADDRESS:PORT",
        group = "certificates",
        requires = "mtls_url",
        conflicts_with = "insecure_http",
        help_heading = "Certificates of clients"
    )]
    pub mtls_listen: Option<SocketAddr>,

    /// URL under which clients reach the listener that requests their certificate, for `mtls_endpoint_aliases` in the
    /// metadata (RFC 8705). It must be an https URL without query.
    #[arg(
        long,
        env = "POSTERN_MTLS_URL",
        hide_env_values = true,
        value_name = "URL",
        requires = "certificates",
        help_heading = "Certificates of clients"
    )]
    pub mtls_url: Option<MtlsUrl>,

    /// CAs (PEM) of the certificates of `tls_client_auth`; read again when the file changes. Absent: clients can use
    /// only `self_signed_tls_client_auth`.
    #[arg(
        long,
        env = "POSTERN_MTLS_CLIENT_CA_FILE",
        hide_env_values = true,
        value_name = "FILE",
        requires = "certificates",
        help_heading = "Certificates of clients"
    )]
    pub mtls_client_ca_file: Option<PathBuf>,

    /// Header in which the proxies of --trusted-proxies name the certificate of their client. Each of them must remove
    /// the header from requests of clients. From other addresses the header is ignored.
    #[arg(
        long,
        env = "POSTERN_CLIENT_CERT_HEADER",
        hide_env_values = true,
        value_name = "HEADER",
        group = "certificates",
        requires = "trusted_proxies",
        help_heading = "Certificates of clients"
    )]
    pub client_cert_header: Option<ClientCertHeader>,

    /// Form of an additional scope that requests an audience, with {id} in place of the audience, for clients of
    /// another server. The scope urn:postern:aud:{id} always works.
    #[arg(
        long,
        env = "POSTERN_AUDIENCE_SCOPE",
        hide_env_values = true,
        value_name = "PATTERN",
        default_value = "urn:zitadel:iam:org:project:id:{id}:aud"
    )]
    pub audience_scope: AudienceScope,

    /// Add the claim created_by to tokens and introspection responses: the user who created the service user. Every API
    /// that receives a token can read that name. Audit lines contain the name even without this flag.
    #[arg(long, env = "POSTERN_CREATED_BY_CLAIM", hide_env_values = true)]
    pub created_by_claim: bool,

    /// How far the exp of a client assertion may be in the future.
    #[arg(
        long,
        env = "POSTERN_ASSERTION_LIFETIME_MAX", hide_env_values = true,
        value_name = "DURATION",
        default_value = "1h",
        value_parser = duration,
    )]
    pub assertion_lifetime_max: ConfigDuration,

    /// Accept client assertions whose aud is the URL of the token endpoint. Without this flag, aud must be the issuer.
    #[arg(long, env = "POSTERN_TOKEN_ENDPOINT_AUDIENCE", hide_env_values = true)]
    pub token_endpoint_audience: bool,

    /// Require a nonce of this installation in each DPoP proof (RFC 9449 §8), so that no proof can be made in advance.
    /// A client without a nonce gets one, and repeats its request; not every client does.
    #[arg(long, env = "POSTERN_DPOP_NONCE_REQUIRED", hide_env_values = true)]
    pub dpop_nonce_required: bool,

    /// Memory that this process may use, such as 256Mi. The limits of connections, requests and bodies follow from it.
    /// Default: the limit of the cgroup, or the memory of the machine.
    #[arg(
        long,
        env = "POSTERN_MEMORY_LIMIT", hide_env_values = true,
        value_name = "BYTES",
        value_parser = size::parse,
        help_heading = "Limits"
    )]
    pub memory_limit: Option<u64>,

    /// Maximum number of concurrent connections to the token endpoint. Default: derived from the memory limit, at most
    /// 4096.
    #[arg(
        long,
        env = "POSTERN_CONNECTIONS_MAX", hide_env_values = true,
        value_name = "NUMBER",
        value_parser = clap::value_parser!(u32).range(1..),
        help_heading = "Limits"
    )]
    pub connections_max: Option<u32>,

    /// Failed authentications a minute of one source network, which is an IPv4 address or an IPv6 /64. Further requests
    /// from the network get the status 429, except those of clients that have authenticated from it. At least 60, which
    /// leaves one attempt a second to other clients behind the same address. 0: no limit.
    #[arg(
        long,
        env = "POSTERN_FAILED_AUTHENTICATIONS_PER_MINUTE", hide_env_values = true,
        value_name = "NUMBER",
        default_value_t = 300,
        value_parser = failures_per_minute,
        overrides_with = "failed_authentications_per_minute",
        help_heading = "Limits"
    )]
    pub failed_authentications_per_minute: u32,

    /// Maximum number of generated secrets that are hashed in one second, by one replica. Further requests that need a
    /// hash get the status 429. A secret that the replica has verified before needs no hash. 0: no limit. Default:
    /// 10000 for each core, which is a fifth of its time.
    #[arg(
        long,
        env = "POSTERN_HASHES_PER_SECOND",
        hide_env_values = true,
        value_name = "NUMBER",
        help_heading = "Limits"
    )]
    pub hashes_per_second: Option<u32>,

    /// Maximum size of a request body, in bytes. Postern does not issue a token that does not fit into a request body.
    #[arg(
        long,
        env = "POSTERN_BODY_BYTES_MAX", hide_env_values = true,
        value_name = "BYTES",
        default_value_t = 65_536,
        value_parser = clap::value_parser!(u32).range(4096..),
        help_heading = "Limits"
    )]
    pub body_bytes_max: u32,

    /// How long a connection without a request stays open. The value must be longer than the keep-alive time-out of
    /// load balancers in front of Postern. If there is no room for a new connection, Postern closes the connection that
    /// has been idle for longest.
    #[arg(
        long,
        env = "POSTERN_IDLE_TIMEOUT", hide_env_values = true,
        value_name = "DURATION",
        default_value = "620s",
        value_parser = duration,
        help_heading = "Limits"
    )]
    pub idle_timeout: ConfigDuration,

    /// Time limit for a TLS handshake, and for the body of a request. The headers of a request have 30s.
    #[arg(
        long,
        env = "POSTERN_READ_TIMEOUT", hide_env_values = true,
        value_name = "DURATION",
        default_value = "10s",
        value_parser = duration,
        help_heading = "Limits"
    )]
    pub read_timeout: ConfigDuration,

    /// Time limit for requests in flight after SIGTERM. It must be shorter than the grace period of the pod.
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

impl ServeArgs {
    /// Failed authentications a minute of one source network; `None`: no limit.
    #[must_use]
    pub fn failures_per_minute(&self) -> Option<NonZeroU32> {
        NonZeroU32::new(self.failed_authentications_per_minute)
    }

    /// Hashes in one second; `None`: no limit.
    #[must_use]
    pub fn hashes_per_second(&self, cores: usize) -> Option<NonZeroU32> {
        let default = || HASHES_PER_CORE.saturating_mul(u32::try_from(cores).unwrap_or(u32::MAX));
        NonZeroU32::new(self.hashes_per_second.unwrap_or_else(default))
    }
}

/// Hashes of generated values in one second, for each core: at 20 µs a fifth of its time. A start of ten thousand clients
/// at once takes a second on one core.
const HASHES_PER_CORE: u32 = 10_000;
/// The smallest limit: at least one attempt in each second.
const FAILURES_MIN: u32 = 60;

fn failures_per_minute(text: &str) -> Result<u32, Box<dyn Error + Send + Sync>> {
    let number = text.parse().ok().filter(|number| *number == 0 || *number >= FAILURES_MIN);
    number.ok_or_else(|| format!("must be 0, or a number from {FAILURES_MIN}").into())
}
