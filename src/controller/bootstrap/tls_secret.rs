//! Makes the certificate that the endpoint serves when it is given none, and keeps it: in a Secret, its CA published in
//! a ConfigMap.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::Patch;
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::api::names::{MANAGED_BY, MANAGED_BY_LABEL, ROTATE_ANNOTATION};
use crate::clock::Clock;
use crate::controller::runtime::write_params;
use crate::crypto::ca::{Ca, CertificateError, Leaf};
use crate::crypto::certificate::Certificate;
use crate::crypto::own_certificate::OwnCertificate;
use crate::crypto::secret::SecretValue;
use crate::keystore::{CA_CERT, CA_KEY, CERT, CERTIFICATE, KEY, PREVIOUS_CAS, TlsStoreError, entry, find_certificate};
use crate::util::error_chain::display_chain;
use crate::util::watch_channel::send_if_new;

/// The ConfigMap that clients take the CA from; `ca.crt` as in `kube-root-ca.crt`.
const CONFIG_MAP: &str = "postern-ca";

/// Pause before a certificate that could not be made is tried again.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// How often the Secret is read, as often as the endpoint does: a person may wait for a requested rotation.
const CHECK_INTERVAL: Duration = Duration::from_secs(10);

/// Keeps a certificate for `names`: creates and renews it, and publishes its CA, also in `published`. Never returns;
/// cancels `kept` when the Secret holds the certificate, or something that only the endpoint can judge.
pub async fn maintain(
    client: Client,
    namespace: String,
    names: Vec<String>,
    clock: impl Clock,
    kept: CancellationToken,
    published: watch::Sender<Option<Arc<str>>>,
) {
    let mut told = String::new();
    loop {
        let pause = match load_or_create(&client, &namespace, &names, clock.now(), &published).await {
            Ok(()) => {
                kept.cancel();
                told.clear();
                CHECK_INTERVAL
            }
            Err(error) => {
                // A CA without its key does not prevent that the certificate is served.
                if matches!(error, TlsStoreError::Damaged { .. } | TlsStoreError::Unusable(_)) {
                    kept.cancel();
                }
                let problem = display_chain(&error);
                if problem != told {
                    tracing::error!(error = problem, "the certificate of the endpoint cannot be kept, trying again");
                    told = problem;
                }
                RETRY_INTERVAL
            }
        };
        tokio::time::sleep(pause).await;
    }
}

async fn load_or_create(
    client: &Client,
    namespace: &str,
    names: &[String],
    now: Timestamp,
    published: &watch::Sender<Option<Arc<str>>>,
) -> Result<(), TlsStoreError> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let found = match find_certificate(&api).await? {
        Some(found) => found,
        None => create(&api, names, now).await?,
    };
    let own = read(&found)?;
    let updated = update(&api, &found, &own, names, now).await;
    // What cannot be renewed is still served.
    let trusted = updated.as_ref().ok().and_then(Option::as_ref).unwrap_or(&own).trusted_pem();
    send_if_new(published, Some(trusted.as_str().into()));
    publish(client, namespace, &trusted).await?;
    updated.map(drop)
}

async fn create(api: &Api<Secret>, names: &[String], now: Timestamp) -> Result<Secret, TlsStoreError> {
    let made = OwnCertificate::generate(names, now).map_err(TlsStoreError::Make)?;
    let secret = Secret {
        metadata: metadata(CERTIFICATE),
        type_: Some("kubernetes.io/tls".to_owned()),
        data: Some(content(&made).into_iter().filter_map(|(entry, text)| Some((entry.to_owned(), text?))).collect()),
        ..Secret::default()
    };
    match api.create(&write_params::create(), &secret).await {
        Ok(created) => Ok(created),
        // Another replica was first: its certificate is the certificate.
        Err(kube::Error::Api(status)) if status.is_already_exists() => reread(api).await,
        Err(source) => Err(failed("create Secret postern-tls")(source)),
    }
}

/// Makes the changes that are due or requested. `None` if there are none.
async fn update(
    api: &Api<Secret>,
    found: &Secret,
    own: &OwnCertificate,
    names: &[String],
    now: Timestamp,
) -> Result<Option<OwnCertificate>, TlsStoreError> {
    let is_requested = found.annotations().contains_key(ROTATE_ANNOTATION);
    let Some(next) = own.next(names, is_requested, now).map_err(unusable)? else { return Ok(None) };
    let patch = json!({
        "metadata": {"resourceVersion": found.metadata.resource_version, "annotations": {ROTATE_ANNOTATION: null}},
        "data": BTreeMap::from(content(&next)),
    });
    match api.patch(CERTIFICATE, &write_params::patch(), &Patch::Merge(&patch)).await {
        Ok(_) => {
            let ca_until = next.ca.certificate().not_after();
            let (until, earlier_cas) = (next.leaf.certificate.not_after(), next.previous.len());
            tracing::info!(%until, %ca_until, earlier_cas, "the certificate of the endpoint was renewed");
            Ok(Some(next))
        }
        // Another replica made the change at the same moment.
        Err(kube::Error::Api(status)) if status.is_conflict() => Ok(Some(read(&reread(api).await?)?)),
        Err(source) => Err(failed("renew the certificate in Secret postern-tls")(source)),
    }
}

async fn reread(api: &Api<Secret>) -> Result<Secret, TlsStoreError> {
    api.get(CERTIFICATE).await.map_err(failed("read Secret postern-tls"))
}

/// The entries of the Secret; one without a text is absent.
fn content(own: &OwnCertificate) -> [(&'static str, Option<ByteString>); 5] {
    let previous: String = own.previous.iter().map(Certificate::to_pem).collect();
    let entries = [
        (CA_CERT, own.ca.certificate().to_pem()),
        (CA_KEY, own.ca.key_pem().expose_secret().to_owned()),
        (PREVIOUS_CAS, previous),
        (CERT, own.chain_pem()),
        (KEY, own.leaf.key_pem.expose_secret().to_owned()),
    ];
    entries.map(|(entry, text)| (entry, Some(ByteString(text.into_bytes())).filter(|text| !text.0.is_empty())))
}

fn read(found: &Secret) -> Result<OwnCertificate, TlsStoreError> {
    let damaged = |entry| TlsStoreError::Damaged { entry };
    let certificates = |name| Certificate::all(&entry(found, name)?).map_err(|_| damaged(name));
    let has_previous = found.data.as_ref().is_some_and(|data| data.contains_key(PREVIOUS_CAS));
    let ca = Certificate::first(&entry(found, CA_CERT)?).map_err(|_| damaged(CA_CERT))?;
    let mut chain = certificates(CERT)?.into_iter();
    let certificate = chain.next().ok_or(damaged(CERT))?;
    Ok(OwnCertificate {
        ca: Ca::from_parts(ca, SecretValue::new(entry(found, CA_KEY)?)),
        previous: if has_previous { certificates(PREVIOUS_CAS)? } else { Vec::new() },
        leaf: Leaf { certificate, key_pem: SecretValue::new(entry(found, KEY)?) },
        cross: chain.collect(),
    })
}

fn unusable(error: CertificateError) -> TlsStoreError {
    TlsStoreError::Unusable(error.into())
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
            let with = write_params::patch();
            api.patch(CONFIG_MAP, &with, &Patch::Merge(&json!({"data": wanted.data}))).await
        }
        None => {
            let with = write_params::create();
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
