//! From ClientSecrets to the records of a client's secrets.
//!
//! As many of an application count as the operator allows; of the others nothing is kept. Each event is of one: the others
//! stay as they are.

use std::borrow::Cow;
use std::sync::Arc;

use jiff::Timestamp;

use super::Settings;
use super::compile::{grant, revision};
use crate::api::ClientSecret;
use crate::api::authority::{Authority, application_stands_for, narrow, stands_for};
use crate::api::client_secret::{Use, Version, uid_bytes};
use crate::api::conditions::reasons;
use crate::crypto::install_key::Strength;
use crate::model::{Kept, Key, Packed};
use crate::oauth::client::{ClientRecord, Grant, Refusal, SecretRecord, SecretVersion, Uses};
use crate::pool::Pool;

/// What the client holds, before its secrets narrow it.
pub(super) struct Held<'a> {
    /// UID of the Application.
    pub(super) application: &'a str,
    pub(super) subject: &'a str,
    pub(super) authority: &'a Authority,
    pub(super) grants: &'a Pool<Grant>,
    pub(super) grant: Arc<Grant>,
    /// What the application stands for.
    pub(super) digest: &'a str,
    /// The client as it was.
    pub(super) previous: Option<&'a ClientRecord>,
    /// Whether the application stood for the same then.
    pub(super) is_same: bool,
}

impl Held<'_> {
    /// What a secret holds, and the digest of that.
    fn by(&self, object: &ClientSecret) -> (Arc<Grant>, Box<str>) {
        let (grant, held) = match &object.spec.restrict_to {
            None => (Arc::clone(&self.grant), Cow::Borrowed(self.digest)),
            Some(restriction) => {
                let narrowed = narrow(self.authority, Some(restriction));
                let digest = application_stands_for(&narrowed, self.application, self.subject, None);
                (self.grants.shared(Arc::new(grant(&narrowed))), Cow::Owned(digest))
            }
        };
        (grant, stands_for(&object.credential(), &held).into())
    }

    /// The record of before, if the secret would come to the same again: it has not changed, nor has what the application
    /// stands for.
    fn known(&self, kept: &Kept<Packed<ClientSecret>>) -> Option<&SecretRecord> {
        self.previous.filter(|_| self.is_same)?.secrets.iter().find(|secret| {
            let object = &secret.object;
            object.resource_version == kept.revision
                && object.name == kept.key.name
                && object.namespace == kept.key.namespace
        })
    }
}

/// The records of the secrets, in their order.
pub(super) fn records(
    secrets: &[Arc<Kept<Packed<ClientSecret>>>],
    settings: &Settings,
    held: &Held<'_>,
) -> Vec<SecretRecord> {
    let compiled = |kept: &Kept<Packed<ClientSecret>>| Some(record(&kept.key, kept.live()?.as_ref(), settings, held));
    secrets.iter().filter_map(|kept| held.known(kept).cloned().or_else(|| compiled(kept))).collect()
}

fn record(key: &Key, object: &ClientSecret, settings: &Settings, held: &Held<'_>) -> SecretRecord {
    let rule = object.spec.is_revoked().then_some(reasons::REVOKED);
    let (grant, authority) = held.by(object);
    let versions = object.status.as_ref().map(|status| status.versions.as_slice()).unwrap_or_default();
    let uid = uid_bytes(&object.metadata);
    let object_revision = revision("ClientSecret", key, object);
    SecretRecord {
        closed: rule.map(|rule| Box::new(Refusal { rule, object: object_revision.clone() })),
        object: object_revision,
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
        versions: versions
            .iter()
            .map(|version| {
                remembered(uid, version, settings.lifetime.accepted_until(&object.spec, version), held.previous)
            })
            .collect(),
    }
}

/// The version as it was, with what the process remembers of its value, if it is the same one.
fn remembered(
    uid: [u8; 16],
    version: &Version,
    accepted_until: Option<Timestamp>,
    previous: Option<&ClientRecord>,
) -> Arc<SecretVersion> {
    let secrets = previous.into_iter().flat_map(|record| &record.secrets).filter(|secret| secret.uid == uid);
    let same = |old: &&Arc<SecretVersion>| old.id == version.id && old.verifier == version.verifier;
    match secrets.flat_map(|secret| &secret.versions).find(same) {
        Some(known) if known.accepted_until == accepted_until => Arc::clone(known),
        known => Arc::new(SecretVersion {
            id: version.id.clone(),
            verifier: version.verifier.clone(),
            imported: Strength::of(&version.verifier) == Some(Strength::Imported),
            accepted_until,
            memory: known.map(|known| Arc::clone(&known.memory)).unwrap_or_default(),
        }),
    }
}
