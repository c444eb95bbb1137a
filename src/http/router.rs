//! Every path of the endpoint, in one list.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
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

/// The URL of one of these paths for clients. A proxy may have stripped the path of the issuer.
pub(crate) fn external_url(issuer: &Issuer, path: &str) -> String {
    let is_path = |known: &&str| path == *known || path.strip_prefix(issuer.path()) == Some(known);
    let known = PATHS.iter().map(|(known, _)| *known).find(is_path);
    issuer.url_of(known.unwrap_or(path))
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
