//! Examples, and the main property: a token never carries a pair that was not requested or that the client does not
//! have.

use jiff::SignedDuration;
use proptest::prelude::*;

use super::*;
use crate::oauth::client_record::{SenderConstraint, SigningAlgorithm, TokenFormat, TokenType};
use crate::oauth::request::GrantType;

fn grant(entries: &[(&str, &str, &str)]) -> Grant {
    let mut grant = Grant::default();
    for (audience, scope, role) in entries {
        let plane = if role.starts_with("admin") { "Admin" } else { "Operational" };
        let role = Role { name: (*role).into(), plane };
        grant.permissions.entry((*audience).into()).or_default().entry((*scope).into()).or_default().insert(role);
    }
    grant
}

fn policy() -> TokenPolicy {
    TokenPolicy {
        format: TokenFormat::Jwt,
        jwt_type: TokenType::AccessToken,
        lifetime: SignedDuration::from_mins(15),
        signing_algorithm: SigningAlgorithm::Es256,
        scope_policy: ScopePolicy::Reject,
        default_scopes: vec![],
        default_audience: None,
        multiple_audiences: false,
        sender_constraint: SenderConstraint::None,
    }
}

fn request<'a>(scopes: Option<&[&'a str]>, audiences: &[&'a str]) -> TokenRequest<'a> {
    TokenRequest {
        grant_type: GrantType::ClientCredentials,
        scopes: scopes.map(<[&str]>::to_vec),
        audiences: audiences.to_vec(),
    }
}

#[test]
fn g4_all_scopes_granted_at_the_only_audience_are_issued_if_none_is_requested() {
    let (grant, policy) = (grant(&[("a", "y", "r2"), ("a", "x", "r1")]), policy());
    let granted = authorize(&grant, &policy, &request(None, &[])).unwrap();
    assert_eq!((granted.audiences, granted.scopes), (vec!["a"], vec!["x", "y"]));
    assert_eq!(granted.roles, BTreeSet::from(["r1", "r2"]));
}

#[test]
fn g4_default_scopes_are_issued_as_far_as_they_are_granted() {
    let grant = grant(&[("a", "x", "r1"), ("a", "y", "r2")]);
    let policy = TokenPolicy { default_scopes: vec!["y".into(), "z".into()], ..policy() };
    let granted = authorize(&grant, &policy, &request(None, &[])).unwrap();
    assert_eq!((granted.scopes, granted.roles), (vec!["y"], BTreeSet::from(["r2"])));
    let policy = TokenPolicy { default_scopes: vec!["z".into()], ..policy };
    assert_eq!(authorize(&grant, &policy, &request(None, &[])), Err(AuthorityError::NoScope));
}

#[test]
fn g3_a_scope_outside_the_grant_is_refused_or_left_out_by_policy() {
    let grant = grant(&[("a", "x", "r1")]);
    let asked = request(Some(&["x", "z"]), &[]);
    assert_eq!(authorize(&grant, &policy(), &asked), Err(AuthorityError::ScopeNotGranted));
    let narrow = TokenPolicy { scope_policy: ScopePolicy::Narrow, ..policy() };
    assert_eq!(authorize(&grant, &narrow, &asked).unwrap().scopes, ["x"]);
    assert_eq!(authorize(&grant, &narrow, &request(Some(&["z"]), &[])), Err(AuthorityError::NoScope));
}

#[test]
fn g5_an_audience_that_is_not_granted_is_refused() {
    let (grant, policy) = (grant(&[("a", "x", "r1")]), policy());
    assert_eq!(authorize(&grant, &policy, &request(None, &["b"])), Err(AuthorityError::AudienceNotGranted));
}

#[test]
fn g7_the_audience_is_the_default_or_the_only_one_and_never_a_guess() {
    let grant = grant(&[("a", "x", "r1"), ("b", "x", "r2")]);
    assert_eq!(authorize(&grant, &policy(), &request(None, &[])), Err(AuthorityError::AudienceAmbiguous));
    let default = |audience: &str| TokenPolicy { default_audience: Some(audience.into()), ..policy() };
    assert_eq!(authorize(&grant, &default("b"), &request(None, &[])).unwrap().audiences, ["b"]);
    assert_eq!(authorize(&grant, &default("c"), &request(None, &[])), Err(AuthorityError::AudienceAmbiguous));
}

#[test]
fn g7_several_audiences_must_be_allowed_and_share_only_the_scopes_granted_at_all() {
    let grant = grant(&[("a", "x", "r1"), ("a", "y", "r1"), ("b", "x", "admin"), ("b", "z", "r3")]);
    let both = request(None, &["a", "b"]);
    assert_eq!(authorize(&grant, &policy(), &both), Err(AuthorityError::SeveralAudiences));
    let several = TokenPolicy { multiple_audiences: true, ..policy() };
    let granted = authorize(&grant, &several, &both).unwrap();
    assert_eq!((granted.audiences, granted.scopes), (vec!["a", "b"], vec!["x"]));
    assert_eq!(granted.roles, BTreeSet::from(["admin", "r1"]));
    assert_eq!(granted.planes, BTreeSet::from(["Admin", "Operational"]));
    let asked = request(Some(&["y"]), &["a", "b"]);
    assert_eq!(authorize(&grant, &several, &asked), Err(AuthorityError::ScopeNotGranted));
}

#[test]
fn a_client_without_permissions_gets_no_scope_whatever_it_requests() {
    let (nothing, policy) = (Grant::default(), policy());
    for audiences in [&[][..], &["a"]] {
        assert_eq!(authorize(&nothing, &policy, &request(None, audiences)), Err(AuthorityError::NoPermissions));
    }
    let hollow = Grant { permissions: BTreeMap::from([("a".into(), BTreeMap::new())]) };
    assert_eq!(authorize(&hollow, &policy, &request(None, &["a"])), Err(AuthorityError::NoPermissions));
}

/// The oracle: flat triples and nested loops, written independently of the code above.
struct Oracle {
    held: Vec<(String, String, String)>,
}

impl Oracle {
    fn holds(&self, audience: &str, scope: &str) -> bool {
        self.held.iter().any(|(a, s, _)| a == audience && s == scope)
    }

    fn roles_of(&self, audiences: &[&str], scopes: &[&str]) -> BTreeSet<String> {
        let behind =
            |(a, s, _): &&(String, String, String)| audiences.contains(&a.as_str()) && scopes.contains(&s.as_str());
        self.held.iter().filter(behind).map(|(_, _, role)| role.clone()).collect()
    }

    fn audiences(&self) -> BTreeSet<&str> {
        self.held.iter().map(|(audience, _, _)| audience.as_str()).collect()
    }
}

fn name(prefix: &'static str) -> impl Strategy<Value = String> {
    (0..5_u8).prop_map(move |number| format!("{prefix}{number}"))
}

fn distinct(prefix: &'static str, max: usize) -> impl Strategy<Value = Vec<String>> {
    proptest::collection::btree_set(name(prefix), 0..=max).prop_map(|names| names.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn a_token_contains_only_requested_and_granted_permissions(
        held in proptest::collection::vec((name("a"), name("s"), name("r")), 0..12),
        scopes in proptest::option::of(distinct("s", 4).prop_filter("a request names at least one", |s| !s.is_empty())),
        audiences in distinct("a", 3),
        default_scopes in distinct("s", 3),
        default_audience in proptest::option::of(name("a")),
        narrow in any::<bool>(),
        multiple_audiences in any::<bool>(),
    ) {
        let triples: Vec<(&str, &str, &str)> = held.iter().map(|(a, s, r)| (a.as_str(), s.as_str(), r.as_str())).collect();
        let grant = grant(&triples);
        let oracle = Oracle { held: held.clone() };
        let scope_policy = if narrow { ScopePolicy::Narrow } else { ScopePolicy::Reject };
        let policy = TokenPolicy { default_scopes: default_scopes.clone(), default_audience: default_audience.clone(),
            scope_policy, multiple_audiences, ..policy() };
        let asked: Option<Vec<&str>> = scopes.as_ref().map(|scopes| scopes.iter().map(String::as_str).collect());
        let wanted: Vec<&str> = audiences.iter().map(String::as_str).collect();
        let outcome = authorize(&grant, &policy, &request(asked.as_deref(), &wanted));

        // The expected audiences, if any.
        let expected_audiences: Vec<&str> = if wanted.is_empty() {
            match &default_audience {
                Some(default) if oracle.audiences().contains(default.as_str()) => vec![default],
                _ => oracle.audiences().into_iter().collect(),
            }
        } else { wanted.clone() };
        let audiences_fine = (expected_audiences.len() == 1 || (!wanted.is_empty() && multiple_audiences))
            && expected_audiences.iter().all(|audience| oracle.audiences().contains(audience));
        // The expected scopes.
        let everywhere = |scope: &str| expected_audiences.iter().all(|audience| oracle.holds(audience, scope));
        let pool: Vec<String> = match (&scopes, default_scopes.is_empty()) {
            (Some(scopes), _) => scopes.clone(),
            (None, false) => default_scopes.clone(),
            (None, true) => (0..5).map(|number| format!("s{number}")).collect(),
        };
        let expected_scopes: Vec<&str> = pool.iter().map(String::as_str).filter(|scope| everywhere(scope)).collect();
        let rejected = !narrow && scopes.as_ref().is_some_and(|scopes| scopes.len() != expected_scopes.len());

        match outcome {
            Ok(granted) => {
                prop_assert!(audiences_fine && !rejected);
                for audience in &granted.audiences {
                    for scope in &granted.scopes {
                        prop_assert!(oracle.holds(audience, scope), "{audience} {scope} is not held");
                    }
                    prop_assert!(wanted.is_empty() || wanted.contains(audience));
                }
                if let Some(asked) = &asked {
                    prop_assert!(granted.scopes.iter().all(|scope| asked.contains(scope)));
                }
                prop_assert_eq!(&granted.audiences, &expected_audiences);
                prop_assert_eq!(&granted.scopes, &expected_scopes);
                prop_assert!(!granted.scopes.is_empty() && !granted.audiences.is_empty());
                let roles: BTreeSet<String> = granted.roles.iter().map(|role| (*role).to_owned()).collect();
                prop_assert_eq!(roles, oracle.roles_of(&granted.audiences, &granted.scopes));
            }
            Err(_) => prop_assert!(!audiences_fine || rejected || expected_scopes.is_empty()),
        }
    }
}
