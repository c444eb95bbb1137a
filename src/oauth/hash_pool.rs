//! Checks secrets on a bounded number of blocking threads.

mod fair_queue;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use zeroize::Zeroizing;

use crate::crypto::install_key::{HashCost, InstallKeys};
use crate::crypto::process_mac;
use crate::oauth::client_record::{SecretRecord, SecretVersion};
use crate::oauth::error::Unavailable;
use crate::util::timing::rate_limit::{Bucket, Rate};

use fair_queue::FairQueue;

/// Receives durations and counts.
pub trait HashMetrics: Send + Sync + 'static {
    /// A hash computation starts.
    fn hash_started(&self);
    /// A hash computation has ended.
    fn hash_ended(&self, took: Duration);
    /// A token was signed.
    fn signed(&self, took: Duration);
}

/// Bounds of the work that callers without a valid credential can cause.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct HashLimits {
    /// Hashes of generated values in one second; `None`: as many as the machine can compute.
    pub per_second: Option<NonZeroU32>,
    /// Hashes computed at the same time. More than one per core only adds waiting.
    pub concurrent: usize,
    /// Requests that may wait; further requests are refused immediately.
    pub waiting: usize,
    /// The same for imported values. Each namespace and each ClientSecret has a share.
    pub waiting_imported: usize,
    /// Hashes of imported values at the same time: each takes 19 MiB.
    pub imported: usize,
    /// The longest wait.
    pub wait: Duration,
}

impl Default for HashLimits {
    /// One hash per core; 1024 waiting, which at 20 µs each take 20 ms; a wait of at most one second, a tenth of the
    /// usual timeout of a token request. 4096 waiting for imported values, so that 164 pods that start with the same
    /// new value can wait: all but the first need no hash.
    fn default() -> Self {
        let concurrent = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            per_second: None,
            concurrent,
            waiting: 1024,
            waiting_imported: 4096,
            imported: IMPORTED_MAX,
            wait: Duration::from_secs(1),
        }
    }
}

/// Hashes of imported values at the same time, if the memory allows as many.
const IMPORTED_MAX: usize = 4;

/// The bounded checker of secrets. Generated and imported values have separate queues: a flood of imported values,
/// which cost a thousand times as much, does not delay generated ones.
///
/// Imported values wait in a [`FairQueue`] that serves namespaces in turn, and the ClientSecrets of a namespace in turn: a
/// flood of wrong values for one ClientSecret delays the others by one hash. Values without a verifier never wait:
/// they are hashed while the queue is free, and otherwise only take the same time.
pub struct HashPool {
    /// Hashes of generated values. Imported ones are few at a time.
    rate: Option<Bucket>,
    generated: Pool,
    imported: FairQueue,
    /// Duration of the last hash of a generated and of an imported value, in microseconds.
    generated_us: Arc<AtomicU64>,
    imported_us: Arc<AtomicU64>,
    limits: HashLimits,
    meter: Arc<dyn HashMetrics>,
}

struct Pool {
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
}

impl Pool {
    fn new(permits: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(permits.max(1))), waiting: AtomicUsize::new(0) }
    }

    fn free(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.permits).try_acquire_owned().ok()
    }

    /// A permit. Waits for it if no more than `places` requests wait.
    async fn permit(&self, places: usize, wait: Duration) -> Result<OwnedSemaphorePermit, Unavailable> {
        if let Some(permit) = self.free() {
            return Ok(permit);
        }
        let _place = QueueSlot::take(&self.waiting, places).ok_or(Unavailable::Overloaded)?;
        let acquired = tokio::time::timeout(wait, Arc::clone(&self.permits).acquire_owned()).await;
        acquired.ok().and_then(Result::ok).ok_or(Unavailable::Overloaded)
    }
}

impl HashPool {
    /// A checker with these limits.
    #[must_use]
    pub fn new(limits: HashLimits, meter: Arc<dyn HashMetrics>) -> Self {
        // At most half of the cores for expensive hashes, and a bounded part of the memory.
        let imported = FairQueue::new((limits.concurrent / 2).min(limits.imported), limits.waiting_imported);
        Self {
            rate: limits.per_second.map(|hashes| Bucket::new(Rate::per_second(hashes))),
            generated: Pool::new(limits.concurrent),
            imported,
            generated_us: Arc::default(),
            imported_us: Arc::default(),
            limits,
            meter,
        }
    }

    /// A permit to hash a generated value.
    async fn generated_permit(&self) -> Result<OwnedSemaphorePermit, Unavailable> {
        if self.rate.as_ref().is_some_and(|rate| rate.take().is_err()) {
            return Err(Unavailable::HashLimit);
        }
        self.generated.permit(self.limits.waiting, self.limits.wait).await
    }

