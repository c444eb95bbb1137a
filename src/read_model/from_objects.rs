//! Compiles a client from objects that its caller has read, with the functions that compile it from the cache. For
//! `postern explain`, which has no cache.

use std::sync::Arc;

use jiff::Timestamp;

use super::ClientLimits;
use super::client_certificates::certificate_ids;
use super::client_keys::{PublishedKeys, sources_of};
use super::compile::{Compiler, Sources, auth_methods, enabled_user};
use super::secret_records::{ApplicationGrant, records};
use crate::api::conditions::{reasons, types};
use crate::api::fingerprint::counted_epoch;
use crate::api::permissions::{Membership, narrow};
use crate::api::terminating::is_terminating;
use crate::api::{Application, ClientSecret, NamespaceFacts, ServiceUser};
use crate::cache::{ObjectRef, StoredObject, revision};
use crate::crypto::client_certificate::CertificateId;
use crate::crypto::public_key::PublicKey;
use crate::oauth::client_auth::MethodSet;
use crate::oauth::client_record::{ClientRecord, Epoch, SecretRecord};
use crate::oauth::client_store::Lookup;
use crate::util::intern::Interner;

/// The objects of one client, newer than every token of the client.
pub(crate) struct ClientObjects<'a> {
    /// The oldest Application that claims the client id.
    pub(crate) application: &'a Application,
    /// Its service user, if it exists and is not being deleted.
    pub(crate) user: Option<&'a ServiceUser>,
    /// The result of the groups of the service user; `None`: unknown.
    pub(crate) held: Option<&'a Membership>,
    /// Its ClientSecrets that are not being deleted, oldest first.
    pub(crate) secrets: &'a [ClientSecret],
    /// Maximum number of active ClientSecrets of an Application.
    pub(crate) secrets_limit: usize,
    /// The client id equals the subject of a service user.
    pub(crate) is_subject: bool,
    /// The namespace of the client.
    pub(crate) namespace: &'a NamespaceFacts,
}

/// The credentials in an Application itself that can authenticate.
pub(crate) struct ListedCredentials {
    /// The ids of its keys: `kid`, or the thumbprint.
    pub(crate) keys: Vec<String>,
    /// The names of its ServiceAccounts.
    pub(crate) service_accounts: Vec<String>,
    /// The subjects of other issuers.
    pub(crate) issuers: Vec<String>,
    /// Status reports that no key was fetched, of the client or of its issuers.
    pub(crate) lacks_published_keys: bool,
    /// What identifies its certificates by their names.
    pub(crate) certificate_names: Vec<String>,
    /// What identifies each single certificate.
    pub(crate) certificates: Vec<String>,
}

/// Whether the client could authenticate only with keys at URLs, and the controller has none of them.
fn lacks_published_keys(application: &Application) -> bool {
    let conditions = application.status.iter().flat_map(|status| &status.conditions);
    let is_missing = |reason: &str| [reasons::KEY_SET_UNAVAILABLE, reasons::PENDING].contains(&reason);
    let mut ready = conditions.filter(|condition| condition.type_ == types::READY);
    !sources_of(application).is_empty() && ready.any(|ready| is_missing(&ready.reason))
}

impl ClientObjects<'_> {
    /// What the endpoint knows of the client id.
    ///
    /// If the groups are unknown, the record has the epochs of status, and no credentials: their fingerprints depend
    /// on the groups.
    pub(crate) fn lookup(&self, limits: &ClientLimits) -> Lookup {
        if is_terminating(&self.application.metadata) {
            return Lookup::Unknown;
        }
        let sources = self.sources();
        let user = match enabled_user(&sources) {
            Ok(user) => user,
            Err(denial) => return Lookup::Disabled(Arc::new(denial)),
        };
        // The objects are newer than every token: a token with an unknown authority was issued before a change.
        let now = Timestamp::MAX;
        let compiler = Compiler { limits, grants: &Interner::default(), previous: None, now };
        let (record, _) = compiler.record(&sources, user);
        Lookup::Live(Arc::new(match self.held {
            Some(_) => record,
            None => ClientRecord {
                epoch: self.recorded_epoch(),
                secrets: Vec::new(),
                keys: Vec::new(),
                service_accounts: Vec::new(),
                issuers: Vec::new(),
                certificates: Vec::new(),
                ..record
            },
        }))
    }

    /// The records of all ClientSecrets in their order: also of those beyond the limit, and also if the client is
    /// disabled.
    pub(crate) fn secret_records(&self, limits: &ClientLimits) -> Vec<SecretRecord> {
        let held = self.held.map(|held| &held.authority);
        let authority = held.map(|held| narrow(held, self.application.spec.restrict_to.as_ref())).unwrap_or_default();
        let grants = Interner::default();
        let grant = ApplicationGrant::new(self.application, self.user, &authority, &grants);
        records(&self.stored(self.secrets.len()), limits, &grant)
    }

    /// The methods that the client may use at the token endpoint.
    pub(crate) fn methods(&self) -> MethodSet {
        auth_methods(self.application)
    }

    /// The credentials in the Application itself.
    pub(crate) fn listed(&self) -> ListedCredentials {
        let spec = &self.application.spec;
        let id = |key: PublicKey| key.key_id().unwrap_or(key.thumbprint()).to_owned();
        let published = spec.jwks_uri().map(|url| format!("at {url}"));
        let keys = spec.keys().filter_map(|jwk| PublicKey::from_jwk(&jwk.to_json()).ok()).map(id);
        let (single, names): (Vec<_>, Vec<_>) =
            certificate_ids(self.application).into_iter().partition(CertificateId::is_one_certificate);
        let texts = |ids: Vec<CertificateId>| ids.iter().map(CertificateId::to_string).collect();
        ListedCredentials {
            keys: keys.chain(published).collect(),
            service_accounts: spec.service_accounts().map(|entry| entry.name.clone()).collect(),
            issuers: spec.issuers().map(|entry| format!("{} of {}", entry.subject, entry.issuer)).collect(),
            lacks_published_keys: lacks_published_keys(self.application),
            certificate_names: texts(names),
            certificates: texts(single),
        }
    }

    fn sources(&self) -> Sources<Arc<ClientSecret>> {
        let application = self.application;
        Sources {
            client_id: application.spec.claimed_client_id(&application.metadata).into(),
            key: ObjectRef::of(application),
            application: Arc::new(application.clone()),
            user: self.user.cloned().map(Arc::new),
            held: self.held.cloned().unwrap_or_default(),
            secrets: self.stored(self.secrets_limit),
            // The command does not request URLs.
            published: PublishedKeys::new(),
            is_subject: self.is_subject,
            knows_namespace: !self.namespace.terminating,
        }
    }

    /// The oldest ClientSecrets.
    fn stored(&self, limit: usize) -> Vec<Arc<StoredObject<Arc<ClientSecret>>>> {
        let stored = |secret: &ClientSecret| StoredObject {
            key: ObjectRef::of(secret),
            revision: revision(secret),
            object: Arc::new(secret.clone()),
        };
        self.secrets.iter().take(limit).map(stored).map(Arc::new).collect()
    }

    /// The epochs in status.
    fn recorded_epoch(&self) -> Epoch {
        let of_user = self.user.and_then(|user| user.status.as_ref()?.epoch);
        let of_application = self.application.status.as_ref().and_then(|status| status.epoch);
        let [service_user, application] = [of_user, of_application].map(|epoch| counted_epoch(epoch).unwrap_or(1));
        Epoch { service_user, application }
    }
}
