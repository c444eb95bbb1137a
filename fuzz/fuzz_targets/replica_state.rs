//! ReplicaState: what one replica publishes, as another one reads it.

#![no_main]

use std::net::IpAddr;
use std::sync::LazyLock;

use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};
use libfuzzer_sys::fuzz_target;
use postern::api::replica_state::{AppliedRevisions, ReplicaStateSpec};
use postern::oauth::lockout::{LockedClient, Lockout, LockoutPolicy, LockoutScope, Lockouts};
use postern::replica_state::lockouts::published;

const NOW: i64 = 1_800_000_000;

/// A client whose policy counts no attempts: only published locks refuse it.
static CLIENT: LazyLock<Lockout> = LazyLock::new(|| Lockout {
    client: LockedClient { namespace: "billing".into(), name: "sync".into(), uid: "uid".into() },
    policy: LockoutPolicy {
        is_enabled: false,
        scope: LockoutScope::Source,
        attempts: 5,
        duration: SignedDuration::from_mins(60),
        unlock: "".into(),
    },
});

fuzz_target!(|json: &[u8]| {
    let Ok(spec) = serde_json::from_slice::<ReplicaStateSpec>(json) else { return };
    let written = serde_json::to_vec(&spec).unwrap();
    assert_eq!(serde_json::from_slice::<ReplicaStateSpec>(&written).unwrap(), spec);
    let entries = published(&spec);
    assert_eq!((entries.attempts.len(), entries.locks.len()), (spec.wrong_secrets.len(), spec.locks.len()));
    if let Some(serves) = spec.serves {
        assert!(serves.covers(serves.min(AppliedRevisions::default())));
    }
    let (source, now): (IpAddr, _) = ("192.0.2.9".parse().unwrap(), Timestamp::from_second(NOW).unwrap());
    let network: IpNet = "192.0.2.0/24".parse().unwrap();
    let is_refused = |lockouts: &Lockouts| lockouts.is_locked(&CLIENT, Some(source), now);
    // A lock refuses its own client, at its own network, and until its end.
    let refuses = spec.locks.iter().any(|lock| {
        lock.uid == "uid" && lock.unlock.is_empty() && lock.until > now && lock.network.is_none_or(|it| it == network)
    });
    let lockouts = Lockouts::default();
    lockouts.receive("object", Some(entries));
    assert_eq!(is_refused(&lockouts), refuses);
    let end = spec.matters_until().unwrap_or(now);
    assert!(!lockouts.is_locked(&CLIENT, Some(source), end.max(now)) || end < now);
    lockouts.receive("object", None);
    assert!(!is_refused(&lockouts));
});
