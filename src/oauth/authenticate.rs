//! Decides whether presented credentials are those of a client.
//!
//! Order: form and checksum of the secret → client → version → value → rules. The value is checked before the rules,
//! so that "suspended" or "expired" can be said (in the log) only of somebody who holds the secret, and takes as long
//! as "wrong". What the secret is for comes last: that rule alone is told to the caller. What a change not seen yet could cure is refused only after catching up (design: ready means usable).
//!
//! A value brought from elsewhere names no version: it is tried against every imported one of the client.

use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;

use crate::crypto::install_key::{InstallKeys, Strength};
use crate::crypto::secret::{self, PresentedSecret};
use crate::oauth::client::{
    ClientRecord, Clients, Grant, Lookup, ObjectRevision, Purpose, Refusal, SecretRecord, SecretVersion,
};
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
    /// Digest of what such a token stands for.
    pub authority: Box<str>,
    /// No token got with this secret lives longer.
    pub ends: Option<Timestamp>,
}

impl Authenticated {
    /// The object that left out what this client asked for. `without_secret`: it would have got it if the secret did not
    /// narrow what the application holds. What the ServiceUser does not hold, the Application does not hold either.
    pub(super) fn narrowed_by(&self, without_secret: bool) -> &ObjectRevision {
        if without_secret { &self.secret } else { &self.record.application }
    }
}

/// Authenticates against a read model.
pub(crate) struct Authenticator<'a, C> {
    pub(crate) clients: &'a C,
    pub(crate) hasher: &'a Hasher,
    pub(crate) keys: &'a Arc<InstallKeys>,
    pub(crate) arrival: Arrival,
    pub(crate) purpose: Purpose,
}

