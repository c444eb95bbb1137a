//! Limits of the endpoint's memory use.

use super::RunError;
use crate::cli::ServeArgs;
use crate::http::budget::{Bounds, Requested};
use crate::http::memory;

/// The limits for the given memory limit or that of the cgroup; without either, those for ample memory.
///
/// # Errors
/// [`RunError::Budget`]
pub(super) fn derive(args: &ServeArgs) -> Result<Bounds, RunError> {
    let limit = args.memory_limit.or_else(memory::limit).unwrap_or(u64::MAX);
    let requested = Requested { connections: args.connections_max, body_bytes: args.body_bytes_max };
    let bounds = Bounds::derive(limit, requested)?;
    tracing::info!(
        memory_limit_mib = limit / (1024 * 1024),
        connections = bounds.connections,
        handshakes = bounds.arrivals,
        requests = bounds.requests,
        large_bodies = bounds.large_bodies,
        imported_hashes = bounds.imported_hashes,
        "bounds of the endpoint"
    );
    Ok(bounds)
}
