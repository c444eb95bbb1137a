//! What every reconciliation shares: when it runs, which process runs it, and what it reports.

pub(crate) mod due_scan;
pub(crate) mod event_recorder;
mod event_series;
pub(crate) mod expectations;
pub(crate) mod leader_election;
pub(crate) mod list_pages;
pub(crate) mod propagation;
pub(crate) mod refusals;
pub(crate) mod repair_schedule;
mod replica_gc;
mod round_robin;
pub(crate) mod signing_algorithms;
pub(crate) mod status_failure;
pub(crate) mod status_throttle;
pub(crate) mod urgent;
pub(crate) mod work_queue;
pub(crate) mod write_params;
