//! Authorizes requests for metrics through the API server: a TokenReview identifies the user of the token, a
//! SubjectAccessReview reports whether that user may `get` the URL /metrics.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::authorization::v1::{NonResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::Semaphore;

use crate::crypto::process_mac;
use crate::crypto::process_mac::Mac;
use crate::http::metrics::{Access, Authorizer, METRICS_PATH};
use crate::util::error_chain::display_chain;

/// How long granted access is cached: a revoked token can read metrics for as long.
const GRANTED_FOR: Duration = Duration::from_secs(30);
/// Size of the cache of granted accesses. Refusals are not cached, so that refused clients cannot evict others.
const REMEMBERED_MAX: usize = 64;
/// Concurrent reviews, so that a flood of tokens does not reach the API server.
const REVIEWS_MAX: usize = 4;
/// Maximum wait for a review, including the wait for earlier ones.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Decides by reviews of the API server.
pub(super) struct MetricsAccess {
    client: Client,
    granted: Mutex<HashMap<Mac, Instant>>,
    reviews: Semaphore,
}

impl MetricsAccess {
    pub(super) fn new(client: Client) -> Self {
        Self { client, granted: Mutex::default(), reviews: Semaphore::new(REVIEWS_MAX) }
    }

    async fn decide(&self, token: &str) -> Access {
        let digest = process_mac::of(&[token.as_bytes()]);
        if self.is_granted(&digest, Instant::now()) {
            return Access::Granted;
        }
        let access = match tokio::time::timeout(TIMEOUT, self.review(token)).await {
            Ok(Ok(access)) => access,
            Ok(Err(error)) => {
                tracing::warn!(error = display_chain(&error), "who reads metrics could not be reviewed");
                Access::Unavailable
            }
            Err(_) => Access::Unavailable,
        };
        if access == Access::Granted {
            self.remember(digest, Instant::now());
        }
        access
    }

    async fn review(&self, token: &str) -> kube::Result<Access> {
        let Ok(_turn) = self.reviews.acquire().await else { return Ok(Access::Unavailable) };
        let spec = TokenReviewSpec { token: Some(token.to_owned()), ..TokenReviewSpec::default() };
        let review = TokenReview { spec, ..TokenReview::default() };
        let review = Api::all(self.client.clone()).create(&PostParams::default(), &review).await?;
        let status = review.status.unwrap_or_default();
        let Some(user) = status.user.filter(|_| status.authenticated == Some(true)) else {
            return Ok(Access::Unauthenticated);
        };
        let review = SubjectAccessReview { spec: may_get_metrics(user), ..SubjectAccessReview::default() };
        let review = Api::all(self.client.clone()).create(&PostParams::default(), &review).await?;
        let is_allowed = review.status.is_some_and(|status| status.allowed && status.denied != Some(true));
        Ok(if is_allowed { Access::Granted } else { Access::Forbidden })
    }

    fn is_granted(&self, token: &Mac, now: Instant) -> bool {
        self.granted().get(token).is_some_and(|until| *until > now)
    }

    fn remember(&self, token: Mac, now: Instant) {
        let mut granted = self.granted();
        granted.retain(|_, until| *until > now);
        if granted.len() < REMEMBERED_MAX {
            granted.insert(token, now + GRANTED_FOR);
        }
    }

    fn granted(&self) -> MutexGuard<'_, HashMap<Mac, Instant>> {
        self.granted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Authorizer for MetricsAccess {
    fn authorize<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Access> {
        self.decide(token).boxed()
    }
}

fn may_get_metrics(user: UserInfo) -> SubjectAccessReviewSpec {
    let url = NonResourceAttributes { path: Some(METRICS_PATH.to_owned()), verb: Some("get".to_owned()) };
    SubjectAccessReviewSpec {
        user: user.username,
        uid: user.uid,
        groups: user.groups,
        extra: user.extra,
        non_resource_attributes: Some(url),
        ..SubjectAccessReviewSpec::default()
    }
}
