//! Why a request failed.
//!
//! The message of an error is for tenants, and is the same for everything that would otherwise reveal the operator's network.
//! Its source is for the operator's log.

use std::error::Error;

use super::client::{BODY_BYTES_MAX, TIME_MAX};

/// The technical cause, for the operator's log.
type Cause = Box<dyn Error + Send + Sync>;

/// Why a request failed. Until the host has proven its name with a certificate, the message does not depend on what the
/// network answers: neither on the address, nor on whether a port is open.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The URL is not https, or has a user or a fragment.
    #[error("the URL is not an https URL without user and fragment")]
    Url,
    /// The operator does not allow the host, or not this port of it.
    #[error("the operator does not allow this host")]
    HostNotAllowed,
    /// The name does not resolve, or only to addresses that the operator does not allow.
    #[error("the name does not resolve to an address that the operator allows")]
    NoAddress(#[source] Option<Cause>),
    /// No connection, or no trusted certificate of the host.
    #[error("no connection with a trusted certificate of the host")]
    Unreachable(#[source] Cause),
    /// The response did not arrive in time.
    #[error("no complete response within {} seconds", TIME_MAX.as_secs())]
    TimedOut,
    /// A status other than 200 and 304, such as a redirect.
    #[error("status {0} instead of 200; redirects are not followed")]
    Status(u16),
    /// The response is too large.
    #[error("a response of more than {} KiB", BODY_BYTES_MAX / 1024)]
    TooLarge,
    /// The connection broke, or the response is not HTTP/1.1.
    #[error("an incomplete or malformed response")]
    Malformed(#[source] Cause),
}

/// The cause is not compared: messages depend only on the kind.
impl PartialEq for RequestError {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}
