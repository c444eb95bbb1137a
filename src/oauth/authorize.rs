//! Decides what a token may carry: the intersection of what was requested and what the client has.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::oauth::client_record::{Grant, Role, ScopePolicy, TokenPolicy};
use crate::oauth::error::AuthorityError;
use crate::oauth::request::TokenRequest;
use crate::oauth::scope;

/// What a token will carry. The client has every (audience, scope) pair of it.
#[derive(Debug, Eq, PartialEq)]
pub struct Granted<'a> {
    /// `aud`: at least one.
    pub audiences: Vec<&'a str>,
    /// `scope`: at least one, each permitted for every audience or about the client itself.
    pub scopes: Vec<&'a str>,
    /// `roles`: those that permit one of the scopes, sorted.
    pub roles: BTreeSet<&'a str>,
    /// `planes`: those of the roles, sorted.
    pub planes: BTreeSet<&'a str>,
}

type Scopes = BTreeMap<Arc<str>, BTreeSet<Role>>;

/// Selects audiences, then scopes, then the roles that permit them.
///
/// With several audiences a scope is granted only if the client has it for each: the token grants "these scopes at
/// these audiences", and no pair of that may exceed the permissions.
///
/// # Errors
/// [`AuthorityError`]
pub fn authorize<'a>(
    grant: &'a Grant,
    policy: &'a TokenPolicy,
    request: &TokenRequest<'a>,
) -> Result<Granted<'a>, AuthorityError> {
    let held: Vec<(&str, &Scopes)> = select_audiences(grant, policy, request)?;
    let scopes = select_scopes(&held, policy, request)?;
    let roles: BTreeSet<&Role> = held
        .iter()
        .flat_map(|(_, permitted)| scopes.iter().filter_map(|scope| permitted.get(*scope)).flatten())
        .collect();
    Ok(Granted {
        audiences: held.iter().map(|(audience, _)| *audience).collect(),
        roles: roles.iter().map(|role| role.name.as_ref()).collect(),
        planes: roles.iter().map(|role| role.plane).collect(),
        scopes,
    })
}

fn select_audiences<'a>(
    grant: &'a Grant,
    policy: &TokenPolicy,
    request: &TokenRequest<'_>,
) -> Result<Vec<(&'a str, &'a Scopes)>, AuthorityError> {
    let mut held = grant.permissions.iter().filter(|(_, scopes)| !scopes.is_empty());
    let find = |audience: &str| {
        let (audience, scopes) = grant.permissions.get_key_value(audience)?;
        (!scopes.is_empty()).then_some((audience.as_ref(), scopes))
    };
    let (first_audience, first_scopes) = held.next().ok_or(AuthorityError::NoPermissions)?;
    if request.audiences.len() > 1 && !policy.multiple_audiences {
        return Err(AuthorityError::SeveralAudiences);
    }
    if !request.audiences.is_empty() {
        let found: Option<Vec<_>> = request.audiences.iter().map(|audience| find(audience)).collect();
        return found.ok_or(AuthorityError::AudienceNotGranted);
    }
    if let Some(default) = policy.default_audience.as_deref().and_then(find) {
        return Ok(vec![default]);
    }
    match held.next() {
        None => Ok(vec![(first_audience.as_ref(), first_scopes)]),
        Some(_) => Err(AuthorityError::AudienceAmbiguous),
    }
}

fn select_scopes<'a>(
    held: &[(&'a str, &'a Scopes)],
    policy: &'a TokenPolicy,
    request: &TokenRequest<'a>,
) -> Result<Vec<&'a str>, AuthorityError> {
    let everywhere =
        |scope: &str| scope::is_oidc_scope(scope) || held.iter().all(|(_, permitted)| permitted.contains_key(scope));
    let scopes: Vec<&str> = match &request.scopes {
        Some(requested) => {
            if policy.scope_policy == ScopePolicy::Reject && !requested.iter().all(|scope| everywhere(scope)) {
                return Err(AuthorityError::ScopeNotGranted);
            }
            requested.iter().copied().filter(|scope| everywhere(scope)).collect()
        }
        None if policy.default_scopes.is_empty() => {
            let all = held.first().map(|(_, permitted)| permitted.keys()).into_iter().flatten();
            all.map(AsRef::as_ref).filter(|scope| everywhere(scope)).collect()
        }
        None => policy.default_scopes.iter().map(String::as_str).filter(|scope| everywhere(scope)).collect(),
    };
    if scopes.is_empty() { Err(AuthorityError::NoScope) } else { Ok(scopes) }
}

#[cfg(test)]
mod tests;
