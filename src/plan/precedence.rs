//! Who has what several objects claim: the oldest of them. The cache answers which objects claim it, in the order of
//! [`api::precedence`](crate::api::precedence).

use crate::api::{Application, ClientSecret};

/// Another object that has the client id of an Application.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ClientIdHolder<'a> {
    /// A service user has it as its subject.
    ServiceUser,
    /// An older Application.
    Application {
        /// Its namespace.
        namespace: &'a str,
        /// Its name.
        name: &'a str,
    },
}

impl<'a> ClientIdHolder<'a> {
    /// The other object that has the client id of `application`; `None`: the Application has it. `is_subject`: a service
    /// user has this subject. `oldest`: namespace and name of the oldest Application that claims the client id.
    ///
    /// No client may have a subject as its client id (RFC 9068 §5).
    #[must_use]
    pub fn of(application: &Application, is_subject: bool, oldest: Option<(&'a str, &'a str)>) -> Option<Self> {
        if is_subject {
            return Some(Self::ServiceUser);
        }
        let (namespace, name) = oldest?;
        let own = &application.metadata;
        let is_own = own.namespace.as_deref() == Some(namespace) && own.name.as_deref() == Some(name);
        (!is_own).then_some(Self::Application { namespace, name })
    }

    /// For a message to the users of `namespace`. It names no object of another namespace.
    #[must_use]
    pub fn named_in(self, namespace: &str) -> String {
        match self {
            Self::Application { namespace: other, name } if other == namespace => {
                format!("Application {name}, which is older")
            }
            Self::Application { .. } => "an Application of another namespace, which is older".to_owned(),
            Self::ServiceUser => self.full_name(),
        }
    }

    /// For a message to a user who can read every object.
    #[must_use]
    pub fn full_name(self) -> String {
        match self {
            Self::Application { namespace, name } => format!("Application {namespace}/{name}, which is older"),
            // Its subject, whichever of the two is older.
            Self::ServiceUser => "a ServiceUser, as its subject".to_owned(),
        }
    }
}

/// The place of a ClientSecret among those of its namespace.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Place {
    /// The rank among those of its Application, from 0, oldest first. If it is not one of the oldest: their number.
    pub rank: usize,
    /// An older ClientSecret has the same delivery name.
    pub has_older_claimant: bool,
}

impl Place {
    /// The place of `secret`. `siblings`: the names of the oldest ClientSecrets of its Application, oldest first.
    /// `oldest_claimant`: the name of the oldest ClientSecret with the same delivery name.
    #[must_use]
    pub fn of<'a>(
        secret: &ClientSecret,
        siblings: impl IntoIterator<Item = &'a str>,
        oldest_claimant: Option<&str>,
    ) -> Self {
        let own = secret.metadata.name.as_deref();
        Self {
            rank: siblings.into_iter().take_while(|sibling| Some(*sibling) != own).count(),
            has_older_claimant: oldest_claimant.is_some_and(|oldest| Some(oldest) != own),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read<K: serde::de::DeserializeOwned>(kind: &str, reference: &str) -> K {
        let object = json!({
            "apiVersion": "postern.dev/v1alpha1", "kind": kind, "metadata": {"namespace": "billing", "name": "sync"},
            "spec": {reference: {"name": "sync"}},
        });
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn a_subject_then_the_oldest_claimant_has_a_client_id() {
        let application: Application = read("Application", "serviceUserRef");
        let own = Some(("billing", "sync"));
        let holder = |is_subject, oldest| ClientIdHolder::of(&application, is_subject, oldest);
        assert_eq!((holder(false, own), holder(false, None)), (None, None));
        for (is_subject, oldest, named, full) in [
            (true, own, "a ServiceUser, as its subject", "a ServiceUser, as its subject"),
            (true, Some(("ledger", "sync")), "a ServiceUser, as its subject", "a ServiceUser, as its subject"),
            (
                false,
                Some(("billing", "old")),
                "Application old, which is older",
                "Application billing/old, which is older",
            ),
            (
                false,
                Some(("ledger", "sync")),
                "an Application of another namespace, which is older",
                "Application ledger/sync, which is older",
            ),
        ] {
            let holder = holder(is_subject, oldest).unwrap();
            assert_eq!((holder.named_in("billing").as_str(), holder.full_name().as_str()), (named, full));
        }
    }

    #[test]
    fn a_client_secret_has_the_rank_of_its_age_and_its_name_unless_an_older_one_claims_it() {
        let secret: ClientSecret = read("ClientSecret", "applicationRef");
        let place = |siblings: &[&'static str], oldest| {
            let place = Place::of(&secret, siblings.iter().copied(), oldest);
            (place.rank, place.has_older_claimant)
        };
        assert_eq!(place(&["sync", "younger"], Some("sync")), (0, false));
        assert_eq!(place(&["old", "sync"], Some("old")), (1, true));
        assert_eq!(place(&["old", "older"], None), (2, false), "it is beyond the limit");
    }
}
