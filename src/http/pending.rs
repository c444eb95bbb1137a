//! A request that is not decided yet.

use std::net::IpAddr;

use crate::http::answer::RequestId;
use crate::http::audit::Audit;
use crate::oauth::token::Facts;
use crate::telemetry::metrics::TokenMetrics;

/// What is known of a request while it is being decided. hyper lets go of it when its client hangs up before that: then it
/// is counted, and leaves a line, all the same.
pub(crate) struct Pending<'m> {
    metrics: &'m TokenMetrics,
    audit: &'m Audit,
    id: RequestId,
    pub(crate) facts: Facts,
    is_decided: bool,
}

impl<'m> Pending<'m> {
    pub(crate) fn new(metrics: &'m TokenMetrics, audit: &'m Audit, source: Option<IpAddr>) -> Self {
        let facts = Facts { source, ..Facts::default() };
        Self { metrics, audit, id: RequestId::new(), facts, is_decided: false }
    }

    /// It is decided: whoever decided it answers, counts it and leaves the line.
    pub(crate) fn decided(mut self) -> (RequestId, Facts) {
        self.is_decided = true;
        (std::mem::take(&mut self.id), std::mem::take(&mut self.facts))
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if !self.is_decided {
            self.metrics.abandoned();
            self.audit.abandoned(&self.id, &self.facts);
        }
    }
}
