//! Inspects the object with the name of the delivered Secret.
//!
//! ```text
//! metadata (store, or API server) ─▶ ours? ─▶ terminating? ─▶ read since? ── no ─▶ read and compare
//!                               (or may it be?)
//!                                                                └── yes ─▶ what was found then
//! ```

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::core::PartialObjectMeta;

use super::delivery::finding;
use super::inspected::{Finding, fingerprint};
use super::secret_content::{Wanted, has_all_marks};
use crate::api::ClientSecret;
use crate::api::client_secret::{RotationStep, VersionState};
use crate::api::conditions::{reasons, types};
use crate::api::names::{CONTENT_ANNOTATION, SECRET_TYPE};
use crate::api::precedence::uid_number;
use crate::cache::{DeliveredSecret, ObjectRef};
use crate::clock::Clock;
use crate::controller::{Context, Error};
use crate::plan::client_secret::{Contents, Delivered};
use crate::plan::ownership::{Ownership, SecretMarks};
use crate::plan::secret_content::Content;

/// The state of the delivered Secret.
pub(crate) enum Seen {
    /// The store does not yet contain Postern's last write; its event will arrive.
    CacheStale,
    /// Other clients change the Secret often: read it again after this time.
    Later(Duration),
    /// The current Secret.
    Now(Found),
}

/// The object with that name.
pub(crate) struct Found {
    pub(crate) delivered: Delivered,
    /// `metadata.uid` of a Secret that Postern owns.
    pub(crate) uid: Option<u128>,
    /// The Secret with its data, if it was read.
    pub(crate) read: Option<Box<Secret>>,
}

impl From<Delivered> for Found {
    fn from(delivered: Delivered) -> Self {
        Self { delivered, uid: None, read: None }
    }
}

impl<C: Clock> Context<C> {
    /// The Secret that `secret` delivers.
    ///
    /// A Secret that is not in the store may still exist without Postern's label. The API server is asked in two cases:
    /// a value was delivered before (the Secret may have lost its label instead of having been deleted), or another
    /// Secret had the name. For a new ClientSecret `create` itself detects this.
    pub(crate) async fn delivered(&self, secret: &ClientSecret, content: &Content) -> Result<Seen, Error> {
        let key = delivered_key(secret);
        let found = match self.cache.delivered.get(&key) {
            Some(stored) if self.expectations.is_stale(stored.as_ref()) => return Ok(Seen::CacheStale),
            Some(stored) => stored.as_ref().clone(),
            None if was_in_the_way(secret) || (delivered_before(secret) && !was_removed(secret)) => {
                match self.metadata_of(key).await? {
                    Some(found) => found,
                    None => return Ok(Seen::Now(Delivered::Absent.into())),
                }
            }
            None => return Ok(Seen::Now(Delivered::Absent.into())),
        };
        let known = self.inspected.of(found.key());
        let is_known = |known: Finding| known.revision == found.revision && (known.right || known.immutable);
        let is_changed = known.is_some_and(|known| !is_known(known));
        if is_changed
            && self.ownership(secret, &found) != Ownership::Foreign
            && let Some(wait) = self.read_throttle.wait(found.key(), Instant::now())
        {
            return Ok(Seen::Later(wait));
        }
        self.classify_owner(secret, &found, content).await.map(Seen::Now)
    }

    /// The same, immediately from the API server.
    pub(crate) async fn delivered_live(&self, secret: &ClientSecret, content: &Content) -> Result<Found, Error> {
        match self.metadata_of(delivered_key(secret)).await? {
            Some(found) => self.classify_owner(secret, &found, content).await,
            None => Ok(Delivered::Absent.into()),
        }
    }

    /// Metadata only, for any owner.
    async fn metadata_of(&self, key: ObjectRef) -> Result<Option<DeliveredSecret>, Error> {
        let api: Api<PartialObjectMeta<Secret>> = Api::namespaced(self.client.clone(), &key.namespace);
        let found = api.get_opt(&key.name).await.map_err(|source| Error::Api {
            step: "read the metadata of",
            object: format!("Secret {}/{}", key.namespace, key.name),
            source: Box::new(source),
        })?;
        Ok(found.map(|found| DeliveredSecret::new(key, &found.metadata)))
    }

    /// The owner of a Secret with the delivery name of `secret`.
    pub(crate) fn ownership(&self, secret: &ClientSecret, found: &DeliveredSecret) -> Ownership {
        let marks = SecretMarks { uid: found.uid, controller: found.controller, has_version: found.version.is_some() };
        Ownership::of(secret, self.place(secret).has_older_claimant, marks)
    }

    async fn classify_owner(
        &self,
        secret: &ClientSecret,
        found: &DeliveredSecret,
        content: &Content,
    ) -> Result<Found, Error> {
        let ownership = self.ownership(secret, found);
        if ownership == Ownership::Foreign {
            return Ok(Delivered::Foreign.into());
        }
        if let Some(finalizers) = &found.terminating {
            return Ok(Delivered::Terminating { finalizers: finalizers.to_string() }.into());
        }
        let unread = |delivered| Found { uid: found.uid, ..Found::from(delivered) };
        let known = self.inspected.of(found.key());
        let version = found.version.as_deref().map(str::to_owned);
        match known {
            Some(known)
                if known.revision == found.revision
                    && known.holds_for(content)
                    && !self.needs_rekey(secret)
                    && !self.has_outdated_mac(found) =>
            {
                let version = version.filter(|_| known.holds_value);
                let contents = if known.right { Contents::Right } else { Contents::Outdated };
                return Ok(unread(Delivered::Ours { version, contents, immutable: known.immutable }));
            }
            None if ownership == Ownership::Controlled
                && self.inspected.is_to_be_swept(found.key())
                && says_what_is_wanted(secret, found, content) =>
            {
                return Ok(unread(Delivered::Ours { version, contents: Contents::Right, immutable: false }));
            }
            _ => {}
        }
        let Some(found) = self.read_own(secret).await? else { return Ok(Delivered::Absent.into()) };
        let delivered = self.compared(secret, &found, content, known, ownership)?;
        let is_ours = matches!(delivered, Delivered::Ours { .. });
        let uid = uid_number(&found.metadata).filter(|_| is_ours);
        Ok(Found { delivered, uid, read: Some(found) })
    }

