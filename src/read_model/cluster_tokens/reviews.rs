//! Asks the API server whether tokens are still valid (TokenReview): it knows deleted pods and ServiceAccounts.
//!
//! ```text
//! known answer ─▶ pause (the API server does not answer) ─▶ slot ─▶ TokenReview
//! ```

use std::collections::HashMap;
use std::sync::{Arc, Mutex as Lock, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::{Mutex, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

use super::reachability::Reachability;
use crate::oauth::cluster_tokens::ReviewError;
use crate::oauth::denial_rule::DenialRule;
use crate::util::error_chain::display_chain;

/// How long the API server's answer is used.
const REVIEW_TTL: Duration = Duration::from_secs(10);
/// How long a request waits for an answer.
const REVIEW_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a request waits until it may ask, also for another request with the same token. Longer than a review: while the
/// API server hangs, a request that waits must see that the reviews before it are not answered.
const WAIT_MAX: Duration = Duration::from_secs(3);
/// How long no request asks after a review was not answered. Then one asks.
const PAUSE: Duration = Duration::from_secs(5);
/// Reviews at a time.
const CONCURRENT_MAX: usize = 16;
/// Tokens whose answers are remembered, at about 100 bytes each. Above it, answers that are no longer used are dropped,
/// except those about deleted pods and ServiceAccounts, then those about accepted tokens.
const REMEMBERED_MAX: usize = 20_000;

type TokenDigest = [u8; 32];
/// The answer about one token. Requests with the same token share it.
type Answer = Arc<Mutex<Option<Reviewed>>>;

type Verdict = Result<(), DenialRule>;

#[derive(Clone, Copy)]
struct Reviewed {
    at: Instant,
    verdict: Verdict,
}

impl Reviewed {
    /// Also a rejection is asked for again: the API server rejects a token for any error that it has when it reads the pod
    /// or the ServiceAccount.
    fn is_used(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.at) < REVIEW_TTL
    }

    /// Whether the token was bound to an object that does not exist any more. Such an object does not return.
    fn is_of_deleted(&self) -> bool {
        matches!(self.verdict, Err(DenialRule::PodDeleted | DenialRule::ServiceAccountDeleted))
    }
}

/// The reviews of this process.
pub(super) struct Reviews {
    client: Client,
    api_server: Reachability,
    slots: Semaphore,
    answers: Lock<HashMap<TokenDigest, Answer>>,
}

impl Reviews {
    pub(super) fn new(client: Client) -> Self {
        let (api_server, slots) = (Reachability::new(PAUSE), Semaphore::new(CONCURRENT_MAX));
        Self { client, api_server, slots, answers: Lock::default() }
    }

    /// Whether the token is valid for `audience`. The audience is the same in every call.
    pub(super) async fn review(&self, token: &str, audience: &str) -> Result<(), ReviewError> {
        let now = Instant::now();
        let deadline = now + WAIT_MAX;
        let answer = self.answer(token, now);
        let Ok(mut answer) = timeout_at(deadline, answer.lock()).await else { return Err(ReviewError::Unavailable) };
        if let Some(known) = answer.filter(|known| known.is_used(now)) {
            return known.verdict.map_err(ReviewError::Rejected);
        }
        let without_answer = without_answer(answer.as_ref());
        if self.api_server.is_paused(now) {
            return without_answer.map_err(ReviewError::Rejected);
        }
        let slot = timeout_at(deadline, self.slots.acquire()).await;
        let Ok(Ok(_slot)) = slot else { return Err(ReviewError::Unavailable) };
        let now = Instant::now();
        if !self.api_server.admits(now) {
            return without_answer.map_err(ReviewError::Rejected);
        }
        let verdict = self.ask(token, audience).await?.unwrap_or(without_answer);
        *answer = Some(Reviewed { at: now, verdict });
        verdict.map_err(ReviewError::Rejected)
    }

    fn answer(&self, token: &str, now: Instant) -> Answer {
        let id = digest(&SHA256, token.as_bytes()).as_ref().try_into().unwrap_or_default();
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= REMEMBERED_MAX && !answers.contains_key(&id) {
            let is_kept = |answer: &Answer, keeps: &dyn Fn(&Reviewed) -> bool| {
                answer.try_lock().map_or(true, |answer| answer.as_ref().is_some_and(keeps))
            };
            answers.retain(|_, answer| is_kept(answer, &|known| known.is_used(now) || known.is_of_deleted()));
            if answers.len() >= REMEMBERED_MAX {
                answers.retain(|_, answer| is_kept(answer, &|known| known.verdict.is_err()));
            }
            if answers.len() >= REMEMBERED_MAX {
                answers.clear();
            }
        }
        Arc::clone(answers.entry(id).or_default())
    }

    /// The verdict of the API server; `None`: it does not answer, or has an error.
    async fn ask(&self, token: &str, audience: &str) -> Result<Option<Verdict>, ReviewError> {
        let spec = TokenReviewSpec { token: Some(token.to_owned()), audiences: Some(vec![audience.to_owned()]) };
        let review = TokenReview { spec, ..TokenReview::default() };
        let api: Api<TokenReview> = Api::all(self.client.clone());
        let params = PostParams::default();
        let answer = timeout(REVIEW_TIMEOUT, api.create(&params, &review)).await;
        match answer {
            Ok(Ok(review)) => {
                self.answered();
                Ok(Some(verdict(&review, audience)))
            }
            Ok(Err(kube::Error::Api(status))) => {
                self.answered();
                if matches!(status.code, 401 | 403) {
                    tracing::warn!(error = status.message, "the API server does not let this replica review tokens");
                    return Err(ReviewError::Unavailable);
                }
                tracing::debug!(error = status.message, "could not review a ServiceAccount token");
                Ok(None)
            }
            Ok(Err(error)) => {
                self.not_answered(&display_chain(&error));
                Ok(None)
            }
            Err(_) => {
                self.not_answered("timeout");
                Ok(None)
            }
        }
    }

    fn answered(&self) {
        if self.api_server.answered() {
            tracing::info!("the API server reviews ServiceAccount tokens again");
        }
    }

    fn not_answered(&self, error: &str) {
        if self.api_server.not_answered(Instant::now()) {
            tracing::warn!(error, "the API server does not review ServiceAccount tokens: their signatures decide");
        }
    }
}

/// The verdict without an answer: the signature decides, which was checked. What was deleted before stays deleted.
fn without_answer(known: Option<&Reviewed>) -> Verdict {
    known.filter(|known| known.is_of_deleted()).map_or(Ok(()), |known| known.verdict)
}

/// F3: the API server must have authenticated the token for this audience.
fn verdict(review: &TokenReview, audience: &str) -> Verdict {
    let status = review.status.as_ref();
    let has_audience = status.and_then(|status| status.audiences.as_ref());
    let has_audience = has_audience.is_some_and(|audiences| audiences.iter().any(|known| known == audience));
    if status.and_then(|status| status.authenticated) == Some(true) && has_audience {
        return Ok(());
    }
    Err(rule(status.and_then(|status| status.error.as_deref()).unwrap_or_default()))
}

/// The cause, for the log. The API server gives it only as a text.
fn rule(error: &str) -> DenialRule {
    let mentions = |texts: &[&str]| texts.iter().any(|text| error.contains(text));
    if mentions(&["token has been invalidated", "pod UID"]) {
        DenialRule::PodDeleted
    } else if mentions(&["serviceaccounts \"", "service account UID", "has been deleted"]) {
        DenialRule::ServiceAccountDeleted
    } else {
        DenialRule::ServiceAccountTokenRejected
    }
}

#[cfg(test)]
mod tests;
