//! Objects beyond the limit of their namespace.

use super::kstatus::{Kstatus, with_outlook};
use crate::api::conditions::{ConditionValue, reasons, types};

/// The status of an object of this kind.
#[must_use]
pub fn verdicts(kind: &str, namespace: &str, limit: usize) -> Vec<ConditionValue> {
    let message = format!(
        "Namespace {namespace} has {limit} older {kind}s, and only the oldest {limit} of a namespace are active: delete those \
         that are not needed, or move some to another namespace. This one is activated automatically then. The operator \
         sets the limit with --objects-per-namespace."
    );
    with_outlook(ConditionValue::new_false(types::READY, reasons::NAMESPACE_LIMIT_REACHED, message), Kstatus::Failed)
}
