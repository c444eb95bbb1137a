//! A user with limited rights; an admin may do everything.

use std::ops::Deref;
use std::path::PathBuf;

use kube::config::Kubeconfig;
use serde_json::{Value, json};

use super::controlplane::OPERATOR_NAMESPACE;
use super::eventually::{ensure, eventually};
use super::kubernetes::{Kubernetes, api_version};
use super::test_namespace::TestNamespace;

/// Verb, API group and resource.
type Right<'a> = (&'a str, &'a str, &'a str);

/// A person or a ServiceAccount that may do nothing yet.
pub struct User<'a> {
    /// As the API server knows them.
    pub name: String,
    kubernetes: Kubernetes,
    subject: Value,
    tenant: &'a TestNamespace,
}

impl<'a> User<'a> {
    /// A person, whom an admin impersonates.
    pub async fn person(tenant: &'a TestNamespace, name: &str) -> Self {
        let name = tenant.unique_name(name);
        let kubernetes = Kubernetes::impersonating(&tenant.cluster.controlplane.kubeconfig(), &name).await;
        let subject = json!({"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": name});
        Self { name, kubernetes, subject, tenant }
    }

    /// A ServiceAccount of the tenant's namespace, by its token.
    pub async fn service_account(tenant: &'a TestNamespace, name: &str) -> Self {
        let namespace = &tenant.namespace;
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}});
        tenant.apply(&account).await;
        let token = tenant.cluster.controlplane.run("kubectl", &["create", "token", name, "--namespace", namespace]);
        let kubeconfig = tenant.cluster.controlplane.kubeconfig();
        let kubernetes = Kubernetes::connect_with(&kubeconfig, |auth| {
            *auth = serde_json::from_value(json!({"token": token.trim()})).expect("credentials");
        })
        .await;
        let subject = json!({"kind": "ServiceAccount", "namespace": namespace, "name": name});
        Self { name: format!("system:serviceaccount:{namespace}:{name}"), kubernetes, subject, tenant }
    }

    /// The operator's own ServiceAccounts, which an admin impersonates: the audit log does not take them for the operator.
    pub async fn operators(tenant: &'a TestNamespace) -> Vec<Self> {
        let mut users = Vec::new();
        for account in tenant.cluster.operator_accounts().await {
            let name = format!("system:serviceaccount:{OPERATOR_NAMESPACE}:{account}");
            let kubernetes = Kubernetes::impersonating(&tenant.cluster.controlplane.kubeconfig(), &name).await;
            let subject = json!({"kind": "ServiceAccount", "namespace": OPERATOR_NAMESPACE, "name": account});
            users.push(Self { name, kubernetes, subject, tenant });
        }
        users
    }

    /// A kubeconfig in which an admin acts as them in the tenant's namespace, for a program.
    pub fn kubeconfig(&self) -> PathBuf {
        let controlplane = &self.tenant.cluster.controlplane;
        let mut kubeconfig = Kubeconfig::read_from(controlplane.kubeconfig()).expect("read the kubeconfig");
        for named in &mut kubeconfig.auth_infos {
            named.auth_info.get_or_insert_default().impersonate = Some(self.name.clone());
        }
        for context in kubeconfig.contexts.iter_mut().filter_map(|named| named.context.as_mut()) {
            context.namespace = Some(self.tenant.namespace.clone());
        }
        let path = controlplane.scratch().join(format!("{}.kubeconfig", self.name.replace(':', "-")));
        std::fs::write(&path, serde_json::to_string(&kubeconfig).expect("JSON")).expect("write a kubeconfig");
        path
    }

    /// One of each, because no rule may distinguish them.
    pub async fn of_both_sorts(tenant: &'a TestNamespace, name: &str) -> [Self; 2] {
        [Self::person(tenant, name).await, Self::service_account(tenant, name).await]
    }

    /// Gives them a ClusterRole in the tenant's namespace, and waits until it counts for `right`.
    pub async fn with_role(self, role: &str, right: Right<'_>) -> Self {
        self.bind("RoleBinding", role).await;
        self.comes_to_have(right, &self.tenant.namespace, "").await;
        self
    }

    /// Makes them one of the team: Kubernetes' role `edit` in the tenant's namespace.
    pub async fn edits(self) -> Self {
        self.with_role("edit", ("create", "postern.dev", "serviceusers")).await
    }

    /// Gives them a ClusterRole in the whole cluster, and waits until it counts for `right`.
    pub async fn with_role_everywhere(self, role: &str, right: Right<'_>) -> Self {
        self.bind("ClusterRoleBinding", role).await;
        self.comes_to_have(right, "", "").await;
        self
    }

    /// Gives them a right in the whole cluster, on the objects of these names; on all of them without names.
    pub async fn may(&self, verb: &str, group: &str, resource: &str, names: &[&str]) {
        let name = self.own(&format!("{verb}-{resource}"));
        let kind = "ClusterRole";
        let mut right = json!({"apiGroups": [group], "resources": [resource], "verbs": [verb]});
        if !names.is_empty() {
            right["resourceNames"] = json!(names);
        }
        let version = api_version(kind);
        let role = json!({"apiVersion": version, "kind": kind, "metadata": {"name": name}, "rules": [right]});
        self.tenant.apply(&role).await;
        self.bind("ClusterRoleBinding", &name).await;
        let each = if names.is_empty() { &[""] } else { names };
        for one in each {
            self.comes_to_have((verb, group, resource), "", one).await;
        }
    }

    /// Whether they have a right in the tenant's namespace, on the object of this name; without a name, on all.
    pub async fn has(&self, right: Right<'_>, name: &str) -> bool {
        self.has_in(&self.tenant.namespace, right, name).await
    }

    async fn has_in(&self, namespace: &str, (verb, group, resource): Right<'_>, name: &str) -> bool {
        let kind = "SelfSubjectAccessReview";
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let right = json!({
            "verb": verb, "group": group, "resource": resource, "subresource": subresource, "namespace": namespace,
            "name": name,
        });
        let review = json!({"apiVersion": api_version(kind), "kind": kind, "spec": {"resourceAttributes": right}});
        self.create("", &review).await.expect("a review")["status"]["allowed"] == true
    }

    async fn bind(&self, kind: &str, role: &str) {
        let binding = json!({
            "apiVersion": api_version(kind), "kind": kind, "metadata": {"name": self.own(role)},
            "subjects": [self.subject],
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        });
        self.tenant.apply(&binding).await;
    }

    /// The API server learns of new rights by a watch.
    async fn comes_to_have(&self, right: Right<'_>, namespace: &str, name: &str) {
        eventually(format_args!("{} has the right {right:?} on {name:?}", self.name), async || {
            ensure(self.has_in(namespace, right, name).await, "not yet")
        })
        .await;
    }

    fn own(&self, name: &str) -> String {
        format!("{}-{name}", self.name)
    }
}

impl Deref for User<'_> {
    type Target = Kubernetes;

    fn deref(&self) -> &Kubernetes {
        &self.kubernetes
    }
}
