//! An API server for unit tests.

use std::future::Future;
use std::io;

use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Bytes;
use kube::Client;
use kube::client::Body;
use serde_json::Value;

/// A client of an API server that returns this status and this document for a path. An error is one of the connection.
pub(crate) fn client<F>(answer: impl Fn(String) -> F + Clone + Send + 'static) -> Client
where
    F: Future<Output = io::Result<(u16, Value)>> + Send + 'static,
{
    let service = tower::service_fn(move |request: Request<Body>| {
        let answer = answer(request.uri().path().to_owned());
        async move {
            let (status, document) = answer.await?;
            let mut response = Response::new(Full::new(Bytes::from(document.to_string())));
            *response.status_mut() = status.try_into().map_err(io::Error::other)?;
            io::Result::Ok(response)
        }
    });
    Client::new(service, "default")
}
