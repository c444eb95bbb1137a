//! Compiles the credentials that an Application itself lists: public keys, ServiceAccounts, and subjects of other issuers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::secret_records::ApplicationGrant;
use crate::api::Application;
use crate::api::fingerprint::token_fingerprint;
use crate::api::jwks::Jwk;
use crate::api::service_account::ServiceAccountEntry;
use crate::api::trusted_issuers::IssuerEntry;
use crate::crypto::public_key::PublicKey;
use crate::key_sets::{Keys, Source};
use crate::oauth::client_record::{ClientKey, ServiceAccount, TrustedIssuer};

/// The keys that were fetched.
pub(super) type PublishedKeys = BTreeMap<Source, Keys>;

/// The keys that can verify assertions, in their order. The condition `KeysResolved` of the Application names the others.
/// `published` contains those at the URL of the Application; they were checked when they were fetched.
pub(super) fn client_keys(
    application: &Application,
    published: &PublishedKeys,
    held: &ApplicationGrant<'_>,
) -> Vec<Arc<ClientKey>> {
    let client_key = |key: Arc<PublicKey>| {
        // The thumbprint: another key under the same `kid` is another credential.
        let authority = token_fingerprint(&format!("jwk {}", key.thumbprint()), &held.digest).into();
        Arc::new(ClientKey { key, authority })
    };
    if let Some(url) = application.spec.jwks_uri() {
        let published = published.get(&Source::KeySet(url.into()));
        return published.into_iter().flat_map(|keys| keys.iter()).map(|key| client_key(Arc::clone(key))).collect();
    }
    if let Some(record) = held.unchanged(application) {
        return record.keys.clone();
    }
    let key = |jwk: &Jwk| PublicKey::from_jwk(&jwk.to_json()).ok();
    application.spec.keys().filter_map(key).map(Arc::new).map(client_key).collect()
}

/// The ServiceAccounts whose tokens authenticate the client.
pub(super) fn service_accounts(application: &Application, held: &ApplicationGrant<'_>) -> Vec<Arc<ServiceAccount>> {
    let entry = |entry: &ServiceAccountEntry| {
        let uid = entry.uid();
        let credential = format!("service account {} {}", entry.name, uid.unwrap_or_default());
        Arc::new(ServiceAccount {
            name: entry.name.as_str().into(),
            uid: uid.map(Box::from),
            authority: token_fingerprint(&credential, &held.digest).into(),
        })
    };
    application.spec.service_accounts().map(entry).collect()
}

/// The subjects of other issuers whose tokens authenticate the client, with the keys of their issuers. Without keys, an entry
/// authenticates nobody.
pub(super) fn trusted_issuers(
    application: &Application,
    published: &PublishedKeys,
    held: &ApplicationGrant<'_>,
) -> Vec<Arc<TrustedIssuer>> {
    let trusted = |IssuerEntry { issuer, subject, audience }: &IssuerEntry| {
        let credential = format!("issuer {issuer} {} {subject}", audience.as_deref().unwrap_or_default());
        Arc::new(TrustedIssuer {
            issuer: issuer.as_str().into(),
            subject: subject.as_str().into(),
            audience: audience.as_deref().map(Box::from),
            keys: published.get(&Source::Issuer(issuer.as_str().into())).cloned().unwrap_or_default(),
            authority: token_fingerprint(&credential, &held.digest).into(),
        })
    };
    application.spec.issuers().map(trusted).collect()
}

/// Where the keys of the Application and of its issuers are published.
pub(crate) fn sources_of(application: &Application) -> BTreeSet<Source> {
    let of_client = application.spec.jwks_uri().map(|url| Source::KeySet(url.into()));
    let of_issuers = application.spec.issuers().map(|entry| Source::Issuer(entry.issuer.as_str().into()));
    of_client.into_iter().chain(of_issuers).collect()
}
