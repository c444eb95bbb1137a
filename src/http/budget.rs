//! The memory budget of the endpoint, in bytes: every limit is derived here.
//!
//! ```text
//! memory limit ──▶ shares ──▶ divided by the worst-case cost of each ──▶ Bounds
//! ```
//!
//! The costs are what a caller can make this process and the kernel keep, not usual costs. They follow from the sizes
//! that `server` sets for sockets, rustls, hyper and h2. The flood suite verifies them.

use std::fmt;

use crate::crypto::client_certificate::CHAIN_BYTES_MAX;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// Bytes that are read from a connection before its TLS handshake is complete. A ClientHello with a post-quantum key
/// share has two KiB.
pub(crate) const HANDSHAKE_READ: usize = 16 * 1024;
/// Bytes that are read from a connection without any plaintext: more than the longest TLS record (18 KiB). rustls
/// alone would keep 64 KiB of an endless handshake message.
pub(crate) const RECORD_READ: usize = 20 * 1024;
/// Longest head of a request, and longest list of headers in HTTP/2.
pub(crate) const HEAD: usize = 16 * 1024;
/// Size of a head without a token: the request line, and headers of proxies and clients.
const HEAD_WITHOUT_TOKEN: usize = 4 * 1024;
/// Size of a form without a token: client id and secret, with each byte encoded as three.
const FORM_WITHOUT_TOKEN: usize = 2 * 1024;
/// Size of a socket's buffers in each direction; Linux uses twice as much for bookkeeping. A longer response takes
/// another round trip for each multiple.
pub(crate) const SOCKET_BUFFER: u32 = 16 * 1024;
/// Response bytes that rustls buffers while the socket does not accept them.
pub(crate) const TLS_WRITE: usize = 16 * 1024;
/// Bytes of a stream's response that HTTP/2 buffers, and of a request that it receives before the handler reads it: a
/// whole frame, the smallest useful size.
pub(crate) const H2_STREAM: u32 = 16 * 1024;
/// Bytes that HTTP/2 receives on a connection before they are read: the minimum of RFC 9113 §6.9.2.
pub(crate) const H2_CONNECTION: u32 = 65_535;

/// Both buffers of a socket, and 8 KiB for its structures.
const SOCKET: u64 = 4 * SOCKET_BUFFER as u64 + 8 * KIB;
/// An arriving connection: its socket, the bytes read, the certificates to send (8 KiB), and the state of rustls (8
/// KiB).
const ARRIVAL: u64 = SOCKET + HANDSHAKE_READ as u64 + 16 * KIB;
/// TLS: an incomplete record and the plaintext of the last one (16 KiB), unsent bytes, and the state (8 KiB). The chain
/// of the client, as rustls keeps it and as it was read.
const TLS: u64 = RECORD_READ as u64 + 16 * KIB + TLS_WRITE as u64 + 8 * KIB + 2 * CHAIN_BYTES_MAX as u64;
/// HTTP/2: a frame that is read into a buffer that doubles (32 KiB), an incomplete header block, a frame that is
/// written (16 KiB), two header tables (8 KiB), structures and refused streams (16 KiB). HTTP/1.1 takes less.
const HTTP: u64 = 32 * KIB + HEAD as u64 + 16 * KIB + 8 * KIB + 16 * KIB;
/// A connection, without its requests.
const CONNECTION: u64 = SOCKET + TLS + HTTP;
/// A request. First its decoded head (26 KiB) and its body, if short (4 KiB). Then the DPoP proof and the Authorization header,
/// with what they contain (46 KiB), and the form (8 KiB); or the proof and a short assertion, with what they contain (44 KiB).
/// At last its response (22 KiB). Also one request of the same source network that waits for its body (12 KiB), and one for a
/// public document, which is shared (4 KiB). The chain of the client, if a proxy names it in the head.
const REQUEST: u64 = 72 * KIB + CHAIN_BYTES_MAX as u64;
/// What a byte of a long body takes until its request is decided: the body, the decoded value of the form, the assertion, the
/// JSON in it, what is read of that, and the name of its key for the API server. Each has at most the length of the body.
const BODY_COPIES: u64 = 6;
/// The hash of an imported value: the configured memory of Argon2id.
const IMPORTED_HASH: u64 = 19 * MIB;

/// Shares of the memory limit, in parts of 32. The remaining 12 parts are for the program, the objects and the
/// allocator.
const PARTS: u64 = 32;
const CONNECTIONS_PARTS: u64 = 10;
const REQUESTS_PARTS: u64 = 3;
const ARRIVALS_PARTS: u64 = 2;
const BODIES_PARTS: u64 = 1;
const HASHES_PARTS: u64 = 4;

