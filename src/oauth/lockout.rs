//! Lock-out: after several distinct wrong secrets, the secrets of a client are refused for a time, without a check.
//!
//! ```text
//! wrong secret ─▶ attempt (client, network, fingerprint) ─▶ as many as the policy allows ─▶ lock
//!                    ▲ those of other replicas                                               ▲ those of other replicas
//! ```
//!
//! A repeated value counts once: clients repeat a refused request, and a pod with a stale secret does so for hours. A
//! success does not reset the count. Otherwise a caller that shares a network with the owner of the secret could guess
//! without a limit, between the successes of the owner.
//!
//! An attempt or a lock belongs to one value of the annotation that unlocks the client. A new value ends those that exist, at
//! each replica as soon as it knows the Application, whatever the clocks of the replicas show.

mod attempts;
mod known;

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};

pub use attempts::RECORDED_MAX;
pub use known::{Lockouts, Published};

/// Maximum number of networks of one client with attempts or locks, and with scope `Client` of one entry for all.
pub const SOURCES_MAX: usize = 64;

/// What the endpoint needs of a client to lock it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Lockout {
    /// The client.
    pub client: LockedClient,
    /// When its secrets are locked.
    pub policy: LockoutPolicy,
}

/// When the secrets of a client are locked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LockoutPolicy {
    /// Whether wrong secrets are counted.
    pub is_enabled: bool,
    /// For whom the client is locked.
    pub scope: LockoutScope,
    /// Number of distinct wrong secrets that lock the client.
    pub attempts: u16,
    /// How long a lock lasts, and how long an attempt counts.
    pub duration: SignedDuration,
    /// Digest of the annotation that unlocks the client; empty: there is none.
    pub unlock: Box<str>,
}

/// For whom a client is locked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LockoutScope {
    /// For the network of the attempts.
    Source,
    /// For all callers.
    Client,
}

/// The client of an attempt or a lock.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LockedClient {
    /// Namespace of the Application.
    pub namespace: Arc<str>,
    /// Name of the Application.
    pub name: Arc<str>,
    /// UID of the Application.
    pub uid: Arc<str>,
}

/// A wrong secret.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Attempt {
    /// The network of the caller; `None`: the policy counts attempts from everywhere together.
    pub network: Option<IpNet>,
    /// Keyed MAC of the value.
    pub fingerprint: u64,
    /// When the value was first presented.
    pub at: Timestamp,
    /// The attempt counts until then.
    pub until: Timestamp,
    /// The policy's `unlock` at that time.
    pub unlock: Box<str>,
}

/// A time in which the secrets of a client are refused.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Lock {
    /// The callers for whom the client is locked; `None`: all callers.
    pub network: Option<IpNet>,
    /// When the lock began: the last attempt that counted.
    pub at: Timestamp,
    /// When the lock ends.
    pub until: Timestamp,
    /// The policy's `unlock` at that time.
    pub unlock: Box<str>,
}

impl Lock {
    /// Whether it refuses callers of `network` now.
    fn refuses(&self, network: IpNet, policy: &LockoutPolicy, now: Timestamp) -> bool {
        self.is_current(policy, now) && self.network.is_none_or(|locked| locked == network)
    }

    fn is_current(&self, policy: &LockoutPolicy, now: Timestamp) -> bool {
        self.unlock == policy.unlock && now < self.until
    }
}

/// The network that counts as one source: IPv4 /24, IPv6 /64. An unknown address is a source of its own.
fn source_network(source: Option<IpAddr>) -> IpNet {
    let address = source.map_or(IpAddr::from([0; 4]), |address| address.to_canonical());
    let prefix = match (source, address) {
        (None, _) => 32,
        (_, IpAddr::V4(_)) => 24,
        (_, IpAddr::V6(_)) => 64,
    };
    IpNet::new(address, prefix).map_or_else(|_| IpNet::from(address), |network| network.trunc())
}

#[cfg(test)]
mod tests;
