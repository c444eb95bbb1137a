//! The Kubernetes API as JSON. Untyped on purpose: what is tested is what a user writes and reads.

use std::path::Path;

use axum::http::{Request, header};
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams,
};
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde::Serialize;
use serde_json::{Value, json};

/// A connection as an admin or a [`super::User`], for one test: it cannot be shared, because each test has its runtime.
#[derive(Clone)]
pub struct Kubernetes {
    client: Client,
}

/// Kind, API group, version, plural, and whether it lives in a namespace.
const KINDS: [(&str, &str, &str, &str, bool); 30] = [
    ("AccessGroup", "postern.dev", "v1alpha1", "accessgroups", false),
    ("ServiceUser", "postern.dev", "v1alpha1", "serviceusers", true),
    ("Application", "postern.dev", "v1alpha1", "applications", true),
    ("ClientSecret", "postern.dev", "v1alpha1", "clientsecrets", true),
    ("ReplicaState", "postern.dev", "v1alpha1", "replicastates", true),
    ("Secret", "", "v1", "secrets", true),
    ("Deployment", "apps", "v1", "deployments", true),
    ("StatefulSet", "apps", "v1", "statefulsets", true),
    ("DaemonSet", "apps", "v1", "daemonsets", true),
    ("Pod", "", "v1", "pods", true),
    ("ResourceQuota", "", "v1", "resourcequotas", true),
    ("ConfigMap", "", "v1", "configmaps", true),
    ("Namespace", "", "v1", "namespaces", false),
    ("Event", "events.k8s.io", "v1", "events", true),
    ("ClusterRole", "rbac.authorization.k8s.io", "v1", "clusterroles", false),
    ("ClusterRoleBinding", "rbac.authorization.k8s.io", "v1", "clusterrolebindings", false),
    ("Role", "rbac.authorization.k8s.io", "v1", "roles", true),
    ("RoleBinding", "rbac.authorization.k8s.io", "v1", "rolebindings", true),
    ("SelfSubjectAccessReview", "authorization.k8s.io", "v1", "selfsubjectaccessreviews", false),
    ("ServiceAccount", "", "v1", "serviceaccounts", true),
    ("Pod", "", "v1", "pods", true),
    ("Lease", "coordination.k8s.io", "v1", "leases", true),
    ("MutatingAdmissionPolicy", "admissionregistration.k8s.io", "v1", "mutatingadmissionpolicies", false),
    ("MutatingAdmissionPolicyBinding", "admissionregistration.k8s.io", "v1", "mutatingadmissionpolicybindings", false),
    ("ValidatingAdmissionPolicy", "admissionregistration.k8s.io", "v1", "validatingadmissionpolicies", false),
    (
        "ValidatingAdmissionPolicyBinding",
        "admissionregistration.k8s.io",
        "v1",
        "validatingadmissionpolicybindings",
        false,
    ),
    ("ValidatingWebhookConfiguration", "admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations", false),
    // Of cert-manager.
    ("Certificate", "cert-manager.io", "v1", "certificates", true),
    ("ClusterIssuer", "cert-manager.io", "v1", "clusterissuers", false),
    ("CustomResourceDefinition", "apiextensions.k8s.io", "v1", "customresourcedefinitions", false),
];

impl Kubernetes {
    /// Connects with the credentials of a kubeconfig.
    pub async fn connect(kubeconfig: &Path) -> Self {
        Self::connect_with(kubeconfig, |_| {}).await
    }

    /// Connects as an admin who impersonates a user.
    pub async fn impersonating(kubeconfig: &Path, user: &str) -> Self {
        Self::connect_with(kubeconfig, |auth| auth.impersonate = Some(user.to_owned())).await
    }

    /// Connects to the same API server with what `credentials` makes of those in a kubeconfig.
    pub async fn connect_with(kubeconfig: &Path, credentials: impl FnOnce(&mut AuthInfo)) -> Self {
        let kubeconfig = Kubeconfig::read_from(kubeconfig).expect("read the kubeconfig");
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
        let mut config = config.expect("a usable kubeconfig");
        credentials(&mut config.auth_info);
        Self { client: Client::try_from(config).expect("a client") }
    }

