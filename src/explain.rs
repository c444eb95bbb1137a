//! Explains the permissions of a client, and the source of each or why it is missing, from the API objects alone; the
//! clients of an API; and the verbs that an AccessGroup requires.
//!
//! ```text
//! API server ─▶ gather (the only reads, with the caller's own rights) ─▶ explain (pure) ─▶ print
//! ```
//!
//! This module makes no decisions. Permissions come from `api::permissions`. Conditions come from `plan`, as the
//! controller writes them. What the endpoint accepts comes from `read_model`, which compiles the client from the objects,
//! and from the checks of a token in `oauth`. Inputs that the API objects do not contain (for example the owner of a
//! Secret) are taken from status.

mod access_group;
mod audience;
mod claims;
mod client;
mod error;
mod gather;
mod group;
mod lists;
mod lockout;
mod method;
mod permissions;
mod print;
mod secret;
mod snapshot;
mod status;
#[cfg(test)]
mod tests;
mod token;
mod user;

use std::io::{Read, Write};
use std::num::NonZeroU32;

use jiff::{SignedDuration, Timestamp};
use kube::Client;
use serde::Serialize;

use crate::api::client_secret::LifetimePolicy;
use crate::api::lockout::LockoutDefaults;
use crate::api::permissions::NamespaceLocation;
use crate::clock::{Clock, SystemClock};
use crate::read_model::ClientLimits;
use claims::ClientName;

pub use crate::kube_client::Access;
pub use error::ExplainError;

/// Limit of the text that is read as a token. Postern's tokens have one or two kilobytes.
const TOKEN_BYTES_MAX: u64 = 64 * 1024;

/// What to explain.
#[derive(Clone, Debug)]
pub enum Question {
    /// An API, by its audience.
    Audience(String),
    /// A client, by its client id or as `NAME` or `NAMESPACE/NAME` of its Application.
    Client(String),
    /// An AccessGroup, by its name.
    Group(String),
    /// An access token; `-`: read it from standard input.
    Token(String),
}

/// How to print.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, clap::ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// The settings of the operator that affect the result.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Limit of active ClientSecrets of an Application.
    pub secrets_per_application: usize,
    /// Whether namespaces need a location.
    pub namespace_location: NamespaceLocation,
    /// The limits of the lifetime of a secret's version.
    pub lifetime: LifetimePolicy,
    /// Maximum token lifetime.
    pub token_lifetime_max: SignedDuration,
    /// What applies to a client that leaves a field of `spec.lockout` out.
    pub lockout: LockoutDefaults,
    /// Token requests a minute of a client whose Application names no number; `None`: any number.
    pub token_requests_per_minute: Option<NonZeroU32>,
    /// When etcd was restored from a backup; `None`: never.
    pub restored_at: Option<Timestamp>,
    /// The operator's own namespace.
    pub operator_namespace: String,
    /// Issuer identifier; `None`: unknown.
    pub issuer: Option<String>,
}

impl Settings {
    fn limits(&self) -> ClientLimits {
        ClientLimits {
            token_lifetime_max: self.token_lifetime_max,
            lifetime: self.lifetime,
            lockout: self.lockout,
            token_requests_per_minute: self.token_requests_per_minute,
        }
    }
}

/// Writes the explanation to `out`.
pub fn run(
    question: &Question,
    access: &Access,
    settings: &Settings,
    output: Output,
    out: &mut impl Write,
) -> Result<(), ExplainError> {
    // One provider in the whole dependency graph; a second call finds it installed.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(answer(question, access, settings, output, SystemClock.now(), out))
}

async fn answer(
    question: &Question,
    access: &Access,
    settings: &Settings,
    output: Output,
    now: Timestamp,
    out: &mut impl Write,
) -> Result<(), ExplainError> {
    match question {
        Question::Audience(audience) => {
            let mut reader = gather::Reader::new(connect(access).await?);
            let facts = reader.callers(access.namespace.as_deref()).await?;
            let explained = audience::explain(audience, &facts, settings, now);
            show(&explained, output, out, |out| print::audience(&explained, now, out))
        }
        Question::Client(named) => {
            let named = named.parse::<ClientName>()?.agreeing_with(access.namespace.as_deref())?;
            let mut reader = gather::Reader::new(connect(access).await?);
            let replicas = reader.replicas(&settings.operator_namespace).await?;
            let facts = reader.client(&named, &replicas).await?.ok_or_else(|| reader.not_found(&named))?;
            let explained = client::explain(&facts, settings, now);
            show(&explained, output, out, |out| print::client(&explained, now, out))
        }
        Question::Group(name) => {
            let mut reader = gather::Reader::new(connect(access).await?);
            let group = reader.access_group(name).await?.ok_or(ExplainError::NoGroup)?;
            let to_create = reader.check(access_group::rights_to_create(&group)).await?;
            let to_add = reader.check(access_group::rights_to_add(&group)).await?;
            let explained = access_group::explain(&group, to_create, to_add);
            show(&explained, output, out, |out| print::access_group(&explained, out))
        }
        Question::Token(text) => {
            let payload = claims::payload(&token(text)?)?;
            let (claims, client_id) = claims::parse(&payload)?;
            let mut reader = gather::Reader::new(connect(access).await?);
            let replicas = reader.replicas(&settings.operator_namespace).await?;
            let facts = reader.token(client_id, &replicas).await?;
            let explained = token::explain(&claims, &facts, settings, now);
            show(&explained, output, out, |out| print::token(&explained, now, out))
        }
    }
}

fn show<W: Write, T: Serialize>(
    explained: &T,
    output: Output,
    out: &mut W,
    text: impl FnOnce(&mut W) -> std::io::Result<()>,
) -> Result<(), ExplainError> {
    match output {
        Output::Text => text(out)?,
        Output::Json => {
            serde_json::to_writer_pretty(&mut *out, explained).map_err(std::io::Error::from)?;
            writeln!(out)?;
        }
    }
    Ok(out.flush()?)
}

/// The given token, or the one from standard input.
fn token(given: &str) -> Result<String, ExplainError> {
    if given != "-" {
        return Ok(given.to_owned());
    }
    let mut text = String::new();
    std::io::stdin().lock().take(TOKEN_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

async fn connect(access: &Access) -> Result<Client, ExplainError> {
    Client::try_from(access.config().await?).map_err(|error| ExplainError::Connection(Box::new(error)))
}
