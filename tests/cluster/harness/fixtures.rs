//! The objects of most tests, as short as they can be.

use serde_json::{Value, json};

use super::kubernetes::api_version;

/// An object of any kind.
pub fn object(kind: &str, name: &str, spec: impl Into<Value>) -> Value {
    json!({"apiVersion": api_version(kind), "kind": kind, "metadata": {"name": name}, "spec": spec.into()})
}

/// A group at `/emea/billing` for the role `billing.reader`, open to all namespaces; `spec` says what differs.
pub fn access_group(name: &str, spec: Value) -> Value {
    let common = json!({
        "role": "billing.reader",
        "location": "/emea/billing",
        "permissions": [{"audience": "https://billing.example.com", "scopes": ["invoices:list", "invoices:read"]}],
        "namespaces": {"selector": {}},
    });
    object("AccessGroup", name, with(common, spec))
}

/// A service user at `/emea/billing` with these groups.
pub fn service_user(name: &str, groups: &[&str]) -> Value {
    object("ServiceUser", name, json!({"location": "/emea/billing", "groups": groups}))
}

/// An application of this service user; `spec` says what else.
pub fn application(name: &str, service_user: &str, spec: Value) -> Value {
    object("Application", name, with(json!({"serviceUserRef": {"name": service_user}}), spec))
}

/// A secret of this application; `spec` says what else.
pub fn client_secret(name: &str, application: &str, spec: Value) -> Value {
    object("ClientSecret", name, with(json!({"applicationRef": {"name": application}}), spec))
}

fn with(mut common: Value, spec: Value) -> Value {
    let (Some(fields), Value::Object(more)) = (common.as_object_mut(), spec) else { panic!("a spec is an object") };
    fields.extend(more);
    common
}
