//! Makes the certificate that the endpoint serves when it is given none, and keeps it: in a Secret, its CA published in
//! a ConfigMap.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::Patch;
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::params;
use crate::api::names::{MANAGED_BY, MANAGED_BY_LABEL};
use crate::chain::chain;
use crate::clock::Clock;
use crate::crypto::secret::SecretValue;
use crate::crypto::tls;
use crate::keystore::{CA_CERT, CA_KEY, CERT, CERTIFICATE, KEY, TlsStoreError, entry, find_certificate};

/// The ConfigMap that clients take the CA from; `ca.crt` as in `kube-root-ca.crt`.
const CONFIG_MAP: &str = "postern-ca";
/// A leaf lives a year; it is renewed in its last third, so that a whole quarter of outage loses nothing.
const RENEW_BEFORE: SignedDuration = SignedDuration::from_hours(120 * 24);

/// Pause before a certificate that could not be made is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How often it is looked at. It is renewed months before its end; one that somebody deletes is waited for.
const LOOK_EVERY: Duration = Duration::from_mins(1);

/// Keeps a certificate for `sans`: creates and renews it, and publishes its CA, also in `published`. Never returns; cancels
/// `kept` when the Secret holds the certificate.
pub async fn keep(
    client: Client,
    namespace: String,
    sans: Vec<String>,
    clock: impl Clock,
    kept: CancellationToken,
    published: watch::Sender<Option<Arc<str>>>,
) {
    let mut told = String::new();
    loop {
        let pause = match load_or_create(&client, &namespace, &sans, clock.now(), &published).await {
            Ok(()) => {
                kept.cancel();
                told.clear();
                LOOK_EVERY
            }
            Err(error) => {
                let problem = chain(&error);
                if problem != told {
                    tracing::error!(error = problem, "the certificate of the endpoint cannot be kept, trying again");
                    told = problem;
                }
                RETRY
            }
        };
        tokio::time::sleep(pause).await;
    }
}

async fn load_or_create(
    client: &Client,
    namespace: &str,
    sans: &[String],
    now: Timestamp,
    published: &watch::Sender<Option<Arc<str>>>,
) -> Result<(), TlsStoreError> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let found = match find_certificate(&api).await? {
        Some(found) => found,
        None => create(&api, sans, now).await?,
    };
    let found = if is_current(&found, sans, now)? { found } else { renew(&api, &found, sans, now).await? };
    let ca = entry(&found, CA_CERT)?;
    published.send_if_modified(|known| {
        let is_new = known.as_deref() != Some(ca.as_str());
        *known = Some(ca.as_str().into());
        is_new
    });
    publish(client, namespace, &ca).await
}

async fn create(api: &Api<Secret>, sans: &[String], now: Timestamp) -> Result<Secret, TlsStoreError> {
    let made = tls::self_signed(sans, now).map_err(TlsStoreError::Make)?;
    let data = [
        (CA_CERT, made.ca_cert_pem.as_str()),
        (CA_KEY, made.ca_key_pem.expose_secret()),
        (CERT, made.leaf.cert_pem.as_str()),
        (KEY, made.leaf.key_pem.expose_secret()),
    ];
    let secret = Secret {
        metadata: metadata(CERTIFICATE),
        type_: Some("kubernetes.io/tls".to_owned()),
        data: Some(data.map(|(key, value)| (key.to_owned(), ByteString(value.as_bytes().to_vec()))).into()),
        ..Secret::default()
    };
    let with = params::create();
    match api.create(&with, &secret).await {
        Ok(created) => Ok(created),
        // Another replica was first: its certificate is the certificate.
        Err(kube::Error::Api(status)) if status.is_already_exists() => {
            api.get(CERTIFICATE).await.map_err(failed("read Secret postern-tls"))
        }
        Err(source) => Err(failed("create Secret postern-tls")(source)),
    }
}

fn is_current(found: &Secret, sans: &[String], now: Timestamp) -> Result<bool, TlsStoreError> {
    let cert = entry(found, CERT)?;
    let end = tls::not_after(&cert).map_err(|_| TlsStoreError::Damaged { entry: CERT })?;
    Ok(end.duration_since(now) > RENEW_BEFORE && tls::covers(&cert, sans))
}

/// A new leaf under the same CA, so that clients notice nothing. Names that another replica needs stay valid for as
/// long as that one asks for them: every replica of an install is given the same names.
async fn renew(api: &Api<Secret>, found: &Secret, sans: &[String], now: Timestamp) -> Result<Secret, TlsStoreError> {
    let (ca_cert, ca_key) = (entry(found, CA_CERT)?, SecretValue::new(entry(found, CA_KEY)?));
    let leaf = tls::renew(&ca_cert, &ca_key, sans, now).map_err(|error| TlsStoreError::Unusable(error.into()))?;
    let patch = json!({
        "metadata": {"resourceVersion": found.metadata.resource_version},
        "stringData": {CERT: leaf.cert_pem, KEY: leaf.key_pem.expose_secret()},
    });
    let with = params::patch();
    match api.patch(CERTIFICATE, &with, &Patch::Merge(&patch)).await {
        Ok(patched) => Ok(patched),
        // Another replica renewed it at the same moment.
        Err(kube::Error::Api(status)) if status.is_conflict() => {
            api.get(CERTIFICATE).await.map_err(failed("read Secret postern-tls"))
        }
        Err(source) => Err(failed("renew the certificate in Secret postern-tls")(source)),
    }
}

/// Writes the CA where clients find it, unless it is there.
async fn publish(client: &Client, namespace: &str, ca: &str) -> Result<(), TlsStoreError> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let found = api.get_opt(CONFIG_MAP).await.map_err(failed("read ConfigMap postern-ca"))?;
    let data = BTreeMap::from([(CA_CERT.to_owned(), ca.to_owned())]);
    let wanted = ConfigMap { metadata: metadata(CONFIG_MAP), data: Some(data), ..ConfigMap::default() };
    let written = match found {
        Some(found) if found.data.as_ref().and_then(|data| data.get(CA_CERT)).is_some_and(|have| have == ca) => {
            return Ok(());
        }
        Some(_) => {
            let with = params::patch();
            api.patch(CONFIG_MAP, &with, &Patch::Merge(&json!({"data": wanted.data}))).await
        }
        None => {
            let with = params::create();
            api.create(&with, &wanted).await
        }
    };
    match written {
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
        written => written.map(drop).map_err(failed("publish the CA in ConfigMap postern-ca")),
    }
}

fn metadata(name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        labels: Some(BTreeMap::from([(MANAGED_BY_LABEL.to_owned(), MANAGED_BY.to_owned())])),
        ..ObjectMeta::default()
    }
}

fn failed(step: &'static str) -> impl Fn(kube::Error) -> TlsStoreError {
    move |source| TlsStoreError::Api { step, source: Box::new(source) }
}
