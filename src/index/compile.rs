//! From objects to one record. Pure: same objects, same record, whatever the order of their events.
//!
//! Fails closed: what is missing, suspended or being deleted leads to a closed entry or to none.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use kube::{Resource, ResourceExt};

use super::{Entry, Settings};
use crate::api::application::{
    AuthMethod, ScopePolicy as WantedPolicy, SigningAlgorithm as WantedAlgorithm, TokenFormat as WantedFormat,
};
use crate::api::authority::{Authority, fingerprint, narrow, stands_for};
use crate::api::client_secret::{Use, Version, uid_bytes};
use crate::api::conditions::reasons;
use crate::api::duration::ConfigDuration;
use crate::api::names::CREATED_BY;
use crate::api::{Application, ClientSecret, ServiceUser};
use crate::crypto::install_key::Strength;
use crate::oauth::client::{
    AuthMethods, ClientRecord, Epoch, Grant, Identity, ObjectRevision, Refusal, Role, ScopePolicy, SecretRecord,
    SecretVersion, SigningAlgorithm, TokenFormat, TokenPolicy, Uses,
};
use crate::pool::Pool;

/// The objects of one client, none of them being deleted.
pub(super) struct Sources {
    /// The oldest Application that claims the client id.
    pub(super) application: Arc<Application>,
    /// Its service user, when it exists.
    pub(super) user: Option<Arc<ServiceUser>>,
    /// What the groups of the service user come to.
    pub(super) authority: Authority,
    /// Its ClientSecrets, oldest first.
    pub(super) secrets: Vec<Arc<ClientSecret>>,
    /// The client id is some service user's subject.
    pub(super) is_subject: bool,
}

/// The entry of `client_id`, compiled at `now`. `previous` is the entry that it replaces: versions that stay the same
/// keep what the process remembers of them; equal grants are one of `grants`.
pub(super) fn entry(
    client_id: &str,
    sources: &Sources,
    settings: &Settings,
    grants: &Pool<Grant>,
    previous: Option<&Entry>,
    now: Timestamp,
) -> Entry {
    let application = &sources.application;
    let closed = |rule, object| Entry::Closed(Arc::new(Refusal { rule, object }));
    if sources.is_subject {
        return closed(reasons::CLIENT_ID_TAKEN, revision(application.as_ref()));
    }
    if application.spec.is_suspended() {
        return closed(reasons::SUSPENDED, revision(application.as_ref()));
    }
    let Some(user) = &sources.user else {
        return closed(reasons::SERVICE_USER_NOT_FOUND, revision(application.as_ref()));
    };
    if user.spec.is_suspended() {
        return closed(reasons::SERVICE_USER_SUSPENDED, revision(user.as_ref()));
    }
    let authority = narrow(&sources.authority, application.spec.restrict_to.as_ref());
    let subject = user.uid().unwrap_or_default();
    let grant = grants.shared(Arc::new(grant(&authority)));
    let digest = fingerprint(&authority, &[&subject]);
    let held = Held { subject: &subject, authority: &authority, grants, grant: Arc::clone(&grant), digest };
    let secrets = sources.secrets.iter().enumerate();
    let secrets: Vec<_> = secrets.map(|(rank, object)| secret(object, rank, settings, &held, previous)).collect();
    Entry::Live(Arc::new(ClientRecord {
        client_id: client_id.to_owned(),
        identity: identity(user),
        application: revision(application.as_ref()),
        auth_methods: AuthMethods {
            client_secret_basic: application.spec.allows(AuthMethod::ClientSecretBasic),
            client_secret_post: application.spec.allows(AuthMethod::ClientSecretPost),
        },
        grant,
        token: token_policy(application, settings.token_lifetime_max),
        epoch: Epoch {
            service_user: user.status.as_ref().and_then(|status| status.epoch).unwrap_or_default(),
            application: application.status.as_ref().and_then(|status| status.epoch).unwrap_or_default(),
        },
        changed_at: changed_at(&secrets, previous, now),
        subject,
        secrets,
    }))
}

/// When what the secrets stand for changed last. A token of before that says something else is old.
fn changed_at(secrets: &[SecretRecord], previous: Option<&Entry>, now: Timestamp) -> Timestamp {
    let same = |(one, other): (&SecretRecord, &SecretRecord)| {
        one.authority == other.authority && one.closed.is_some() == other.closed.is_some()
    };
    match previous {
        Some(Entry::Live(record))
            if record.secrets.len() == secrets.len() && record.secrets.iter().zip(secrets).all(same) =>
        {
            record.changed_at
        }
        _ => now,
    }
}

