//! Compiles the credentials that an Application itself lists: public keys and ServiceAccounts.

use std::sync::Arc;

use super::secret_records::ApplicationGrant;
use crate::api::Application;
use crate::api::fingerprint::token_fingerprint;
use crate::api::jwks::Jwk;
use crate::api::service_account::ServiceAccountEntry;
use crate::crypto::public_key::PublicKey;
use crate::key_sets::Keys;
use crate::oauth::client_record::{ClientKey, ServiceAccount};

/// The keys that can verify assertions, in their order. The condition `KeysResolved` of the Application names the others.
/// `published` are those at the URL of the Application; they were checked when they were fetched.
pub(super) fn client_keys(
    application: &Application,
    published: Option<&Keys>,
    held: &ApplicationGrant<'_>,
) -> Vec<Arc<ClientKey>> {
    let client_key = |key: Arc<PublicKey>| {
        // The thumbprint: another key under the same `kid` is another credential.
        let authority = token_fingerprint(&format!("jwk {}", key.thumbprint()), &held.digest).into();
        Arc::new(ClientKey { key, authority })
    };
    if application.spec.jwks_uri().is_some() {
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
