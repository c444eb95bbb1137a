//! Finds the client of an assertion that does not name it: by ServiceAccount, or by a key of the service user.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::oauth::client_record::ClientRecord;
use crate::oauth::client_store::ClientRef;

/// Reference → the clients that it belongs to. One task writes it, every request reads it.
///
/// All identities here belong to one namespace, so no tenant can make the identity of another one ambiguous.
#[derive(Default)]
pub(super) struct IdentityIndex {
    clients: papaya::HashMap<Box<str>, Arc<[Arc<str>]>>,
}

impl IdentityIndex {
    /// The clients with this identity, in no particular order.
    pub(super) fn clients_of(&self, client: &ClientRef<'_>) -> Vec<Arc<str>> {
        let text = match client {
            ClientRef::Id(_) | ClientRef::Signer { key_id: None, .. } => return Vec::new(),
            ClientRef::Signer { id, key_id: Some(key_id) } => of_key(id, key_id),
            ClientRef::ServiceAccount { namespace, name } => of_account(namespace, name),
        };
        self.clients.pin().get(&*text).map(|clients| clients.to_vec()).unwrap_or_default()
    }

    /// Records that a client that had the identities of `before` now has those of `after`.
    pub(super) fn update(&self, client_id: &Arc<str>, before: Option<&ClientRecord>, after: Option<&ClientRecord>) {
        let (before, after) = (identities(before), identities(after));
        let index = self.clients.pin();
        let others = |text: &str| {
            let known = index.get(text).map(|clients| clients.to_vec()).unwrap_or_default();
            known.into_iter().filter(|other| other != client_id).collect::<Vec<_>>()
        };
        for lost in before.difference(&after) {
            match others(lost) {
                rest if rest.is_empty() => index.remove(lost.as_str()),
                rest => index.insert(lost.as_str().into(), rest.into()),
            };
        }
        for new in after.difference(&before) {
            let mut clients = others(new);
            clients.push(Arc::clone(client_id));
            index.insert(new.as_str().into(), clients.into());
        }
    }
}

fn identities(record: Option<&ClientRecord>) -> BTreeSet<String> {
    let Some(record) = record else { return BTreeSet::new() };
    let keys = record.key_ids().map(|key_id| of_key(&record.subject, key_id));
    let namespace = &record.application.namespace;
    keys.chain(record.service_accounts.iter().map(|account| of_account(namespace, &account.name))).collect()
}

/// A subject is a UID, which contains no space.
fn of_key(subject: &str, key_id: &str) -> String {
    format!("key {subject} {key_id}")
}

/// Neither name contains a space.
fn of_account(namespace: &str, name: &str) -> String {
    format!("account {namespace} {name}")
}
