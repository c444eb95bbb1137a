//! When this process last accepted each method of a client. The methods of an Application are more than its ClientSecrets,
//! which have a record of each version: keys, ServiceAccounts and certificates are listed in the Application itself.

use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;

use crate::oauth::client_auth::Method;

/// The last use of each method; shared between compilations of the same Application.
#[derive(Debug)]
pub struct MethodUses {
    application: Box<str>,
    /// In the order of [`Method::ALL`], in seconds since 1970; 0: none.
    seconds: [AtomicI64; Method::ALL.len()],
}

impl MethodUses {
    /// No use yet. `application` is the UID of the Application: another one of the same name has its own uses.
    #[must_use]
    pub fn new(application: &str) -> Self {
        Self { application: application.into(), seconds: Default::default() }
    }

    /// UID of the Application.
    #[must_use]
    pub fn application(&self) -> &str {
        &self.application
    }

    /// Records that the client authenticated with the method at this instant.
    pub fn record(&self, method: Method, now: Timestamp) {
        for (_, seconds) in self.all().filter(|(known, _)| *known == method) {
            seconds.fetch_max(now.as_second(), Ordering::Relaxed);
        }
    }

    /// The methods that were used in this process, and when each was used last.
    pub fn last_uses(&self) -> impl Iterator<Item = (Method, Timestamp)> {
        let last = |seconds: &AtomicI64| Some(seconds.load(Ordering::Relaxed)).filter(|seconds| *seconds != 0);
        self.all().filter_map(move |(method, seconds)| Some((method, Timestamp::from_second(last(seconds)?).ok()?)))
    }

    fn all(&self) -> impl Iterator<Item = (Method, &AtomicI64)> {
        Method::ALL.iter().copied().zip(&self.seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn each_method_has_its_latest_use() {
        let uses = MethodUses::new("uid");
        assert_eq!(uses.last_uses().count(), 0);
        for (method, second) in [
            (Method::PrivateKeyJwt, 20),
            (Method::ClientSecretBasic, 10),
            (Method::PrivateKeyJwt, 15),
            (Method::SelfSignedTlsClientAuth, 30),
        ] {
            uses.record(method, at(second));
        }
        let expected = [
            (Method::ClientSecretBasic, at(10)),
            (Method::PrivateKeyJwt, at(20)),
            (Method::SelfSignedTlsClientAuth, at(30)),
        ];
        assert_eq!(uses.last_uses().collect::<Vec<_>>(), expected);
    }
}
