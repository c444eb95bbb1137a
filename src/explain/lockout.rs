//! The locks of a client's secrets, from status.

use jiff::Timestamp;
use serde::Serialize;

use crate::api::Application;

/// Why secrets of the client are refused, although they may be correct.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Locked {
    /// When the last lock ends.
    pub(super) until: Timestamp,
    /// The networks for which the secrets are refused; empty: all callers.
    pub(super) networks: Vec<String>,
}

impl Locked {
    /// `None`: there is no lock, or the last one has ended.
    pub(super) fn new(application: &Application, now: Timestamp) -> Option<Self> {
        let status = application.status.as_ref()?;
        let until = status.locked_until.filter(|until| now < *until)?;
        let sources = status.locked_sources.iter().filter(|source| now < source.until);
        let networks = sources.map(|source| source.network.to_string()).collect();
        Some(Self { until, networks })
    }

    /// Whom it concerns, and how long.
    pub(super) fn text(&self) -> String {
        let whom = if self.networks.is_empty() { "all callers".to_owned() } else { self.networks.join(", ") };
        format!("locked for {whom} until {}; to unlock, give the annotation postern.dev/unlock a new value", self.until)
    }
}
