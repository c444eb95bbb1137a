//! The flags of `postern explain`.

use clap::{Args, Subcommand};

use super::{duration, token_lifetime};
use crate::api::client_secret::LifetimePolicy;
use crate::api::duration::ConfigDuration;
use crate::explain::{Output, Question, Settings};

/// What to explain, and by which settings of the operator.
#[derive(Args, Clone, Debug)]
pub struct ExplainArgs {
    /// What to explain.
    #[command(subcommand)]
    pub what: What,

    /// Text for people, or JSON.
    #[arg(short, long, value_enum, default_value_t, global = true)]
    pub output: Output,

    /// Namespace of the operator, where revoked tokens are noted.
    #[arg(
        long,
        env = "POSTERN_NAMESPACE",
        hide_env_values = true,
        value_name = "NAME",
        default_value = "postern-system",
        global = true,
        help_heading = "Settings of the operator"
    )]
    pub namespace: String,

    /// Issuer identifier. Without it, it is not told whether a token is of another issuer.
    #[arg(
        long,
        env = "POSTERN_ISSUER",
        hide_env_values = true,
        value_name = "URL",
        global = true,
        help_heading = "Settings of the operator"
    )]
    pub issuer: Option<String>,

    /// The most ClientSecrets of one Application that count.
    #[arg(
        long,
        env = "POSTERN_SECRETS_PER_APPLICATION", hide_env_values = true,
        value_name = "NUMBER",
        default_value_t = 20,
        value_parser = clap::value_parser!(u16).range(1..=1000),
        global = true,
        help_heading = "Settings of the operator"
    )]
    pub secrets_per_application: u16,

    /// Longest life of a ClientSecret's version.
    #[arg(
        long,
        env = "POSTERN_SECRET_LIFETIME_MAX", hide_env_values = true,
        value_name = "DURATION",
        value_parser = duration,
        global = true,
        help_heading = "Settings of the operator"
    )]
    pub secret_lifetime_max: Option<ConfigDuration>,

    /// `expiresIn: Never` counts as a year.
    #[arg(
        long,
        env = "POSTERN_FORBID_NEVER",
        hide_env_values = true,
        global = true,
        help_heading = "Settings of the operator"
    )]
    pub forbid_never: bool,

    /// Longest life of a token.
    #[arg(
        long,
        env = "POSTERN_TOKEN_LIFETIME_MAX", hide_env_values = true,
        value_name = "DURATION",
        default_value = "24h",
        value_parser = token_lifetime,
        global = true,
        help_heading = "Settings of the operator"
    )]
    pub token_lifetime_max: ConfigDuration,
}

/// What to explain.
#[derive(Clone, Debug, Subcommand)]
pub enum What {
    /// A client: its permissions and where each comes from, its groups, and its secrets.
    Client {
        /// The client id, or NAMESPACE/NAME of the Application.
        client: String,
    },
    /// An access token (JWT): whether something speaks against it now, and what is left of its scopes. Its signature is
    /// not checked.
    Token {
        /// The token; - reads it from standard input, which keeps it out of the shell's history and of the list of
        /// processes.
        token: String,
    },
}

impl ExplainArgs {
    /// What is asked.
    #[must_use]
    pub fn question(&self) -> Question {
        match &self.what {
            What::Client { client } => Question::Client(client.clone()),
            What::Token { token } => Question::Token(token.clone()),
        }
    }

    /// The settings of the operator.
    #[must_use]
    pub fn settings(&self) -> Settings {
        Settings {
            secrets_per_application: usize::from(self.secrets_per_application),
            lifetime: LifetimePolicy {
                max: self.secret_lifetime_max.as_ref().map(ConfigDuration::length),
                forbid_never: self.forbid_never,
            },
            token_lifetime_max: self.token_lifetime_max.length(),
            namespace: self.namespace.clone(),
            issuer: self.issuer.clone(),
        }
    }
}
