//! Foreign text for status and events.
//!
//! Specs contain no control characters ([`schema`](super::schema)). A text from the API server, an admission policy or
//! a workload may contain some, and may have any length: the API server would reject the status as a whole.

/// `text` with a question mark in place of each character that the API server rejects, and at most `length_max`
/// characters long.
#[must_use]
pub fn printable(text: &str, length_max: usize) -> String {
    let mut characters = text.chars().map(|character| if is_refused(character) { '?' } else { character });
    let mut kept: String = characters.by_ref().take(length_max).collect();
    if characters.next().is_some() {
        kept.pop();
        kept.push('…');
    }
    kept
}

/// The API server reads a server-side apply as YAML: some characters are an error there, and others a line break.
pub(super) fn is_refused(character: char) -> bool {
    let is_line_break_or_tab = matches!(character, '\n' | '\r' | '\t');
    (character.is_control() && !is_line_break_or_tab)
        || matches!(character, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_that_the_api_server_refuses_are_replaced_and_long_text_is_truncated() {
        assert_eq!(printable("quota \u{7f}\u{85}\u{0}exceeded\n", 99), "quota ???exceeded\n");
        assert_eq!(printable("prüfe 🔑", 7), "prüfe 🔑");
        assert_eq!(printable("prüfe 🔑s", 7), "prüfe …");
    }
}
