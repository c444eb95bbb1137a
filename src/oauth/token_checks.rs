//! The checks of a token's claims. Pure: the endpoint and `postern explain` run the same ones.
//!
//! ```text
//! payload ─▶ claims ─▶ issuer, expiry ─▶ client ─▶ mismatches: epochs, then the secret that it was issued for
//! ```
//!
//! The endpoint stops at the first failure. `postern explain` lists every one.

use std::cmp::Ordering;
use std::iter;
use std::sync::Arc;

use jiff::Timestamp;

use crate::oauth::access_token::TokenFault;
use crate::oauth::claims::OwnClaims;
use crate::oauth::client_record::{ClientRecord, Denial, Epoch};
use crate::oauth::client_store::Lookup;

/// Parses the claims of an access token issued by Postern.
///
/// # Errors
/// [`TokenFault::Claims`]
pub(crate) fn parse_claims(payload: &[u8]) -> Result<OwnClaims<'_>, TokenFault> {
    serde_json::from_slice(payload).map_err(|_| TokenFault::Claims)
}

/// Checks that `issuer` has issued the token.
///
/// # Errors
/// [`TokenFault::OtherIssuer`]
pub(crate) fn check_issuer(claims: &OwnClaims<'_>, issuer: &str) -> Result<(), TokenFault> {
    if claims.iss == issuer { Ok(()) } else { Err(TokenFault::OtherIssuer) }
}

/// Checks that the token has not expired at `now`, in seconds since 1970.
///
/// # Errors
/// [`TokenFault::Expired`]
pub(crate) fn check_expiry(claims: &OwnClaims<'_>, now: i64) -> Result<(), TokenFault> {
    if claims.exp > now { Ok(()) } else { Err(TokenFault::Expired) }
}

/// Checks that the token was issued after the restore of a backup: the restored state may lack its revocation, and that of
/// the credential which it was issued for.
///
/// # Errors
/// [`TokenFault::BeforeRestore`]
pub(crate) fn check_restore(claims: &OwnClaims<'_>, restored_at: Option<Timestamp>) -> Result<(), TokenFault> {
    let is_before = restored_at.is_some_and(|at| claims.iat < at.as_second());
    if is_before { Err(TokenFault::BeforeRestore) } else { Ok(()) }
}

/// The record of the client that the token was issued to, if the token represents what that client has at `now`.
///
/// # Errors
/// The client is unknown or disabled, or the fault of the first [`Mismatch`].
pub(crate) fn check_client(
    client: Lookup,
    now: Timestamp,
    claims: &OwnClaims<'_>,
) -> Result<Arc<ClientRecord>, TokenFault> {
    match client {
        Lookup::Live(record) => check_authority(&record, now, claims).map(|()| record),
        Lookup::Disabled(denial) => Err(TokenFault::ClientDisabled(Denial::clone(&denial))),
        Lookup::Unknown => Err(TokenFault::UnknownClient),
    }
}

/// Checks that the token represents what its client has at `now`.
///
/// # Errors
/// The fault of the first [`Mismatch`].
pub(crate) fn check_authority(record: &ClientRecord, now: Timestamp, claims: &OwnClaims<'_>) -> Result<(), TokenFault> {
    match mismatches(record, now, claims).next() {
        None => Ok(()),
        Some(mismatch) => Err(mismatch.fault(record, claims)),
    }
}

/// Whether the only difference is that the client has no credential with the fingerprint of the token, and never had one as
/// far as this replica knows.
pub(crate) fn has_unknown_credential(record: &ClientRecord, now: Timestamp, claims: &OwnClaims<'_>) -> bool {
    matches!(mismatches(record, now, claims).next(), Some(Mismatch::NoSecret))
}

