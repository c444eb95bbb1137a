//! Effective permissions: requested ∩ ClientSecret ∩ Application ∩ ServiceUser. This module computes all but the
//! request. Nothing here can add to the permissions from the groups of the service user.
//!
//! Both halves call it: the controller to report (`status`), the read model to serve. So they cannot disagree.

use std::collections::BTreeSet;

use super::access_group::{AccessGroup, Plane};
use super::application::{EffectivePermission, Restriction};
use super::location::{Location, MalformedLocation};
use super::namespace::NamespaceFacts;
use super::service_user::{RoleGrant, ServiceUserSpec};

/// Scopes about the service user itself (OpenID Connect Core §5.4). Every client has them, so no group permits them: an
/// API that treats one as a permission would admit every client.
pub const OIDC_SCOPES: [&str; 3] = ["openid", "profile", "email"];

/// One permission with the role that grants it.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Permit {
    /// Value of the claim `aud`.
    pub audience: String,
    /// The scope granted there.
    pub scope: String,
    /// The role that permits it.
    pub role: String,
    /// The plane of that role.
    pub plane: Plane,
}

/// All permissions of a subject.
pub type Authority = BTreeSet<Permit>;

/// The result of the groups of a service user.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Membership {
    /// Location of the service user.
    pub location: Location,
    /// The effective roles, with their groups.
    pub grants: BTreeSet<RoleGrant>,
    /// The permissions of those roles.
    pub authority: Authority,
    /// Groups that grant nothing, in the order of the spec, and why.
    pub unresolved: Vec<(String, WhyNot)>,
    /// Set if the location of the service user is not at or below that of the namespace: the location of the namespace,
    /// or that it is malformed. Then nothing is granted.
    pub location_refused: Option<Result<Location, MalformedLocation>>,
}

/// What a namespace without the annotation `postern.dev/location` admits. There the team chooses the location of its
/// service users, and thus the claim `location`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum NamespaceLocation {
    /// Service users at any location.
    #[default]
    Optional,
    /// A service user has a group only at exactly the location of that group.
    Required,
}

/// Why a group grants nothing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum WhyNot {
    /// It does not exist, or does not admit the namespace: deliberately one answer, which does not reveal which groups
    /// exist.
    NotFound,
    /// The location of the service user is not one that the group admits.
    OtherLocation(Location),
    /// The service user is below the location of the group, and its namespace has no location, which is required.
    NoNamespaceLocation(Location),
}

/// Resolves the groups of a service user in `namespace`. `group` finds an AccessGroup by name, except one that is being
/// deleted.
pub fn resolve<'a>(
    user: &ServiceUserSpec,
    namespace: &NamespaceFacts,
    required: NamespaceLocation,
    group: impl Fn(&str) -> Option<&'a AccessGroup>,
) -> Membership {
    let location = namespace.location_of(user.location.as_ref());
    if !namespace.allows(&location) {
        return Membership { location, location_refused: namespace.bound.clone(), ..Membership::default() };
    }
    let mut membership = Membership { location, ..Membership::default() };
    for name in user.groups.iter().flatten() {
        match admit(&membership.location, namespace, required, group(name)) {
            Ok(group) => membership.join(name, group),
            Err(why) => membership.unresolved.push((name.clone(), why)),
        }
    }
    membership
}

fn admit<'a>(
    at: &Location,
    namespace: &NamespaceFacts,
    required: NamespaceLocation,
    group: Option<&'a AccessGroup>,
) -> Result<&'a AccessGroup, WhyNot> {
    let group = group.filter(|group| group.spec.admits_namespace(namespace)).ok_or(WhyNot::NotFound)?;
    let location = &group.spec.location;
    if !group.spec.reaches(at) {
        return Err(WhyNot::OtherLocation(location.clone()));
    }
    let is_missing = required == NamespaceLocation::Required && namespace.bound.is_none();
    if is_missing && at != location {
        return Err(WhyNot::NoNamespaceLocation(location.clone()));
    }
    Ok(group)
}

impl Membership {
    fn join(&mut self, name: &str, group: &AccessGroup) {
        let spec = &group.spec;
        self.grants.insert(RoleGrant {
            role: spec.role.clone(),
            plane: spec.plane(),
            location: spec.location.to_string(),
            group: name.to_owned(),
        });
        self.authority.extend(spec.permissions.iter().flat_map(|permission| {
            let permitted = permission.scopes.iter().filter(|scope| !OIDC_SCOPES.contains(&scope.as_str()));
            permitted.map(|scope| Permit {
                audience: permission.audience.clone(),
                scope: scope.clone(),
                role: spec.role.clone(),
                plane: spec.plane(),
            })
        }));
    }
}

/// `authority` narrowed by `restriction`: an absent list does not restrict, an empty one leaves nothing.
#[must_use]
pub fn narrow(authority: &Authority, restriction: Option<&Restriction>) -> Authority {
    let Some(restriction) = restriction else { return authority.clone() };
    let admits = |list: &Option<Vec<String>>, entry: &String| list.as_ref().is_none_or(|list| list.contains(entry));
    authority
        .iter()
        .filter(|permit| {
            admits(&restriction.roles, &permit.role)
                && admits(&restriction.audiences, &permit.audience)
                && admits(&restriction.scopes, &permit.scope)
        })
        .cloned()
        .collect()
}

/// Entries of `restriction` that `authority` does not grant, each as `field: entry`, in the order of the spec.
#[must_use]
pub fn not_granted(authority: &Authority, restriction: &Restriction) -> Vec<String> {
    let missing = |field: &str, list: &Option<Vec<String>>, of: fn(&Permit) -> &String| {
        let absent = |entry: &&String| !authority.iter().any(|permit| of(permit) == *entry);
        list.iter().flatten().filter(absent).map(|entry| format!("{field}: {entry}")).collect::<Vec<_>>()
    };
    [
        missing("roles", &restriction.roles, |permit| &permit.role),
        missing("audiences", &restriction.audiences, |permit| &permit.audience),
        missing("scopes", &restriction.scopes, |permit| &permit.scope),
    ]
    .concat()
}

/// The roles with permissions, sorted, without duplicates.
#[must_use]
pub fn roles(authority: &Authority) -> Vec<String> {
    let roles: BTreeSet<_> = authority.iter().map(|permit| permit.role.clone()).collect();
    roles.into_iter().collect()
}

/// The permissions by audience, both sorted.
#[must_use]
pub fn permissions(authority: &Authority) -> Vec<EffectivePermission> {
    let mut permissions: Vec<EffectivePermission> = Vec::new();
    for permit in authority {
        match permissions.last_mut() {
            Some(last) if last.audience == permit.audience => {
                // Permits are sorted by audience, then scope: equal scopes (of two roles) are neighbours.
                if last.scopes.last() != Some(&permit.scope) {
                    last.scopes.push(permit.scope.clone());
                }
            }
            _ => permissions
                .push(EffectivePermission { audience: permit.audience.clone(), scopes: vec![permit.scope.clone()] }),
        }
    }
    permissions
}

/// All granted scopes, sorted, without duplicates.
#[must_use]
pub fn scopes(authority: &Authority) -> Vec<String> {
    let scopes: BTreeSet<_> = authority.iter().map(|permit| permit.scope.clone()).collect();
    scopes.into_iter().collect()
}

#[cfg(test)]
mod tests;