/// The minimum for a replica: the program uses 20 MiB without any object.
const LIMIT_MIN: u64 = 64 * MIB;
/// Higher limits need a flag, however much memory there is: a process has some thousand file descriptors.
const CONNECTIONS_MAX: u64 = 4096;
const ARRIVALS_MAX: u64 = 1024;
const REQUESTS_MAX: u64 = 4096;
const LARGE_BODIES_MAX: u64 = 256;
/// More than a few at a time would starve other work of processors.
const IMPORTED_HASHES_MAX: u64 = 4;

/// The operator's flags.
#[derive(Clone, Copy, Debug)]
pub struct Requested {
    /// `--connections-max`.
    pub connections: Option<u32>,
    /// `--body-bytes-max`.
    pub body_bytes: u32,
}

/// The limits on everything that uses memory at the same time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Bounds {
    /// Connections that are established.
    pub connections: usize,
    /// Connections in the TLS handshake.
    pub arrivals: usize,
    /// Requests that are processed or whose response is not sent yet. As many more may wait for their bodies, and as
    /// many may be for public documents.
    pub requests: usize,
    /// Requests with a body of more than a few KiB, from its first bytes until they are decided.
    pub large_bodies: usize,
    /// Hashes of imported values.
    pub imported_hashes: usize,
}

/// Why the limits do not fit into the memory. Each message names the flag and the remedy.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BudgetError {
    /// Too little memory for any limits.
    #[error(
        "the memory limit of {} is too small: give the container, or --memory-limit, at least {}",
        Size(*limit),
        Size(LIMIT_MIN)
    )]
    Limit {
        /// The limit in bytes.
        limit: u64,
    },
    /// Too many connections.
    #[error(
        "--connections-max {asked} does not fit into the memory limit of {}, which has room for {possible}: lower it, \
         or raise the limit of the container (or --memory-limit) to {}",
        Size(*limit),
        Size(*needed)
    )]
    Connections {
        /// The requested number.
        asked: u32,
        /// The number that fits.
        possible: u64,
        /// The limit in bytes.
        limit: u64,
        /// The memory limit that would suffice.
        needed: u64,
    },
    /// Too long a body.
    #[error(
        "--body-bytes-max {asked} does not fit into the memory limit of {}: set it to {possible} at most, or raise the \
         limit of the container (or --memory-limit) to {}",
        Size(*limit),
        Size(*needed)
    )]
    Body {
        /// The requested length.
        asked: u32,
        /// The length that fits.
        possible: u64,
        /// The limit in bytes.
        limit: u64,
        /// The memory limit that would suffice.
        needed: u64,
    },
}

/// The longest token that fits into a head, and into the form of introspection and revocation with this limit of
/// bodies.
#[must_use]
pub fn token_bytes(body_bytes: usize) -> usize {
    (HEAD - HEAD_WITHOUT_TOKEN).min(body_bytes.saturating_sub(FORM_WITHOUT_TOKEN))
}

impl Bounds {
    /// The limits for this much memory.
    ///
    /// # Errors
    /// [`BudgetError`], when the requested limits do not fit.
    pub fn derive(limit: u64, requested: Requested) -> Result<Self, BudgetError> {
        if limit < LIMIT_MIN {
            return Err(BudgetError::Limit { limit });
        }
        let share = |parts: u64| limit / PARTS * parts;
        let possible = share(CONNECTIONS_PARTS) / CONNECTION;
        let connections = match requested.connections {
            Some(asked) if u64::from(asked) > possible => {
                let needed = limit_for(u64::from(asked) * CONNECTION, CONNECTIONS_PARTS);
                return Err(BudgetError::Connections { asked, possible, limit, needed });
            }
            Some(asked) => u64::from(asked),
            None => possible.min(CONNECTIONS_MAX),
        };
        let (asked, body) = (requested.body_bytes, u64::from(requested.body_bytes.max(1)) * BODY_COPIES);
        let possible = share(BODIES_PARTS);
        if body > possible {
            let (possible, needed) = (possible / BODY_COPIES, limit_for(body, BODIES_PARTS));
            return Err(BudgetError::Body { asked, possible, limit, needed });
        }
        let count = |number: u64, max: u64| usize::try_from(number.clamp(1, max)).unwrap_or(usize::MAX);
        Ok(Self {
            connections: count(connections, u64::MAX),
            arrivals: count(share(ARRIVALS_PARTS) / ARRIVAL, ARRIVALS_MAX),
            requests: count(share(REQUESTS_PARTS) / REQUEST, REQUESTS_MAX),
            large_bodies: count(possible / body, LARGE_BODIES_MAX),
            imported_hashes: count(share(HASHES_PARTS) / IMPORTED_HASH, IMPORTED_HASHES_MAX),
        })
    }

