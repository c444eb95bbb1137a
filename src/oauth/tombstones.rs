//! Tombstones: what tokens of a client represented and no longer represent.
//!
//! An authority may return: a suspension is lifted, a role is granted again. The controller numbers the loss and the
//! return, and older tokens have an older number. But the controller may not have numbered either yet, or may see no
//! difference in the end. A token that was issued before a loss stays invalid in both cases: a replica never reverts
//! its decision.

use jiff::Timestamp;

use crate::oauth::client_record::Epoch;

/// More losses than a client has in the life of a token. If there are more, the oldest are dropped.
const ENDED_MAX: usize = 256;

/// Authorities that a client had and lost, each with its last loss. Empty for nearly all clients.
#[derive(Clone, Debug, Default)]
pub struct Tombstones(Box<[Ended]>);

#[derive(Clone, Debug)]
struct Ended {
    /// See [`SecretRecord::authority`](crate::oauth::client_record::SecretRecord::authority).
    authority: Box<str>,
    /// The latest epoch at which it was lost. A token with a later epoch was issued after a return.
    epoch: Epoch,
    /// Tokens that were issued before this second are invalid.
    before: i64,
}

/// Authorities that are lost now, and the current epoch.
#[derive(Default)]
pub struct Removed<'a> {
    /// The authorities.
    pub authorities: Vec<&'a str>,
    /// The highest epoch of their tokens.
    pub epoch: Epoch,
}

impl Tombstones {
    /// Whether a token that represents `authority` at `epoch`, and was issued at `iat` (seconds since 1970), is
    /// invalid.
    #[must_use]
    pub fn covers(&self, authority: &str, epoch: Epoch, iat: i64) -> bool {
        self.0.iter().any(|ended| {
            iat < ended.before
                && epoch.service_user <= ended.epoch.service_user
                && epoch.application <= ended.epoch.application
                && *ended.authority == *authority
        })
    }

    /// The past at `now`, when something is `lost` and the rest of what `is_held` continues or has returned. Losses
    /// before `since` are dropped: no token is as old.
    #[must_use]
    pub fn next(&self, lost: &Removed<'_>, is_held: impl Fn(&str) -> bool, now: Timestamp, since: Timestamp) -> Self {
        let second = now.as_second();
        let mut all: Vec<Ended> = self.0.iter().filter(|ended| ended.before > since.as_second()).cloned().collect();
        // Within one second, tokens issued before the loss cannot be distinguished from those issued after the return.
        for ended in all.iter_mut().filter(|ended| ended.before > second && is_held(&ended.authority)) {
            ended.before = second;
        }
        for authority in &lost.authorities {
            let known = all.iter().position(|ended| *ended.authority == **authority).map(|at| all.remove(at).epoch);
            let epoch = lost.epoch.or_later(known.unwrap_or_default());
            all.push(Ended { authority: (*authority).into(), epoch, before: second.saturating_add(1) });
        }
        let forgotten = all.len().saturating_sub(ENDED_MAX);
        Self(all.into_iter().skip(forgotten).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: Epoch = Epoch { service_user: 3, application: 2 };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// `authority` is lost in this second.
    fn loses(past: &Tombstones, authority: &str, second: i64) -> Tombstones {
        let lost = Removed { authorities: vec![authority], epoch: EPOCH };
        past.next(&lost, |_| false, at(second), at(0))
    }

    /// The client has every authority in this second.
    fn returns(past: &Tombstones, second: i64, since: i64) -> Tombstones {
        past.next(&Removed::default(), |_| true, at(second), at(since))
    }

    #[test]
    fn a_token_issued_before_a_loss_stays_invalid_and_one_issued_later_does_not() {
        let past = returns(&loses(&Tombstones::default(), "a", 100), 105, 0);
        assert!(past.covers("a", EPOCH, 99) && past.covers("a", EPOCH, 100));
        assert!(!past.covers("a", EPOCH, 101) && !past.covers("b", EPOCH, 99));
        let past = loses(&loses(&past, "b", 200), "a", 200);
        assert!(past.covers("a", EPOCH, 150) && past.covers("b", EPOCH, 150), "the last loss counts");
        assert_eq!(past.0.len(), 2, "and each authority once");
    }

    #[test]
    fn a_token_with_a_later_epoch_is_valid_however_late_the_replica_observes_the_loss() {
        let past = loses(&Tombstones::default(), "a", 100);
        assert!(past.covers("a", Epoch { service_user: 2, application: 2 }, 50));
        for later in [Epoch { service_user: 5, ..EPOCH }, Epoch { application: 4, ..EPOCH }] {
            assert!(!past.covers("a", later, 50), "{later:?}");
        }
        let early = Removed { authorities: vec!["a"], epoch: Epoch::default() };
        let past = past.next(&early, |_| false, at(200), at(0));
        assert!(past.covers("a", EPOCH, 150), "that numbers began anew ends no fewer");
    }

    #[test]
    fn a_permission_that_returns_in_the_second_of_its_loss_is_valid_from_that_second_on() {
        let past = returns(&loses(&Tombstones::default(), "a", 100), 100, 0);
        assert!(past.covers("a", EPOCH, 99) && !past.covers("a", EPOCH, 100));
        let past = returns(&past, 101, 0);
        assert!(past.covers("a", EPOCH, 99) && !past.covers("a", EPOCH, 100), "and stays so");
    }

    #[test]
    fn a_tombstone_is_removed_when_no_token_is_as_old_or_there_are_too_many() {
        let past = loses(&Tombstones::default(), "a", 100);
        assert!(returns(&past, 200, 100).covers("a", EPOCH, 99));
        assert!(!returns(&past, 200, 101).covers("a", EPOCH, 99));
        let many = (0..1000).fold(past, |past, number| loses(&past, &number.to_string(), 200));
        assert_eq!(many.0.len(), ENDED_MAX);
        assert!(many.covers("999", EPOCH, 1) && !many.covers("a", EPOCH, 1));
    }
}
