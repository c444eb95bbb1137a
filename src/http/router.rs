//! Every path of the endpoint, in one list.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::HOST;
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::response::Response;
use axum::routing::{MethodRouter, any, get, post};

use crate::clock::Clock;
use crate::http::audit::Audit;
use crate::http::rejection::Rejection;
use crate::http::state::Endpoint;
use crate::http::{discovery, forward_auth, introspection, revocation, self_service, token, userinfo};
use crate::oauth::client_store::ClientStore;
use crate::oauth::issuer::Issuer;
use crate::oauth::metadata::{INTROSPECTION_PATH, JWKS_PATH, REVOCATION_PATH, TOKEN_PATH, USERINFO_PATH};
use crate::oauth::mtls_url::MtlsUrl;

/// The kind of a path.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Resource {
    Token,
    Introspection,
    Revocation,
    Userinfo,
    Jwks,
    Metadata,
    Auth,
    AuthOfRequest,
    ManagedApplication,
    ManagedSecrets,
    ManagedRotation,
}

/// The canonical paths, and those that clients of other servers are configured with. The metadata contains the
/// canonical ones.
const PATHS: [(&str, Resource); 14] = [
    (TOKEN_PATH, Resource::Token),
    ("/oauth/v2/token", Resource::Token),
    ("/Auth/OAuth/Token", Resource::Token),
    ("/auth/oauth/token", Resource::Token),
    (INTROSPECTION_PATH, Resource::Introspection),
    (REVOCATION_PATH, Resource::Revocation),
    (USERINFO_PATH, Resource::Userinfo),
    (JWKS_PATH, Resource::Jwks),
    (AUTH_PATH, Resource::Auth),
    // For proxies that always append the path of the original request.
    ("/auth/request/", Resource::AuthOfRequest),
    ("/auth/request/{*original}", Resource::AuthOfRequest),
    ("/manage/v1/application", Resource::ManagedApplication),
    ("/manage/v1/secrets", Resource::ManagedSecrets),
    ("/manage/v1/rotate", Resource::ManagedRotation),
];

/// Path of the forward-auth endpoint below the issuer.
const AUTH_PATH: &str = "/auth";

/// For proxies that put it before the path of the original request.
const AUTH_OF_REQUEST_PATH: &str = "/auth/request";

/// RFC 8414 §3 and OpenID Connect Discovery §4. Clients try both names, and for an issuer with a path both positions.
const WELL_KNOWN: [&str; 2] = ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"];

type Endpoints<C, K> = State<Arc<Endpoint<C, K>>>;

/// The router of a server.
pub struct Routes {
    pub(super) router: Router,
    /// For requests that are rejected before the router.
    pub(super) audit: Arc<Audit>,
}

/// The routes of the endpoint.
///
/// For an issuer with a path, every route exists below that path, and also at the root, for proxies that strip the
/// path.
pub fn router<C: ClientStore, K: Clock>(endpoint: Arc<Endpoint<C, K>>) -> Routes {
    let mut router = Router::new();
    for (path, resource) in paths(&endpoint.service.issuer) {
        let methods: MethodRouter<Arc<Endpoint<C, K>>> = match resource {
            Resource::Token => post(token::token).fallback(post_only::<C, K>),
            Resource::Introspection => post(introspection::introspect).fallback(post_only::<C, K>),
            Resource::Revocation => post(revocation::revoke).fallback(post_only::<C, K>),
            // OpenID Connect Core §5.3.1.
            Resource::Userinfo => get(userinfo::userinfo).post(userinfo::userinfo).fallback(get_or_post::<C, K>),
            Resource::Jwks => get(discovery::jwks).fallback(read_only::<C, K>),
            Resource::Metadata => get(discovery::metadata).fallback(read_only::<C, K>),
            // Proxies ask with GET, or with the method of the original request.
            Resource::Auth => any(forward_auth::auth),
            Resource::AuthOfRequest => any(forward_auth::auth_of_request),
            Resource::ManagedApplication => get(self_service::application).fallback(read_only::<C, K>),
            Resource::ManagedSecrets => get(self_service::secrets).fallback(read_only::<C, K>),
            Resource::ManagedRotation => post(self_service::rotate).fallback(post_only::<C, K>),
        };
        router = router.route(&path, methods);
    }
    let audit = Arc::clone(&endpoint.audit);
    Routes { router: router.fallback(nothing::<C, K>).with_state(endpoint), audit }
}

/// The paths of public documents: the metadata and the keys.
#[must_use]
pub fn public_paths(issuer: &Issuer) -> HashSet<String> {
    let public = |resource: &Resource| matches!(resource, Resource::Jwks | Resource::Metadata);
    paths(issuer).into_iter().filter(|(_, resource)| public(resource)).map(|(path, _)| path).collect()
}

/// The host of a request: of its URL in HTTP/2, otherwise of its header.
pub(crate) fn host(head: &Parts) -> Option<&str> {
    let header = head.headers.get(HOST).and_then(|host| host.to_str().ok());
    head.uri.authority().map(Authority::as_str).or(header)
}

/// The URL of a request to one of these paths as its client sees it, from the host that the request names: below the
/// issuer, or below the URL for certificates. With one host for both, it can be either. A proxy may have replaced the host
/// of a request to the issuer.
pub(crate) fn external_urls(
    issuer: &Issuer,
    mtls_url: Option<&MtlsUrl>,
    host: Option<&str>,
    path: &str,
) -> Vec<String> {
    let bases = [Some(issuer), mtls_url.map(MtlsUrl::base)];
    let is_called = |base: &&Issuer| host.is_some_and(|host| base.has_authority(host));
    let called: Vec<_> = bases.into_iter().flatten().filter(is_called).map(|base| external_url(base, path)).collect();
    if called.is_empty() { vec![external_url(issuer, path)] } else { called }
}

