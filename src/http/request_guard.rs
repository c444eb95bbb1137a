//! A request without a decision yet.

use std::net::IpAddr;

use crate::http::audit::Audit;
use crate::http::response::RequestId;
use crate::oauth::token::AuditRecord;
use crate::telemetry::metrics::TokenMetrics;

/// The details of a request while it is processed. hyper drops the request when its client disconnects before the
/// decision: the request is still counted and logged.
pub(crate) struct RequestGuard<'m> {
    metrics: &'m TokenMetrics,
    audit: &'m Audit,
    id: RequestId,
    pub(crate) facts: AuditRecord,
    is_decided: bool,
}

impl<'m> RequestGuard<'m> {
    pub(crate) fn new(metrics: &'m TokenMetrics, audit: &'m Audit, source: Option<IpAddr>) -> Self {
        let facts = AuditRecord { source, ..AuditRecord::default() };
        Self { metrics, audit, id: RequestId::new(), facts, is_decided: false }
    }

    /// Marks the request as decided: the caller responds, counts and logs it.
    pub(crate) fn decided(mut self) -> (RequestId, AuditRecord) {
        self.is_decided = true;
        (std::mem::take(&mut self.id), std::mem::take(&mut self.facts))
    }
}

impl Drop for RequestGuard<'_> {
    fn drop(&mut self) {
        if !self.is_decided {
            self.metrics.abandoned();
            self.audit.abandoned(&self.id, &self.facts);
        }
    }
}
