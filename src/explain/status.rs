//! Parts that explanations of several objects share.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde::Serialize;

use crate::api::conditions::{ConditionValue, is_switched_off, types};

/// Whether an object is effective, and why.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Standing {
    pub(super) active: bool,
    /// The reason of the condition.
    pub(super) reason: String,
    /// Its message.
    pub(super) message: String,
}

impl From<ConditionValue> for Standing {
    fn from(verdict: ConditionValue) -> Self {
        Self { active: verdict.status, reason: verdict.reason.to_owned(), message: verdict.message }
    }
}

impl Standing {
    /// From the condition `Ready`; `None` if it is absent. An object that is suspended as its spec requires is not
    /// effective.
    pub(super) fn ready(conditions: &[Condition]) -> Option<Self> {
        conditions.iter().find(|condition| condition.type_ == types::READY).map(|condition| Self {
            active: condition.status == "True" && !is_switched_off(conditions),
            reason: condition.reason.clone(),
            message: condition.message.clone(),
        })
    }
}

/// Whether status describes the current object.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StatusAge {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) epoch: Option<i64>,
    pub(super) up_to_date: bool,
    /// Why it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) behind: Option<String>,
}

impl StatusAge {
    /// `observed` and `generation` of the object; `authority` is the digest in status and the digest computed now, if
    /// both are known.
    pub(super) fn new(
        epoch: Option<i64>,
        (observed, generation): (Option<i64>, Option<i64>),
        authority: Option<(Option<&str>, Option<&str>)>,
    ) -> Self {
        let number = |generation: Option<i64>| generation.unwrap_or_default();
        let behind = if observed != generation {
            let (observed, generation) = (number(observed), number(generation));
            Some(format!("it describes generation {observed}, and the object is at {generation}"))
        } else if authority.is_some_and(|(told, now)| told != now) {
            Some("its permissions have changed since, and its epoch will rise".to_owned())
        } else {
            None
        };
        Self { epoch, up_to_date: behind.is_none(), behind }
    }
}
