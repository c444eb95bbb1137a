//! What stands behind a proxy of a test, and the configuration of the proxy itself.

use axum::Router;
use axum::http::{HeaderMap, Method};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::controlplane::checkout;

/// An API that answers with what it sees: the method, and these headers. Its URL.
pub async fn start_api(names: &'static [&'static str]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let seen = move |method: Method, headers: HeaderMap| async move {
        let text = |name: &str| headers.get(name).map(|value| value.to_str().expect("text"));
        let mut seen: Value = names.iter().map(|name| ((*name).to_owned(), json!(text(name)))).collect();
        seen["method"] = method.as_str().into();
        seen.to_string()
    };
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(seen)).await });
    url
}

/// A file of `examples/` with what is different here.
pub fn example(file: &str, changes: &[(&str, String)]) -> String {
    let example = std::fs::read_to_string(checkout().join("examples").join(file)).expect("the example");
    changes.iter().fold(example, |text, (from, to)| {
        assert!(text.contains(from), "the example has no {from}");
        text.replace(from, to)
    })
}
