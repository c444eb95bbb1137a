//! Formats a command-line error on one line: it may be the only line that the log of an operator keeps.

use std::env;

use clap::error::{ContextKind, ContextValue};

/// The flag, its value, the problem and the remedy, in the words of clap without the usage. Names the environment
/// variable if the value comes from there.
#[must_use]
pub fn one_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let is_usage = |line: &str| line.starts_with("Usage:") || line.starts_with("For more information");
    let said: Vec<&str> =
        text.lines().map(str::trim).take_while(|line| !is_usage(line)).filter(|line| !line.is_empty()).collect();
    let origin = variable(error).map(|name| format!(", from {name}")).unwrap_or_default();
    let line = format!("{}{origin} (see --help)", said.join(" ").replace(" tip: ", "; "));
    line.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

/// The environment variable of the invalid flag, if its value comes from there.
fn variable(error: &clap::Error) -> Option<String> {
    let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg) else { return None };
    let flag = flag.split([' ', '=']).next()?;
    let name = format!("POSTERN_{}", flag.strip_prefix("--")?.replace('-', "_").to_uppercase());
    let given = env::args().any(|argument| argument.split('=').next() == Some(flag));
    (!given && env::var_os(&name).is_some()).then_some(name)
}
