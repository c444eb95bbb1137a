//! Limits the audit lines of refused requests for each source network, so that a flood of them neither fills a disk
//! nor hides other lines.
//!
//! In each second a source network gets its first lines. Further lines are counted, and one line at the end of the
//! second reports their number. Lines of granted requests are never suppressed: such a request needs a valid
//! credential, and an investigation needs the line.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::telemetry::metrics::TokenMetrics;

/// Refused requests of a source network that get a line, each second: more than a faulty client causes, and 50 KB.
pub(crate) const LINES_PER_SECOND: u32 = 100;
/// Source networks with a separate count in a second. Further networks share one count.
const NETWORKS_MAX: usize = 1024;
const SECOND: Duration = Duration::from_secs(1);

/// The lines of the current second. Clones share the counts.
#[derive(Clone)]
pub(crate) struct AuditLimit {
    current: Arc<Mutex<Current>>,
    metrics: TokenMetrics,
}

struct Current {
    ends: Instant,
    /// `None`: requests from unknown sources, and from networks beyond the limit.
    networks: HashMap<Option<IpNet>, Lines>,
    /// A task waits for the end of the second, to report the suppressed lines.
    is_awaited: bool,
}

#[derive(Default)]
struct Lines {
    written: u32,
    suppressed: u64,
}

impl AuditLimit {
    pub(crate) fn new(metrics: TokenMetrics) -> Self {
        let current = Current { ends: Instant::now(), networks: HashMap::new(), is_awaited: false };
        Self { current: Arc::new(Mutex::new(current)), metrics }
    }

    /// Whether a refused request from this address gets a line now. If not, the request is counted.
    pub(crate) fn allows(&self, source: Option<IpAddr>) -> bool {
        let now = Instant::now();
        let mut current = self.lock();
        if now >= current.ends {
            report(std::mem::take(&mut current.networks));
            current.ends = now + SECOND;
        }
        let mut network = source.map(network);
        if current.networks.len() >= NETWORKS_MAX && !current.networks.contains_key(&network) {
            network = None;
        }
        let lines = current.networks.entry(network).or_default();
        if lines.written < LINES_PER_SECOND {
            lines.written += 1;
            return true;
        }
        lines.suppressed += 1;
        self.metrics.audit_line_suppressed();
        self.await_end(&mut current);
        false
    }

    /// Reports at the end of the second, even without a further request.
    fn await_end(&self, current: &mut Current) {
        // Without a runtime the process is ending.
        let Ok(runtime) = Handle::try_current() else { return };
        if !current.is_awaited {
            current.is_awaited = true;
            let (limit, ends) = (self.clone(), current.ends);
            runtime.spawn(async move {
                tokio::time::sleep_until(ends).await;
                let mut current = limit.lock();
                current.is_awaited = false;
                report(std::mem::take(&mut current.networks));
                current.ends = Instant::now() + SECOND;
            });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn report(networks: HashMap<Option<IpNet>, Lines>) {
    for (network, lines) in networks.into_iter().filter(|(_, lines)| lines.suppressed > 0) {
        tracing::info!(
            target: "postern::audit",
            outcome = "suppressed",
            source_network = network.map(tracing::field::display),
            lines = lines.suppressed,
            "audit lines of refused requests suppressed"
        );
    }
}

/// IPv4 /24 and IPv6 /64: the usual size of one customer's network.
fn network(source: IpAddr) -> IpNet {
    let length = if source.is_ipv4() { 24 } else { 64 };
    IpNet::new(source, length).map_or_else(|_| source.into(), |network| network.trunc())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics;

    fn limit() -> AuditLimit {
        AuditLimit::new(TokenMetrics::register(&mut metrics::registry()))
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn lines(limit: &AuditLimit, source: impl Into<Option<IpAddr>>) -> usize {
        let source = source.into();
        (0..1_000).filter(|_| limit.allows(source)).count()
    }

    #[tokio::test(start_paused = true)]
    async fn q4_a_network_has_its_lines_each_second_and_others_have_theirs() {
        let limit = limit();
        for _ in 0..3 {
            assert_eq!(lines(&limit, address("192.0.2.1")), 100);
            assert_eq!(lines(&limit, address("192.0.2.200")), 0, "the same network");
            assert_eq!(lines(&limit, address("198.51.100.1")), 100);
            assert_eq!(lines(&limit, address("2001:db8::1")), 100);
            assert_eq!(lines(&limit, address("2001:db8::ffff")), 0);
            assert_eq!(lines(&limit, address("2001:db8:0:1::1")), 100);
            assert_eq!(lines(&limit, None), 100);
            tokio::time::advance(SECOND).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn q4_networks_beyond_the_bound_share_one_count() {
        let limit = limit();
        let network = |number: u32| Some(IpAddr::from((number << 8).to_be_bytes()));
        let written = (0..100_000).filter(|number| limit.allows(network(*number))).count();
        assert_eq!(written, NETWORKS_MAX + 100);
        assert!(limit.lock().networks.len() <= NETWORKS_MAX + 1);
    }
}
