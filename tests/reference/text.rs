//! Pieces of Markdown.

/// A link target: the anchor that both GitHub and mdBook give a heading that is one code span.
pub fn anchor(heading: &str) -> String {
    let kept = |letter: &char| letter.is_ascii_alphanumeric() || ['-', '_', ' '].contains(letter);
    heading.chars().filter(kept).map(|letter| if letter == ' ' { '-' } else { letter.to_ascii_lowercase() }).collect()
}

/// Free text as Markdown: what looks like HTML is shown as it is.
pub fn escape(text: &str) -> String {
    text.replace('<', "&lt;").replace('|', "\\|")
}

/// `a`, `b` and `c`, each as code.
pub fn codes(words: &[&str]) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match words.as_slice() {
        [most @ .., last] if !most.is_empty() => format!("{} and {last}", most.join(", ")),
        words => words.concat(),
    }
}

/// Takes the sentence that begins with `start` out of a text. Returns the sentence, and the text without it.
pub fn take_sentence(text: &str, start: &str) -> Option<(String, String)> {
    let (before, rest) = match text.strip_prefix(start) {
        Some(rest) => ("", rest),
        None => text.split_once(&format!(". {start}"))?,
    };
    let (sentence, after) = rest.split_once(". ").unwrap_or((rest.trim_end_matches('.'), ""));
    let before = if before.is_empty() { String::new() } else { format!("{before}. ") };
    Some((format!("{start}{sentence}."), format!("{before}{after}").trim_end().to_owned()))
}

#[test]
fn a_sentence_is_taken_out_of_a_text() {
    let take = |text| take_sentence(text, "Default: ");
    let taken = |sentence: &str, rest: &str| Some((sentence.to_owned(), rest.to_owned()));
    assert_eq!(take("A. Default: 1y (365 days)."), taken("Default: 1y (365 days).", "A."));
    assert_eq!(take("A. Default: b, or c. D."), taken("Default: b, or c.", "A. D."));
    assert_eq!(take("Default: b"), taken("Default: b.", ""));
    assert_eq!(take("The Default: b."), None);
}

#[test]
fn an_anchor_is_what_github_and_mdbook_make_of_a_heading() {
    assert_eq!(anchor("spec.permissions[].audience"), "specpermissionsaudience");
    assert_eq!(anchor("--tls-san"), "--tls-san");
}
