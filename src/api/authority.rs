//! Who holds what: requested ∩ ClientSecret ∩ Application ∩ ServiceUser, of which this module computes all but the
//! request. Nothing here can add to what the groups of the service user give.
//!
//! Both halves call it: the controller to explain (`status`), the index to serve. So they cannot disagree.

use std::collections::BTreeSet;

use super::access_group::{AccessGroup, Plane};
use super::application::{EffectivePermission, Restriction};
use super::digest::digest;
use super::location::{Location, MalformedLocation};
use super::namespace::NamespaceFacts;
use super::service_user::{RoleGrant, ServiceUserSpec};

/// Scopes that tell of the service user itself (OpenID Connect Core §5.4). Every client holds them, so no group permits
/// them: an API that took one for a permission would let everybody in.
pub const ABOUT_ITSELF: [&str; 3] = ["openid", "profile", "email"];

/// One permission with the role that gives it.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Permit {
    /// What lands in `aud`.
    pub audience: String,
    /// The scope held there.
    pub scope: String,
    /// The role that permits it.
    pub role: String,
    /// The plane of that role.
    pub plane: Plane,
}

/// Everything that a subject holds.
pub type Authority = BTreeSet<Permit>;

/// What the groups of a service user come to.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Membership {
    /// Where the service user acts.
    pub location: Location,
    /// The roles in force, with their groups.
    pub grants: BTreeSet<RoleGrant>,
    /// The permissions of those roles.
    pub authority: Authority,
    /// Groups that grant nothing, in the order of the spec, and why.
    pub unresolved: Vec<(String, WhyNot)>,
    /// The location of the namespace, or that it is malformed, when that of the service user does not lie at or below it;
    /// then nothing is granted at all.
    pub location_refused: Option<Result<Location, MalformedLocation>>,
}

/// What a namespace without the annotation `postern.dev/location` admits: there the team chooses the location of its
/// service users, and with it the claim `location`.
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
    /// It does not exist, or is closed to the namespace: deliberately one answer, so that nobody learns which.
    NotFound,
    /// The service user is not where the group may be held.
    OtherLocation(Location),
    /// The service user is below the location of the group, and its namespace has no location, which is required.
    NoNamespaceLocation(Location),
}

/// Resolves the groups of a service user that lives in `namespace`. `group` finds an AccessGroup by name; one that is
/// being deleted is not found.
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
            let permitted = permission.scopes.iter().filter(|scope| !ABOUT_ITSELF.contains(&scope.as_str()));
            permitted.map(|scope| Permit {
                audience: permission.audience.clone(),
                scope: scope.clone(),
                role: spec.role.clone(),
                plane: spec.plane(),
            })
        }));
    }
}

/// `authority` narrowed by `restriction`: a list that is absent does not narrow, an empty one leaves nothing.
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

/// Entries of `restriction` that `authority` does not hold, each as `field: entry`, in the order of the spec.
#[must_use]
pub fn not_held(authority: &Authority, restriction: &Restriction) -> Vec<String> {
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

/// The roles that give something, sorted, without repetition.
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

/// The scopes held anywhere, sorted, without repetition.
#[must_use]
pub fn scopes(authority: &Authority) -> Vec<String> {
    let scopes: BTreeSet<_> = authority.iter().map(|permit| permit.scope.clone()).collect();
    scopes.into_iter().collect()
}

/// What `epoch` stands for: equal digests, equal authority. `context` is what else ends live tokens when it changes
/// (subject, suspension).
#[must_use]
pub fn fingerprint(authority: &Authority, context: &[&str]) -> String {
    let permits = authority
        .iter()
        .flat_map(|permit| [permit.audience.as_str(), &permit.scope, &permit.role, permit.plane.as_str()]);
    digest(context.iter().copied().chain(permits))
}

/// What the epoch of a ServiceUser stands for, when its groups come to `held`.
#[must_use]
pub fn user_stands_for(user: &ServiceUserSpec, held: &Membership) -> String {
    fingerprint(&held.authority, &[held.location.as_str(), if user.is_suspended() { "suspended" } else { ENABLED }])
}

/// What the epoch of the Application with this UID stands for, which acts for `subject` and holds `authority`. `closed`
/// is why nobody authenticates for it, if so.
///
/// The UID is in it because an Application may be created again with the client id of one that was deleted: tokens of
/// that one are none of its own.
#[must_use]
pub fn application_stands_for(authority: &Authority, uid: &str, subject: &str, closed: Option<&str>) -> String {
    fingerprint(authority, &[uid, subject, closed.unwrap_or(ENABLED)])
}

const ENABLED: &str = "enabled";

/// What a token stands for that was got with this [credential](super::ClientSecret::credential): the credential, and what its
/// application stood for within the limits of the secret ([`application_stands_for`]).
#[must_use]
pub fn stands_for(credential: &str, application: &str) -> String {
    let mut authority = digest([credential, application]);
    // 96 bits: tokens carry it.
    authority.truncate(24);
    authority
}

/// The largest epoch that is believed. A change of authority each millisecond reaches it after thirty years, so a larger
/// one was forged.
const EPOCH_MAX: i64 = 1_000_000_000_000;

/// The epoch in a status; one that cannot have been counted is ignored, as if there were none. Otherwise an epoch near the
/// end of the numbers could not be raised any more, and no change would end tokens.
#[must_use]
pub fn counted_epoch(epoch: Option<i64>) -> Option<i64> {
    epoch.filter(|epoch| (1..=EPOCH_MAX).contains(epoch))
}

/// The epoch after a look at the object: raised when the fingerprint differs, 1 for a new object. After the last one that
/// is believed it begins anew: tokens with a larger epoch are refused.
#[must_use]
pub fn next_epoch(epoch: Option<i64>, recorded: Option<&str>, fingerprint: &str) -> i64 {
    match counted_epoch(epoch) {
        Some(epoch) if recorded == Some(fingerprint) => epoch,
        Some(epoch) if epoch < EPOCH_MAX => epoch + 1,
        Some(_) | None => 1,
    }
}

#[cfg(test)]
#[path = "authority_tests.rs"]
mod tests;