/// A difference between what a token represents and what its client has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Mismatch<'a> {
    /// The client has lost it since the issue of the token, even if the client has it again.
    Lost,
    /// The token has another epoch than the client.
    Epoch(CounterPair),
    /// The secret that it was issued for is disabled.
    SecretDisabled(&'a Denial),
    /// The secret that it was issued for expired at this time.
    SecretExpired(Timestamp),
    /// No secret of the client has the fingerprint of the token.
    NoSecret,
}

/// The epochs of one object in a token and in the record of its client.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct CounterPair {
    pub(crate) counted: Counted,
    pub(crate) of_token: i64,
    pub(crate) of_client: i64,
}

impl CounterPair {
    /// [`Ordering::Less`]: the token is older than the client.
    pub(crate) fn order(self) -> Ordering {
        self.of_token.cmp(&self.of_client)
    }
}

/// An object with an epoch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Counted {
    Application,
    ServiceUser,
}

/// Every difference between the token and what its client has at `now`, in the order of precedence.
pub(crate) fn mismatches<'a>(
    record: &'a ClientRecord,
    now: Timestamp,
    claims: &OwnClaims<'_>,
) -> impl Iterator<Item = Mismatch<'a>> {
    let [of_user, of_application] = claims.postern_epoch;
    let epoch = Epoch { service_user: of_user, application: of_application };
    let is_lost = record.past.covers(&claims.postern_authority, epoch, claims.iat);
    let epochs = counter_pairs(record, claims);
    let ordered =
        move |order| epochs.into_iter().flatten().filter(move |pair| pair.order() == order).map(Mismatch::Epoch);
    iter::once(Mismatch::Lost)
        .filter(move |_| is_lost)
        .chain(ordered(Ordering::Less))
        .chain(ordered(Ordering::Greater))
        .chain(secret_mismatch(record, now, claims))
}

/// The epochs that can be compared: those of two service users cannot.
fn counter_pairs(record: &ClientRecord, claims: &OwnClaims<'_>) -> [Option<CounterPair>; 2] {
    let [of_user, of_application] = claims.postern_epoch;
    let pair = |counted, of_token, of_client| CounterPair { counted, of_token, of_client };
    let is_same_user = *record.subject == *claims.sub;
    [
        Some(pair(Counted::Application, of_application, record.epoch.application)),
        is_same_user.then(|| pair(Counted::ServiceUser, of_user, record.epoch.service_user)),
    ]
}

fn secret_mismatch<'a>(record: &'a ClientRecord, now: Timestamp, claims: &OwnClaims<'_>) -> Option<Mismatch<'a>> {
    match record.credential(&claims.postern_authority) {
        None => Some(Mismatch::NoSecret),
        Some(credential) => match (credential.disabled, credential.expires_at) {
            (Some(denial), _) => Some(Mismatch::SecretDisabled(denial)),
            (None, expires_at) => expires_at.filter(|end| *end <= now).map(Mismatch::SecretExpired),
        },
    }
}

impl Mismatch<'_> {
    /// Why the token is not accepted. `record` and `claims` are those that [`mismatches`] compared.
    pub(crate) fn fault(self, record: &ClientRecord, claims: &OwnClaims<'_>) -> TokenFault {
        let application = || record.application.clone();
        match self {
            Self::Lost => TokenFault::Ended(application()),
            Self::Epoch(pair) if pair.order() == Ordering::Greater => TokenFault::EpochAhead(application()),
            // An Application that was created again starts at the first epoch, and this replica may still have the
            // previous Application.
            Self::Epoch(_) if record.credential(&claims.postern_authority).is_some() => {
                TokenFault::Ended(application())
            }
            Self::Epoch(_) | Self::NoSecret => {
                // Issued before this replica saw the last change: the replica would have known its authority.
                let is_old = claims.iat < record.authority_changed_at.as_second() && !record.is_stale;
                if is_old { TokenFault::Ended(application()) } else { TokenFault::UnknownAuthority(application()) }
            }
            Self::SecretDisabled(denial) => TokenFault::SecretDisabled(denial.clone()),
            Self::SecretExpired(_) => TokenFault::Expired,
        }
    }
}
