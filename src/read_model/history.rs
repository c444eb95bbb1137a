//! What a new entry of a client keeps of the previous one: when its authority changed, and what its tokens represented.

use std::sync::Arc;

use jiff::Timestamp;

use super::Entry;
use super::expected_epochs::Fingerprints;
use crate::oauth::client_record::{
    ClientKey, ClientRecord, RegisteredCertificate, Removed, SecretRecord, ServiceAccount, Tombstones, TrustedIssuer,
};

/// The credentials of an entry.
#[derive(Clone, Copy)]
pub(super) struct Credentials<'a> {
    pub(super) secrets: &'a [SecretRecord],
    pub(super) keys: &'a [Arc<ClientKey>],
    pub(super) service_accounts: &'a [Arc<ServiceAccount>],
    pub(super) issuers: &'a [Arc<TrustedIssuer>],
    pub(super) certificates: &'a [Arc<RegisteredCertificate>],
}

impl<'a> Credentials<'a> {
    fn of(record: &'a ClientRecord) -> Self {
        Self {
            secrets: &record.secrets,
            keys: &record.keys,
            service_accounts: &record.service_accounts,
            issuers: &record.issuers,
            certificates: &record.certificates,
        }
    }

    /// The fingerprint of each credential, and whether it can authenticate.
    fn authorities(self) -> impl Iterator<Item = (&'a str, bool)> {
        let secrets = self.secrets.iter().map(|secret| (&*secret.authority, secret.disabled.is_none()));
        let keys = self.keys.iter().map(|key| &key.authority);
        let own = keys.chain(self.service_accounts.iter().map(|account| &account.authority));
        let own = own.chain(self.issuers.iter().map(|entry| &entry.authority));
        let own = own.chain(self.certificates.iter().map(|entry| &entry.authority));
        secrets.chain(own.map(|authority| (&**authority, true)))
    }

    fn can_authenticate(self, authority: &str) -> bool {
        self.authorities().any(|(known, is_live)| is_live && known == authority)
    }
}

/// When the fingerprints of the credentials last changed. A token that was issued earlier with another fingerprint is
/// stale.
pub(super) fn authority_changed_at(
    next: Credentials<'_>,
    previous: Option<&ClientRecord>,
    now: Timestamp,
) -> Timestamp {
    match previous {
        Some(record) if Credentials::of(record).authorities().eq(next.authorities()) => record.authority_changed_at,
        _ => now,
    }
}

/// The fingerprints that tokens had earlier, given that the client now has `next`; `None`: the client is disabled.
/// Losses before `since` are dropped.
pub(super) fn past(
    previous: Option<&Entry>,
    next: Option<(&Fingerprints, Credentials<'_>)>,
    now: Timestamp,
    since: Timestamp,
) -> Tombstones {
    let is_held = |authority: &str| next.is_some_and(|(_, credentials)| credentials.can_authenticate(authority));
    match previous {
        None => Tombstones::default(),
        Some(Entry::Disabled(_, past)) => past.next(&Removed::default(), is_held, now, since),
        Some(Entry::Live(record, fingerprint_before)) => {
            let same = next.is_some_and(|(fingerprint, _)| *fingerprint == **fingerprint_before);
            let had = Credentials::of(record).authorities().filter_map(|(known, is_live)| is_live.then_some(known));
            let authorities = had.filter(|authority| !(same && is_held(authority))).collect();
            record.past.next(&Removed { authorities, epoch: record.epoch }, is_held, now, since)
        }
    }
}
