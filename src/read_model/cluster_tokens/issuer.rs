//! Reads the issuer of ServiceAccount tokens from the API server (ServiceAccount issuer discovery). The API server serves its
//! current issuer, with the keys of every issuer that it accepts.

use http::Request;
use kube::Client;
use serde::Deserialize;
use serde_json::Value;

use crate::crypto::public_key::PublicKey;

#[derive(Deserialize)]
struct Discovery {
    issuer: Box<str>,
}

#[derive(Deserialize)]
struct Keys {
    keys: Vec<Value>,
}

/// Why the issuer is not known.
#[derive(Debug, thiserror::Error)]
pub(super) enum IssuerError {
    #[error("GET {0}")]
    Request(&'static str, #[source] kube::Error),
    #[error("no key is EC with P-256, RSA with 2048 to 4096 bits, or Ed25519")]
    NoUsableKey,
}

/// Reads the current issuer and the keys. The keys come from the API server itself: `jwks_uri` may be an address outside the cluster.
pub(super) async fn read(client: &Client) -> Result<(Box<str>, Vec<PublicKey>), IssuerError> {
    let Discovery { issuer } = get(client, "/.well-known/openid-configuration").await?;
    let Keys { keys } = get(client, "/openid/v1/jwks").await?;
    let keys: Vec<_> = keys.iter().filter_map(|jwk| PublicKey::from_jwk(jwk).ok()).collect();
    if keys.is_empty() { Err(IssuerError::NoUsableKey) } else { Ok((issuer, keys)) }
}

async fn get<T: for<'de> Deserialize<'de>>(client: &Client, path: &'static str) -> Result<T, IssuerError> {
    let request = Request::get(path).body(Vec::new()).map_err(kube::Error::HttpError);
    let answer = async { client.request(request?).await };
    answer.await.map_err(|error| IssuerError::Request(path, error))
}
