//! Compiles objects into one record. Pure: the same objects give the same record, in any order of their events.
//! `postern explain` compiles the objects that it has read ([`from_objects`](super::from_objects)).
//!
//! Fails closed: an object that is missing, suspended or being deleted leads to a disabled entry or to no entry.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use kube::{Resource, ResourceExt};

use super::client_certificates::client_certificates;
use super::client_keys::{PublishedKeys, client_keys, service_accounts, trusted_issuers};
use super::expected_epochs::Fingerprints;
use super::history::{Credentials, authority_changed_at, past};
use super::secret_records::{ApplicationGrant, records};
use super::{ClientLimits, Entry};
use crate::api::application::{
    AuthMethod, ScopePolicy as WantedPolicy, SenderConstraint as WantedConstraint, SigningAlgorithm as WantedAlgorithm,
    TokenFormat as WantedFormat, TokenType as WantedType,
};
use crate::api::duration::ConfigDuration;
use crate::api::location::Location;
use crate::api::lockout::{LockoutDefaults, LockoutMode, LockoutScope as WantedScope};
use crate::api::names::CREATED_BY;
use crate::api::permissions::{Authority, Membership, narrow};
use crate::api::{Application, ClientSecret, ServiceUser};
use crate::cache::{ObjectRef, StoredAs, StoredObject};
use crate::oauth::client_auth::{Method, MethodSet};
use crate::oauth::client_record::{
    ClientRecord, Denial, Grant, Identity, MethodUses, ObjectRevision, Role, ScopePolicy, SenderConstraint,
    SigningAlgorithm, TokenFormat, TokenLimit, TokenPolicy, TokenType, Tombstones,
};
use crate::oauth::denial_rule::DenialRule;
use crate::oauth::lockout::{LockedClient, Lockout, LockoutPolicy, LockoutScope};
use crate::util::intern::Interner;

/// The objects of one client; none of them is being deleted. `F` is the form in which the ClientSecrets are stored.
pub(super) struct Sources<F> {
    /// The client id that the Application claims.
    pub(super) client_id: Arc<str>,
    /// The key of the Application.
    pub(super) key: ObjectRef,
    /// The oldest Application that claims the client id.
    pub(super) application: Arc<Application>,
    /// Its service user, if it exists.
    pub(super) user: Option<Arc<ServiceUser>>,
    /// The effective permissions from the groups of the service user.
    pub(super) held: Membership,
    /// Its ClientSecrets within the limit, oldest first.
    pub(super) secrets: Vec<Arc<StoredObject<F>>>,
    /// The keys of the client and of its issuers that were fetched.
    pub(super) published: PublishedKeys,
    /// The client id equals the subject of a service user.
    pub(super) is_subject: bool,
    /// This replica knows the namespace, and so the location bound of its service users.
    pub(super) knows_namespace: bool,
}

/// What the entry of a client is compiled with, apart from its objects.
pub(super) struct Compiler<'a> {
    pub(super) limits: &'a ClientLimits,
    /// Equal grants are shared through it.
    pub(super) grants: &'a Interner<Grant>,
    /// The entry that is replaced: unchanged versions keep their cached state.
    pub(super) previous: Option<&'a Entry>,
    pub(super) now: Timestamp,
}

/// The service user of a client that may authenticate.
///
/// # Errors
/// The first rule that disables the client.
pub(super) fn enabled_user<F>(sources: &Sources<F>) -> Result<&Arc<ServiceUser>, Denial> {
    let application = &sources.application;
    let denied = |rule| Err(Denial { rule, object: revision("Application", &sources.key, application.as_ref()) });
    if sources.is_subject {
        return denied(DenialRule::ClientIdTaken);
    }
    if application.spec.is_suspended() {
        return denied(DenialRule::Suspended);
    }
    let Some(user) = &sources.user else {
        return denied(DenialRule::ServiceUserNotFound);
    };
    if user.spec.is_suspended() {
        let key = sources.key.sibling(&user.name_any());
        let object = revision("ServiceUser", &key, user.as_ref());
        return Err(Denial { rule: DenialRule::ServiceUserSuspended, object });
    }
    if sources.knows_namespace { Ok(user) } else { denied(DenialRule::NamespaceUnknown) }
}

