//! What an operator reads about a rotation: an event on the Secret for each step, and for a wait that lasts.

use crate::api::conditions::reasons;
use crate::api::key_records::KeyRecords;
use crate::plan::key_rotation::{Blocked, Settings, Step, accepted_until};

/// An event on the Secret.
pub(super) struct StepEvent {
    pub(super) is_warning: bool,
    pub(super) reason: &'static str,
    pub(super) text: String,
}

/// The event of a step that was made. `records` are those after it.
pub(super) fn of_step(step: &Step, records: &KeyRecords, settings: &Settings) -> StepEvent {
    let find = |id: &str| records.keys.iter().find(|key| key.id == id);
    let algorithm = |id: &str| find(id).map(|key| key.algorithm.clone()).unwrap_or_default();
    let (reason, text) = match step {
        Step::Drop { ids, unknown, .. } => {
            let unknown =
                if unknown.is_empty() { String::new() } else { format!(" No key is called {}.", unknown.join(", ")) };
            let dropped = ids.join(", ");
            (reasons::KEY_DROPPED, format!("Dropped {dropped}. Tokens of it are refused from now on.{unknown}"))
        }
        Step::ReportUnknown { ids, .. } => {
            let known = records.keys.iter().map(|key| key.id.as_str()).collect::<Vec<_>>().join(", ");
            let named = if ids.is_empty() { "no key".to_owned() } else { ids.join(", ") };
            let text = format!(
                "postern.dev/drop names {named}, and nothing was dropped. The keys are {known}: name one of them."
            );
            (reasons::KEY_UNKNOWN, text)
        }
        Step::RequestRotation { value } => {
            (reasons::ROTATION_REQUESTED, format!("postern.dev/rotate is {value}: every active key is replaced."))
        }
        Step::Create { algorithm } => {
            let id = records.keys.last().map(|key| key.id.as_str()).unwrap_or_default();
            (reasons::KEY_CREATED, format!("{id} is the next key of {algorithm}. It does not sign yet."))
        }
        Step::RecordPublished { id } => {
            let wait = settings.publish_for.as_secs();
            (reasons::KEY_PUBLISHED, format!("Every live replica accepts {id}. It can sign in {wait} s."))
        }
        Step::RecordReady { id } => (
            reasons::KEY_READY,
            format!("Every API can know {id}. It can replace the active key of {}.", algorithm(id)),
        ),
        Step::Activate { id } => (reasons::KEY_ACTIVATED, format!("{id} signs with {} from now on.", algorithm(id))),
        Step::RecordUnused { id } => {
            let until = find(id).and_then(|key| accepted_until(key, settings)).map(|at| at.to_string());
            let until = until.unwrap_or_default();
            (
                reasons::KEY_UNUSED,
                format!("No live replica signs with {id} any more. Its tokens are accepted until {until}."),
            )
        }
        Step::Remove { id } => {
            (reasons::KEY_REMOVED, format!("The last token of {id} has expired. The key is removed."))
        }
        Step::RecordLifetime => {
            let lifetime = settings.token_lifetime_max.as_secs();
            (reasons::KEY_RECORDED, format!("Tokens may live for {lifetime} s. Replaced keys are kept for as long."))
        }
    };
    StepEvent { is_warning: matches!(step, Step::ReportUnknown { .. } | Step::Drop { .. }), reason, text }
}

/// The event of a wait.
pub(super) fn of_wait(Blocked { replica, key, signs }: &Blocked) -> String {
    let lacks = if *signs { "does not sign with" } else { "does not accept" };
    format!(
        "The rotation waits for the replica {replica}: it is live and {lacks} the key {key} yet. Check that it can read the \
         Secret, or restart it."
    )
}
