//! When something happens next: the timing policies of all modules, without any of their reasons.
//!
//! | policy | question | used for |
//! |---|---|---|
//! | [`backoff`] | how long to wait after a repetition | refused operations, repairs, unknown credentials |
//! | [`throttle`] | when to write what changes again and again | counts and last-used times in status |
//! | [`rate_limit`] | how often something may happen | reads and writes that clients cause, their failures and their tokens |
//! | [`single_flight`] | who shares the result of one read | AccessGroups that all clients need |
//! | [`duty_cycle`] | how long to pause after work that took time | events, shared reads |

pub mod backoff;
pub mod duty_cycle;
pub mod rate_limit;
pub mod single_flight;
pub mod throttle;
