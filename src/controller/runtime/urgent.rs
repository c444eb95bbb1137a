//! Work that ends access. It is served before work that grants it.
//!
//! The decision is made from the stores whenever a key is added to the queue, not from its event: so it is also correct
//! after a restart, and for a retry.

use kube::ResourceExt;

use crate::api::ClientSecret;
use crate::api::conditions::{is_switched_off, reasons, types};
use crate::cache::{Cache, ObjectRef};

/// Whether access through this ClientSecret is to end: it is revoked, or its delivered or source Secret was deleted or
/// replaced, and the status does not report that yet.
pub(crate) fn secret(cache: &Cache, key: &ObjectRef) -> bool {
    cache.secrets.get(key).is_some_and(|secret| is_revoked_now(&secret) || has_lost_its_value(cache, key, &secret))
}

/// Whether the Application is to be reported as disabled: it is suspended, or its ServiceUser is suspended or deleted.
pub(crate) fn application(cache: &Cache, key: &ObjectRef) -> bool {
    let Some(application) = cache.applications.get(key) else { return false };
    let Some(status) = &application.status else { return false };
    let is_ready = status.conditions.iter().any(|c| c.type_ == types::READY && c.status == "True");
    let is_open = is_ready && !is_switched_off(&status.conditions);
    let user = || cache.user(&key.sibling(&application.spec.service_user_ref.name));
    is_open && (application.spec.is_suspended() || user().is_none_or(|user| user.spec.is_suspended()))
}

/// Whether the ServiceUser is to be reported as suspended.
pub(crate) fn user(cache: &Cache, key: &ObjectRef) -> bool {
    let Some(user) = cache.users.get(key) else { return false };
    let conditions = user.status.iter().flat_map(|status| &status.conditions);
    let is_told = conditions.into_iter().any(|c| c.type_ == types::READY && c.reason == reasons::SUSPENDED);
    user.spec.is_suspended() && !is_told
}

fn is_revoked_now(secret: &ClientSecret) -> bool {
    let conditions = secret.status.iter().flat_map(|status| &status.conditions);
    let is_told = conditions.into_iter().any(|c| c.type_ == types::READY && c.reason == reasons::REVOKED);
    secret.spec.is_revoked() && secret.status.is_some() && !is_told
}

fn has_lost_its_value(cache: &Cache, key: &ObjectRef, secret: &ClientSecret) -> bool {
    let Some(status) = &secret.status else { return false };
    let is_deleted = |name: &str| {
        let found = cache.delivered.get(&key.sibling(name));
        found.is_none_or(|found| found.terminating.is_some())
    };
    let is_replaced = |name: &str, known: &str| {
        let found = cache.imports.get(&key.sibling(name));
        found.and_then(|found| found.resource_version()).is_none_or(|found| found != known)
    };
    let delivered = status.binding.as_ref();
    let imported = secret.spec.existing().zip(status.source.as_ref());
    delivered.is_some_and(|binding| is_deleted(&binding.name))
        || imported.is_some_and(|(existing, told)| is_replaced(&existing.secret_name, &told.resource_version))
}