fn identity(user: &ServiceUser) -> Identity {
    let optional = |text: &Option<String>| text.as_deref().map(Box::from);
    Identity {
        username: format!("{}/{}", user.namespace().unwrap_or_default(), user.name_any()).into(),
        location: user.spec.location.as_str().into(),
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
        lifetime: application.spec.token_lifetime().min(lifetime_max),
        signing_algorithm: match token.signing_algorithm.unwrap_or_default() {
            WantedAlgorithm::Es256 => SigningAlgorithm::Es256,
            WantedAlgorithm::Rs256 => SigningAlgorithm::Rs256,
        },
        scope_policy: match token.scope_policy.unwrap_or_default() {
            WantedPolicy::Reject => ScopePolicy::Reject,
            WantedPolicy::Narrow => ScopePolicy::Narrow,
        },
        default_scopes: token.default_scopes.unwrap_or_default(),
        default_audience: token.default_audience,
        multiple_audiences: token.multiple_audiences.unwrap_or_default(),
    }
}

/// What the client holds, before its secrets narrow it.
struct Held<'a> {
    subject: &'a str,
    authority: &'a Authority,
    grants: &'a Pool<Grant>,
    grant: Arc<Grant>,
    /// Of subject and authority.
    digest: String,
}

impl Held<'_> {
    /// What a secret holds, and the digest of that.
    fn by(&self, object: &ClientSecret) -> (Arc<Grant>, Box<str>) {
        let (grant, held) = match &object.spec.restrict_to {
            None => (Arc::clone(&self.grant), Cow::Borrowed(&self.digest)),
            Some(restriction) => {
                let narrowed = narrow(self.authority, Some(restriction));
                (self.grants.shared(Arc::new(grant(&narrowed))), Cow::Owned(fingerprint(&narrowed, &[self.subject])))
            }
        };
        (grant, stands_for(object.metadata.uid.as_deref().unwrap_or_default(), &held).into())
    }
}

fn secret(
    object: &ClientSecret,
    rank: usize,
    settings: &Settings,
    held: &Held<'_>,
    previous: Option<&Entry>,
) -> SecretRecord {
    let rule = if object.spec.is_revoked() {
        Some(reasons::REVOKED)
    } else if rank >= settings.secrets_per_application {
        Some(reasons::LIMIT_REACHED)
    } else {
        None
    };
    let (grant, authority) = held.by(object);
    let versions = object.status.as_ref().map(|status| status.versions.as_slice()).unwrap_or_default();
    let uid = uid_bytes(&object.metadata);
    SecretRecord {
        object: revision(object),
        uid,
        uses: Uses {
            token: object.spec.is_for(Use::Token),
            direct: object.spec.is_for(Use::Direct),
            manage: object.spec.is_for(Use::Manage),
        },
        networks: object.spec.networks.as_deref().map(Box::from),
        grant,
        authority,
        expires_at: versions.first().and_then(|newest| settings.lifetime.expiry(&object.spec, newest.created_at)),
        closed: rule.map(|rule| Refusal { rule, object: revision(object) }),
        versions: versions
            .iter()
            .map(|version| remembered(uid, version, settings.lifetime.accepted_until(&object.spec, version), previous))
            .collect(),
    }
}

/// The version as it was, with what the process remembers of its value, if it is the same one.
fn remembered(
    uid: [u8; 16],
    version: &Version,
    accepted_until: Option<Timestamp>,
    previous: Option<&Entry>,
) -> Arc<SecretVersion> {
    let known = match previous {
        Some(Entry::Live(record)) => record.secrets.iter().filter(|secret| secret.uid == uid).find_map(|secret| {
            let same = |old: &&Arc<SecretVersion>| old.id == version.id && old.verifier == version.verifier;
            secret.versions.iter().find(same)
        }),
        _ => None,
    };
    match known {
        Some(known) if known.accepted_until == accepted_until && Arc::ptr_eq(&known.verifier, &version.verifier) => {
            Arc::clone(known)
        }
        known => Arc::new(SecretVersion {
            id: version.id.clone(),
            verifier: version.verifier.clone(),
            imported: Strength::of(&version.verifier) == Some(Strength::Imported),
            accepted_until,
            memory: known.map(|known| Arc::clone(&known.memory)).unwrap_or_default(),
        }),
    }
}

fn grant(authority: &Authority) -> Grant {
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

fn revision<K: Resource<DynamicType = ()>>(object: &K) -> ObjectRevision {
    ObjectRevision {
        kind: match K::kind(&()).as_ref() {
            "Application" => "Application",
            "ServiceUser" => "ServiceUser",
            _ => "ClientSecret",
        },
        namespace: object.namespace().unwrap_or_default().into(),
        name: object.name_any().into(),
        resource_version: object.resource_version().unwrap_or_default().into(),
    }
}
