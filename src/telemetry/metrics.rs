//! Metrics of the token endpoint. Names start with `postern_`; labels are closed sets.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::batch_writer;

/// From 5 µs (an ES256 signature takes some 20 µs) doubling up to 80 ms (an overloaded host).
const BUCKETS_S: [f64; 15] = [
    0.000_005, 0.000_010, 0.000_020, 0.000_040, 0.000_080, 0.000_160, 0.000_320, 0.000_640, 0.001_280, 0.002_560,
    0.005_120, 0.010_240, 0.020_480, 0.040_960, 0.081_920,
];

/// From half a second to five minutes: the API server reports the time of a change in whole seconds.
const PROPAGATION_BUCKETS_S: [f64; 10] = [0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 300.0];

/// The result of a token request. The label `outcome`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// A token was issued.
    Issued,
    /// `invalid_request`, any status.
    InvalidRequest,
    /// `invalid_client`
    InvalidClient,
    /// `unauthorized_client`
    UnauthorizedClient,
    /// `unsupported_grant_type`
    UnsupportedGrantType,
    /// `invalid_scope`
    InvalidScope,
    /// `invalid_target`
    InvalidTarget,
    /// 429
    RateLimited,
    /// 503
    Unavailable,
    /// 500
    ServerError,
}

impl Outcome {
    /// Every outcome, in the order of the enumeration.
    pub const ALL: [Self; 10] = [
        Self::Issued,
        Self::InvalidRequest,
        Self::InvalidClient,
        Self::UnauthorizedClient,
        Self::UnsupportedGrantType,
        Self::InvalidScope,
        Self::InvalidTarget,
        Self::RateLimited,
        Self::Unavailable,
        Self::ServerError,
    ];

    /// The value of the label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Issued => "issued",
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
            Self::RateLimited => "rate_limited",
            Self::Unavailable => "unavailable",
            Self::ServerError => "server_error",
        }
    }
}

/// The result of a forward-auth or management request. The label `outcome`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AuthOutcome {
    /// The request is allowed.
    Allowed,
    /// 401: the request has no credentials.
    NoCredentials,
    /// 401: id and secret are refused.
    InvalidClient,
    /// 401: the token is refused.
    InvalidToken,
    /// 400
    InvalidRequest,
    /// 403: a required permission is missing.
    InsufficientScope,
    /// 403: the secret may not be used for this.
    UnauthorizedClient,
    /// 429
    RateLimited,
    /// 503
    Unavailable,
}

impl AuthOutcome {
    /// Every outcome, in the order of the enumeration.
    pub const ALL: [Self; 9] = [
        Self::Allowed,
        Self::NoCredentials,
        Self::InvalidClient,
        Self::InvalidToken,
        Self::InvalidRequest,
        Self::InsufficientScope,
        Self::UnauthorizedClient,
        Self::RateLimited,
        Self::Unavailable,
    ];

    /// The value of the label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::NoCredentials => "no_credentials",
            Self::InvalidClient => "invalid_client",
            Self::InvalidToken => "invalid_token",
            Self::InvalidRequest => "invalid_request",
            Self::InsufficientScope => "insufficient_scope",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::RateLimited => "rate_limited",
            Self::Unavailable => "unavailable",
        }
    }
}

/// The endpoint's metrics. Clones share the counters.
#[derive(Clone, Debug)]
pub struct TokenMetrics {
    requests: [Counter; Outcome::ALL.len()],
    auth_requests: [Counter; AuthOutcome::ALL.len()],
    manage_requests: [Counter; AuthOutcome::ALL.len()],
    userinfo_requests: [Counter; AuthOutcome::ALL.len()],
    abandoned_requests: Counter,
    audit_lines_suppressed: Counter,
    /// Introspection requests: `active`, `inactive`.
    pub introspections: Answers,
    /// Revocation requests: `revoked`, `ignored`.
    pub revocations: Answers,
    hash_seconds: Histogram,
    sign_seconds: Histogram,
    propagation_seconds: Histogram,
    hashes_in_flight: Gauge,
    read_model_age_seconds: Gauge<f64, AtomicU64>,
}

/// Requests with two successful results, by outcome: those two, or the failure of a token request.
#[derive(Clone, Debug)]
pub struct Answers {
    given: [Counter; 2],
    failed: [Counter; Outcome::ALL.len()],
}

impl Answers {
    fn new(family: &ByOutcome, given: [&'static str; 2]) -> Self {
        let of = |outcome| family.get_or_create(&[("outcome", outcome)]).clone();
        Self { given: given.map(of), failed: Outcome::ALL.map(|outcome| of(outcome.as_str())) }
    }

    /// Counts an answer: the first or the second.
    pub fn count(&self, which: usize) {
        if let Some(counter) = self.given.get(which) {
            counter.inc();
        }
    }

    /// Counts a failure.
    pub fn count_failed(&self, outcome: Outcome) {
        if let Some(counter) = self.failed.get(outcome as usize) {
            counter.inc();
        }
    }
}

type ByOutcome = Family<[(&'static str, &'static str); 1], Counter>;

/// A registry whose metrics are named `postern_…`.
#[must_use]
pub fn registry() -> Registry {
    let mut registry = Registry::with_prefix("postern");
    let help = "Log lines lost because standard output took none";
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
        let help = "ClientSecrets that end within this time and are not replaced before";
        registry.register("client_secrets_expiring", help, metrics.0.clone());
        metrics
    }

