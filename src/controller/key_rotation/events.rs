//! What an operator reads about a rotation: an event on the Secret for each step, and for a wait that lasts.

use crate::api::conditions::reasons;
use crate::api::key_records::{KeyRecords, KeyState};
use crate::cache::ObjectRef;
use crate::crypto::install_key;
use crate::plan::key_rotation::{Blocked, Settings, Step, accepted_until};

use super::dependents::Dependents;

/// An event on the Secret.
pub(super) struct StepEvent {
    pub(super) is_warning: bool,
    pub(super) reason: &'static str,
    pub(super) text: String,
}

/// The event of a step that was made. `records` are those after it.
pub(super) fn of_step(step: &Step, records: &KeyRecords, settings: &Settings) -> StepEvent {
    let find = |id: &str| records.keys.iter().find(|key| key.id == id);
    if records.algorithms().contains(install_key::ALGORITHM)
        && let Some((reason, text)) = of_install_key(step, records, settings)
    {
        return StepEvent { is_warning: is_warning(step), reason, text };
    }
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
            (reasons::KEY_CREATED, format!("{id} is the next key of {algorithm}. It is not used yet."))
        }
        Step::RecordPublished { id } => {
            let wait = settings.publish_for.as_secs();
            (reasons::KEY_PUBLISHED, format!("Every live replica accepts {id}. It can be used in {wait} s."))
        }
        Step::RecordReady { id } => (
            reasons::KEY_READY,
            format!("Every party can know {id}. It can replace the active key of {}.", algorithm(id)),
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
    StepEvent { is_warning: is_warning(step), reason, text }
}

fn is_warning(step: &Step) -> bool {
    matches!(step, Step::ReportUnknown { .. } | Step::Drop { .. })
}

/// What differs for install keys, which sign no tokens.
fn of_install_key(step: &Step, records: &KeyRecords, settings: &Settings) -> Option<(&'static str, String)> {
    Some(match step {
        Step::Drop { ids, .. } => {
            let text = format!(
                "Dropped {}. Credentials that depend on it are refused from now on: change spec.rotation.trigger of their \
                 ClientSecrets.",
                ids.join(", ")
            );
            (reasons::KEY_DROPPED, text)
        }
        Step::ReportUnknown { ids, .. } => {
            let replaced = records.keys.iter().filter(|key| key.state() != KeyState::Active);
            let replaced = replaced.map(|key| key.id.as_str()).collect::<Vec<_>>().join(", ");
            let text = format!(
                "postern.dev/drop names {}, and nothing was dropped. The keys that can be dropped are {replaced}. The active \
                 install key cannot be dropped: replace it first with postern.dev/rotate. Then give postern.dev/drop a value that \
                 it did not have before, such as the id with a comma behind it.",
                ids.join(", ")
            );
            (reasons::KEY_UNKNOWN, text)
        }
        Step::Activate { id } => {
            let text = format!(
                "New credentials depend on {id} from now on. Those in Secrets follow in the background, the others at their \
                 next rotation."
            );
            (reasons::KEY_ACTIVATED, text)
        }
        Step::RecordUnused { id } => {
            let key = records.keys.iter().find(|key| key.id == *id);
            let until = key.and_then(|key| accepted_until(key, settings)).map(|at| at.to_string()).unwrap_or_default();
            let text = format!(
                "No live replica uses {id} for anything new. It is removed when no ClientSecret depends on it, and not before \
                 {until}."
            );
            (reasons::KEY_UNUSED, text)
        }
        Step::Remove { id } => (reasons::KEY_REMOVED, format!("No ClientSecret depends on {id}. The key is removed.")),
        _ => return None,
    })
}

/// The event of a wait.
pub(super) fn of_wait(waits: &Blocked, dependents: Option<&Dependents>) -> String {
    match waits {
        Blocked::Replica { replica, key, signs } => {
            let lacks = if *signs { "does not sign with" } else { "does not accept" };
            format!(
                "The rotation waits for the replica {replica}: it is live and {lacks} the key {key} yet. Check that it can \
                 read the Secret, or restart it."
            )
        }
        Blocked::InUse { key } => {
            let found = dependents.and_then(|dependents| dependents.of(key));
            let name = |one: &ObjectRef| format!("{}/{}", one.namespace, one.name);
            let (number, example) = found.map(|(number, one)| (*number, name(one))).unwrap_or_default();
            format!(
                "The replaced key {key} is kept: {number} ClientSecrets depend on it, for example {example}. Values that are \
                 in no Secret get another key with their next rotation: change spec.rotation.trigger, or delete what is not \
                 needed."
            )
        }
        Blocked::Ahead { key, until } => format!(
            "The records of the key {key} contain {until}, which no clock shows yet: a clock was ahead. Its next step waits \
             for longer than that. Correct the clocks of the nodes. A next key with such a record can be dropped, and \
             another one is created: set postern.dev/drop to its id."
        ),
        Blocked::Full { algorithm } => format!(
            "The next rotation of the {algorithm} keys waits until a replaced key is removed: there are as many as an \
             installation keeps."
        ),
    }
}
