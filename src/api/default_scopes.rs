//! The default scopes of a client. Delivered Secrets contain them for clients that read their scopes from there.

use std::collections::BTreeSet;

use super::application::Token;
use super::permissions::{Authority, OIDC_SCOPES};

/// The scopes of a token request without audience and scope, as the token endpoint computes them; empty if the endpoint
/// rejects the request.
#[must_use]
pub fn default_scopes(held: &Authority, token: &Token) -> Vec<String> {
    let audiences: BTreeSet<&str> = held.iter().map(|permit| permit.audience.as_str()).collect();
    let default = token.default_audience.as_deref().filter(|audience| audiences.contains(audience));
    let only = || audiences.first().copied().filter(|_| audiences.len() == 1);
    let Some(audience) = default.or_else(only) else { return Vec::new() };
    let at_audience = held.iter().filter(|permit| permit.audience == audience);
    let at_audience: BTreeSet<&str> = at_audience.map(|permit| permit.scope.as_str()).collect();
    let wanted = token.default_scopes.as_deref().unwrap_or_default();
    if wanted.is_empty() {
        return at_audience.into_iter().map(str::to_owned).collect();
    }
    let is_granted = |scope: &str| OIDC_SCOPES.contains(&scope) || at_audience.contains(scope);
    wanted.iter().filter(|scope| is_granted(scope)).cloned().collect()
}