/// The URL of one of these paths for clients. A proxy may have stripped the path of `base`.
fn external_url(base: &Issuer, path: &str) -> String {
    let is_path = |known: &&str| path == *known || path.strip_prefix(base.path()) == Some(known);
    let known = PATHS.iter().map(|(known, _)| *known).find(is_path);
    base.url_of(known.unwrap_or(path))
}

/// The path of the original request in one that a proxy copies to below [`Resource::AuthOfRequest`].
pub(crate) fn original_path<'a>(issuer: &Issuer, path: &'a str) -> &'a str {
    let below = |prefix: &str| path.strip_prefix(prefix)?.strip_prefix(AUTH_OF_REQUEST_PATH);
    below(issuer.path()).or_else(|| below("")).unwrap_or(path)
}

async fn post_only<C: ClientStore, K: Clock>(State(endpoint): Endpoints<C, K>, request: Request) -> Response {
    endpoint.reject(&request, Rejection::Method("POST"))
}

async fn get_or_post<C: ClientStore, K: Clock>(State(endpoint): Endpoints<C, K>, request: Request) -> Response {
    endpoint.reject(&request, Rejection::Method("GET, HEAD, POST"))
}

async fn read_only<C: ClientStore, K: Clock>(State(endpoint): Endpoints<C, K>, request: Request) -> Response {
    endpoint.reject(&request, Rejection::Method("GET, HEAD"))
}

async fn nothing<C: ClientStore, K: Clock>(State(endpoint): Endpoints<C, K>, request: Request) -> Response {
    endpoint.reject(&request, Rejection::Path)
}

fn paths(issuer: &Issuer) -> BTreeMap<String, Resource> {
    let mut paths = BTreeMap::new();
    for prefix in ["", issuer.path()] {
        for (path, resource) in PATHS {
            paths.insert(format!("{prefix}{path}"), resource);
        }
        for well_known in WELL_KNOWN {
            paths.insert(format!("{prefix}{well_known}"), Resource::Metadata);
            paths.insert(format!("{well_known}{prefix}"), Resource::Metadata);
        }
    }
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d1_the_metadata_of_an_issuer_with_a_path_is_in_both_positions() {
        let paths = paths(&Issuer::parse("https://postern.example.com/a/b", false).unwrap());
        for path in [
            "/.well-known/oauth-authorization-server/a/b",
            "/a/b/.well-known/oauth-authorization-server",
            "/.well-known/openid-configuration/a/b",
            "/a/b/.well-known/openid-configuration",
        ] {
            assert_eq!(paths.get(path), Some(&Resource::Metadata), "{path}");
        }
        assert_eq!(paths.get("/a/b/oauth2/token"), Some(&Resource::Token));
    }

    #[test]
    fn x1_the_url_of_an_alias_is_below_the_issuer_also_where_a_proxy_strips_its_path() {
        let issuer = Issuer::parse("https://postern.example.com/oauth2", false).unwrap();
        for path in ["/oauth2/oauth2/token", "/oauth2/token"] {
            assert_eq!(external_url(&issuer, path), "https://postern.example.com/oauth2/oauth2/token", "{path}");
        }
        let alias = "https://postern.example.com/oauth2/Auth/OAuth/Token";
        assert_eq!(external_url(&issuer, "/Auth/OAuth/Token"), alias);
        let issuer = Issuer::parse("https://postern.example.com", false).unwrap();
        assert_eq!(external_url(&issuer, "/oauth/v2/token"), "https://postern.example.com/oauth/v2/token");
    }

    #[test]
    fn x1_the_host_of_a_request_tells_whether_its_url_is_that_for_certificates() {
        let issuer = Issuer::parse("https://postern.example.com/a", false).unwrap();
        let of = |mtls: Option<&str>, host: Option<&str>, path: &str| {
            let mtls = mtls.map(|url| url.parse().unwrap());
            external_urls(&issuer, mtls.as_ref(), host, path)
        };
        let (own, other) = ("https://postern.example.com/a/oauth2/token", "https://mtls.example.com:8444/oauth2/token");
        let mtls = Some("https://mtls.example.com:8444");
        for host in [None, Some("postern.example.com"), Some("10.0.0.1:8444"), Some("mtls.example.com"), Some("x@y")] {
            assert_eq!(of(mtls, host, "/oauth2/token"), [own], "{host:?}");
        }
        for host in ["mtls.example.com:8444", "MTLS.example.com:8444"] {
            assert_eq!(of(mtls, Some(host), "/oauth2/token"), [other], "{host}");
            assert_eq!(of(None, Some(host), "/oauth2/token"), [own], "{host}: there is no such URL");
        }
        let alias = of(mtls, Some("mtls.example.com:8444"), "/oauth/v2/token");
        assert_eq!(alias, ["https://mtls.example.com:8444/oauth/v2/token"]);
        let shared = of(Some("https://postern.example.com/mtls"), Some("postern.example.com:443"), "/oauth2/token");
        assert_eq!(shared, [own, "https://postern.example.com/mtls/oauth2/token"]);
    }

    #[test]
    fn x4_the_path_of_the_original_request_follows_the_prefix_of_the_proxy() {
        let issuer = Issuer::parse("https://postern.example.com/a", false).unwrap();
        for path in ["/auth/request/invoices/7", "/a/auth/request/invoices/7"] {
            assert_eq!(original_path(&issuer, path), "/invoices/7", "{path}");
        }
    }

    #[test]
    fn an_issuer_without_a_path_has_each_path_once() {
        let paths = paths(&Issuer::parse("https://postern.example.com/", false).unwrap());
        assert_eq!(paths.len(), PATHS.len() + WELL_KNOWN.len());
    }
}
