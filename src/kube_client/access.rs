//! The flags of kubectl that select a cluster, a user and a namespace.

use std::path::PathBuf;

use kube::Config;
use kube::config::{InferConfigError, KubeConfigOptions, Kubeconfig, KubeconfigError};

use super::{adjusted, infer};

/// The values of the flags. Without them: the current context of the kubeconfig, or the ServiceAccount of the pod.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// The kubeconfig file.
    pub kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig.
    pub context: Option<String>,
    /// The namespace that replaces that of the context.
    pub namespace: Option<String>,
    /// The user to impersonate.
    pub user: Option<String>,
    /// The groups to impersonate.
    pub groups: Vec<String>,
}

/// The flags do not lead to a usable configuration of the API server.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// A flag selects from a kubeconfig that cannot be used.
    #[error("the kubeconfig cannot be used: correct --kubeconfig, --context or KUBECONFIG")]
    Kubeconfig(#[source] Box<KubeconfigError>),
    /// No flag was given, and no API server is configured.
    #[error(
        "no Kubernetes API server is configured: give --kubeconfig, set KUBECONFIG, or run in a pod with a ServiceAccount"
    )]
    Nowhere(#[source] Box<InferConfigError>),
    /// Groups were given without a user.
    #[error("--as-group needs --as: give the user who is a member of the group too")]
    GroupsWithoutUser,
}

impl Access {
    /// The configuration that the flags select.
    ///
    /// # Errors
    /// There is none, or the flags contradict each other.
    pub async fn config(&self) -> Result<Config, AccessError> {
        if self.user.is_none() && !self.groups.is_empty() {
            return Err(AccessError::GroupsWithoutUser);
        }
        let mut config = match (&self.kubeconfig, &self.context) {
            (None, None) => infer().await.map_err(|error| AccessError::Nowhere(Box::new(error)))?,
            _ => self.chosen().await.map_err(|error| AccessError::Kubeconfig(Box::new(error)))?,
        };
        if let Some(namespace) = &self.namespace {
            config.default_namespace.clone_from(namespace);
        }
        if let Some(user) = &self.user {
            let who = &mut config.auth_info;
            who.impersonate = Some(user.clone());
            who.impersonate_groups = (!self.groups.is_empty()).then(|| self.groups.clone());
            // The UID in the kubeconfig belongs to the user in the kubeconfig.
            who.impersonate_uid = None;
            who.impersonate_user_extra = None;
        }
        Ok(config)
    }

    async fn chosen(&self) -> Result<Config, KubeconfigError> {
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        let config = match &self.kubeconfig {
            Some(path) => Config::from_custom_kubeconfig(Kubeconfig::read_from(path)?, &options).await?,
            None => Config::from_kubeconfig(&options).await?,
        };
        Ok(adjusted(config))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const KUBECONFIG: &str = "
apiVersion: v1
kind: Config
current-context: first
contexts:
- {name: first, context: {cluster: first, user: admin, namespace: billing}}
- {name: second, context: {cluster: second, user: admin}}
clusters:
- {name: first, cluster: {server: 'https://127.0.0.1:1'}}
- {name: second, cluster: {server: 'https://127.0.0.1:2'}}
users:
- {name: admin, user: {token: t, as: root, as-groups: [admins]}}
";

    #[tokio::test]
    async fn each_flag_chooses_as_that_of_kubectl() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kubeconfig");
        fs::write(&path, KUBECONFIG).unwrap();
        let of_the_file = Access { kubeconfig: Some(path), ..Access::default() };
        let config = of_the_file.config().await.unwrap();
        assert_eq!((config.cluster_url.port_u16(), config.default_namespace.as_str()), (Some(1), "billing"));
        assert_eq!(config.auth_info.impersonate.as_deref(), Some("root"), "as the kubeconfig says");

        let second = Access { context: Some("second".to_owned()), ..of_the_file.clone() };
        let config = second.config().await.unwrap();
        assert_eq!((config.cluster_url.port_u16(), config.default_namespace.as_str()), (Some(2), "default"));

        let text = |text: &str| Some(text.to_owned());
        let other = Access { namespace: text("ledger"), user: text("alice"), ..of_the_file.clone() };
        let config = other.config().await.unwrap();
        assert_eq!(config.default_namespace, "ledger");
        assert_eq!(config.auth_info.impersonate, text("alice"));
        assert_eq!(config.auth_info.impersonate_groups, None, "the groups belong to the other user");
        let config = Access { groups: vec!["team".to_owned()], ..other }.config().await.unwrap();
        assert_eq!(config.auth_info.impersonate_groups, Some(vec!["team".to_owned()]));
        let nobody = Access { groups: vec!["team".to_owned()], ..of_the_file };
        assert!(matches!(nobody.config().await, Err(AccessError::GroupsWithoutUser)));
    }

    #[tokio::test]
    async fn a_flag_that_chooses_nothing_does_not_fall_back_to_another_cluster() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kubeconfig");
        let missing = Access { kubeconfig: Some(path.clone()), ..Access::default() };
        fs::write(folder.path().join("other"), KUBECONFIG).unwrap();
        let context = Access {
            kubeconfig: Some(folder.path().join("other")),
            context: Some("third".to_owned()),
            ..Access::default()
        };
        for access in [missing, context] {
            let refused = access.config().await.unwrap_err();
            assert!(matches!(refused, AccessError::Kubeconfig(_)), "{refused:?}");
        }
    }
}
