//! Condition types and reasons, from the doc comments of `src/api/conditions.rs`.

use postern::api::conditions::{reasons, types};

use crate::text::escape;

/// The kinds that have conditions.
const KINDS: [&str; 4] = ["AccessGroup", "ServiceUser", "Application", "ClientSecret"];

/// A condition type.
struct Condition {
    name: &'static str,
    kinds: Vec<&'static str>,
    meaning: String,
}

/// A meaning may begin with the kinds that have the condition. Without them all kinds have it.
fn all() -> impl Iterator<Item = Condition> {
    types::ALL.iter().map(|(name, meaning)| {
        let (start, rest) = meaning.split_once(": ").unwrap_or_default();
        let kinds: Vec<&str> = start.split(", ").collect();
        if kinds.iter().all(|kind| KINDS.contains(kind)) {
            Condition { name, kinds, meaning: capitalised(rest) }
        } else {
            Condition { name, kinds: KINDS.to_vec(), meaning: (*meaning).to_owned() }
        }
    })
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect()
}

/// The section of a kind's page.
pub fn section(kind: &str) -> String {
    let conditions = all().filter(|condition| condition.kinds.contains(&kind));
    let rows = conditions.map(|condition| format!("| `{}` | {} |\n", condition.name, escape(&condition.meaning)));
    format!(
        "## Conditions\n\n[Conditions and reasons](conditions.md) lists the reasons.\n\n| type | meaning |\n|---|---|\n{}\n",
        rows.collect::<String>()
    )
}

/// The page of all conditions and reasons.
pub fn page() -> String {
    let kinds = |condition: &Condition| {
        if condition.kinds.len() == KINDS.len() { "all".to_owned() } else { condition.kinds.join(", ") }
    };
    let row = |condition: Condition| {
        format!("| `{}` | {} | {} |\n", condition.name, kinds(&condition), escape(&condition.meaning))
    };
    let reasons = reasons::ALL.iter().map(|(name, meaning)| format!("| `{name}` | {} |\n", escape(meaning)));
    format!(
        "# Conditions and reasons\n\n[When something is not Ready](../api.md#when-something-is-not-ready) says what to \
         do for each reason.\n\n## Conditions\n\n| type | kinds | meaning |\n|---|---|---|\n{}\n## Reasons\n\n\
         A reason is that of a condition, or of an event.\n\n| reason | meaning |\n|---|---|\n{}",
        all().map(row).collect::<String>(),
        reasons.collect::<String>()
    )
}
