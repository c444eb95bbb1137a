//! Why something cannot be explained.

/// Why something cannot be explained.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// Neither form of a client's name.
    #[error("a client is named by its client id, a UUID in lower case, or by its Application as NAMESPACE/NAME")]
    ClientName,
    /// An opaque token.
    #[error(
        "an opaque token (pat_…) says nothing without the install's key: ask the introspection endpoint \
         (/oauth2/introspect), and explain the client_id that it names"
    )]
    Opaque,
    /// Not one of our access tokens.
    #[error("this is no access token of Postern's: a JWT with its claims was expected")]
    NotAToken,
    /// Nobody claims it, as far as the caller may see.
    #[error("no Application has this client id or name, as far as you may look")]
    NoClient,
    /// There is none.
    #[error("no AccessGroup has this name")]
    NoGroup,
    /// The API server did not say which verbs the caller has.
    #[error("could not ask which verbs you have")]
    Review(#[source] Box<kube::Error>),
    /// The caller lacks a right without which there is nothing to explain.
    #[error("you may not list {resource}.postern.dev in {place}: {remedy}")]
    Forbidden {
        /// Plural of the kind.
        resource: String,
        /// Which namespace, or all of them.
        place: String,
        /// What to do.
        remedy: &'static str,
    },
    /// No way to reach an API server is configured.
    #[error("no Kubernetes API server is configured: set KUBECONFIG, or run in a pod with a ServiceAccount")]
    Config(#[source] Box<kube::config::InferConfigError>),
    /// The configured way cannot be used.
    #[error("the Kubernetes client cannot be set up")]
    Connection(#[source] Box<kube::Error>),
    /// The API server did not answer as it should.
    #[error("could not list {resource}")]
    Api {
        /// Plural of the kind, with its group.
        resource: String,
        /// What it said.
        source: Box<kube::Error>,
    },
    /// Reading or writing failed.
    #[error("could not read or write")]
    Io(#[from] std::io::Error),
}

impl ExplainError {
    /// 2 where another question has to be asked, as for a bad flag; 1 for everything else.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::ClientName | Self::Opaque | Self::NotAToken => 2,
            Self::NoClient
            | Self::NoGroup
            | Self::Review(_)
            | Self::Forbidden { .. }
            | Self::Config(_)
            | Self::Connection(_)
            | Self::Api { .. }
            | Self::Io(_) => 1,
        }
    }
}
