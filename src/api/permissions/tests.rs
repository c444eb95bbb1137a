//! Authority only narrows: compared with an oracle for generated cases.

use proptest::prelude::*;

use super::*;
use crate::api::access_group::{AccessGroupSpec, Namespaces, Permission, Reach};
use crate::api::fingerprint::user_fingerprint;

fn location(text: &str) -> Location {
    text.to_owned().try_into().unwrap()
}

fn group(name: &str, role: &str, at: &str, reach: Reach, permissions: &[(&str, &[&str])]) -> AccessGroup {
    let permissions = permissions.iter().map(|(audience, scopes)| Permission {
        audience: (*audience).to_owned(),
        scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
    });
    AccessGroup::new(
        name,
        AccessGroupSpec {
            display_name: None,
            description: None,
            role: role.to_owned(),
            plane: None,
            location: location(at),
            reach: Some(reach),
            permissions: permissions.collect(),
            namespaces: Some(Namespaces { names: Some(vec!["billing".to_owned()]), selector: None }),
        },
    )
}

fn user(at: &str, groups: &[&str]) -> ServiceUserSpec {
    ServiceUserSpec {
        display_name: None,
        description: None,
        email: None,
        location: Some(location(at)),
        groups: Some(groups.iter().map(|group| (*group).to_owned()).collect()),
        suspend: None,
    }
}

#[test]
fn a_user_without_a_location_is_at_that_of_its_namespace_or_at_the_root() {
    let user = ServiceUserSpec { location: None, ..user("/", &["readers"]) };
    let emea = group("readers", "reader", "/emea", Reach::Location, &[("api", &["read"])]);
    let root = group("readers", "reader", "/", Reach::Location, &[("api", &["read"])]);
    let resolved = |bound: Option<&str>, group: &AccessGroup| {
        let held = resolve(&user, &namespace("billing", bound), NamespaceLocation::Optional, |_| Some(group));
        (held.location.to_string(), !held.authority.is_empty())
    };
    assert_eq!(resolved(Some("/emea"), &emea), ("/emea".to_owned(), true));
    assert_eq!(resolved(Some("/emea"), &root), ("/emea".to_owned(), false));
    assert_eq!(resolved(None, &root), ("/".to_owned(), true));
    assert_eq!(resolved(None, &emea), ("/".to_owned(), false));
    // Not the same for tokens: the claim differs.
    let fingerprint = |bound| {
        user_fingerprint(&user, &resolve(&user, &namespace("billing", bound), NamespaceLocation::Optional, |_| None))
    };
    assert_ne!(fingerprint(Some("/emea")), fingerprint(None));
}

fn namespace(name: &str, bound: Option<&str>) -> NamespaceFacts {
    let bound = bound.map(|bound| Ok(location(bound)));
    NamespaceFacts { name: name.to_owned(), bound, ..NamespaceFacts::default() }
}

fn resolve_in(namespace: &NamespaceFacts, user: &ServiceUserSpec, groups: &[AccessGroup]) -> Membership {
    resolve_with(NamespaceLocation::Optional, namespace, user, groups)
}

fn resolve_with(
    required: NamespaceLocation,
    namespace: &NamespaceFacts,
    user: &ServiceUserSpec,
    groups: &[AccessGroup],
) -> Membership {
    resolve(user, namespace, required, |name| groups.iter().find(|group| group.metadata.name.as_deref() == Some(name)))
}

#[test]
fn without_a_required_location_of_its_namespace_a_user_has_a_group_only_at_the_location_of_the_group() {
    let groups = [group("readers", "r", "/emea", Reach::Subtree, &[("a", &["s"])])];
    let without = |reason: fn(Location) -> WhyNot| Some(reason(location("/emea")));
    // Location of the namespace, of the user, and why the group grants nothing.
    let table = [
        (None, "/emea", None),
        (None, "/emea/billing", without(WhyNot::NoNamespaceLocation)),
        (None, "/apac", without(WhyNot::OtherLocation)),
        (Some("/"), "/emea/billing", None),
        (Some("/emea/billing"), "/emea/billing", None),
    ];
    for (bound, at, expected) in table {
        let (namespace, user) = (namespace("billing", bound), user(at, &["readers"]));
        let found = resolve_with(NamespaceLocation::Required, &namespace, &user, &groups);
        let why = found.unresolved.into_iter().next().map(|(_, why)| why);
        assert_eq!(why, expected, "{bound:?} {at}");
        assert_eq!(found.authority.is_empty(), expected.is_some(), "{bound:?} {at}");
    }
}

#[test]
fn a_group_cannot_grant_the_oidc_scopes() {
    let stored = group("stored", "r", "/emea", Reach::Location, &[("a", &["openid", "profile", "email", "s"])]);
    let found = resolve_in(&namespace("billing", None), &user("/emea", &["stored"]), &[stored]);
    assert_eq!(scopes(&found.authority), ["s"]);
}

