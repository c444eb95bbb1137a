//! Health and metrics, each on a separate listener.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use postern::http::health::{self, Readiness};
use postern::http::metrics::{self, Access, Authorizer};
use postern::http::small_server;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::http_client;
use crate::server::TestServer;

#[tokio::test]
async fn q6_a_process_is_ready_only_if_every_condition_is_true() {
    let readiness = Readiness::new(["synced", "keys", "accepting"]);
    let small = Small::start(health::router(Arc::clone(&readiness))).await;
    let reply = small.get("/readyz", &[]).await;
    assert_eq!((reply.status, reply.text().as_str()), (503, "not ready: accepting, keys, synced\n"));
    assert_eq!(small.get("/livez", &[]).await.status, 200, "alive all the time");
    readiness.set("synced", true);
    readiness.set("accepting", true);
    assert_eq!(small.get("/readyz", &[]).await.text(), "not ready: keys\n");
    readiness.explain("keys", "there are none");
    assert_eq!(small.get("/readyz", &[]).await.text(), "not ready: keys (there are none)\n");
    readiness.set("keys", true);
    assert_eq!(small.get("/readyz", &[]).await.status, 200);
    readiness.set("accepting", false);
    assert_eq!(small.get("/readyz", &[]).await.status, 503);
    assert_eq!(small.get("/metrics", &[]).await.status, 404);
}

#[tokio::test]
async fn every_client_can_read_metrics_in_either_format_without_an_authorizer() {
    let server = TestServer::start().await;
    let small = Small::start(metrics::router(Arc::clone(&server.registry), None)).await;
    let reply = small.get("/metrics", &[]).await;
    assert!(reply.text().contains("postern_http_requests_total{endpoint=\"token\",outcome=\"issued\"} 0"));
    assert!(reply.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    assert!(reply.text().ends_with("# EOF\n"));
    let text = small.get("/metrics", &[("accept", "text/plain")]).await;
    assert_eq!(text.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(text.text().contains("# TYPE postern_http_requests_total counter\n"));
    assert!(text.text().contains("postern_http_requests_total{endpoint=\"token\",outcome=\"issued\"} 0"));
    assert!(!text.text().contains("# EOF") && !text.text().contains("# UNIT"), "{}", text.text());
    assert_eq!(small.get("/livez", &[]).await.status, 404);
}

#[tokio::test]
async fn only_clients_that_the_authorizer_admits_can_read_metrics() {
    let server = TestServer::start().await;
    let small = Small::start(metrics::router(Arc::clone(&server.registry), Some(Arc::new(ByName)))).await;
    for (headers, status) in [
        (&[][..], 401),
        (&[("authorization", "Bearer stranger")][..], 401),
        (&[("authorization", "Basic granted")], 401),
        (&[("authorization", "Bearer ")], 401),
        (&[("authorization", "Bearer granted"), ("authorization", "Bearer stranger")], 401),
        (&[("authorization", "Bearer forbidden")], 403),
        (&[("authorization", "Bearer unavailable")], 503),
    ] {
        let reply = small.get("/metrics", headers).await;
        assert_eq!(reply.status, status, "{headers:?}");
        assert!(!reply.text().contains("postern_token"), "{headers:?}");
        assert_eq!(reply.header("www-authenticate"), (status == 401).then_some("Bearer"));
    }
    let reply = small.get("/metrics", &[("authorization", "bearer granted")]).await;
    assert!(reply.status == 200 && reply.text().contains("postern_http_requests_total"));
}

/// More connections than slots; the next request is answered.
#[tokio::test]
async fn idle_connections_do_not_block_a_probe() {
    let readiness = Readiness::new([]);
    let small = Small::start(health::router(readiness)).await;
    let mut idle = Vec::new();
    for _ in 0..200 {
        idle.push(TcpStream::connect(small.addr).await.unwrap());
    }
    assert_eq!(small.get("/livez", &[]).await.status, 200);
    // The oldest connection was closed, the youngest was not.
    assert_eq!(http_client::to_end(&mut idle[0]).await, b"");
    assert_eq!(
        http_client::exchange(&mut idle[199], &http_client::request("GET", "/readyz", &[], b"")).await.status,
        200
    );
}

/// The server of health and metrics, with one of the two routers.
struct Small {
    addr: SocketAddr,
    _shutdown: DropGuard,
}

impl Small {
    async fn start(router: Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (addr, shutdown) = (listener.local_addr().unwrap(), CancellationToken::new());
        tokio::spawn(small_server::serve(listener, router, shutdown.clone()));
        Self { addr, _shutdown: shutdown.drop_guard() }
    }

    async fn get(&self, target: &str, headers: &[(&str, &str)]) -> http_client::Reply {
        http_client::send(self.addr, &http_client::request("GET", target, headers, b"")).await
    }
}

/// The token text is the permission of its owner.
struct ByName;

impl Authorizer for ByName {
    fn authorize<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Access> {
        let access = match token {
            "granted" => Access::Granted,
            "forbidden" => Access::Forbidden,
            "unavailable" => Access::Unavailable,
            _ => Access::Unauthenticated,
        };
        std::future::ready(access).boxed()
    }
}