/// When a request came, and from where.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// Now.
    pub now: Timestamp,
    /// The address of the caller; `None`: it cannot be told.
    pub source: Option<IpAddr>,
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

    /// Tries every reading of the credentials; the error is the one of the reading that got furthest.
    async fn try_all(&self, presented: &Presented) -> Result<Authenticated, TokenError> {
        let mut furthest: Option<Box<ClientError>> = None;
        for candidate in &presented.candidates {
            let Some(form) = Form::of(&candidate.secret) else { continue };
            match self.try_one(&candidate.client_id, form, presented.method).await {
                Err(TokenError::Client(error)) => {
                    furthest =
                        furthest.filter(|known| known.value_was_right() || !error.value_was_right()).or(Some(error));
                }
                other => return other,
            }
        }
        Err(TokenError::Client(furthest.unwrap_or(Box::new(ClientError::MalformedSecret))))
    }

    async fn try_one(&self, client_id: &str, presented: Form<'_>, method: Method) -> Result<Authenticated, TokenError> {
        let record = match self.clients.lookup(client_id) {
            Lookup::Live(record) => record,
            Lookup::Closed(refusal) => return Err(ClientError::ClientClosed(Refusal::clone(&refusal)).into()),
            Lookup::Unknown => return Err(ClientError::UnknownClient.into()),
        };
        let (secret, version) = match presented {
            Form::Generated(presented) => self.generated(&record, presented).await?,
            Form::Foreign(value) => self.imported(&record, value).await?,
        };
        self.rules(&record, method, secret, version.accepted_until)?;
        version.memory.used(self.arrival.now);
        Ok(Authenticated {
            secret: secret.object.clone(),
            version_id: version.id.clone(),
            grant: Arc::clone(&secret.grant),
            authority: secret.authority.clone(),
            ends: secret.expires_at.into_iter().chain(version.accepted_until).min(),
            record: Arc::clone(&record),
        })
    }

    /// The version that a generated value names.
    async fn generated<'r>(
        &self,
        record: &'r ClientRecord,
        presented: PresentedSecret<'_>,
    ) -> Result<(&'r SecretRecord, &'r Arc<SecretVersion>), TokenError> {
        let found = versions(record).find(|(_, version)| version.id == presented.version_id() && !version.imported);
        let Some((secret, version)) = found else {
            return Err(ClientError::UnknownSecret(record.application.clone()).into());
        };
        if !self.hasher.verify(self.keys, secret, version, presented.expose_secret()).await? {
            return Err(ClientError::WrongSecret(secret.object.clone()).into());
        }
        Ok((secret, version))
    }

    /// The imported version with this value; those in force first, because each that is tried costs a password's hash.
    async fn imported<'r>(
        &self,
        record: &'r ClientRecord,
        value: &str,
    ) -> Result<(&'r SecretRecord, &'r Arc<SecretVersion>), TokenError> {
        let mut imported: Vec<_> = versions(record).filter(|(_, version)| version.imported).collect();
        imported.sort_by_key(|(secret, version)| {
            (secret.closed.is_some(), version.accepted_until.is_some(), !secret.uses.allow(self.purpose))
        });
        for (secret, version) in imported {
            if self.hasher.verify(self.keys, secret, version, value).await? {
                return Ok((secret, version));
            }
        }
        Err(ClientError::UnknownSecret(record.application.clone()).into())
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
        let ended = |end: Option<Timestamp>| end.is_some_and(|end| end.as_second() <= self.arrival.now.as_second());
        // `auth.methods` of the Application is about the token endpoint.
        let allowed = match method {
            _ if self.purpose != Purpose::Token => true,
            Method::ClientSecretBasic => record.auth_methods.client_secret_basic,
            Method::ClientSecretPost => record.auth_methods.client_secret_post,
        };
        if let Some(refusal) = &secret.closed {
            Err(ClientError::SecretClosed(refusal.as_ref().clone()))
        } else if ended(secret.expires_at) {
            Err(ClientError::SecretExpired(secret.object.clone()))
        } else if ended(accepted_until) {
            Err(ClientError::VersionRetired(secret.object.clone()))
        } else if !allowed {
            Err(ClientError::MethodNotAllowed(record.application.clone()))
        } else if !secret.works_from(self.arrival.source) {
            Err(ClientError::NetworkNotAllowed(secret.object.clone()))
        } else if !secret.uses.allow(self.purpose) {
            Err(ClientError::UseNotAllowed(secret.object.clone()))
        } else {
            Ok(())
        }
    }

    async fn catch_up(&self, presented: &Presented) -> Result<(), TokenError> {
        let well_formed = presented.candidates.iter().find_map(|candidate| {
            let secret = match Form::of(&candidate.secret)? {
                Form::Generated(presented) => presented.version_id(),
                Form::Foreign(value) => value,
            };
            Some((candidate.client_id.as_str(), secret))
        });
        let Some((client_id, secret_id)) = well_formed else { return Ok(()) };
        self.clients.catch_up(client_id, secret_id).await.map_err(|error| Unavailable::from(error).into())
    }

    /// A wrong secret cost a hash; so does every other failure, except one that is told, and those that whoever sent them
    /// could foresee without us: a secret that is malformed or absent.
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
            | ClientError::WrongSecret(_)
            | ClientError::UseNotAllowed(_) => Ok(()),
            ClientError::UnknownClient
            | ClientError::ClientClosed(_)
            | ClientError::UnknownSecret(_)
            | ClientError::MethodNotAllowed(_)
            | ClientError::SecretClosed(_)
            | ClientError::SecretExpired(_)
            | ClientError::VersionRetired(_)
            | ClientError::NetworkNotAllowed(_) => {
                let value = presented.candidates.first().map_or("", |candidate| candidate.secret.as_str());
                let strength = match Form::of(value) {
                    Some(Form::Foreign(_)) => Strength::Imported,
                    _ => Strength::Generated,
                };
                Ok(self.hasher.verify_nothing(self.keys, value, strength).await?)
            }
        }
    }
}

/// What a presented value may be.
enum Form<'a> {
    /// A generated value: it names its version, and its checksum is right.
    Generated(PresentedSecret<'a>),
    /// A value brought from elsewhere.
    Foreign(&'a str),
}

impl<'a> Form<'a> {
    /// `None` for what cannot be anybody's secret: a generated value that was mistyped, or one of a length that nobody's
    /// is.
    fn of(value: &'a str) -> Option<Self> {
        match secret::parse(value) {
            Ok(presented) => Some(Self::Generated(presented)),
            Err(_) if value.starts_with(secret::PREFIX) => None,
            Err(_) => secret::IMPORTED_LENGTH.contains(&value.chars().count()).then_some(Self::Foreign(value)),
        }
    }
}

fn versions(record: &ClientRecord) -> impl Iterator<Item = (&SecretRecord, &Arc<SecretVersion>)> {
    record.secrets.iter().flat_map(|secret| secret.versions.iter().map(move |version| (secret, version)))
}
