//! Limits list pages by size: a page larger than a megabyte is requested again with fewer objects.
//!
//! The API server limits a page only by the number of objects, and an object may have 1.5 MB, nearly all of it in
//! metadata that any client may write. While a page is decoded, it is in memory several times, so a few hundred objects
//! could prevent a process with little memory from completing its first list.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use http_body_util::{BodyExt, Either, Full};
use hyper::body::Bytes;
use hyper::{Method, Request, Response, Uri};
use kube::Client;
use kube::client::Body;
use tower::Service;

/// The largest accepted page, unless it has only one object.
const BYTES_MAX: usize = 1024 * 1024;
/// A page that is too large is requested again with this fraction of its objects.
const FEWER: u32 = 4;

/// A client whose lists use pages of limited size.
#[must_use]
pub(super) fn by_size(client: Client) -> Client {
    let namespace = client.default_namespace().to_owned();
    Client::new(BySize { client, limits: Arc::default() }, namespace)
}

#[derive(Clone)]
struct BySize {
    client: Client,
    limits: Arc<Limits>,
}

type Page = Response<Either<Full<Bytes>, Body>>;

impl Service<Request<Body>> for BySize {
    type Response = Page;
    type Error = kube::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Page, kube::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), kube::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            match limit_of(&request) {
                Some(limit) => this.page(request, limit).await,
                None => Ok(this.client.send(request).await?.map(Either::Right)),
            }
        })
    }
}

impl BySize {
    async fn page(&self, request: Request<Body>, asked: u32) -> Result<Page, kube::Error> {
        let (parts, _) = request.into_parts();
        let path = parts.uri.path().to_owned();
        let mut limit = self.limits.of(&path, asked);
        loop {
            let mut again = Request::new(Body::empty());
            *again.method_mut() = parts.method.clone();
            *again.uri_mut() = with_limit(&parts.uri, limit);
            *again.headers_mut() = parts.headers.clone();
            let response = self.client.send(again).await?;
            if !response.status().is_success() {
                return Ok(response.map(Either::Right));
            }
            let (head, body) = response.into_parts();
            let bound = if limit > 1 { BYTES_MAX } else { usize::MAX };
            if let Some(page) = collect(body, bound).await? {
                self.limits.fits(&path, asked, limit, page.len());
                return Ok(Response::from_parts(head, Either::Left(Full::new(page.into()))));
            }
            limit = (limit / FEWER).max(1);
            self.limits.keep(&path, limit);
        }
    }
}

/// The body; `None` if it is larger than `bound`.
async fn collect(mut body: Body, bound: usize) -> Result<Option<Vec<u8>>, kube::Error> {
    let mut page = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| kube::Error::Service(Box::new(error)))?;
        let Ok(data) = frame.into_data() else { continue };
        if page.len() + data.len() > bound {
            return Ok(None);
        }
        page.extend_from_slice(&data);
    }
    Ok(Some(page))
}

/// The page limit of each path, where it is lower than the requested one.
#[derive(Default)]
struct Limits(Mutex<HashMap<String, u32>>);

impl Limits {
    fn of(&self, path: &str, asked: u32) -> u32 {
        self.lock().get(path).map_or(asked, |known| asked.min(*known))
    }

    fn keep(&self, path: &str, limit: u32) {
        self.lock().insert(path.to_owned(), limit);
    }