    /// Compares the data of a Secret that Postern owns. `known`: the last finding about it.
    fn compared(
        &self,
        secret: &ClientSecret,
        found: &Secret,
        content: &Content,
        known: Option<Finding>,
        ownership: Ownership,
    ) -> Result<Delivered, Error> {
        if found.type_.as_deref() != Some(SECRET_TYPE) {
            let is_controlled = ownership == Ownership::Controlled;
            return Ok(if is_controlled { Delivered::OtherType } else { Delivered::Foreign });
        }
        let now = finding(found, content, false);
        // A Secret that was deleted and recreated between two reads counts as deleted, whatever it contains.
        let before = known.filter(|known| known.uid != now.uid);
        let value = if before.is_some() { None } else { self.held(secret, found) };
        if ownership == Ownership::Claimable && value.is_none() && !has_all_marks(found) {
            return Ok(Delivered::Foreign);
        }
        let wanted = value.as_ref().map(|value| Wanted::new(secret, value, content, &self.install_keys())).transpose();
        let wanted =
            wanted.map_err(|source| Error::Hash { object: crate::controller::gather::describe(secret), source })?;
        let difference = wanted.as_ref().and_then(|wanted| wanted.differs(found));
        let contents = match &difference {
            None => Contents::Right,
            Some(difference) => {
                let is_changed = known.is_some_and(|known| known.revision != now.revision);
                // The last content that Postern wrote is still the wanted content, so another client changed the
                // Secret.
                let says = found.metadata.annotations.as_ref().and_then(|all| all.get(CONTENT_ANNOTATION));
                let same = says.is_some_and(|digest| *digest == content.digest());
                let tampered = difference.concerns_content() && (is_changed || same);
                match (tampered, difference.is_added_only()) {
                    (true, true) => Contents::Relabelled,
                    (true, false) => Contents::Changed,
                    (false, _) => Contents::Outdated,
                }
            }
        };
        let now = Finding {
            // Kept until the Secret contains a new value, so that the next reconciliation makes the same decision.
            uid: before.map_or(now.uid, |before| before.uid),
            right: value.is_some() && difference.is_none(),
            holds_value: value.is_some(),
            ..now
        };
        self.inspected.note(&ObjectRef::of(found), now);
        Ok(Delivered::Ours { version: value.map(|value| value.id), contents, immutable: now.immutable })
    }
}

impl Finding {
    /// Whether the finding is complete for a Secret that should have this content.
    fn holds_for(&self, content: &Content) -> bool {
        self.immutable || (self.right && self.content == fingerprint(&content.digest()))
    }
}

/// The key of the Secret that is delivered for `secret`.
pub(crate) fn delivered_key(secret: &ClientSecret) -> ObjectRef {
    ObjectRef::of(secret).sibling(secret.spec.secret_name(&secret.metadata))
}

/// Whether the annotations of `found` match the wanted content, and no pending action depends on the actual content.
fn says_what_is_wanted(secret: &ClientSecret, found: &DeliveredSecret, content: &Content) -> bool {
    let Some(status) = &secret.status else { return false };
    let newest = status.versions.first().filter(|newest| newest.state == VersionState::Active);
    let is_delivering = status.rotation.as_ref().is_some_and(|rotation| rotation.step == RotationStep::Delivering);
    newest.is_some_and(|newest| found.version.as_deref() == Some(newest.id.as_str()))
        && found.content.as_deref() == Some(content.digest().as_str())
        && !is_delivering
        && !says(secret, &IN_THE_WAY)
        && !says(secret, &[reasons::SECRET_IMMUTABLE, reasons::DELIVERY_FAILED])
}

/// Reasons why the Secret of that name could not be used.
const IN_THE_WAY: [&str; 2] = [reasons::SECRET_NAME_CONFLICT, reasons::SECRET_TERMINATING];

fn was_in_the_way(secret: &ClientSecret) -> bool {
    says(secret, &IN_THE_WAY)
}

/// Whether a condition about the credential has one of these reasons.
pub(super) fn says(secret: &ClientSecret, listed: &[&str]) -> bool {
    let conditions = secret.status.iter().flat_map(|status| &status.conditions);
    let mut conditions = conditions.filter(|c| [types::READY, types::DELIVERED].contains(&c.type_.as_str()));
    conditions.any(|condition| listed.contains(&condition.reason.as_str()))
}

fn delivered_before(secret: &ClientSecret) -> bool {
    secret.status.as_ref().is_some_and(|status| !status.versions.is_empty())
}

/// The value was shown once, and the Secret was removed as specified.
fn was_removed(secret: &ClientSecret) -> bool {
    let delivery = secret.status.as_ref().and_then(|status| status.delivery.as_ref());
    delivery.is_some_and(|delivery| delivery.removed_at.is_some())
}
