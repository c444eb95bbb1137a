//! Compiles ClientSecrets into the secret records of a client.
//!
//! The operator limits the number of active ClientSecrets of an Application; the others are not kept. Each event
//! affects one ClientSecret: the others do not change.

use std::borrow::Cow;
use std::sync::Arc;

use jiff::Timestamp;

use super::ClientLimits;
use super::compile::{grant, revision};
use crate::api::application::SenderConstraint;
use crate::api::client_secret::{Usage, Verification as Recorded, Version, uid_bytes};
use crate::api::fingerprint::{application_fingerprint, token_fingerprint};
use crate::api::permissions::{Authority, narrow};
use crate::api::{Application, ClientSecret, ServiceUser};
use crate::cache::{ObjectRef, StoredAs, StoredObject, revision as revision_of};
use crate::crypto::install_key::HashCost;
use crate::crypto::public_key::PublicKey;
use crate::oauth::client_record::{
    ClientRecord, Denial, Grant, KeyPair, SecretRecord, SecretVersion, Usages, Verification,
};
use crate::oauth::denial_rule::DenialRule;
use crate::util::intern::Interner;

/// The permissions of the client, before its secrets narrow them.
pub(super) struct ApplicationGrant<'a> {
    /// UID of the Application.
    application: &'a str,
    subject: &'a str,
    constraint: SenderConstraint,
    authority: &'a Authority,
    grants: &'a Interner<Grant>,
    pub(super) grant: Arc<Grant>,
    /// The fingerprint of the Application.
    pub(super) digest: String,
    /// The previous record of the client.
    pub(super) previous: Option<&'a ClientRecord>,
    /// Whether the fingerprint of the Application was the same in the previous record.
    pub(super) is_same: bool,
}

impl<'a> ApplicationGrant<'a> {
    /// The grant of `application`, which acts for `user` and has `authority`.
    pub(super) fn new(
        application: &'a Application,
        user: Option<&'a ServiceUser>,
        authority: &'a Authority,
        grants: &'a Interner<Grant>,
    ) -> Self {
        let uid = application.metadata.uid.as_deref().unwrap_or_default();
        let subject = user.and_then(|user| user.metadata.uid.as_deref()).unwrap_or_default();
        let constraint = application.spec.sender_constraint();
        Self {
            application: uid,
            subject,
            constraint,
            authority,
            grants,
            grant: grants.shared(Arc::new(grant(authority))),
            digest: application_fingerprint(authority, uid, subject, constraint, None),
            previous: None,
            is_same: false,
        }
    }

    /// The previous record, if its keys and certificates are still those of the Application. Most events do not concern
    /// the Application: its credentials are compiled once.
    pub(super) fn unchanged(&self, application: &Application) -> Option<&'a ClientRecord> {
        let is_unchanged = |record: &&ClientRecord| record.application.resource_version == revision_of(application);
        self.previous.filter(|_| self.is_same).filter(is_unchanged)
    }

    /// The permissions of a secret, and their fingerprint.
    fn by(&self, object: &ClientSecret) -> (Arc<Grant>, Box<str>) {
        let (grant, held) = match &object.spec.restrict_to {
            None => (Arc::clone(&self.grant), Cow::Borrowed(self.digest.as_str())),
            Some(restriction) => {
                let narrowed = narrow(self.authority, Some(restriction));
                let Self { application, subject, constraint, .. } = self;
                let digest = application_fingerprint(&narrowed, application, subject, *constraint, None);
                (self.grants.shared(Arc::new(grant(&narrowed))), Cow::Owned(digest))
            }
        };
        (grant, token_fingerprint(&object.credential(), &held).into())
    }

    /// The previous record, if compiling the secret would give the same result: neither the secret nor the fingerprint
    /// of the Application has changed.
    fn known<F>(&self, kept: &StoredObject<F>) -> Option<&SecretRecord> {
        self.previous.filter(|_| self.is_same)?.secrets.iter().find(|secret| {
            let object = &secret.object;
            object.resource_version == kept.revision
                && object.name == kept.key.name
                && object.namespace == kept.key.namespace
        })
    }
}

/// The records of the secrets, in their order.
pub(super) fn records<F: StoredAs<Object = ClientSecret>>(
    secrets: &[Arc<StoredObject<F>>],
    limits: &ClientLimits,
    held: &ApplicationGrant<'_>,
) -> Vec<SecretRecord> {
    let compiled = |kept: &StoredObject<F>| Some(record(&kept.key, kept.live()?.as_ref(), limits, held));
    secrets.iter().filter_map(|kept| held.known(kept).cloned().or_else(|| compiled(kept))).collect()
}

fn record(key: &ObjectRef, object: &ClientSecret, limits: &ClientLimits, held: &ApplicationGrant<'_>) -> SecretRecord {
    let rule = object.spec.is_revoked().then_some(DenialRule::Revoked);
    let (grant, authority) = held.by(object);
    let versions = object.status.as_ref().map(|status| status.versions.as_slice()).unwrap_or_default();
    let uid = uid_bytes(&object.metadata);
    let object_revision = revision("ClientSecret", key, object);
    SecretRecord {
        disabled: rule.map(|rule| Box::new(Denial { rule, object: object_revision.clone() })),
        object: object_revision,
        uid,
        usages: Usages {
            token: object.spec.is_for(Usage::Token),
            direct: object.spec.is_for(Usage::Direct),
            manage: object.spec.is_for(Usage::Manage),
        },
        networks: object.spec.networks.as_deref().map(Box::from),
        grant,
        authority,
        expires_at: versions.first().and_then(|newest| limits.lifetime.expiry(&object.spec, newest.created_at)),
        versions: versions
            .iter()
            .filter_map(|version| {
                version_record(uid, version, limits.lifetime.accepted_until(&object.spec, version), held.previous)
            })
            .collect(),
    }
}

/// The version, with the state that this process had for it. `None`: status does not contain what to verify it with.
fn version_record(
    uid: [u8; 16],
    version: &Version,
    accepted_until: Option<Timestamp>,
    previous: Option<&ClientRecord>,
) -> Option<Arc<SecretVersion>> {
    let verification = verification(&version.verification)?;
    let secrets = previous.into_iter().flat_map(|record| &record.secrets).filter(|secret| secret.uid == uid);
    let same = |old: &&Arc<SecretVersion>| old.id == version.id && old.verification == verification;
    Some(match secrets.flat_map(|secret| &secret.versions).find(same) {
        Some(known) if known.accepted_until == accepted_until => Arc::clone(known),
        known => Arc::new(SecretVersion {
            id: version.id.clone(),
            verification,
            accepted_until,
            memory: known.map(|known| Arc::clone(&known.memory)).unwrap_or_default(),
        }),
    })
}

/// The MAC on a public key is checked for each assertion: only the endpoint has the install keys.
fn verification(recorded: &Recorded) -> Option<Verification> {
    if let Some(verifier) = &recorded.verifier {
        let is_imported = HashCost::of(verifier) == Some(HashCost::Imported);
        let form = if is_imported { Verification::Imported } else { Verification::Generated };
        return Some(form(Arc::clone(verifier)));
    }
    let (jwk, mac) = recorded.public_key.as_ref().zip(recorded.mac.as_ref())?;
    let key = PublicKey::from_jwk(&jwk.to_json()).ok()?;
    Some(Verification::KeyPair(Arc::new(KeyPair { key, algorithm: jwk.alg.as_deref()?.into(), mac: Arc::clone(mac) })))
}
