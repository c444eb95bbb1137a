//! When something happens next: the timing policies of all modules, without any of their reasons.
//!
//! | policy | question | used for |
//! |---|---|---|
//! | [`backoff`] | how long to wait after a repetition | refused operations, repairs, unknown credentials |
//! | [`throttle`] | when to write what changes again and again | counts and last-used times in status |
//! | [`token_bucket`] | how often something may happen | reads and writes that clients cause |
//! | [`single_flight`] | who shares the result of one read | AccessGroups that all clients need |
//! | [`duty_cycle`] | how long to pause after work that took time | events, shared reads |

pub mod backoff;
pub mod duty_cycle;
pub mod single_flight;
pub mod throttle;
pub mod token_bucket;
