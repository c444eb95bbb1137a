//! The issuer of a fake API server.

use serde_json::json;

use super::*;
use crate::kube_client::fake_api_server;

/// A reader, and the issuer that its API server names.
fn reader() -> (ClusterTokenReader, Arc<Mutex<String>>) {
    let issuer = Arc::new(Mutex::new(String::new()));
    let named = Arc::clone(&issuer);
    let client = fake_api_server::client(move |path| {
        let x = "axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY";
        let y = "T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU";
        let document = match path.as_str() {
            "/openid/v1/jwks" => json!({"keys": [{"kty": "EC", "crv": "P-256", "x": x, "y": y}]}),
            _ => json!({"issuer": *named.lock().unwrap()}),
        };
        std::future::ready(Ok((200, document)))
    });
    (ClusterTokenReader::new(client), issuer)
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
