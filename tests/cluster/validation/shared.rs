//! How the tables of this folder are read.

use serde_json::{Value, json};

use crate::harness::{Cluster, Kubernetes};

/// What is written, and what the API server's message says of it, in this order, with `…` for what does not matter. An
/// empty message: accepted.
pub type Case = (&'static str, Value, &'static str);

/// A namespace that always exists; objects are only tried, not created.
const NAMESPACE: &str = "default";

/// Tries to create an object of each case, and reports all that were answered differently.
pub async fn check(make: impl Fn(Value) -> Value, cases: &[Case]) {
    let kubernetes = Cluster::installed().kubernetes().await;
    let mut wrong = Vec::new();
    for (what, spec, expected) in cases {
        let answer = kubernetes.try_create(NAMESPACE, &make(spec.clone())).await;
        wrong.extend(complaint(what, &answer, expected));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Creates `object` and tries each change of its spec.
pub async fn check_changes(kubernetes: &Kubernetes, namespace: &str, object: &Value, cases: &[Case]) {
    kubernetes.create(namespace, object).await.expect("a valid object");
    let (kind, name) = (object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap());
    let mut wrong = Vec::new();
    for (what, spec, expected) in cases {
        let answer = kubernetes.merge(kind, namespace, name, json!({"spec": spec})).await;
        wrong.extend(complaint(what, &answer, expected));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn complaint(what: &str, answer: &Result<Value, String>, expected: &str) -> Option<String> {
    match answer {
        Ok(_) if expected.is_empty() => None,
        Ok(_) => Some(format!("{what}: accepted, should be refused with: {expected}")),
        Err(message) if !expected.is_empty() && says(message, expected) => None,
        Err(message) => Some(format!("{what}: should say «{expected}», but says: {message}")),
    }
}

fn says(message: &str, expected: &str) -> bool {
    let rest = expected.split('…').try_fold(message, |rest, part| Some(rest.split_once(part.trim())?.1));
    rest.is_some()
}

/// So many different strings.
pub fn many(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("n{number}")).collect()
}
