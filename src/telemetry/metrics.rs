//! Metrics of the token endpoint. Names start with `postern_`; labels are closed sets.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::batch_writer;
use super::request_metrics::{Outcome, RequestMetrics, Route};

/// From 5 µs (an ES256 signature takes some 20 µs) doubling up to 80 ms (an overloaded host).
const BUCKETS_S: [f64; 15] = [
    0.000_005, 0.000_010, 0.000_020, 0.000_040, 0.000_080, 0.000_160, 0.000_320, 0.000_640, 0.001_280, 0.002_560,
    0.005_120, 0.010_240, 0.020_480, 0.040_960, 0.081_920,
];

/// From half a second to five minutes: the API server reports the time of a change in whole seconds.
const PROPAGATION_BUCKETS_S: [f64; 10] = [0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 300.0];

/// The endpoint's metrics. Clones share the counters.
#[derive(Clone, Debug)]
pub struct TokenMetrics {
    requests: RequestMetrics,
    abandoned_requests: Counter,
    audit_lines_suppressed: Counter,
    client_lockouts: Counter,
    hash_seconds: Histogram,
    sign_seconds: Histogram,
    propagation_seconds: Histogram,
    hashes_in_flight: Gauge,
    read_model_age_seconds: Gauge<f64, AtomicU64>,
}

/// A registry whose metrics are named `postern_…`.
#[must_use]
pub fn registry() -> Registry {
    let mut registry = Registry::with_prefix("postern");
    let help = "Log lines lost because standard output was blocked";
    registry.register("log_lines_lost", help, batch_writer::lost().clone());
    registry
}

/// The number of ClientSecrets that expire soon. The label `within` is one of the warning times.
#[derive(Clone, Debug, Default)]
pub struct ExpiryMetrics(Family<[(&'static str, String); 1], Gauge>);

impl ExpiryMetrics {
    /// Registers the metric.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let help = "ClientSecrets that expire within this time and are not rotated before";
        registry.register("client_secrets_expiring", help, metrics.0.clone());
        metrics
    }

    /// Sets the number of ClientSecrets that expire within this time.
    pub fn set(&self, within: &str, number: usize) {
        let gauge = self.0.get_or_create(&[("within", within.to_owned())]);
        gauge.set(i64::try_from(number).unwrap_or(i64::MAX));
    }
}

/// For how long the key of each algorithm has been signing.
#[derive(Clone, Debug, Default)]
pub struct SigningKeyMetrics(Family<[(&'static str, &'static str); 1], Gauge<f64, AtomicU64>>);

impl SigningKeyMetrics {
    /// Registers the metric.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let help = "Time since the key that signs with this algorithm became active";
        registry.register_with_unit("signing_key_age", help, Unit::Seconds, metrics.0.clone());
        metrics
    }

    /// Removes an algorithm whose key does not sign any more.
    pub fn remove(&self, algorithm: &'static str) {
        self.0.remove(&[("algorithm", algorithm)]);
    }

    /// Sets the ages of these keys.
    pub fn set(&self, ages: impl IntoIterator<Item = (&'static str, Duration)>) {
        for (algorithm, age) in ages {
            self.0.get_or_create(&[("algorithm", algorithm)]).set(age.as_secs_f64());
        }
    }
}

impl TokenMetrics {
    /// Registers the metrics.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            requests: RequestMetrics::register(registry),
            abandoned_requests: Counter::default(),
            audit_lines_suppressed: Counter::default(),
            client_lockouts: Counter::default(),
            hash_seconds: Histogram::new(BUCKETS_S),
            sign_seconds: Histogram::new(BUCKETS_S),
            propagation_seconds: Histogram::new(PROPAGATION_BUCKETS_S),
            hashes_in_flight: Gauge::default(),
            read_model_age_seconds: Gauge::default(),
        };
        let abandoned = metrics.abandoned_requests.clone();
        registry.register("abandoned_requests", "Requests whose client disconnected before the response", abandoned);
        let suppressed = metrics.audit_lines_suppressed.clone();
        registry.register("audit_lines_suppressed", "Audit lines of refused requests left out of the log", suppressed);
        let lockouts = metrics.client_lockouts.clone();
        registry.register("client_lockouts", "Locks of the secrets of a client that this replica began", lockouts);
        let seconds = || Unit::Seconds;
        let hash = metrics.hash_seconds.clone();
        registry.register_with_unit("secret_hash_duration", "Time to check a secret by its hash", seconds(), hash);
        let sign = metrics.sign_seconds.clone();
        registry.register_with_unit("token_sign_duration", "Time to write and sign a token", seconds(), sign);
        registry.register_with_unit(
            "propagation",
            "Time from a change of an object until this replica serves it; up to a second too long",
            seconds(),
            metrics.propagation_seconds.clone(),
        );
        let in_flight = metrics.hashes_in_flight.clone();
        registry.register("secret_hashes_in_flight", "Hashes being computed now", in_flight);
        let age = metrics.read_model_age_seconds.clone();
        registry.register_with_unit(
            "read_model_age",
            "Time since the read model was last known to be current",
            seconds(),
            age,
        );
        metrics
    }

    /// Counts a request.
    pub fn count(&self, route: Route, outcome: Outcome) {
        self.requests.count(route, outcome);
    }

    /// Counts a request whose client disconnected before the answer.
    pub fn abandoned(&self) {
        self.abandoned_requests.inc();
    }

    /// Counts a suppressed audit line.
    pub fn audit_line_suppressed(&self) {
        self.audit_lines_suppressed.inc();
    }

    /// Counts locks of the secrets of clients.
    pub fn locked(&self, number: u64) {
        self.client_lockouts.inc_by(number);
    }

    /// Records the start of a hash.
    pub fn hash_started(&self) {
        self.hashes_in_flight.inc();
    }

    /// Records the end of a hash.
    pub fn hash_ended(&self, took: Duration) {
        self.hashes_in_flight.dec();
        self.hash_seconds.observe(took.as_secs_f64());
    }

    /// Records the time to write and sign a token.
    pub fn signed(&self, took: Duration) {
        self.sign_seconds.observe(took.as_secs_f64());
    }

    /// Records the time until a change was served.
    pub fn served(&self, after: Duration) {
        self.propagation_seconds.observe(after.as_secs_f64());
    }

    /// Sets the time since the read model was last known to be current.
    pub fn set_read_model_age(&self, age: Duration) {
        self.read_model_age_seconds.set(age.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn q5_durations_and_age_are_in_seconds() {
        let mut registry = registry();
        let metrics = TokenMetrics::register(&mut registry);
        metrics.hash_started();
        metrics.set_read_model_age(Duration::from_millis(1500));
        metrics.signed(Duration::from_micros(15));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "postern_secret_hashes_in_flight 1\n",
            "postern_read_model_age_seconds 1.5\n",
            "postern_token_sign_duration_seconds_count 1\n",
            "postern_secret_hash_duration_seconds_count 0\n",
        ] {
            assert!(text.contains(line), "{line} is missing in {text}");
        }
    }
}
