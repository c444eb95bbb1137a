//! The meaning of an object that is being deleted: it has a `deletionTimestamp`, and finalizers keep it in the API.
//!
//! It is treated as deleted from the request on, however long a finalizer keeps it.
//!
//! | kind | as soon as its deletion is requested |
//! |---|---|
//! | AccessGroup | it grants nothing |
//! | ServiceUser, Application | its clients are rejected |
//! | ClientSecret | it is rejected, and nothing is delivered for it any more |
//! | Namespace | the clients in it are rejected |
//! | delivered Secret | its value ends; a new one is delivered when the Secret is gone |
//! | Secret to import from | it does not exist |
//! | workload to restart | it does not exist |
//! | the operator's own Secrets | a process that starts does not use them; a running process keeps what it has read |
//!
//! ReplicaStates and Leases are the exception: they are valid until they are gone, because a revocation that is
//! dropped early would reactivate a token.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Whether the deletion of the object was requested.
#[must_use]
pub fn is_terminating(metadata: &ObjectMeta) -> bool {
    metadata.deletion_timestamp.is_some()
}

/// Maximum number of finalizers in a message; a user with write access may add thousands.
const NAMED_MAX: usize = 3;
/// Maximum number of characters of each.
const NAME_LENGTH_MAX: usize = 100;

/// What blocks the deletion of an object, for a message to users: the first finalizers, and the number of further ones.
#[must_use]
pub fn finalizers(metadata: &ObjectMeta) -> String {
    let all = metadata.finalizers.as_deref().unwrap_or_default();
    let names = all.iter().take(NAMED_MAX).map(|name| match name.char_indices().nth(NAME_LENGTH_MAX) {
        Some((end, _)) => format!("{}…", name.get(..end).unwrap_or_default()),
        None => name.clone(),
    });
    let names = names.collect::<Vec<_>>().join(", ");
    match all.len().saturating_sub(NAMED_MAX) {
        0 => names,
        more => format!("{names} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_few_finalizers_and_the_beginning_of_long_ones() {
        let of = |names: &[&str]| {
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            finalizers(&ObjectMeta { finalizers: Some(names), ..ObjectMeta::default() })
        };
        assert_eq!(of(&["example.com/a", "example.com/b"]), "example.com/a, example.com/b");
        assert_eq!(of(&vec!["a/a"; 15_000]), "a/a, a/a, a/a and 14997 more");
        let long = "ä".repeat(317);
        assert_eq!(of(&[&long]), format!("{}…", "ä".repeat(100)));
    }
}
