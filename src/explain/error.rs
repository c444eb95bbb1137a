//! Why something cannot be explained.

use crate::kube_client::AccessError;

/// Why something cannot be explained.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// Invalid reference to a client.
    #[error("a client is named by its client id, or by its Application as NAME or NAMESPACE/NAME")]
    ClientName,
    /// Two Applications match.
    #[error(
        "{text} is the client id of Application {by_id} and the name of Application {by_name}: write NAMESPACE/NAME"
    )]
    AmbiguousClient {
        /// The requested client.
        text: String,
        /// The Application with that client id, with its namespace.
        by_id: String,
        /// The Application with that name, with its namespace.
        by_name: String,
    },
    /// The flag and the reference to the client have different namespaces.
    #[error("--namespace is {flag} and the client is named {named}: leave one of the two namespaces out")]
    OtherNamespace {
        /// The namespace of the flag.
        flag: String,
        /// The name, with its namespace.
        named: String,
    },
    /// An opaque token.
    #[error(
        "an opaque token (pat_…) says nothing without the install's key: ask the introspection endpoint \
         (/oauth2/introspect), and explain the client_id that it names"
    )]
    Opaque,
    /// Not a Postern access token.
    #[error("this is no access token of Postern's: a JWT with its claims was expected")]
    NotAToken,
    /// No Application that the caller may read claims the client id.
    #[error("no Application with this client id was found, or you may not see it")]
    NoClient,
    /// Neither a client id nor the name of an Application.
    #[error(
        "no Application with this client id or name in namespace {namespace} was found, or you may not see it: correct it, or choose the namespace with --namespace (-n)"
    )]
    NoClientOrName {
        /// Where the name was searched.
        namespace: String,
    },
    /// The object does not exist.
    #[error(
        "Application {name} does not exist in namespace {namespace}: correct the name, or choose the namespace with --namespace (-n)"
    )]
    NoApplication {
        /// Its name.
        name: String,
        /// Where it was searched.
        namespace: String,
    },
    /// The object does not exist.
    #[error("no AccessGroup has this name")]
    NoGroup,
    /// The API server did not report which verbs the caller has.
    #[error("could not ask which verbs you have")]
    Review(#[source] Box<kube::Error>),
    /// The caller lacks a permission that the explanation requires.
    #[error("you may not list {resource}.postern.dev in {place}: {remedy}")]
    Forbidden {
        /// Plural of the kind.
        resource: String,
        /// The namespace, or all of them.
        place: String,
        /// The remedy.
        remedy: &'static str,
    },
    /// The caller may not act as the user of the flag.
    #[error("you may not act as this user: ask for the verb impersonate on it, or leave --as and --as-group out")]
    Impersonation(#[source] Box<kube::Error>),
    /// The flags select no API server.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The configured connection cannot be used.
    #[error("the Kubernetes client cannot be set up")]
    Connection(#[source] Box<kube::Error>),
    /// The API server returned an unexpected response.
    #[error("could not list {resource}")]
    Api {
        /// Plural of the kind, with its group.
        resource: String,
        /// Its message.
        source: Box<kube::Error>,
    },
    /// Reading or writing failed.
    #[error("could not read or write")]
    Io(#[from] std::io::Error),
}

impl ExplainError {
    /// 2 for an invalid argument, as for an invalid flag; 1 for all other errors.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::ClientName
            | Self::AmbiguousClient { .. }
            | Self::OtherNamespace { .. }
            | Self::Opaque
            | Self::NotAToken
            | Self::Access(AccessError::Kubeconfig(_) | AccessError::GroupsWithoutUser) => 2,
            Self::NoClient
            | Self::NoClientOrName { .. }
            | Self::NoApplication { .. }
            | Self::NoGroup
            | Self::Review(_)
            | Self::Forbidden { .. }
            | Self::Impersonation(_)
            | Self::Access(AccessError::Nowhere(_))
            | Self::Connection(_)
            | Self::Api { .. }
            | Self::Io(_) => 1,
        }
    }
}
