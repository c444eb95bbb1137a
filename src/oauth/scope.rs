//! Scope syntax (RFC 6749 §3.3).

/// The scopes of a request in their order, each once. `None`: not `scope-token *( SP scope-token )`.
#[must_use]
pub fn parse(text: &str) -> Option<Vec<&str>> {
    let mut scopes: Vec<&str> = text.split(' ').collect();
    if !scopes.iter().all(|scope| is_token(scope)) {
        return None;
    }
    if scopes.len() > 1 {
        let mut seen = std::collections::HashSet::with_capacity(scopes.len());
        scopes.retain(|scope| seen.insert(*scope));
    }
    Some(scopes)
}

/// `1*( %x21 / %x23-5B / %x5D-7E )`
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g2_scopes_keep_their_order_and_duplicates_collapse() {
        assert_eq!(parse("b a b c a"), Some(vec!["b", "a", "c"]));
        assert_eq!(parse("!#[]~"), Some(vec!["!#[]~"]));
        assert_eq!(parse("a A"), Some(vec!["a", "A"]));
    }

    #[test]
    fn g2_other_characters_and_other_white_space_are_refused() {
        for text in ["", " ", " a", "a ", "a  b", "a\tb", "a\nb", "a\"b", "a\\b", "é", "a\u{7f}", "a\0"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