    /// Doubles the next limit if the objects were small.
    fn fits(&self, path: &str, asked: u32, limit: u32, bytes: usize) {
        if limit < asked && bytes < BYTES_MAX / 4 {
            let more = limit * 2;
            if more < asked {
                self.keep(path, more);
            } else {
                self.lock().remove(path);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The requested page limit; `None`: the request is no list, or has no limit.
fn limit_of(request: &Request<Body>) -> Option<u32> {
    let parameters = || request.uri().query().unwrap_or_default().split('&');
    let is_watch = parameters().any(|parameter| parameter.starts_with("watch="));
    let limit = parameters().find_map(|parameter| parameter.strip_prefix("limit="))?.parse().ok()?;
    (request.method() == Method::GET && !is_watch).then_some(limit)
}

/// The same URI with another limit.
fn with_limit(uri: &Uri, limit: u32) -> Uri {
    let parameters =
        uri.query().unwrap_or_default().split('&').map(|parameter| {
            if parameter.starts_with("limit=") { format!("limit={limit}") } else { parameter.to_owned() }
        });
    let query = parameters.collect::<Vec<_>>().join("&");
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = format!("{}?{query}", uri.path()).parse().ok();
    Uri::from_parts(parts).unwrap_or_else(|_| uri.clone())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Secret;
    use kube::Api;
    use kube::api::ListParams;
    use kube::core::PartialObjectMeta;
    use serde_json::json;

    use super::*;

    /// An API server with objects of these sizes in bytes; records the requested limits.
    fn server(sizes: Vec<usize>) -> (Client, Arc<Mutex<Vec<usize>>>) {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&asked);
        let service = tower::service_fn(move |request: Request<Body>| {
            let parameters: HashMap<String, String> =
                form_urlencoded::parse(request.uri().query().unwrap().as_bytes()).into_owned().collect();
            let limit: usize = parameters["limit"].parse().unwrap();
            noted.lock().unwrap().push(limit);
            let from: usize = parameters.get("continue").map_or(0, |token| token.parse().unwrap());
            let to = (from + limit).min(sizes.len());
            let object =
                |at: usize| json!({"metadata": {"name": at.to_string(), "annotations": {"a": "x".repeat(sizes[at])}}});
            let token = if to < sizes.len() { to.to_string() } else { String::new() };
            let list = json!({
                "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
                "metadata": {"continue": token}, "items": (from..to).map(object).collect::<Vec<_>>(),
            });
            std::future::ready(Ok::<_, kube::Error>(Response::new(Full::new(Bytes::from(list.to_string())))))
        });
        (by_size(Client::new(service, "default")), asked)
    }

    async fn all(client: &Client) -> Vec<String> {
        let api: Api<PartialObjectMeta<Secret>> = Api::all(client.clone());
        let (mut names, mut page) = (Vec::new(), ListParams::default().limit(100));
        loop {
            let list = api.list(&page).await.unwrap();
            names.extend(list.items.into_iter().filter_map(|object| object.metadata.name));
            match list.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => page = page.continue_token(&token),
                None => return names,
            }
        }
    }

    fn numbers(count: usize) -> Vec<String> {
        (0..count).map(|number| number.to_string()).collect()
    }

    #[tokio::test]
    async fn small_objects_are_listed_in_pages_of_the_requested_size() {
        let (client, asked) = server(vec![100; 250]);
        assert_eq!(all(&client).await, numbers(250));
        assert_eq!(*asked.lock().unwrap(), [100, 100, 100]);
    }

    #[tokio::test]
    async fn large_objects_are_listed_in_smaller_pages_and_none_is_omitted() {
        // Objects with the largest possible metadata, and one that is larger than a page.
        let mut sizes = vec![250 * 1024; 40];
        sizes[7] = 2 * BYTES_MAX;
        sizes.extend([10; 200]);
        let (client, asked) = server(sizes);
        assert_eq!(all(&client).await, numbers(240));
        let asked = asked.lock().unwrap();
        assert!(asked.contains(&1) && asked.len() < 100, "{asked:?}");
        assert!(asked.iter().rev().take(3).any(|limit| *limit >= 50), "small ones come faster again: {asked:?}");
    }

    #[tokio::test]
    async fn a_request_that_is_not_a_list_is_unchanged() {
        let service = tower::service_fn(|request: Request<Body>| {
            let answer = Response::new(Full::new(Bytes::from(request.uri().to_string())));
            std::future::ready(Ok::<_, kube::Error>(answer))
        });
        let client = by_size(Client::new(service, "default"));
        for uri in ["/api/v1/secrets?watch=true&limit=5", "/api/v1/namespaces/a/secrets/b", "/version"] {
            assert_eq!(client.request_text(Request::get(uri).body(Vec::new()).unwrap()).await.unwrap(), uri);
        }
    }
}
