//! Waiting for something to become true: bounded, and with what was seen instead when it does not.

use std::fmt::Display;
use std::time::{Duration, Instant};

/// Longest wait for anything. Far above what a loaded machine needs: a test that waits this long has failed.
const EVENTUALLY_TIMEOUT: Duration = Duration::from_mins(5);
/// Between two checks. Short against a write (2 ms), long against a check (1 ms).
const PAUSE: Duration = Duration::from_millis(15);

/// Looks until the answer is `Ok`. `Err` says what is the case instead.
pub async fn eventually<T>(what: impl Display, mut look: impl AsyncFnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + EVENTUALLY_TIMEOUT;
    loop {
        match look().await {
            Ok(answer) => return answer,
            Err(instead) if Instant::now() >= deadline => panic!("did not happen: {what}\nbut: {instead}"),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// `Ok` if the claim holds, for [`eventually`].
pub fn ensure(claim: bool, instead: impl Display) -> Result<(), String> {
    if claim { Ok(()) } else { Err(instead.to_string()) }
}