    /// Sets the number of ClientSecrets that expire within this time.
    pub fn set(&self, within: &str, number: usize) {
        let gauge = self.0.get_or_create(&[("within", within.to_owned())]);
        gauge.set(i64::try_from(number).unwrap_or(i64::MAX));
    }
}

impl TokenMetrics {
    /// Registers the metrics. Every outcome exists from the start, at zero.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let (requests, auth, manage) = (ByOutcome::default(), ByOutcome::default(), ByOutcome::default());
        let (userinfo, introspect, revoke) = (ByOutcome::default(), ByOutcome::default(), ByOutcome::default());
        let of = |family: &ByOutcome, outcome| family.get_or_create(&[("outcome", outcome)]).clone();
        let metrics = Self {
            requests: Outcome::ALL.map(|outcome| of(&requests, outcome.as_str())),
            auth_requests: AuthOutcome::ALL.map(|outcome| of(&auth, outcome.as_str())),
            manage_requests: AuthOutcome::ALL.map(|outcome| of(&manage, outcome.as_str())),
            userinfo_requests: AuthOutcome::ALL.map(|outcome| of(&userinfo, outcome.as_str())),
            abandoned_requests: Counter::default(),
            audit_lines_suppressed: Counter::default(),
            introspections: Answers::new(&introspect, ["active", "inactive"]),
            revocations: Answers::new(&revoke, ["revoked", "ignored"]),
            hash_seconds: Histogram::new(BUCKETS_S),
            sign_seconds: Histogram::new(BUCKETS_S),
            propagation_seconds: Histogram::new(PROPAGATION_BUCKETS_S),
            hashes_in_flight: Gauge::default(),
            read_model_age_seconds: Gauge::default(),
        };
        registry.register("token_requests", "Token requests by outcome", requests);
        registry.register("auth_requests", "Forward-auth requests by outcome", auth);
        registry.register("manage_requests", "Requests to the management endpoint by outcome", manage);
        registry.register("userinfo_requests", "Userinfo requests by outcome", userinfo);
        registry.register("introspection_requests", "Introspection requests by outcome", introspect);
        registry.register("revocation_requests", "Revocation requests by outcome", revoke);
        let abandoned = metrics.abandoned_requests.clone();
        registry.register("abandoned_requests", "Requests whose client hung up before the answer", abandoned);
        let suppressed = metrics.audit_lines_suppressed.clone();
        registry.register("audit_lines_suppressed", "Audit lines of refused requests left out of the log", suppressed);
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
    pub fn count(&self, outcome: Outcome) {
        // The array and `Outcome::ALL` have the same order.
        if let Some(counter) = self.requests.get(outcome as usize) {
            counter.inc();
        }
    }

    /// Counts a forward-auth request.
    pub fn count_auth(&self, outcome: AuthOutcome) {
        if let Some(counter) = self.auth_requests.get(outcome as usize) {
            counter.inc();
        }
    }

    /// Counts a request to the management endpoint.
    pub fn count_manage(&self, outcome: AuthOutcome) {
        if let Some(counter) = self.manage_requests.get(outcome as usize) {
            counter.inc();
        }
    }

    /// Counts a userinfo request.
    pub fn count_userinfo(&self, outcome: AuthOutcome) {
        if let Some(counter) = self.userinfo_requests.get(outcome as usize) {
            counter.inc();
        }
    }

    /// Counts a request whose client disconnected before the answer.
    pub fn abandoned(&self) {
        self.abandoned_requests.inc();
    }

    /// Counts a suppressed audit line.
    pub fn audit_line_suppressed(&self) {
        self.audit_lines_suppressed.inc();
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
    fn q5_each_outcome_has_its_own_counter_from_the_start() {
        let mut registry = registry();
        let metrics = TokenMetrics::register(&mut registry);
        for (times, outcome) in Outcome::ALL.into_iter().enumerate() {
            (0..times).for_each(|_| metrics.count(outcome));
        }
        for (times, outcome) in AuthOutcome::ALL.into_iter().enumerate() {
            (0..times).for_each(|_| metrics.count_auth(outcome));
        }
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for (times, outcome) in Outcome::ALL.into_iter().enumerate() {
            let line = format!("postern_token_requests_total{{outcome=\"{}\"}} {times}\n", outcome.as_str());
            assert!(text.contains(&line), "{line} is missing in {text}");
        }
        for (times, outcome) in AuthOutcome::ALL.into_iter().enumerate() {
            let line = format!("postern_auth_requests_total{{outcome=\"{}\"}} {times}\n", outcome.as_str());
            assert!(text.contains(&line), "{line} is missing in {text}");
        }
    }

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
