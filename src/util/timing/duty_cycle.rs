//! A pause in proportion to the work before it, so that the work uses a constant share of what it loads.

use std::time::Duration;

/// The share of the time that a repeated operation may take.
#[derive(Clone, Copy, Debug)]
pub struct DutyCycle {
    /// The pause, as a multiple of the time that the operation took.
    pub factor: u32,
    /// The shortest pause.
    pub min: Duration,
    /// The longest pause: after one very slow operation the next must not be late.
    pub max: Duration,
}

impl DutyCycle {
    /// The pause after an operation that took this time.
    #[must_use]
    pub fn pause(self, took: Duration) -> Duration {
        took.saturating_mul(self.factor).clamp(self.min, self.max)
    }
}