    /// Limits without a memory limit.
    #[must_use]
    pub fn unlimited() -> Self {
        let most = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        Self {
            connections: most(CONNECTIONS_MAX),
            arrivals: most(ARRIVALS_MAX),
            requests: most(REQUESTS_MAX),
            large_bodies: most(LARGE_BODIES_MAX),
            imported_hashes: most(IMPORTED_HASHES_MAX),
        }
    }
}

/// The memory limit of which `parts` are `bytes`, in whole MiB.
fn limit_for(bytes: u64, parts: u64) -> u64 {
    bytes.div_ceil(parts).saturating_mul(PARTS).div_ceil(MIB) * MIB
}

/// Bytes in human-readable form.
struct Size(u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes % MIB == 0 => write!(f, "{} MiB", bytes / MIB),
            bytes if bytes > MIB => write!(f, "{}.{} MiB", bytes / MIB, bytes % MIB * 10 / MIB),
            bytes => write!(f, "{bytes} bytes"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULT: Requested = Requested { connections: None, body_bytes: 64 * 1024 };

    fn worst(bounds: &Bounds) -> u64 {
        let of = |number: usize, cost: u64| u64::try_from(number).unwrap() * cost;
        of(bounds.connections, CONNECTION)
            + of(bounds.arrivals, ARRIVAL)
            + of(bounds.requests, REQUEST)
            + of(bounds.large_bodies, u64::from(DEFAULT.body_bytes) * BODY_COPIES)
            + of(bounds.imported_hashes, IMPORTED_HASH)
    }

    #[test]
    fn the_worst_case_of_all_bounds_stays_within_the_memory_budget() {
        for limit in [64, 100, 128, 256, 512, 1024, 65_536] {
            let bounds = Bounds::derive(limit * MIB, DEFAULT).unwrap();
            // With very little memory, one hash exceeds its share.
            let hash = if limit < 152 { IMPORTED_HASH } else { 0 };
            assert!(worst(&bounds) <= limit * MIB / PARTS * 20 + hash, "{limit}: {bounds:?}");
        }
    }

    #[test]
    fn the_limit_of_the_chart_allows_hundreds_of_connections_and_ample_memory_sets_no_bounds() {
        let chart = Bounds::derive(256 * MIB, DEFAULT).unwrap();
        assert!(chart.connections >= 300 && chart.requests >= 300 && chart.arrivals >= 64, "{chart:?}");
        assert!(chart.large_bodies >= 20, "{chart:?}");
        assert_eq!(Bounds::derive(64 * 1024 * MIB, DEFAULT).unwrap(), Bounds::unlimited());
    }

    #[test]
    fn a_setting_that_does_not_fit_is_refused_with_its_flag_and_a_sufficient_limit() {
        let asked = Requested { connections: Some(4096), ..DEFAULT };
        let refused = Bounds::derive(256 * MIB, asked).unwrap_err();
        let BudgetError::Connections { possible, needed, .. } = refused else { panic!("{refused}") };
        let text = refused.to_string();
        assert!(text.starts_with("--connections-max 4096 does not fit into the memory limit of 256 MiB"), "{text}");
        assert_eq!(Bounds::derive(needed, asked).unwrap().connections, 4096);
        assert!(Bounds::derive(needed - 2 * MIB, asked).is_err());
        let fits = Requested { connections: u32::try_from(possible).ok(), ..DEFAULT };
        assert!(Bounds::derive(256 * MIB, fits).is_ok());

        let asked = Requested { body_bytes: 64 * 1024 * 1024, ..DEFAULT };
        let refused = Bounds::derive(256 * MIB, asked).unwrap_err();
        assert!(refused.to_string().contains("--body-bytes-max"), "{refused}");
        let BudgetError::Body { possible, needed, .. } = refused else { panic!("{refused}") };
        assert_eq!(Bounds::derive(needed, asked).unwrap().large_bodies, 1);
        let fits = Requested { body_bytes: u32::try_from(possible).unwrap(), ..DEFAULT };
        assert_eq!(Bounds::derive(256 * MIB, fits).unwrap().large_bodies, 1);

        let refused = Bounds::derive(32 * MIB, DEFAULT).unwrap_err().to_string();
        assert!(refused.contains("--memory-limit") && refused.contains("64 MiB"), "{refused}");
    }

    #[test]
    fn fewer_connections_than_fit_and_more_than_the_default_can_be_requested() {
        let asked = |number, limit| Bounds::derive(limit, Requested { connections: Some(number), ..DEFAULT });
        assert_eq!(asked(1, 256 * MIB).unwrap().connections, 1);
        assert_eq!(asked(10_000, 16 * 1024 * MIB).unwrap().connections, 10_000);
    }
}
