//! Log lines and metrics of the process. No secret passes through this module: labels come from closed sets, and a
//! caller that logs a client's text truncates and escapes it first.

mod batch_writer;
pub mod logs;
pub mod metrics;
pub mod request_metrics;
