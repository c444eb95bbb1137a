//! Formats an error with its causes on one line of a log.

use std::error::Error;

/// The message of `error` and those of its causes. A cause that the message of its effect contains is omitted, and so
/// is the `Debug` form of a cause, which some libraries add.
pub fn display_chain(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    let add = |line: String, cause: String| if line.contains(&cause) { line } else { format!("{line}: {cause}") };
    causes.map(message).fold(message(error), add)
}

/// The message without the `Debug` form of the cause.
fn message(error: &dyn Error) -> String {
    let message = error.to_string();
    match error.source() {
        Some(cause) => message.replace(&format!(" ({cause:?})"), ""),
        None => message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Quoting(&'static str, #[source] std::fmt::Error);

    #[test]
    fn every_cause_is_printed_once() {
        let cause = std::fmt::Error.to_string();
        assert_eq!(display_chain(&Quoting("could not write", std::fmt::Error)), format!("could not write: {cause}"));
        let quoted: &'static str = Box::leak(format!("could not write: {cause}").into_boxed_str());
        assert_eq!(display_chain(&Quoting(quoted, std::fmt::Error)), quoted);
    }

    #[derive(Debug, thiserror::Error)]
    #[error("Outer: {0} ({0:?})")]
    struct Dumping(#[source] std::fmt::Error);

    #[test]
    fn the_debug_form_of_a_cause_is_left_out() {
        assert_eq!(display_chain(&Dumping(std::fmt::Error)), format!("Outer: {}", std::fmt::Error));
    }
}