impl Compiler<'_> {
    /// The entry of the client id.
    pub(super) fn entry<F: StoredAs<Object = ClientSecret>>(&self, sources: &Sources<F>) -> Entry {
        match enabled_user(sources) {
            Err(denial) => Entry::Disabled(Arc::new(denial), self.past(None)),
            Ok(user) => {
                let (record, fingerprints) = self.record(sources, user);
                Entry::Live(Arc::new(record), Arc::new(fingerprints))
            }
        }
    }

    /// The record of a client that may authenticate and acts for `user`.
    pub(super) fn record<F: StoredAs<Object = ClientSecret>>(
        &self,
        sources: &Sources<F>,
        user: &ServiceUser,
    ) -> (ClientRecord, Fingerprints) {
        let application = &sources.application;
        let before = match self.previous {
            Some(Entry::Live(record, fingerprints)) => Some((record.as_ref(), fingerprints.as_ref())),
            _ => None,
        };
        let known = before.map(|(record, _)| record);
        let authority = narrow(&sources.held.authority, application.spec.restrict_to.as_ref());
        let mut grant = ApplicationGrant::new(application, Some(user), &authority, self.grants);
        let fingerprints = Fingerprints::new(user, &sources.held, grant.digest.clone());
        grant.previous = known;
        grant.is_same = before.is_some_and(|(_, known)| known.application() == fingerprints.application());
        let secrets = records(&sources.secrets, self.limits, &grant);
        let keys = client_keys(application, &sources.published, &grant);
        let service_accounts = service_accounts(application, &grant);
        let issuers = trusted_issuers(application, &sources.published, &grant);
        let certificates = client_certificates(application, &grant);
        let credentials = Credentials {
            secrets: &secrets,
            keys: &keys,
            service_accounts: &service_accounts,
            issuers: &issuers,
            certificates: &certificates,
        };
        let uid = application.metadata.uid.as_deref().unwrap_or_default();
        let method_uses = known.map(|record| &record.method_uses).filter(|uses| uses.application() == uid);
        let method_uses = method_uses.map_or_else(|| Arc::new(MethodUses::new(uid)), Arc::clone);
        let (epoch, is_stale) = fingerprints.epochs(&sources.key, application, user, before);
        let record = ClientRecord {
            client_id: Arc::clone(&sources.client_id),
            identity: identity(user, &sources.held.location),
            application: revision("Application", &sources.key, application.as_ref()),
            auth_methods: auth_methods(application),
            networks: application.spec.networks().map(Box::from),
            grant: grant.grant,
            token: token_policy(application, self.limits.token_lifetime_max),
            token_limit: self.token_limit(application, known.filter(|record| record.method_uses.application() == uid)),
            epoch,
            is_stale,
            authority_changed_at: authority_changed_at(credentials, known, self.now),
            past: self.past(Some((&fingerprints, credentials))),
            subject: user.uid().unwrap_or_default(),
            secrets,
            keys,
            service_accounts,
            issuers,
            certificates,
            lockout: lockout(application, &sources.key, self.limits.lockout),
            method_uses,
        };
        (record, fingerprints)
    }

    /// The limit of token requests. While the number is the same, what the client has used of it is kept.
    fn token_limit(&self, application: &Application, known: Option<&ClientRecord>) -> Option<Arc<TokenLimit>> {
        let per_minute = application.spec.requests_per_minute().or(self.limits.token_requests_per_minute)?;
        let known = known.and_then(|record| record.token_limit.as_ref());
        let known = known.filter(|limit| limit.per_minute() == per_minute);
        Some(known.map_or_else(|| Arc::new(TokenLimit::new(per_minute)), Arc::clone))
    }

    /// The fingerprints that tokens had earlier, given that the client now has `next`; `None`: the client is disabled.
    fn past(&self, next: Option<(&Fingerprints, Credentials<'_>)>) -> Tombstones {
        let since = self.now.saturating_sub(self.limits.token_lifetime_max).unwrap_or(Timestamp::MIN);
        past(self.previous, next, self.now, since)
    }
}

fn lockout(application: &Application, key: &ObjectRef, defaults: LockoutDefaults) -> Lockout {
    let LockoutDefaults { mode, scope, attempts, duration } = defaults.with(application.spec.lockout.as_ref());
    Lockout {
        client: LockedClient {
            namespace: Arc::clone(&key.namespace),
            name: Arc::clone(&key.name),
            uid: application.metadata.uid.as_deref().unwrap_or_default().into(),
        },
        policy: LockoutPolicy {
            is_enabled: mode == LockoutMode::Enabled,
            scope: match scope {
                WantedScope::Source => LockoutScope::Source,
                WantedScope::Client => LockoutScope::Client,
            },
            attempts,
            duration,
            unlock: application.unlock().into(),
        },
    }
}

pub(super) fn auth_methods(application: &Application) -> MethodSet {
    let is_allowed = |method: &Method| {
        application.spec.allows(match method {
            Method::ClientSecretBasic => AuthMethod::ClientSecretBasic,
            Method::ClientSecretPost => AuthMethod::ClientSecretPost,
            Method::PrivateKeyJwt => AuthMethod::PrivateKeyJwt,
            Method::KubernetesServiceAccount => AuthMethod::KubernetesServiceAccount,
            Method::FederatedJwt => AuthMethod::FederatedJwt,
            Method::TlsClientAuth => AuthMethod::TlsClientAuth,
            Method::SelfSignedTlsClientAuth => AuthMethod::SelfSignedTlsClientAuth,
        })
    };
    Method::ALL.iter().copied().filter(is_allowed).collect()
}

