//! Limits that the operator sets for all tenants.

use std::error::Error;
use std::num::NonZeroU32;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use jiff::{SignedDuration, Timestamp};

use super::duration;
use crate::api::application::REQUESTS_PER_MINUTE_MAX;
use crate::api::client_secret::LifetimePolicy;
use crate::api::duration::ConfigDuration;
use crate::api::lockout::{LockoutDefaults, LockoutMode, LockoutScope};
use crate::api::permissions::NamespaceLocation;
use crate::clock::{Clock as _, SystemClock};

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

    /// Default of `spec.lockout.mode` of an Application: whether wrong secrets lock the secrets of a client.
    #[arg(
        long,
        env = "POSTERN_LOCKOUT_MODE", hide_env_values = true,
        value_name = "MODE",
        default_value = "Enabled",
        value_parser = one_of([("Enabled", LockoutMode::Enabled), ("Disabled", LockoutMode::Disabled)]),
        help_heading = "Lock-out"
    )]
    pub lockout_mode: LockoutMode,

    /// Default of `spec.lockout.scope`: for whom a client is locked.
    #[arg(
        long,
        env = "POSTERN_LOCKOUT_SCOPE", hide_env_values = true,
        value_name = "SCOPE",
        default_value = "Source",
        value_parser = one_of([("Source", LockoutScope::Source), ("Client", LockoutScope::Client)]),
        help_heading = "Lock-out"
    )]
    pub lockout_scope: LockoutScope,

    /// Default of `spec.lockout.attempts`: the number of distinct wrong secrets that lock a client.
    #[arg(
        long,
        env = "POSTERN_LOCKOUT_ATTEMPTS", hide_env_values = true,
        value_name = "NUMBER",
        default_value_t = 5,
        value_parser = clap::value_parser!(u16).range(1..=100),
        help_heading = "Lock-out"
    )]
    pub lockout_attempts: u16,

    /// Default of `spec.lockout.duration`: how long a lock lasts, and how long a wrong secret counts. 1m to 30d.
    #[arg(
        long,
        env = "POSTERN_LOCKOUT_DURATION", hide_env_values = true,
        value_name = "DURATION",
        default_value = "60m",
        value_parser = lockout_duration,
        help_heading = "Lock-out"
    )]
    pub lockout_duration: ConfigDuration,

    /// Token requests a minute of a client whose Application does not set `token.requestsPerMinute`. Each replica counts
    /// the requests that it receives. Absent: no limit.
    #[arg(
        long,
        env = "POSTERN_TOKEN_REQUESTS_PER_MINUTE", hide_env_values = true,
        value_name = "NUMBER",
        value_parser = requests_per_minute,
        help_heading = "Limits"
    )]
    pub token_requests_per_minute: Option<NonZeroU32>,

    /// The time at which etcd was restored from a backup, such as 2026-12-01T03:00:00Z. Tokens that were issued before it
    /// are refused, and generated credentials and keys of the installation that are older are replaced. It cannot be in
    /// the future.
    #[arg(
        long,
        env = "POSTERN_RESTORED_AT", hide_env_values = true,
        value_name = "TIME",
        value_parser = past_time
    )]
    pub restored_at: Option<Timestamp>,
}

fn past_time(text: &str) -> Result<Timestamp, String> {
    let at: Timestamp = text.parse().map_err(|_| "a time looks like 2026-12-01T03:00:00Z (RFC 3339)".to_owned())?;
    if at > SystemClock.now() {
        return Err("it is in the future: give the time at which the backup was restored".to_owned());
    }
    Ok(at)
}

impl PolicyArgs {
    /// What applies to an Application that leaves a field of `spec.lockout` out.
    #[must_use]
    pub fn lockout(&self) -> LockoutDefaults {
        LockoutDefaults {
            mode: self.lockout_mode,
            scope: self.lockout_scope,
            attempts: self.lockout_attempts,
            duration: self.lockout_duration.length(),
        }
    }

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

/// The shortest and the longest lock, as in the schema of `spec.lockout.duration`.
const LOCKOUT_MIN: SignedDuration = SignedDuration::from_mins(1);
const LOCKOUT_MAX: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Upper limit of every token's lifetime: clients expect `expires_in` to be under a year.
const TOKEN_LIFETIME_CAP: SignedDuration = SignedDuration::from_hours(364 * 24);

/// A parser of the names in the API.
fn one_of<T: Clone + Send + Sync + 'static, const N: usize>(
    values: [(&'static str, T); N],
) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(values.each_ref().map(|(name, _)| *name)).try_map(move |text| {
        let found = values.iter().find(|(name, _)| *name == text).map(|(_, value)| value.clone());
        // The inner parser accepts only the names.
        found.ok_or("an unknown name")
    })
}

fn lockout_duration(text: &str) -> Result<ConfigDuration, Box<dyn Error + Send + Sync>> {
    let duration = duration(text)?;
    if !(LOCKOUT_MIN..=LOCKOUT_MAX).contains(&duration.length()) {
        return Err("a lock lasts between 1m and 30d".into());
    }
    Ok(duration)
}

/// As in the schema of Applications.
fn requests_per_minute(text: &str) -> Result<NonZeroU32, Box<dyn Error + Send + Sync>> {
    let number = text.parse().ok().filter(|number: &NonZeroU32| number.get() <= REQUESTS_PER_MINUTE_MAX);
    number.ok_or_else(|| format!("must be a number from 1 to {REQUESTS_PER_MINUTE_MAX}").into())
}

fn token_lifetime(text: &str) -> Result<ConfigDuration, Box<dyn Error + Send + Sync>> {
    let lifetime = duration(text)?;
    if lifetime.length() > TOKEN_LIFETIME_CAP {
        return Err("a token may live 364d at most".into());
    }
    Ok(lifetime)
}
