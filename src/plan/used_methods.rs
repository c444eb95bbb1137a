//! The methods of client authentication in the status of an Application, and when each was last used.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::api::application::{USED_METHODS_MAX, UsedMethod};

/// The last use of each method, sorted by name: the later of status and what the replicas publish. A time never goes back.
/// A method that is no longer allowed stays: its last use shows whether anybody still needed it.
pub(super) fn used_methods(previous: &[UsedMethod], published: &BTreeMap<String, Timestamp>) -> Vec<UsedMethod> {
    let mut uses = published.clone();
    for known in previous {
        let at = uses.entry(known.method.clone()).or_insert(known.last_used_at);
        *at = known.last_used_at.max(*at);
    }
    uses.into_iter().take(USED_METHODS_MAX).map(|(method, last_used_at)| UsedMethod { method, last_used_at }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::api::Application;
    use crate::api::application::ApplicationStatus;
    use crate::api::permissions::Authority;
    use crate::plan::application::{Observed, SecretCounts, status};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn published() -> impl Strategy<Value = BTreeMap<String, Timestamp>> {
        proptest::collection::btree_map("[a-f]", (0..5_i64).prop_map(at), 0..4)
    }

    proptest! {
        /// Replicas report in any order, and again and again.
        #[test]
        fn each_method_has_its_latest_use_whatever_is_published_when(
            reports in proptest::collection::vec(published(), 0..6),
        ) {
            let mut latest = BTreeMap::new();
            let mut told = Vec::new();
            for report in &reports {
                for (method, time) in report {
                    let known = latest.entry(method.clone()).or_insert(*time);
                    *known = (*time).max(*known);
                }
                told = used_methods(&told, report);
                prop_assert_eq!(&used_methods(&told, report), &told);
            }
            prop_assert!(told.iter().map(|used| (used.method.clone(), used.last_used_at)).eq(latest));
        }
    }

    #[test]
    fn status_has_no_more_methods_than_the_schema_allows() {
        let published = (0..=USED_METHODS_MAX).map(|number| (format!("method-{number:02}"), at(1))).collect();
        assert_eq!(used_methods(&[], &published).len(), USED_METHODS_MAX);
    }

    #[test]
    fn a_use_changes_nothing_else_in_status() {
        let spec = json!({"serviceUserRef": {"name": "sync"}, "auth": {"methods": ["client_secret_basic"]}});
        let mut application = Application::new("sync", serde_json::from_value(spec).unwrap());
        let with = |application: &Application, method_uses| {
            status(&Observed {
                application,
                user: None,
                authority: &Authority::new(),
                client_id_taken_by: None,
                unusable_keys: Vec::new(),
                published_keys: Vec::new(),
                unusable_certificates: Vec::new(),
                signs: Some(true),
                served: true,
                method_uses,
                locks: Vec::new(),
                secrets: SecretCounts { active: 1, total: 1, has_key_pair: false },
                secrets_limit: 20,
                token_lifetime_max_seconds: 3600,
                now: at(0),
            })
        };
        application.status = Some(with(&application, BTreeMap::new()));
        let settled = with(&application, BTreeMap::new());
        application.status = Some(settled.clone());
        let used = with(&application, BTreeMap::from([("private_key_jwt".to_owned(), at(5))]));
        assert_eq!(used.auth_methods, [UsedMethod { method: "private_key_jwt".to_owned(), last_used_at: at(5) }]);
        assert_eq!(ApplicationStatus { auth_methods: Vec::new(), ..used.clone() }, settled);
        // The replicas publish it no longer, and spec does not allow the method.
        application.status = Some(used.clone());
        assert_eq!(with(&application, BTreeMap::new()), used);
    }
}
