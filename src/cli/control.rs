//! Flags of the controller, which writes Secrets and status.

use std::path::PathBuf;

use clap::Args;

use super::{duration_or_never, subject_alt_name};
use crate::api::duration::DurationOrNever;

/// How credentials are issued.
#[derive(Args, Clone, Debug)]
pub struct ControlArgs {
    /// Additional DNS name or IP address of the certificate that Postern makes. The flag can be repeated. It cannot be
    /// combined with your own certificate. The certificate always contains the issuer's host, localhost and 127.0.0.1.
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

    /// Do not restart workloads. A rotation with `spec.rotation.rollout` waits until a user has restarted the
    /// workloads.
    #[arg(long, env = "POSTERN_NO_ROLLOUT", hide_env_values = true)]
    pub no_rollout: bool,

    /// Do not make a certificate. The serving processes need one of yours (`--tls-cert-file`).
    #[arg(long, env = "POSTERN_NO_CERTIFICATE", hide_env_values = true, help_heading = "TLS")]
    pub no_certificate: bool,

    /// PEM file with the CA of the certificate that clients see, if Postern does not make that certificate: the CA of
    /// your certificate, or of the certificate of a proxy in front. Delivered Secrets contain it as ca.crt. Postern
    /// reads the file again when it changes. A file that does not exist means no CA.
    #[arg(long, env = "POSTERN_CA_FILE", hide_env_values = true, value_name = "FILE", help_heading = "TLS")]
    pub ca_file: Option<PathBuf>,

    /// How long a signing key signs before another one replaces it, or Never. The annotation `postern.dev/rotate` on the
    /// Secret postern-signing-keys requests a rotation at any time.
    #[arg(
        long,
        env = "POSTERN_SIGNING_KEY_ROTATION", hide_env_values = true,
        value_name = "DURATION|Never",
        default_value = "90d",
        value_parser = duration_or_never,
        help_heading = "Keys"
    )]
    pub signing_key_rotation: DurationOrNever,

    /// How long a key encrypts opaque tokens before another one replaces it, or Never.
    #[arg(
        long,
        env = "POSTERN_TOKEN_KEY_ROTATION", hide_env_values = true,
        value_name = "DURATION|Never",
        default_value = "6h",
        value_parser = duration_or_never,
        help_heading = "Keys"
    )]
    pub token_key_rotation: DurationOrNever,

    /// How long an install key protects new credentials before another one replaces it, or Never. The annotation
    /// `postern.dev/rotate` on the Secret postern-install-key requests a rotation at any time.
    #[arg(
        long,
        env = "POSTERN_INSTALL_KEY_ROTATION", hide_env_values = true,
        value_name = "DURATION|Never",
        default_value = "1y",
        value_parser = duration_or_never,
        help_heading = "Keys"
    )]
    pub install_key_rotation: DurationOrNever,

    /// After the loss of the install key, adopt the values of delivered Secrets without a proof that Postern wrote
    /// them. The flag applies once to each ClientSecret that is older than the new key and has no version. Remove the
    /// flag after that start.
    #[arg(long, env = "POSTERN_ADOPT_UNVERIFIED_SECRETS", hide_env_values = true)]
    pub adopt_unverified_secrets: bool,
}