    /// Whether `value` was verified for this version before, in this process.
    pub(crate) fn is_cached(secret: &SecretRecord, version: &SecretVersion, value: &str) -> bool {
        version
            .memory
            .verified_mac
            .get()
            .is_some_and(|known| process_mac::equal(known, &digest(secret, version, value)))
    }

    /// Whether `value` is the value of this version, by its hash. A success is remembered.
    ///
    /// # Errors
    /// [`Unavailable::Overloaded`], [`Unavailable::HashLimit`]
    pub(crate) async fn verify(
        &self,
        keys: &Arc<InstallKeys>,
        secret: &SecretRecord,
        version: &Arc<SecretVersion>,
        value: &str,
    ) -> Result<bool, Unavailable> {
        // A key pair matches no value.
        let Some(verifier) = version.verification.verifier().cloned() else { return Ok(false) };
        let (keys, guess, uid) = (Arc::clone(keys), Zeroizing::new(value.to_owned()), secret.uid);
        let work = move || keys.verify(&verifier, &guess, uid);
        let matches = if version.verification.is_imported() {
            let permit = self.imported.permit(secret, self.limits.wait).await?;
            // Another request may have verified the value while this one waited: pods that start together present the
            // same value.
            if Self::is_cached(secret, version, value) {
                return Ok(true);
            }
            self.run(HashCost::Imported, permit, work).await?
        } else {
            let permit = self.generated_permit().await?;
            self.run(HashCost::Generated, permit, work).await?
        };
        if matches {
            let _ = version.memory.verified_mac.set(digest(secret, version, value));
        }
        Ok(matches)
    }

    /// The work of [`HashPool::verify`] for a value without a verifier.
    ///
    /// # Errors
    /// [`Unavailable::Overloaded`], [`Unavailable::HashLimit`]
    pub(crate) async fn dummy_verify(
        &self,
        keys: &Arc<InstallKeys>,
        value: &str,
        strength: HashCost,
    ) -> Result<(), Unavailable> {
        let (keys, value) = (Arc::clone(keys), Zeroizing::new(value.to_owned()));
        let work = move || keys.dummy_verify(&value, strength);
        match strength {
            HashCost::Generated => {
                let permit = self.generated_permit().await?;
                self.run(strength, permit, work).await
            }
            HashCost::Imported => {
                if let Some(permit) = self.imported.free_permit() {
                    return self.run(strength, permit, work).await;
                }
                self.pause(strength).await;
                Ok(())
            }
        }
    }

    /// Waits for as long as the last hash took, without computing one.
    pub(crate) async fn pause(&self, strength: HashCost) {
        let took = |last: &AtomicU64| Duration::from_micros(last.load(Ordering::Relaxed));
        match strength {
            // The timer of the runtime has milliseconds, which is longer than this hash takes.
            HashCost::Generated => {
                let wait = took(&self.generated_us);
                let _ = tokio::task::spawn_blocking(move || std::thread::sleep(wait)).await;
            }
            HashCost::Imported => tokio::time::sleep(took(&self.imported_us)).await,
        }
    }

    /// Reports the duration of a signature.
    pub(crate) fn signed(&self, since: Instant) {
        self.meter.signed(since.elapsed());
    }

    /// Computes on a blocking thread. The permit lives as long as the work, even if the request was dropped.
    async fn run<T: Send + 'static>(
        &self,
        strength: HashCost,
        permit: impl Send + 'static,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Unavailable> {
        let last = match strength {
            HashCost::Generated => &self.generated_us,
            HashCost::Imported => &self.imported_us,
        };
        let (meter, last) = (Arc::clone(&self.meter), Arc::clone(last));
        let task = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            meter.hash_started();
            let started = Instant::now();
            let result = work();
            let took = started.elapsed();
            meter.hash_ended(took);
            last.store(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
            result
        });
        task.await.map_err(|_| Unavailable::Overloaded)
    }
}

/// Includes the verifier and the UID: a version whose verifier was replaced is hashed again.
fn digest(secret: &SecretRecord, version: &SecretVersion, value: &str) -> process_mac::Mac {
    let verifier = version.verification.verifier().map_or(&[][..], |verifier| verifier.as_bytes());
    process_mac::of(&[&secret.uid, verifier, value.as_bytes()])
}

/// A place in the queue, released on drop.
struct QueueSlot<'a>(&'a AtomicUsize);

impl<'a> QueueSlot<'a> {
    fn take(waiting: &'a AtomicUsize, max: usize) -> Option<Self> {
        let place = Self(waiting);
        // On `None`, the drop of `place` reverts the addition.
        (waiting.fetch_add(1, Ordering::Relaxed) < max).then_some(place)
    }
}

impl Drop for QueueSlot<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
