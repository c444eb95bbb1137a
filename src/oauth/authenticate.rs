//! Decides whether presented credentials are those of a client.
//!
//! Order: form and checksum of the secret → client → version → value → rules. The value is checked before the rules,
//! so that "suspended" or "expired" can be said (in the log) only of somebody who holds the secret, and takes as long
//! as "wrong". What a change not seen yet could cure is refused only after catching up (design: ready means usable).

use std::sync::Arc;

use jiff::Timestamp;

use crate::crypto::install_key::InstallKeys;
use crate::crypto::secret::{self, PresentedSecret};
use crate::oauth::client::{CatchUpError, ClientRecord, Clients, Grant, Lookup, ObjectRevision, Refusal, SecretRecord};
use crate::oauth::credentials::{Method, Presented};
use crate::oauth::error::{ClientError, TokenError, Unavailable};
use crate::oauth::hashing::Hasher;

/// A client that proved who it is, and the secret it did it with.
#[derive(Debug)]
pub struct Authenticated {
    /// The client.
    pub record: Arc<ClientRecord>,
    /// The ClientSecret.
    pub secret: ObjectRevision,
    /// Version of the secret.
    pub version_id: String,
    /// What a token got with this secret may carry.
    pub grant: Arc<Grant>,
    /// No token got with this secret lives longer.
    pub ends: Option<Timestamp>,
}

/// Authenticates against a read model.
pub(crate) struct Authenticator<'a, C> {
    pub(crate) clients: &'a C,
    pub(crate) hasher: &'a Hasher,
    pub(crate) keys: &'a Arc<InstallKeys>,
    pub(crate) now: Timestamp,
}

impl<C: Clients> Authenticator<'_, C> {
    pub(crate) async fn authenticate(&self, presented: &Presented) -> Result<Authenticated, TokenError> {
        let mut outcome = self.try_all(presented).await;
        if let Err(TokenError::Client(error)) = &outcome
            && error.may_be_behind()
        {
            self.catch_up(presented).await?;
            outcome = self.try_all(presented).await;
        }
        if let Err(TokenError::Client(error)) = &outcome {
            self.take_as_long_as_a_wrong_secret(error, presented).await?;
        }
        outcome
    }

    /// Tries every reading of the credentials; the error is the one of the first that got anywhere.
    async fn try_all(&self, presented: &Presented) -> Result<Authenticated, TokenError> {
        let mut first_error = None;
        for candidate in &presented.candidates {
            let Ok(secret) = secret::parse(&candidate.secret) else { continue };
            match self.try_one(&candidate.client_id, secret, presented.method).await {
                Err(TokenError::Client(error)) => first_error = first_error.or(Some(error)),
                other => return other,
            }
        }
        Err(TokenError::Client(first_error.unwrap_or(Box::new(ClientError::MalformedSecret))))
    }

    async fn try_one(
        &self,
        client_id: &str,
        presented: PresentedSecret<'_>,
        method: Method,
    ) -> Result<Authenticated, TokenError> {
        let record = match self.clients.lookup(client_id) {
            Lookup::Live(record) => record,
            Lookup::Closed(refusal) => return Err(ClientError::ClientClosed(Refusal::clone(&refusal)).into()),
            Lookup::Unknown => return Err(ClientError::UnknownClient.into()),
        };
        let id = presented.version_id();
        let found = record.secrets.iter().find_map(|secret| {
            let version = secret.versions.iter().find(|version| version.id == id)?;
            Some((secret, version))
        });
        let Some((secret, version)) = found else {
            return Err(ClientError::UnknownSecret(record.application.clone()).into());
        };
        if !self.hasher.verify(self.keys, secret, version, presented.expose_secret()).await? {
            return Err(ClientError::WrongSecret(secret.object.clone()).into());
        }
        self.rules(&record, method, secret, version.accepted_until)?;
        Ok(Authenticated {
            secret: secret.object.clone(),
            version_id: version.id.clone(),
            grant: Arc::clone(&secret.grant),
            ends: secret.expires_at.into_iter().chain(version.accepted_until).min(),
            record: Arc::clone(&record),
        })
    }

    /// The rules that can refuse a right value.
    fn rules(
        &self,
        record: &ClientRecord,
        method: Method,
        secret: &SecretRecord,
        accepted_until: Option<Timestamp>,
    ) -> Result<(), ClientError> {
        // Tokens last whole seconds: with less than one left there is nothing to issue any more.
        let ended = |end: Option<Timestamp>| end.is_some_and(|end| end.as_second() <= self.now.as_second());
        let allowed = match method {
            Method::ClientSecretBasic => record.auth_methods.client_secret_basic,
            Method::ClientSecretPost => record.auth_methods.client_secret_post,
        };
        if let Some(refusal) = &secret.closed {
            Err(ClientError::SecretClosed(refusal.clone()))
        } else if ended(secret.expires_at) {
            Err(ClientError::SecretExpired(secret.object.clone()))
        } else if ended(accepted_until) {
            Err(ClientError::VersionRetired(secret.object.clone()))
        } else if !allowed {
            Err(ClientError::MethodNotAllowed(record.application.clone()))
        } else {
            Ok(())
        }
    }

    async fn catch_up(&self, presented: &Presented) -> Result<(), TokenError> {
        let well_formed = presented.candidates.iter().find_map(|candidate| {
            let secret = secret::parse(&candidate.secret).ok()?;
            Some((candidate.client_id.as_str(), secret.version_id()))
        });
        let Some((client_id, version_id)) = well_formed else { return Ok(()) };
        self.clients.catch_up(client_id, version_id).await.map_err(|error| {
            TokenError::Unavailable(match error {
                CatchUpError::RateLimited => Unavailable::RateLimited,
                CatchUpError::Behind => Unavailable::Behind,
            })
        })
    }

    /// A wrong secret cost a hash; so does every other failure, except those that whoever sent them could foresee
    /// without us: a secret that is malformed or absent.
    async fn take_as_long_as_a_wrong_secret(
        &self,
        error: &ClientError,
        presented: &Presented,
    ) -> Result<(), TokenError> {
        match error {
            ClientError::NoCredentials
            | ClientError::MalformedHeader
            | ClientError::UnsupportedMethod
            | ClientError::MalformedSecret
            | ClientError::WrongSecret(_) => Ok(()),
            ClientError::UnknownClient
            | ClientError::ClientClosed(_)
            | ClientError::UnknownSecret(_)
            | ClientError::MethodNotAllowed(_)
            | ClientError::SecretClosed(_)
            | ClientError::SecretExpired(_)
            | ClientError::VersionRetired(_) => {
                let value = presented.candidates.first().map_or("", |candidate| candidate.secret.as_str());
                Ok(self.hasher.verify_nothing(self.keys, value).await?)
            }
        }
    }
}
