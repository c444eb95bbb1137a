//! Application: whether a key of its signature algorithm signs. The keys of rare algorithms are created when the first
//! Application requests them.

use super::application::Observed;
use super::client_keys::recorded;
use crate::api::application::TokenFormat;
use crate::api::conditions::{ConditionValue, reasons, types};

/// The condition `Ready` of a client whose tokens cannot be signed yet.
pub(super) fn missing(observed: &Observed<'_>) -> Option<ConditionValue> {
    let token = observed.application.spec.token.as_ref()?;
    let algorithm = token.signing_algorithm.unwrap_or_default();
    if token.format.unwrap_or_default() == TokenFormat::Opaque || algorithm.has_keys_from_the_start() {
        return None;
    }
    // After a restart of the controller, status keeps what it reports.
    let was_ready = || {
        let ready = recorded(observed.application, types::READY);
        ready.is_some_and(|ready| ![reasons::SIGNING_KEY_PENDING, reasons::PENDING].contains(&ready.reason.as_str()))
    };
    if observed.signs.unwrap_or_else(was_ready) {
        return None;
    }
    let message = format!(
        "spec.token.signingAlgorithm: the key of {0} does not sign yet. It is published first, so that every API knows it; \
         until then token requests get 503. Wait, or use ES256 in the meantime.",
        algorithm.name()
    );
    Some(ConditionValue::new_false(types::READY, reasons::SIGNING_KEY_PENDING, message))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::Timestamp;
    use serde_json::{Value, json};

    use super::*;
    use crate::api::permissions::Authority;
    use crate::api::service_user::ServiceUserSpec;
    use crate::api::{Application, ServiceUser};
    use crate::plan::application::{SecretCounts, status};

    fn application(token: &Value) -> Application {
        let spec = json!({"serviceUserRef": {"name": "sync"}, "token": token});
        let mut application = Application::new("sync", serde_json::from_value(spec).unwrap());
        (application.metadata.generation, application.metadata.uid) = (Some(1), Some("uid".to_owned()));
        application
    }

    /// The reason of the condition `Ready` that this knowledge results in.
    fn reason(application: &mut Application, signs: Option<bool>) -> String {
        let user = ServiceUser::new("sync", serde_json::from_value::<ServiceUserSpec>(json!({})).unwrap());
        let written = status(&Observed {
            application,
            user: Some(&user),
            authority: &Authority::new(),
            client_id_taken_by: None,
            unusable_keys: Vec::new(),
            unusable_certificates: Vec::new(),
            published_keys: Vec::new(),
            signs,
            served: true,
            locks: Vec::new(),
            method_uses: BTreeMap::new(),
            secrets: SecretCounts::default(),
            secrets_limit: 20,
            token_lifetime_max_seconds: 900,
            now: Timestamp::UNIX_EPOCH,
        });
        let ready = written.conditions.iter().find(|condition| condition.type_ == types::READY).unwrap();
        let reason = ready.reason.clone();
        application.status = Some(written);
        reason
    }

    #[test]
    fn an_application_is_ready_when_every_replica_signs_with_its_algorithm() {
        for algorithm in ["PS256", "EdDSA"] {
            let mut application = application(&json!({"signingAlgorithm": algorithm}));
            assert_eq!(reason(&mut application, None), "SigningKeyPending", "a new one");
            assert_eq!(reason(&mut application, Some(false)), "SigningKeyPending");
            assert_eq!(reason(&mut application, None), "SigningKeyPending", "after a restart");
            assert_eq!(reason(&mut application, Some(true)), "Accepted");
            assert_eq!(reason(&mut application, None), "Accepted", "after a restart");
            assert_eq!(reason(&mut application, Some(false)), "SigningKeyPending", "its keys were dropped");
            application.metadata.generation = Some(2);
            assert_eq!(reason(&mut application, None), "SigningKeyPending", "it may have another algorithm now");
        }
    }

    #[test]
    fn applications_with_other_tokens_wait_for_no_key() {
        for token in
            [json!({}), json!({"signingAlgorithm": "RS256"}), json!({"signingAlgorithm": "PS256", "format": "Opaque"})]
        {
            assert_eq!(reason(&mut application(&token), None), "Accepted", "{token}");
        }
    }
}
