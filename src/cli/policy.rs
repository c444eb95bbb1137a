//! Limits that the operator sets for all tenants.

use std::error::Error;

use clap::Args;
use jiff::SignedDuration;

use super::duration;
use crate::api::client_secret::LifetimePolicy;
use crate::api::duration::ConfigDuration;
use crate::api::permissions::NamespaceLocation;

/// Limits by which ClientSecrets and tokens are judged. Every process of an installation gets the same values, and
/// `postern explain` too.
#[derive(Args, Clone, Debug)]
pub struct PolicyArgs {
    /// Maximum number of active ClientSecrets of one Application. If there are more, the oldest are active.
    #[arg(
        long,
        env = "POSTERN_SECRETS_PER_APPLICATION", hide_env_values = true,
        value_name = "NUMBER",
        default_value_t = 20,
        value_parser = clap::value_parser!(u16).range(1..=1000),
        help_heading = "Limits"
    )]
    pub secrets_per_application: u16,

    /// Maximum number of active objects of each kind (ServiceUsers, Applications, ClientSecrets) in one namespace. If
    /// there are more, the oldest are active.
    #[arg(
        long,
        env = "POSTERN_OBJECTS_PER_NAMESPACE", hide_env_values = true,
        value_name = "NUMBER",
        default_value_t = 1_000,
        value_parser = clap::value_parser!(u32).range(1..=100_000),
        help_heading = "Limits"
    )]
    pub objects_per_namespace: u32,

    /// Maximum lifetime of a version of a ClientSecret. It shortens a longer lifetime in the spec. Absent: no limit.
    #[arg(
        long,
        env = "POSTERN_SECRET_LIFETIME_MAX", hide_env_values = true,
        value_name = "DURATION",
        value_parser = duration,
        help_heading = "Limits"
    )]
    pub secret_lifetime_max: Option<ConfigDuration>,

    /// Treat `expiresIn: Never` of ClientSecrets as one year.
    #[arg(long, env = "POSTERN_FORBID_NEVER", hide_env_values = true, help_heading = "Limits")]
    pub forbid_never: bool,

    /// In a namespace without the annotation `postern.dev/location`, a service user has a group only at exactly the
    /// location of the group. Without this flag, the authors of service users choose the claim `location` in such a
    /// namespace.
    #[arg(long, env = "POSTERN_REQUIRE_NAMESPACE_LOCATION", hide_env_values = true, help_heading = "Limits")]
    pub require_namespace_location: bool,

    /// Minimum interval between two rotations of a ClientSecret by `rotation.every`. It replaces a shorter interval in
    /// the spec.
    #[arg(
        long,
        env = "POSTERN_ROTATION_INTERVAL_MIN", hide_env_values = true,
        value_name = "DURATION",
        default_value = "1m",
        value_parser = duration,
        help_heading = "Limits"
    )]
    pub rotation_interval_min: ConfigDuration,

    /// Maximum lifetime of a token. It shortens a longer lifetime in the Application. At most 364d.
    #[arg(
        long,
        env = "POSTERN_TOKEN_LIFETIME_MAX", hide_env_values = true,
        value_name = "DURATION",
        default_value = "24h",
        value_parser = token_lifetime,
        help_heading = "Limits"
    )]
    pub token_lifetime_max: ConfigDuration,
}

impl PolicyArgs {
    /// The limits of the lifetime of a secret's version.
    #[must_use]
    pub fn lifetime(&self) -> LifetimePolicy {
        LifetimePolicy {
            max: self.secret_lifetime_max.as_ref().map(ConfigDuration::length),
            forbid_never: self.forbid_never,
            rotation_interval_min: self.rotation_interval_min.length(),
        }
    }

    /// The rule for a namespace without a location.
    #[must_use]
    pub fn namespace_location(&self) -> NamespaceLocation {
        if self.require_namespace_location { NamespaceLocation::Required } else { NamespaceLocation::Optional }
    }

    /// The most objects of each kind in one namespace that are active.
    #[must_use]
    pub fn objects_per_namespace(&self) -> usize {
        usize::try_from(self.objects_per_namespace).unwrap_or(usize::MAX)
    }

    /// Limit of active ClientSecrets of an Application.
    #[must_use]
    pub fn secrets_per_application(&self) -> usize {
        usize::from(self.secrets_per_application)
    }
}

/// Upper limit of every token's lifetime: clients expect `expires_in` to be under a year.
const TOKEN_LIFETIME_CAP: SignedDuration = SignedDuration::from_hours(364 * 24);

fn token_lifetime(text: &str) -> Result<ConfigDuration, Box<dyn Error + Send + Sync>> {
    let lifetime = duration(text)?;
    if lifetime.length() > TOKEN_LIFETIME_CAP {
        return Err("a token may live 364d at most".into());
    }
    Ok(lifetime)
}
