//! What operators see of the process: log lines and metrics. No secret passes through here: labels come from closed
//! sets, and whoever logs a caller's text bounds and escapes it first.

mod lines;
pub mod logs;
pub mod metrics;
