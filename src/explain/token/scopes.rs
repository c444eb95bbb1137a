//! What remains of each scope of a token.

use super::ScopeNow;
use crate::api::permissions::{OIDC_SCOPES, Permit};
use crate::explain::client::ExplainedClient;
use crate::explain::group::Effect;
use crate::explain::permissions::{Origin, PermissionOrigin, permits};
use crate::explain::secret::Secret;
use crate::explain::snapshot::Snapshot;
use crate::oauth::claims::OwnClaims;

/// Every scope of the token at every audience.
pub(super) fn scopes(
    claims: &OwnClaims<'_>,
    client: &ExplainedClient,
    facts: &Snapshot,
    secret: Option<&Secret>,
) -> Vec<ScopeNow> {
    let named = claims.scope.split(' ').filter(|scope| !scope.is_empty());
    let (about_itself, named): (Vec<&str>, Vec<&str>) = named.partition(|scope| OIDC_SCOPES.contains(scope));
    let about_itself = about_itself.into_iter().map(|scope| ScopeNow {
        audience: None,
        scope: scope.to_owned(),
        granted: true,
        from: Vec::new(),
        why: None,
    });
    let pairs = claims.aud.iter().flat_map(|audience| named.iter().map(move |scope| (audience, *scope)));
    about_itself.chain(pairs.map(|(audience, scope)| now(audience, scope, client, facts, secret))).collect()
}

/// The result for a scope at an audience: from the permissions of the secret, or, if unknown, of the Application.
fn now(audience: &str, scope: &str, client: &ExplainedClient, facts: &Snapshot, secret: Option<&Secret>) -> ScopeNow {
    let row = |granted, from, why: Option<String>| ScopeNow {
        audience: Some(audience.to_owned()),
        scope: scope.to_owned(),
        granted,
        from,
        why,
    };
    let is_it = |permit: &&Permit| permit.audience == audience && permit.scope == scope;
    let (Some(membership), Some(groups)) = (&client.membership, facts.groups.as_deref()) else {
        let granted = client.authority.iter().any(|permit| is_it(&permit));
        return row(
            granted,
            Vec::new(),
            (!granted).then(|| "not granted (from the status of the Application)".to_owned()),
        );
    };
    let origin = Origin { membership, groups };
    let authority = secret.map_or(&client.authority, |secret| &secret.authority);
    let from: Vec<PermissionOrigin> = authority.iter().filter(is_it).map(|permit| origin.of(permit)).collect();
    if !from.is_empty() {
        return row(true, from, None);
    }
    let why = if let Some(secret) = secret.filter(|_| client.authority.iter().any(|permit| is_it(&permit))) {
        format!("spec.restrictTo of ClientSecret {} leaves it out", secret.name)
    } else if membership.authority.iter().any(|permit| is_it(&permit)) {
        format!("spec.restrictTo of Application {} leaves it out", client.application.name)
    } else {
        missing(client, |group| groups.get(group).is_some_and(|group| permits(group, audience, scope)))
    };
    row(false, Vec::new(), Some(why))
}

/// A group that would permit the scope but grants nothing, or that there is none.
fn missing(client: &ExplainedClient, permits: impl Fn(&str) -> bool) -> String {
    let refused = client.groups.iter().find_map(|group| match &group.standing {
        Effect::GrantsNothing { message, .. } if permits(&group.name) => Some(message),
        _ => None,
    });
    match (refused, &client.service_user) {
        (Some(message), _) => message.clone(),
        (None, Some(user)) => format!("no group of ServiceUser {} permits it", user.name),
        (None, None) => "the service user does not exist".to_owned(),
    }
}
