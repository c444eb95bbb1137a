//! ServiceAccount tokens of the cluster: their issuer and keys, and reviews by the API server.

mod issuer;
mod reachability;
mod reviews;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use kube::Client;

use crate::crypto::public_key::PublicKey;
use crate::oauth::cluster_tokens::{ClusterIssuer, ReviewError};
use crate::util::error_chain::display_chain;
use crate::util::timing::duty_cycle::DutyCycle;
use crate::util::timing::single_flight::SingleFlight;
use reviews::Reviews;

/// How often issuer and keys are read. Tokens with a new key cause a read immediately.
const REFRESH_INTERVAL: Duration = Duration::from_mins(5);
/// How often they are read until they have been read once.
const FIRST_INTERVAL: Duration = Duration::from_secs(5);
/// How long a request waits for them.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(2);
/// Tokens with unknown keys cause at most about one read per second.
const REFRESH_DUTY: DutyCycle = DutyCycle { factor: 3, min: Duration::from_secs(1), max: Duration::from_secs(1) };

/// Issuers that are remembered. The API server names only the current one, but accepts the tokens of several
/// (`--service-account-issuer`). While an operator changes it, API servers can name different ones.
const ISSUERS_MAX: usize = 4;

/// What the API server says about ServiceAccount tokens.
pub(super) struct ClusterTokenReader {
    client: Client,
    issuer: ArcSwapOption<ClusterIssuer>,
    /// The issuers that were read, the last one first.
    issuers: Mutex<Vec<Box<str>>>,
    refresh: SingleFlight<()>,
    reviews: Reviews,
}

impl ClusterTokenReader {
    pub(super) fn new(client: Client) -> Self {
        let (reviews, refresh) = (Reviews::new(client.clone()), SingleFlight::new(REFRESH_DUTY));
        Self { client, issuer: ArcSwapOption::empty(), issuers: Mutex::default(), refresh, reviews }
    }

    /// Reads issuer and keys periodically, for ever.
    pub(super) async fn follow(&self) {
        loop {
            let _ = self.read().await;
            let interval = if self.issuer.load().is_some() { REFRESH_INTERVAL } else { FIRST_INTERVAL };
            tokio::time::sleep(interval).await;
        }
    }

    pub(super) fn issuer(&self) -> Option<Arc<ClusterIssuer>> {
        self.issuer.load_full()
    }

    /// Reads issuer and keys for a request.
    pub(super) async fn refresh(&self) {
        let _ = tokio::time::timeout(REFRESH_TIMEOUT, self.refresh.run(|| self.read())).await;
    }

    pub(super) async fn review(&self, token: &str, audience: &str) -> Result<(), ReviewError> {
        self.reviews.review(token, audience).await
    }

    async fn read(&self) -> Result<(), ()> {
        match issuer::read(&self.client).await {
            Ok((issuer, keys)) => {
                self.store(issuer, keys);
                Ok(())
            }
            Err(error) => {
                tracing::warn!(
                    error = display_chain(&error),
                    "could not read the issuer of ServiceAccount tokens from the API server"
                );
                Err(())
            }
        }
    }
    fn store(&self, issuer: Box<str>, keys: Vec<PublicKey>) {
        let mut issuers = self.issuers.lock().unwrap_or_else(PoisonError::into_inner);
        issuers.retain(|known| *known != issuer);
        issuers.insert(0, issuer);
        issuers.truncate(ISSUERS_MAX);
        self.issuer.store(Some(Arc::new(ClusterIssuer { issuers: issuers.clone(), keys })));
    }
}

#[cfg(test)]
mod tests;