    /// Creates an object, as `kubectl create` does. `Err` is the API server's message.
    pub async fn create(&self, namespace: &str, object: &Value) -> Result<Value, String> {
        self.post(namespace, object, "").await
    }

    /// Asks what the API server would say of a new object.
    pub async fn try_create(&self, namespace: &str, object: &Value) -> Result<Value, String> {
        self.post(namespace, object, "dryRun=All").await
    }

    async fn post(&self, namespace: &str, object: &Value, query: &str) -> Result<Value, String> {
        let api = self.api(kind_of(object), namespace);
        let url = format!("{}?fieldValidation=Strict&{query}", api.resource_url());
        let request = Request::post(url).header(header::CONTENT_TYPE, "application/json");
        let request = request.body(object.to_string().into_bytes()).expect("a request");
        answer(self.client.request::<Value>(request).await)
    }

    /// Applies an object on the server's side, as a GitOps tool does.
    pub async fn apply(&self, namespace: &str, object: &Value) -> Value {
        let applied = self.try_apply(namespace, object).await;
        applied.unwrap_or_else(|refusal| panic!("{object:#}\nwas refused: {refusal}"))
    }

    /// The same where it may be refused. `Err` is the API server's message.
    pub async fn try_apply(&self, namespace: &str, object: &Value) -> Result<Value, String> {
        let name = object["metadata"]["name"].as_str().expect("a name");
        let parameters = PatchParams::apply("cluster-tests").force();
        answer(self.api(kind_of(object), namespace).patch(name, &parameters, &Patch::Apply(object)).await)
    }

    /// The same without effect, and strict: unknown and repeated fields are refused.
    pub async fn try_apply_dry(&self, namespace: &str, object: &Value) -> Result<Value, String> {
        let name = object["metadata"]["name"].as_str().expect("a name");
        let parameters = PatchParams::apply("cluster-tests").force().dry_run().validation_strict();
        answer(self.api(kind_of(object), namespace).patch(name, &parameters, &Patch::Apply(object)).await)
    }

    /// Replaces an object as a whole, as `kubectl replace` does. `Err` is the API server's message.
    pub async fn replace(&self, namespace: &str, object: &Value) -> Result<Value, String> {
        let name = object["metadata"]["name"].as_str().expect("a name");
        let new: DynamicObject = serde_json::from_value(object.clone()).expect("an object");
        answer(self.api(kind_of(object), namespace).replace(name, &PostParams::default(), &new).await)
    }

    /// Merges `patch` into an object. `Err` is the API server's message.
    pub async fn merge(&self, kind: &str, namespace: &str, name: &str, patch: Value) -> Result<Value, String> {
        answer(self.api(kind, namespace).patch(name, &PatchParams::default(), &Patch::Merge(patch)).await)
    }

    /// The same under another name than that of this program, as `kubectl --field-manager` does.
    pub async fn merge_as(&self, manager: &str, kind: &str, namespace: &str, name: &str, patch: Value) -> Value {
        let with = PatchParams { field_manager: Some(manager.to_owned()), ..PatchParams::default() };
        answer(self.api(kind, namespace).patch(name, &with, &Patch::Merge(patch)).await).expect("a patch")
    }

    /// Merges `patch` into the status of an object, as only the operator and admins may.
    pub async fn merge_status(&self, kind: &str, namespace: &str, name: &str, patch: Value) -> Result<Value, String> {
        let api = self.api(kind, namespace);
        answer(api.patch_status(name, &PatchParams::default(), &Patch::Merge(patch)).await)
    }

    /// The same without a change, to see whether it is accepted.
    pub async fn try_merge_status(
        &self,
        kind: &str,
        namespace: &str,
        name: &str,
        patch: Value,
    ) -> Result<Value, String> {
        let with = PatchParams { dry_run: true, ..PatchParams::default() };
        answer(self.api(kind, namespace).patch_status(name, &with, &Patch::Merge(patch)).await)
    }

