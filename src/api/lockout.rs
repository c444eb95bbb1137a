//! Lock-out of a client after wrong secrets: `spec.lockout` of an Application, the operator's defaults, and status.

use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::duration::ConfigDuration;
use super::schema;

/// Maximum number of networks in status.
pub const LOCKED_SOURCES_MAX: usize = 10;

/// When wrong secrets lock the client. Fields that are absent have the operator's defaults.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
pub struct Lockout {
    /// Whether wrong secrets are counted. Disabled drops the count, but does not unlock. Default: set by the operator
    /// (Enabled).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<LockoutMode>,
    /// For whom the client is locked. Default: set by the operator (Source).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<LockoutScope>,
    /// Number of distinct wrong secrets that lock the client: 1 to 100. Default: set by the operator (5).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub attempts: Option<u16>,
    /// How long a lock lasts, and how long a wrong secret counts: 1m to 30d. To unlock earlier, give the annotation
    /// `postern.dev/unlock` of the Application a new value. Default: set by the operator (60m).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::duration_of_a_minute_to_30d")]
    pub duration: Option<ConfigDuration>,
}

/// Whether wrong secrets are counted.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum LockoutMode {
    /// Wrong secrets are counted, and lock the client.
    #[default]
    Enabled,
    /// Wrong secrets are not counted. A lock that exists lasts until its end.
    Disabled,
}

/// For whom a client is locked.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum LockoutScope {
    /// For the network of the wrong secrets (IPv4 /24, IPv6 /64): who knows the client id cannot lock out its owner.
    #[default]
    Source,
    /// For all callers.
    Client,
}

/// What applies to an Application that leaves a field of `spec.lockout` out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LockoutDefaults {
    /// `mode`
    pub mode: LockoutMode,
    /// `scope`
    pub scope: LockoutScope,
    /// `attempts`
    pub attempts: u16,
    /// `duration`
    pub duration: SignedDuration,
}

impl Default for LockoutDefaults {
    fn default() -> Self {
        Self {
            mode: LockoutMode::default(),
            scope: LockoutScope::default(),
            attempts: 5,
            duration: SignedDuration::from_mins(60),
        }
    }
}

impl LockoutDefaults {
    /// What applies to an Application with this `spec.lockout`.
    #[must_use]
    pub fn with(self, spec: Option<&Lockout>) -> Self {
        let Some(spec) = spec else { return self };
        Self {
            mode: spec.mode.unwrap_or(self.mode),
            scope: spec.scope.unwrap_or(self.scope),
            attempts: spec.attempts.unwrap_or(self.attempts),
            duration: spec.duration.as_ref().map_or(self.duration, ConfigDuration::length),
        }
    }
}

/// A network for which the secrets of a client are locked.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct LockedSource {
    /// The network.
    #[schemars(schema_with = "schema::network")]
    pub network: IpNet,
    /// When the lock ends.
    #[schemars(schema_with = "schema::instant")]
    pub until: Timestamp,
}
