//! An error with its causes, on one line of a log.

use std::error::Error;

/// The message of `error` and those of its causes. A cause that its effect quotes already is left out: some libraries
/// do that.
pub fn chain(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    causes
        .map(ToString::to_string)
        .fold(error.to_string(), |line, cause| if line.contains(&cause) { line } else { format!("{line}: {cause}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Quoting(&'static str, #[source] std::fmt::Error);

    #[test]
    fn every_cause_is_told_once() {
        let cause = std::fmt::Error.to_string();
        assert_eq!(chain(&Quoting("could not write", std::fmt::Error)), format!("could not write: {cause}"));
        let quoted: &'static str = Box::leak(format!("could not write: {cause}").into_boxed_str());
        assert_eq!(chain(&Quoting(quoted, std::fmt::Error)), quoted);
    }
}