    /// Changes the number of replicas, as `kubectl scale` does. `Err` is the API server's message.
    pub async fn scale(&self, kind: &str, namespace: &str, name: &str, replicas: u32) -> Result<Value, String> {
        let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
        answer(self.api(kind, namespace).patch_scale(name, &PatchParams::default(), &patch).await)
    }

    /// Makes a token of a ServiceAccount, as `kubectl create token` does. `Err` is the API server's message.
    pub async fn token_of(&self, namespace: &str, account: &str) -> Result<Value, String> {
        self.token_with(namespace, account, json!({})).await
    }

    /// The same with the spec of a TokenRequest, as the kubelet does for a projected token.
    pub async fn token_with(&self, namespace: &str, account: &str, spec: Value) -> Result<Value, String> {
        let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec});
        let api = self.api("ServiceAccount", namespace);
        answer(api.create_subresource::<Value, Value>("token", account, &PostParams::default(), &request).await)
    }

    /// Replaces a namespace as its controller does when it is deleted. `Err` is the API server's message.
    pub async fn finalize(&self, namespace: &Value) -> Result<Value, String> {
        let name = namespace["metadata"]["name"].as_str().expect("a name");
        let new: DynamicObject = serde_json::from_value(namespace.clone()).expect("an object");
        answer(self.api("Namespace", "").replace_subresource("finalize", name, &PostParams::default(), &new).await)
    }

    /// Reads an object that exists. `Err` is the API server's message.
    pub async fn read(&self, kind: &str, namespace: &str, name: &str) -> Result<Value, String> {
        answer(self.api(kind, namespace).get(name).await)
    }

    /// An object, if it exists.
    pub async fn find(&self, kind: &str, namespace: &str, name: &str) -> Option<Value> {
        let found = self.api(kind, namespace).get_opt(name).await.expect("read an object");
        found.map(|object| serde_json::to_value(object).expect("JSON"))
    }

    /// An object that exists.
    pub async fn get(&self, kind: &str, namespace: &str, name: &str) -> Value {
        self.find(kind, namespace, name).await.unwrap_or_else(|| panic!("no {kind} {namespace}/{name}"))
    }

    /// All objects of a kind in a namespace; with an empty name, in all.
    pub async fn list(&self, kind: &str, namespace: &str) -> Vec<Value> {
        let found = self.api(kind, namespace).list(&ListParams::default()).await.expect("list objects");
        found.items.into_iter().map(|object| serde_json::to_value(object).expect("JSON")).collect()
    }

    /// Deletes an object that exists.
    pub async fn delete(&self, kind: &str, namespace: &str, name: &str) {
        self.try_delete(kind, namespace, name).await.expect("delete an object");
    }

    /// The same where it may be refused. `Err` is the API server's message.
    pub async fn try_delete(&self, kind: &str, namespace: &str, name: &str) -> Result<(), String> {
        match self.api(kind, namespace).delete(name, &DeleteParams::default()).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) => Err(status.message.clone()),
            Err(error) => panic!("the API server did not answer: {error}"),
        }
    }

    fn api(&self, kind: &str, namespace: &str) -> Api<DynamicObject> {
        let (resource, namespaced) = resource(kind);
        if namespaced && !namespace.is_empty() {
            Api::namespaced_with(self.client.clone(), namespace, &resource)
        } else {
            Api::all_with(self.client.clone(), &resource)
        }
    }
}

/// `apiVersion` of a kind.
pub fn api_version(kind: &str) -> String {
    resource(kind).0.api_version
}

fn kind_of(object: &Value) -> &str {
    object["kind"].as_str().expect("a kind")
}

fn resource(kind: &str) -> (ApiResource, bool) {
    let found = KINDS.iter().find(|known| known.0 == kind);
    let (kind, group, version, plural, namespaced) = found.unwrap_or_else(|| panic!("add {kind} to KINDS"));
    (ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural), *namespaced)
}

fn answer<K: Serialize>(result: kube::Result<K>) -> Result<Value, String> {
    match result {
        Ok(object) => Ok(serde_json::to_value(object).expect("JSON")),
        Err(kube::Error::Api(status)) => Err(status.message.clone()),
        Err(error) => panic!("the API server did not answer: {error}"),
    }
}
