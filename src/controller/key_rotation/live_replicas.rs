//! The live replicas, as this process observes their Leases.
//!
//! A replica is live while its Lease changes. The clocks of the replicas are not compared with the clock of this process,
//! so that a wrong clock neither hides a live replica nor keeps a dead one.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use kube::ResourceExt as _;
use tokio::time::Instant;

/// A Lease, as last observed.
#[derive(Clone, Debug)]
struct Renewal {
    replica: String,
    renewed: Timestamp,
    lasts: Duration,
    /// When this process first observed this renewal.
    observed: Instant,
}

/// The Leases of the replicas, by name.
#[derive(Debug, Default)]
pub(super) struct LiveReplicas(BTreeMap<String, Renewal>);

impl LiveReplicas {
    /// Records the Leases that exist now. One that was never observed before may be live.
    pub(super) fn update(&mut self, leases: Vec<Lease>, now: Instant) {
        let mut known = std::mem::take(&mut self.0);
        for lease in leases {
            let name = lease.name_any();
            let Some(renewal) = renewal(lease, now) else { continue };
            let before = known.remove(&name).filter(|before| before.renewed == renewal.renewed);
            let observed = before.map_or(now, |before| before.observed);
            self.0.insert(name, Renewal { observed, ..renewal });
        }
    }

    /// The live replicas, each with what its clock shows. The clock may be ahead of that: by the time between a renewal
    /// and its observation.
    pub(super) fn at(&self, now: Instant) -> impl Iterator<Item = (String, Timestamp)> {
        self.0.values().filter_map(move |renewal| {
            let since = now.duration_since(renewal.observed);
            let shows = renewal.renewed.checked_add(SignedDuration::try_from(since).ok()?).ok()?;
            (since < renewal.lasts).then(|| (renewal.replica.clone(), shows))
        })
    }
}

fn renewal(lease: Lease, now: Instant) -> Option<Renewal> {
    let spec = lease.spec?;
    Some(Renewal {
        replica: spec.holder_identity?,
        renewed: spec.renew_time?.0,
        lasts: Duration::from_secs(spec.lease_duration_seconds?.try_into().ok()?),
        observed: now,
    })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::coordination::v1::LeaseSpec;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(2_000_000_000 + second).unwrap()
    }

    fn lease(replica: &str, renewed: i64) -> Lease {
        let spec = LeaseSpec {
            holder_identity: Some(replica.to_owned()),
            renew_time: Some(MicroTime(at(renewed))),
            lease_duration_seconds: Some(15),
            ..LeaseSpec::default()
        };
        let metadata = ObjectMeta { name: Some(format!("endpoint-{replica}")), ..ObjectMeta::default() };
        Lease { metadata, spec: Some(spec) }
    }

    #[tokio::test(start_paused = true)]
    async fn a_replica_is_live_while_its_lease_changes_whatever_its_clock_shows() {
        let (start, mut live) = (Instant::now(), LiveReplicas::default());
        let second = |second| start + Duration::from_secs(second);
        let names = |live: &LiveReplicas, at| live.at(second(at)).map(|(name, _)| name).collect::<Vec<_>>();
        live.update(vec![lease("behind", -100_000), lease("dead", 0)], second(0));
        assert_eq!(names(&live, 0), ["behind", "dead"], "the dead one may be live");
        live.update(vec![lease("behind", -99_990), lease("dead", 0)], second(10));
        assert_eq!(names(&live, 14), ["behind", "dead"]);
        assert_eq!(names(&live, 15), ["behind"]);
        live.update(vec![lease("dead", 0)], second(16));
        assert!(names(&live, 16).is_empty(), "a Lease that is gone was released");
        live.update(vec![lease("dead", 1)], second(17));
        assert_eq!(names(&live, 17), ["dead"], "it renews again");
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_goes_on_between_two_renewals() {
        let (start, mut live) = (Instant::now(), LiveReplicas::default());
        live.update(vec![lease("a", 7)], start);
        let later = start + Duration::from_secs(4);
        live.update(vec![lease("a", 7)], later);
        assert_eq!(live.at(later).collect::<Vec<_>>(), [("a".to_owned(), at(11))]);
    }
}
