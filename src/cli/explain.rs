//! The flags of `postern explain`.

use clap::{Arg, Args, Subcommand};

use super::policy::PolicyArgs;
use crate::explain::{Output, Question, Settings};

/// What to explain, and by which settings of the operator.
#[derive(Args, Clone, Debug)]
#[command(mut_args(setting))]
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
        default_value = "postern-system"
    )]
    pub namespace: String,

    /// Issuer identifier. Without it, it is not told whether a token is of another issuer.
    #[arg(long, env = "POSTERN_ISSUER", hide_env_values = true, value_name = "URL")]
    pub issuer: Option<String>,

    /// Its limits.
    #[command(flatten)]
    pub policy: PolicyArgs,
}

/// What to explain.
#[derive(Clone, Debug, Subcommand)]
pub enum What {
    /// A client: its permissions and where each comes from, its groups, and its secrets.
    Client {
        /// The client id, or NAMESPACE/NAME of the Application.
        client: String,
    },
    /// An AccessGroup: what it gives, to whom it is open, and which verbs you need to create it or to add it to a service
    /// user, and have.
    Group {
        /// Its name.
        group: String,
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
            What::Group { group } => Question::Group(group.clone()),
            What::Token { token } => Question::Token(token.clone()),
        }
    }

    /// The settings of the operator.
    #[must_use]
    pub fn settings(&self) -> Settings {
        Settings {
            secrets_per_application: self.policy.secrets_per_application(),
            lifetime: self.policy.lifetime(),
            namespace_location: self.policy.namespace_location(),
            token_lifetime_max: self.policy.token_lifetime_max.length(),
            namespace: self.namespace.clone(),
            issuer: self.issuer.clone(),
        }
    }
}

/// A setting of the operator may be given anywhere on the command line, and is listed as one.
fn setting(arg: Arg) -> Arg {
    if arg.get_env().is_some() { arg.global(true).help_heading("Settings of the operator") } else { arg }
}
