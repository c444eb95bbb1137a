//! The flags of `postern explain`.

use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use clap::{Arg, Args, Subcommand};

use super::policy::PolicyArgs;
use crate::explain::{Access, Output, Question, Settings};

/// What to explain, and by which settings of the operator.
#[derive(Args, Clone, Debug)]
#[command(mut_args(setting))]
pub struct ExplainArgs {
    /// What to explain.
    #[command(subcommand)]
    pub what: What,

    /// Output format.
    #[arg(short, long, value_enum, default_value_t, global = true)]
    pub output: Output,

    /// Which cluster, as whom.
    #[command(flatten)]
    pub access: AccessArgs,

    /// Namespace of the operator, which contains the list of revoked tokens.
    #[arg(
        long,
        env = "POSTERN_NAMESPACE",
        hide_env_values = true,
        value_name = "NAME",
        default_value = "postern-system"
    )]
    pub operator_namespace: String,

    /// Issuer identifier. Absent: the issuer of a token is not checked.
    #[arg(long, env = "POSTERN_ISSUER", hide_env_values = true, value_name = "URL")]
    pub issuer: Option<String>,

    /// Its limits.
    #[command(flatten)]
    pub policy: PolicyArgs,
}

/// The flags of kubectl that choose a cluster, a user and a namespace.
#[derive(Args, Clone, Debug)]
pub struct AccessArgs {
    /// The kubeconfig file. Default: KUBECONFIG, or ~/.kube/config.
    #[arg(long, global = true, value_name = "FILE", help_heading = "Cluster")]
    pub kubeconfig: Option<PathBuf>,

    /// The context of the kubeconfig. Default: its current context.
    #[arg(long, global = true, value_name = "NAME", value_parser = NonEmptyStringValueParser::new(), help_heading = "Cluster")]
    pub context: Option<String>,

    /// The namespace of an Application that you name without a namespace. For `audience`, the only namespace to list.
    /// Default: the namespace of the context, and for `audience` all namespaces.
    #[arg(
        short,
        long,
        global = true,
        value_name = "NAME",
        value_parser = NonEmptyStringValueParser::new(),
        help_heading = "Cluster"
    )]
    pub namespace: Option<String>,

    /// Impersonate this user. You need the verb `impersonate` on it.
    #[arg(
        long = "as",
        global = true,
        value_name = "USER",
        value_parser = NonEmptyStringValueParser::new(),
        help_heading = "Cluster"
    )]
    pub user: Option<String>,

    /// Impersonate a member of this group. It requires --as. The flag can be repeated.
    #[arg(
        long = "as-group",
        global = true,
        value_name = "GROUP",
        value_parser = NonEmptyStringValueParser::new(),
        help_heading = "Cluster"
    )]
    pub groups: Vec<String>,
}

/// What to explain.
#[derive(Clone, Debug, Subcommand)]
pub enum What {
    /// Explain an API: the Applications that can call it, their ClientSecrets, and the last use of each.
    Audience {
        /// The audience, as AccessGroups have it in spec.permissions.
        audience: String,
    },
    /// Explain a client: its permissions with the origin of each, its groups, and its secrets.
    Client {
        /// The client id, or the Application as NAME or NAMESPACE/NAME.
        client: String,
    },
    /// Explain an AccessGroup: its permissions, the namespaces that it admits, and the verbs that you have and need to
    /// create it or to add it to a service user.
    Group {
        /// Name of the AccessGroup.
        group: String,
    },
    /// Explain an access token (JWT): the reasons to reject it, and its effective scopes. The signature is not checked.
    Token {
        /// The token. - reads it from standard input, so that it does not appear in the shell history and the process
        /// list.
        token: String,
    },
}

impl ExplainArgs {
    /// The question.
    #[must_use]
    pub fn question(&self) -> Question {
        match &self.what {
            What::Audience { audience } => Question::Audience(audience.clone()),
            What::Client { client } => Question::Client(client.clone()),
            What::Group { group } => Question::Group(group.clone()),
            What::Token { token } => Question::Token(token.clone()),
        }
    }

    /// The connection to the API server.
    #[must_use]
    pub fn access(&self) -> Access {
        let AccessArgs { kubeconfig, context, namespace, user, groups } = self.access.clone();
        Access { kubeconfig, context, namespace, user, groups }
    }

    /// The settings of the operator.
    #[must_use]
    pub fn settings(&self) -> Settings {
        Settings {
            secrets_per_application: self.policy.secrets_per_application(),
            lifetime: self.policy.lifetime(),
            namespace_location: self.policy.namespace_location(),
            token_lifetime_max: self.policy.token_lifetime_max.length(),
            lockout: self.policy.lockout(),
            token_requests_per_minute: self.policy.token_requests_per_minute,
            restored_at: self.policy.restored_at,
            operator_namespace: self.operator_namespace.clone(),
            issuer: self.issuer.clone(),
        }
    }
}

/// A setting of the operator is a global flag, and is listed as one.
fn setting(arg: Arg) -> Arg {
    if arg.get_env().is_some() { arg.global(true).help_heading("Settings of the operator") } else { arg }
}
