//! The issuer of a fake API server.

use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Bytes;
use kube::client::Body;
use serde_json::json;

use super::*;

/// A reader, and the issuer that its API server names.
fn reader() -> (ClusterTokenReader, Arc<Mutex<String>>) {
    let issuer = Arc::new(Mutex::new(String::new()));
    let named = Arc::clone(&issuer);
    let service = tower::service_fn(move |request: Request<Body>| {
        let x = "axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY";
        let y = "T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU";
        let document = match request.uri().path() {
            "/openid/v1/jwks" => json!({"keys": [{"kty": "EC", "crv": "P-256", "x": x, "y": y}]}),
            _ => json!({"issuer": *named.lock().unwrap()}),
        };
        std::future::ready(Ok::<_, kube::Error>(Response::new(Full::new(Bytes::from(document.to_string())))))
    });
    (ClusterTokenReader::new(Client::new(service, "default")), issuer)
}

#[tokio::test]
async fn earlier_issuers_are_remembered_the_current_one_first() {
    let (reader, named) = reader();
    for (issuer, expected) in [
        ("a", &["a"][..]),
        ("b", &["b", "a"]),
        ("a", &["a", "b"]),
        ("c", &["c", "a", "b"]),
        ("d", &["d", "c", "a", "b"]),
        ("e", &["e", "d", "c", "a"]),
    ] {
        *named.lock().unwrap() = issuer.to_owned();
        reader.read().await.unwrap();
        let read = reader.issuer().unwrap();
        assert_eq!(read.issuers.iter().map(|known| &**known).collect::<Vec<_>>(), expected);
        assert!(read.is_named(issuer) && !read.is_named("f") && read.keys.len() == 1);
    }
}
