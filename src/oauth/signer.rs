//! Signs JWTs: ECDSA and EdDSA inline, RSA on a bounded number of blocking threads.
//!
//! An RSA signature costs thirty times as much as an ECDSA signature. On the async threads, the RSA signatures of one
//! client at full speed would delay all others. So they wait in two queues: first among those of the same client, then
//! among clients, each with one signature at a time. However many requests one client sends, another client waits for
//! one signature of it.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::crypto::jwt::UnsignedJwt;
use crate::crypto::signing::SigningKey;
use crate::oauth::error::{TokenError, Unavailable};

/// Signatures that may wait in one client's queue, and among clients; further ones are refused immediately. A
/// signature takes less than a millisecond, so a queue is served within the wait.
const WAITING_MAX: usize = 256;
/// The longest wait in each of the two queues; a tenth of the usual timeout of a token request.
const WAIT: Duration = Duration::from_secs(1);
/// Queues of clients. Clients that share one only wait for each other. Callers cannot find out which clients do.
const LINES: usize = 256;

/// The bounded signer.
pub(crate) struct Signer {
    lines: Vec<Line>,
    pool: Line,
    key: RandomState,
}

impl Signer {
    /// A signer that leaves half of the processors free.
    pub(crate) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self::with(cores / 2, WAITING_MAX)
    }

    fn with(threads: usize, waiting: usize) -> Self {
        let lines = (0..LINES).map(|_| Line::new(1, waiting)).collect();
        // Each client queue has at most one entry here, so there are never more entries than queues.
        Self { lines, pool: Line::new(threads, LINES), key: RandomState::new() }
    }

    /// The JWT with its signature, for this client.
    ///
    /// # Errors
    /// [`Unavailable::Overloaded`], when too many wait; [`TokenError::Internal`]
    pub(crate) async fn sign(
        &self,
        client_id: &str,
        key: Arc<SigningKey>,
        jwt: UnsignedJwt,
    ) -> Result<String, TokenError> {
        if !key.algorithm().is_slow() {
            return jwt.sign(&key).map_err(|_| TokenError::Internal);
        }
        let turn = self.turn(client_id).await?;
        // The permit lives as long as the work, even if the request was dropped.
        let work = move || {
            let _turn = turn;
            jwt.sign(&key)
        };
        let signed = tokio::task::spawn_blocking(work).await;
        signed.map_err(|_| TokenError::Internal)?.map_err(|_| TokenError::Internal)
    }

    async fn turn(&self, client_id: &str) -> Result<[OwnedSemaphorePermit; 2], Unavailable> {
        let hash = usize::try_from(self.key.hash_one(client_id) % LINES as u64).unwrap_or_default();
        let line = self.lines.get(hash).ok_or(Unavailable::Overloaded)?;
        Ok([line.turn().await?, self.pool.turn().await?])
    }
}

/// A FIFO queue: a bounded number of entries is served, and a bounded number waits.
struct Line {
    served: Arc<Semaphore>,
    waiting: Semaphore,
}

impl Line {
    fn new(served: usize, waiting: usize) -> Self {
        Self { served: Arc::new(Semaphore::new(served.max(1))), waiting: Semaphore::new(waiting) }
    }

    async fn turn(&self) -> Result<OwnedSemaphorePermit, Unavailable> {
        if let Ok(turn) = Arc::clone(&self.served).try_acquire_owned() {
            return Ok(turn);
        }
        let _place = self.waiting.try_acquire().map_err(|_| Unavailable::Overloaded)?;
        let turn = tokio::time::timeout(WAIT, Arc::clone(&self.served).acquire_owned()).await;
        turn.ok().and_then(Result::ok).ok_or(Unavailable::Overloaded)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use futures::future::join_all;

    use super::*;
    use crate::crypto::jwt;
    use crate::crypto::signing::{SigningAlgorithm, TokenType, generate};

    fn key(algorithm: SigningAlgorithm) -> Arc<SigningKey> {
        Arc::new(SigningKey::from_pkcs8(algorithm, &generate(algorithm).unwrap()).unwrap())
    }

    fn token(key: &SigningKey) -> UnsignedJwt {
        jwt::access_token(key, TokenType::AccessToken, &serde_json::json!({"sub": "x"})).unwrap()
    }

    /// Another client, in another queue.
    fn other(signer: &Signer, client: &str) -> String {
        let line = |client: &str| signer.key.hash_one(client) % LINES as u64;
        (0..100).map(|number| format!("b{number}")).find(|other| line(other) != line(client)).unwrap()
    }

    #[tokio::test]
    async fn an_ecdsa_signature_waits_for_nothing() {
        let (signer, key) = (Signer::with(1, 0), key(SigningAlgorithm::Es256));
        let _all = Arc::clone(&signer.pool.served).try_acquire_owned().unwrap();
        assert!(signer.sign("a", Arc::clone(&key), token(&key)).now_or_never().unwrap().is_ok());
    }

    #[test]
    fn an_rsa_signature_is_not_computed_where_it_is_awaited() {
        let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
        runtime.block_on(async {
            let (signer, key) = (Signer::with(1, 1), key(SigningAlgorithm::Rs256));
            // The only thread of the pool is busy until the sender is dropped.
            let (sender, receiver) = std::sync::mpsc::channel::<()>();
            let busy = tokio::task::spawn_blocking(move || receiver.recv());
            let mut signing = Box::pin(signer.sign("a", Arc::clone(&key), token(&key)));
            assert!(signing.as_mut().now_or_never().is_none());
            drop(sender);
            assert_eq!(signing.await.unwrap().split('.').count(), 3);
            assert!(busy.await.unwrap().is_err(), "the thread was busy until then");
        });
    }

    #[tokio::test]
    async fn a_client_that_floods_the_signer_takes_turns_with_other_clients() {
        let signer = Signer::with(1, 4);
        let running = signer.turn("a").await.unwrap();
        let mut flood: Vec<_> = (0..10).map(|_| Box::pin(signer.turn("a"))).collect();
        let refused = flood.iter_mut().filter_map(|turn| turn.as_mut().now_or_never()).filter(Result::is_err).count();
        assert_eq!(refused, 6, "four wait");
        let client = other(&signer, "a");
        let mut next = Box::pin(signer.turn(&client));
        assert!(next.as_mut().now_or_never().is_none());
        drop(running);
        assert!(next.as_mut().now_or_never().is_some_and(|turn| turn.is_ok()), "before the rest of the flood");
    }

    #[tokio::test(start_paused = true)]
    async fn no_request_waits_for_a_signature_longer_than_clients_do() {
        let signer = Signer::with(1, 4);
        let _running = signer.turn("a").await.unwrap();
        let began = tokio::time::Instant::now();
        let waited = join_all((0..3).map(|_| signer.turn("a"))).await;
        assert!(waited.iter().all(Result::is_err) && began.elapsed() <= 2 * WAIT);
    }
}
