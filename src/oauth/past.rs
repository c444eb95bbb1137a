//! What tokens of a client stood for and do not any more.
//!
//! An authority may come back: a suspension is lifted, a role is given again, before the controller has numbered that it
//! was gone. What was issued before stays ended all the same. A replica never goes back on what it has said.

use jiff::Timestamp;

/// More changes than a client has in the life of a token. With more, the oldest are forgotten.
const ENDED_MAX: usize = 256;

/// Authorities that a client had and lost, each with the instant of the last loss. Empty for nearly all clients.
#[derive(Clone, Debug, Default)]
pub struct Past(Box<[Ended]>);

#[derive(Clone, Debug)]
struct Ended {
    /// See [`SecretRecord::authority`](crate::oauth::client::SecretRecord::authority).
    authority: Box<str>,
    at: Timestamp,
}

impl Past {
    /// Whether a token that stands for `authority` and was issued at `iat`, in seconds since 1970, was ended.
    #[must_use]
    pub fn ended(&self, authority: &str, iat: i64) -> bool {
        self.0.iter().any(|ended| iat <= ended.at.as_second() && *ended.authority == *authority)
    }

    /// The past as it is once `lost` have been lost at `now`. Losses of before `since` are forgotten: no token is as old.
    #[must_use]
    pub fn losing<'a>(&self, lost: impl Iterator<Item = &'a str>, now: Timestamp, since: Timestamp) -> Self {
        let lost: Vec<&str> = lost.collect();
        let goes_on = |ended: &&Ended| ended.at >= since && !lost.contains(&&*ended.authority);
        let mut all: Vec<Ended> = self.0.iter().filter(goes_on).cloned().collect();
        all.extend(lost.iter().map(|authority| Ended { authority: (*authority).into(), at: now }));
        let forgotten = all.len().saturating_sub(ENDED_MAX);
        Self(all.into_iter().skip(forgotten).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn what_was_issued_before_a_loss_stays_ended_and_what_comes_after_it_does_not() {
        let past = Past::default().losing(["a"].into_iter(), at(100), at(0));
        assert!(past.ended("a", 99) && past.ended("a", 100));
        assert!(!past.ended("a", 101) && !past.ended("b", 99));
        let past = past.losing(["b", "a"].into_iter(), at(200), at(0));
        assert!(past.ended("a", 150) && past.ended("b", 150), "the last loss counts");
        assert_eq!(past.0.len(), 2, "and each authority once");
    }

    #[test]
    fn a_loss_is_forgotten_when_no_token_is_as_old_or_there_are_too_many() {
        let past = Past::default().losing(["a"].into_iter(), at(100), at(0));
        assert!(past.losing([].into_iter(), at(200), at(100)).ended("a", 99));
        assert!(!past.losing([].into_iter(), at(200), at(101)).ended("a", 99));
        let many = (0..1000).fold(past, |past, number| past.losing([&*number.to_string()].into_iter(), at(200), at(0)));
        assert_eq!(many.0.len(), ENDED_MAX);
        assert!(many.ended("999", 1) && !many.ended("a", 1));
    }
}