#[test]
fn a_missing_group_and_one_that_does_not_admit_the_namespace_have_the_same_reason() {
    let closed = group("closed", "r", "/emea", Reach::Location, &[("a", &["s"])]);
    let found = resolve_in(&namespace("other", None), &user("/emea", &["closed", "missing"]), &[closed]);
    let why: Vec<_> = found.unresolved.iter().map(|(_, why)| why).collect();
    assert_eq!(why, [&WhyNot::NotFound, &WhyNot::NotFound]);
    assert!(found.authority.is_empty());
}

#[test]
fn a_group_that_does_not_resolve_does_not_affect_the_other_groups() {
    let groups = [
        group("here", "r", "/emea", Reach::Location, &[("a", &["s"])]),
        group("there", "q", "/apac", Reach::Subtree, &[("a", &["t"])]),
    ];
    let found = resolve_in(&namespace("billing", None), &user("/emea", &["here", "there"]), &groups);
    assert_eq!(roles(&found.authority), ["r"]);
    assert_eq!(found.unresolved, [("there".to_owned(), WhyNot::OtherLocation(location("/apac")))]);
}

#[test]
fn reach_decides_how_far_below_its_location_a_group_admits() {
    let exact = group("g", "r", "/emea", Reach::Location, &[("a", &["s"])]);
    let subtree = group("g", "r", "/emea", Reach::Subtree, &[("a", &["s"])]);
    let below = user("/emea/billing", &["g"]);
    assert!(resolve_in(&namespace("billing", None), &below, &[exact]).authority.is_empty());
    assert!(!resolve_in(&namespace("billing", None), &below, &[subtree]).authority.is_empty());
}

#[test]
fn a_user_outside_the_location_of_its_namespace_has_no_permissions() {
    let groups = [group("g", "r", "/", Reach::Subtree, &[("a", &["s"])])];
    let found = resolve_in(&namespace("billing", Some("/apac")), &user("/emea", &["g"]), &groups);
    assert!(found.authority.is_empty() && found.grants.is_empty());
    assert_eq!(found.location_refused, Some(Ok(location("/apac"))));
}

#[test]
fn an_annotation_that_is_no_location_admits_nothing() {
    let groups = [group("g", "r", "/", Reach::Subtree, &[("a", &["s"])])];
    let mut namespace = namespace("billing", None);
    namespace.bound = Some(Location::try_from("emea/".to_owned()));
    assert!(resolve_in(&namespace, &user("/emea", &["g"]), &groups).authority.is_empty());
}

#[test]
fn permissions_are_grouped_and_sorted() {
    let groups = [
        group("g", "r", "/", Reach::Subtree, &[("b", &["y", "x"]), ("a", &["z"])]),
        group("h", "q", "/", Reach::Subtree, &[("b", &["x"])]),
    ];
    let authority = resolve_in(&namespace("billing", None), &user("/", &["g", "h"]), &groups).authority;
    let permissions = permissions(&authority);
    let listed: Vec<_> = permissions.iter().map(|p| (p.audience.as_str(), p.scopes.join(" "))).collect();
    assert_eq!(listed, [("a", "z".to_owned()), ("b", "x y".to_owned())]);
}

fn permits() -> impl Strategy<Value = Authority> {
    let permit = (0..3u8, 0..3u8, 0..3u8).prop_map(|(audience, scope, role)| Permit {
        audience: format!("aud{audience}"),
        scope: format!("scope{scope}"),
        role: format!("role{role}"),
        plane: Plane::Operational,
    });
    proptest::collection::btree_set(permit, 0..12)
}

fn restrictions() -> impl Strategy<Value = Option<Restriction>> {
    let list = |kind: &'static str| {
        proptest::option::of(proptest::collection::vec((0..4u8).prop_map(move |n| format!("{kind}{n}")), 0..4))
    };
    let restriction = (list("role"), list("aud"), list("scope")).prop_map(|(roles, audiences, scopes)| Restriction {
        roles,
        audiences,
        scopes,
    });
    proptest::option::of(restriction)
}

proptest! {
    #[test]
    fn narrowing_keeps_exactly_the_permissions_that_every_list_admits(held in permits(), by in restrictions()) {
        let narrowed = narrow(&held, by.as_ref());
        for permit in &held {
            let admitted = by.as_ref().is_none_or(|by| {
                by.roles.as_ref().is_none_or(|roles| roles.contains(&permit.role))
                    && by.audiences.as_ref().is_none_or(|all| all.contains(&permit.audience))
                    && by.scopes.as_ref().is_none_or(|all| all.contains(&permit.scope))
            });
            prop_assert_eq!(narrowed.contains(permit), admitted);
        }
        prop_assert!(narrowed.is_subset(&held));
    }

    #[test]
    fn an_entry_reported_as_not_granted_matches_no_permission(held in permits(), by in restrictions()) {
        let Some(by) = by else { return Ok(()) };
        for entry in not_granted(&held, &by) {
            let (_, entry) = entry.split_once(": ").unwrap();
            prop_assert!(held.iter().all(|p| p.role != entry && p.audience != entry && p.scope != entry));
        }
    }
}
