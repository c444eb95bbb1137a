//! Requests to the endpoint, by route and outcome: one metric family for all routes.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// What a request asks for. The label `endpoint`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Route {
    /// A token (RFC 6749 §3.2).
    Token,
    /// The state of a token (RFC 7662).
    Introspection,
    /// The end of a token (RFC 7009).
    Revocation,
    /// The claims of a token's subject (OpenID Connect Core §5.3).
    Userinfo,
    /// A proxy asks whether to forward a request.
    ForwardAuth,
    /// A client manages its credentials.
    Management,
}

/// The result of a request. The label `outcome`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// A token was issued.
    Issued,
    /// The introspected token is active.
    Active,
    /// The introspected token is not active.
    Inactive,
    /// The token has ended.
    Revoked,
    /// There was nothing to revoke.
    Ignored,
    /// The request is allowed.
    Allowed,
    /// 401: the request has no credentials.
    NoCredentials,
    /// 401: id and secret are refused.
    InvalidClient,
    /// `invalid_grant`
    InvalidGrant,
    /// 401: the token is refused.
    InvalidToken,
    /// `invalid_request`, any status.
    InvalidRequest,
    /// The client, or this secret of it, may not do this.
    UnauthorizedClient,
    /// `unsupported_grant_type`
    UnsupportedGrantType,
    /// 403: a required permission is missing.
    InsufficientScope,
    /// `invalid_scope`
    InvalidScope,
    /// `invalid_target`
    InvalidTarget,
    /// `invalid_dpop_proof`
    InvalidDpopProof,
    /// `use_dpop_nonce`: the client has to repeat the request with a nonce
    UseDpopNonce,
    /// 429
    RateLimited,
    /// 503
    Unavailable,
    /// 500
    ServerError,
}

/// How a request for a token, an introspection or a revocation fails.
const OAUTH_FAILURES: [Outcome; 9] = [
    Outcome::InvalidRequest,
    Outcome::InvalidClient,
    Outcome::UnauthorizedClient,
    Outcome::UnsupportedGrantType,
    Outcome::InvalidScope,
    Outcome::InvalidTarget,
    Outcome::RateLimited,
    Outcome::Unavailable,
    Outcome::ServerError,
];

/// How a request with a DPoP proof fails.
const PROOF_FAILURES: [Outcome; 2] = [Outcome::InvalidDpopProof, Outcome::UseDpopNonce];

/// The outcomes of a request whose response is for a caller with access.
const ACCESS: [Outcome; 9] = [
    Outcome::Allowed,
    Outcome::NoCredentials,
    Outcome::InvalidClient,
    Outcome::InvalidToken,
    Outcome::InvalidRequest,
    Outcome::InsufficientScope,
    Outcome::UnauthorizedClient,
    Outcome::RateLimited,
    Outcome::Unavailable,
];

impl Route {
    /// Every route.
    pub const ALL: [Self; 6] =
        [Self::Token, Self::Introspection, Self::Revocation, Self::Userinfo, Self::ForwardAuth, Self::Management];

    /// The value of the label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Introspection => "introspection",
            Self::Revocation => "revocation",
            Self::Userinfo => "userinfo",
            Self::ForwardAuth => "forward_auth",
            Self::Management => "management",
        }
    }

    /// The outcomes that are exposed from the start, at zero.
    pub fn outcomes(self) -> impl Iterator<Item = Outcome> {
        let (successes, failures): (&[Outcome], &[Outcome]) = match self {
            Self::Token => (&[Outcome::Issued, Outcome::InvalidGrant], &OAUTH_FAILURES),
            Self::Introspection => (&[Outcome::Active, Outcome::Inactive], &OAUTH_FAILURES),
            Self::Revocation => (&[Outcome::Revoked, Outcome::Ignored], &OAUTH_FAILURES),
            Self::Userinfo | Self::ForwardAuth | Self::Management => (&[], &ACCESS),
        };
        let proofs: &[Outcome] = match self {
            Self::Token | Self::Userinfo | Self::ForwardAuth => &PROOF_FAILURES,
            Self::Introspection | Self::Revocation | Self::Management => &[],
        };
        successes.iter().chain(failures).chain(proofs).copied()
    }
}

impl Outcome {
    /// The value of the label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Issued => "issued",
            Self::Active => "active",
            Self::Inactive => "inactive",
            Self::Revoked => "revoked",
            Self::Ignored => "ignored",
            Self::Allowed => "allowed",
            Self::NoCredentials => "no_credentials",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::InvalidToken => "invalid_token",
            Self::InvalidRequest => "invalid_request",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InsufficientScope => "insufficient_scope",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
            Self::InvalidDpopProof => "invalid_dpop_proof",
            Self::UseDpopNonce => "use_dpop_nonce",
            Self::RateLimited => "rate_limited",
            Self::Unavailable => "unavailable",
            Self::ServerError => "server_error",
        }
    }
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Labels {
    endpoint: &'static str,
    outcome: &'static str,
}

impl Labels {
    fn new(route: Route, outcome: Outcome) -> Self {
        Self { endpoint: route.as_str(), outcome: outcome.as_str() }
    }
}

/// The counters of all requests. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct RequestMetrics(Family<Labels, Counter>);

impl RequestMetrics {
    /// Registers the family.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        for route in Route::ALL {
            route.outcomes().for_each(|outcome| drop(metrics.0.get_or_create(&Labels::new(route, outcome))));
        }
        registry.register("http_requests", "Requests by endpoint and outcome", metrics.0.clone());
        metrics
    }

    /// Counts a request.
    pub fn count(&self, route: Route, outcome: Outcome) {
        self.0.get_or_create(&Labels::new(route, outcome)).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn q5_each_outcome_of_each_endpoint_has_its_own_counter_from_the_start() {
        let mut registry = Registry::with_prefix("postern");
        let metrics = RequestMetrics::register(&mut registry);
        let pairs = || Route::ALL.into_iter().flat_map(|route| route.outcomes().map(move |outcome| (route, outcome)));
        for (times, (route, outcome)) in pairs().enumerate() {
            (0..times).for_each(|_| metrics.count(route, outcome));
        }
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for (times, (route, outcome)) in pairs().enumerate() {
            let (route, outcome) = (route.as_str(), outcome.as_str());
            let line = format!("postern_http_requests_total{{endpoint=\"{route}\",outcome=\"{outcome}\"}} {times}\n");
            assert!(text.contains(&line), "{line} is missing in {text}");
        }
    }
}
