//! The source of time. Decisions take an instant as an argument; only the outer layers have a [`Clock`].

use jiff::Timestamp;

/// A source of wall-clock time.
pub trait Clock: Send + Sync + 'static {
    /// The current instant.
    fn now(&self) -> Timestamp;
}

/// The clock of the operating system; no other code reads it.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the place meant for it")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}