fn identity(user: &ServiceUser, location: &Location) -> Identity {
    let optional = |text: &Option<String>| text.as_deref().map(Box::from);
    Identity {
        username: format!("{}/{}", user.namespace().unwrap_or_default(), user.name_any()).into(),
        location: location.as_str().into(),
        name: optional(&user.spec.display_name),
        email: optional(&user.spec.email),
        created_by: user.annotations().get(CREATED_BY).map(|who| who.as_str().into()),
    }
}

fn token_policy(application: &Application, lifetime_max: SignedDuration) -> TokenPolicy {
    let token = application.spec.token.clone().unwrap_or_default();
    let idle = token.idle_timeout.as_ref().map(ConfigDuration::length);
    TokenPolicy {
        format: match token.format.unwrap_or_default() {
            WantedFormat::Jwt => TokenFormat::Jwt,
            WantedFormat::Opaque => TokenFormat::Opaque { idle },
        },
        jwt_type: match token.type_.unwrap_or_default() {
            WantedType::AccessToken => TokenType::AccessToken,
            WantedType::Jwt => TokenType::Jwt,
        },
        lifetime: application.spec.token_lifetime().min(lifetime_max),
        signing_algorithm: match token.signing_algorithm.unwrap_or_default() {
            WantedAlgorithm::Es256 => SigningAlgorithm::Es256,
            WantedAlgorithm::Rs256 => SigningAlgorithm::Rs256,
            WantedAlgorithm::Ps256 => SigningAlgorithm::Ps256,
            WantedAlgorithm::EdDsa => SigningAlgorithm::EdDsa,
        },
        scope_policy: match token.scope_policy.unwrap_or_default() {
            WantedPolicy::Reject => ScopePolicy::Reject,
            WantedPolicy::Narrow => ScopePolicy::Narrow,
        },
        default_scopes: token.default_scopes.unwrap_or_default(),
        default_audience: token.default_audience,
        multiple_audiences: token.multiple_audiences.unwrap_or_default(),
        sender_constraint: match token.sender_constraint.unwrap_or_default() {
            WantedConstraint::None => SenderConstraint::None,
            WantedConstraint::Dpop => SenderConstraint::Dpop,
            WantedConstraint::MutualTls => SenderConstraint::MutualTls,
        },
    }
}

pub(super) fn grant(authority: &Authority) -> Grant {
    let mut permissions: BTreeMap<Arc<str>, BTreeMap<Arc<str>, BTreeSet<Role>>> = BTreeMap::new();
    for permit in authority {
        permissions
            .entry(permit.audience.as_str().into())
            .or_default()
            .entry(permit.scope.as_str().into())
            .or_default()
            .insert(Role { name: permit.role.as_str().into(), plane: permit.plane.as_str() });
    }
    Grant { permissions }
}

pub(super) fn revision<K: Resource<DynamicType = ()>>(
    kind: &'static str,
    key: &ObjectRef,
    object: &K,
) -> ObjectRevision {
    let (namespace, name) = (Arc::clone(&key.namespace), Arc::clone(&key.name));
    ObjectRevision { kind, namespace, name, resource_version: crate::cache::revision(object) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::api::access_group::Plane;
    use crate::api::application::{ApplicationSpec, Token};
    use crate::api::default_scopes::default_scopes;
    use crate::api::permissions::Permit;
    use crate::oauth::authorize::authorize;
    use crate::oauth::request::{GrantType, TokenRequest};

    fn permit(audience: String, scope: String) -> Permit {
        Permit { audience, scope, role: "billing.reader".to_owned(), plane: Plane::default() }
    }

    proptest! {
        /// A delivered Secret and the token endpoint agree.
        #[test]
        fn default_scopes_are_those_of_a_request_that_names_nothing(
            held in proptest::collection::btree_set(("a[1-3]", "s[1-4]").prop_map(|(at, scope)| permit(at, scope)), 0..6),
            default_audience in proptest::option::of("a[1-4]"),
            default_scopes_ in proptest::option::of(proptest::collection::vec("s[1-5]|openid", 1..4)),
        ) {
            let token = Token { default_audience, default_scopes: default_scopes_, ..Token::default() };
            let spec = json!({"serviceUserRef": {"name": "sync"}, "token": token});
            let application = Application::new("sync", serde_json::from_value::<ApplicationSpec>(spec).unwrap());
            let (grant, policy) = (grant(&held), token_policy(&application, SignedDuration::MAX));
            let request =
                TokenRequest { grant_type: GrantType::ClientCredentials, scopes: None, audiences: Vec::new() };
            let granted = authorize(&grant, &policy, &request).map(|granted| granted.scopes).unwrap_or_default();
            prop_assert_eq!(default_scopes(&held, &token), granted);
        }
    }

    #[test]
    fn groups_and_the_endpoint_have_the_same_list_of_oidc_scopes() {
        assert_eq!(crate::api::permissions::OIDC_SCOPES, crate::oauth::scope::OIDC_SCOPES);
    }

    #[test]
    fn groups_and_the_endpoint_have_the_same_scope_for_introspection() {
        assert_eq!(crate::api::access_group::INTROSPECT, crate::oauth::scope::INTROSPECT);
    }
}
