//! Tests of every string in every spec, as defined in the CRDs.

use std::sync::LazyLock;

use proptest::prelude::*;
use regex::Regex;
use serde_json::Value;

use super::super::printable::is_refused;
use super::{duration, instant_pattern};

/// A string in a spec.
struct Text {
    path: String,
    schema: Value,
    /// What it has to match.
    patterns: Vec<Regex>,
}

/// Every string of every spec but those of enumerations.
static TEXTS: LazyLock<Vec<Text>> = LazyLock::new(|| {
    let texts = strings().into_iter().filter(|(_, schema)| !schema["enum"].is_array());
    texts.map(|(path, schema)| Text { path, patterns: patterns(&schema), schema }).collect()
});

/// CEL functions that let only ASCII without control characters through.
const SAFE_FUNCTIONS: [&str; 3] =
    ["!format.qualifiedName().validate(self)", "!format.labelValue().validate(self)", "isCIDR(self)"];

/// The schema of each string in a spec, with its path.
fn strings() -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for crd in super::super::crds::all() {
        let kind = crd.spec.names.kind.clone();
        if kind == "ReplicaState" {
            // Only the operator writes it.
            continue;
        }
        let crd = serde_json::to_value(crd).unwrap();
        let spec = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        collect(&format!("{kind}.spec"), spec, &mut found);
    }
    found
}

fn collect(path: &str, schema: &Value, found: &mut Vec<(String, Value)>) {
    if schema["type"] == "string" {
        found.push((path.to_owned(), schema.clone()));
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        collect(&format!("{path}.{name}"), property, found);
    }
    for (part, mark) in [("items", "[]"), ("additionalProperties", "{}")] {
        if schema[part].is_object() {
            collect(&format!("{path}{mark}"), &schema[part], found);
        }
    }
    if schema["additionalProperties"].is_object() {
        let rules = rules(schema);
        let are_known = |rule: &String| rule.contains("self.all(key, size(key) <=") || rule.contains("self.rename.all");
        // The keys of `rename` are held to the known ones by a rule of `delivery`.
        assert!(rules.iter().any(are_known) || path.ends_with("delivery.rename"), "{path}: keys without a rule");
    }
}

fn rules(schema: &Value) -> Vec<String> {
    let rules = schema["x-kubernetes-validations"].as_array().into_iter().flatten();
    rules.map(|rule| rule["rule"].as_str().unwrap().to_owned()).collect()
}

/// The patterns that the text itself has to match.
fn patterns(schema: &Value) -> Vec<Regex> {
    let call = Regex::new(r"(^|&& )self\.matches\(r'([^']*)'\)").unwrap();
    let of = |rule: String| call.captures_iter(&rule).map(|found| Regex::new(&found[2]).unwrap()).collect::<Vec<_>>();
    rules(schema).into_iter().filter(|rule| !rule.contains("||")).flat_map(of).collect()
}

fn is_safe_by_function(schema: &Value) -> bool {
    rules(schema).iter().any(|rule| SAFE_FUNCTIONS.iter().any(|function| rule.contains(function)))
}

/// `description` and annotations have several lines; they are copied as they are.
fn may_have_lines(path: &str) -> bool {
    path.ends_with(".spec.description") || path.ends_with(".delivery.annotations{}")
}

#[test]
fn every_string_has_a_rule_and_no_rule_is_defined_twice() {
    assert!(TEXTS.len() > 30, "{}", TEXTS.len());
    for Text { path, schema, patterns } in TEXTS.iter() {
        assert!(schema["maxLength"].is_u64(), "{path} has no bound");
        assert!(!patterns.is_empty() || is_safe_by_function(schema), "{path}: {schema}");
        for said_by_a_rule in ["pattern", "format", "minLength"] {
            assert!(schema[said_by_a_rule].is_null(), "{path}: two messages for one fault: {schema}");
        }
    }
}

#[test]
fn no_string_accepts_the_boundary_characters_of_the_refused_ranges() {
    let borders = [
        '\0', '\u{8}', '\u{b}', '\u{c}', '\u{e}', '\u{1f}', '\u{7f}', '\u{80}', '\u{85}', '\u{9f}', '\u{2028}',
        '\u{2029}', '\u{feff}', '\u{fffe}', '\u{ffff}',
    ];
    for character in borders {
        assert!(is_refused(character), "{character:?}");
        for (before, after) in [("", ""), ("a", ""), ("", "a"), ("a@", "a"), ("a", "a")] {
            refused_everywhere(character, before, after).unwrap();
        }
    }
    for Text { path, patterns, .. } in
        TEXTS.iter().filter(|text| !may_have_lines(&text.path) && !text.patterns.is_empty())
    {
        for text in ["a\n", "\na", "a\tb", "a\rb"] {
            assert!(patterns.iter().any(|pattern| !pattern.is_match(text)), "{path}: {text:?}");
        }
    }
}

proptest! {
    #[test]
    fn no_string_accepts_a_character_that_the_api_server_refuses(
        character in any::<char>().prop_filter("refused", |character| is_refused(*character)),
        before in "[a-z]{0,4}", after in "[a-z]{0,4}",
    ) {
        refused_everywhere(character, &before, &after)?;
    }

    #[test]
    fn free_text_accepts_every_other_character(text in any::<String>()) {
        for Text { path, patterns, .. } in TEXTS.iter() {
            let lines = may_have_lines(path);
            if lines || path.ends_with("displayName") {
                let is_line = |character: char| !lines && matches!(character, '\n' | '\r' | '\t');
                let taken = patterns.iter().all(|pattern| pattern.is_match(&text));
                prop_assert_eq!(taken, !text.chars().any(|c| is_refused(c) || is_line(c)), "{}: {:?}", path, text);
            }
        }
    }
}

proptest! {
    #[test]
    fn text_that_matches_the_pattern_of_an_instant_parses_as_an_instant(text in generated(&instant_pattern())) {
        prop_assert!(text.parse::<jiff::Timestamp>().is_ok(), "{}", text);
    }

    #[test]
    fn text_that_matches_the_pattern_of_a_duration_parses_as_a_duration(text in generated(duration::PATTERN)) {
        prop_assert_eq!(duration::DurationOrZero::try_from(text.clone()).is_ok(), !text.is_empty(), "{}", text);
    }
}

#[test]
fn each_day_that_exists_is_an_instant_and_no_other() {
    let pattern = Regex::new(&instant_pattern()).unwrap();
    for year in [0, 1900, 1999, 2000, 2004, 2100, 2400, 8999, 9899, 9989, 9990, 9996, 9998] {
        for (month, day) in (0..=13).flat_map(|month| (0..=32).map(move |day| (month, day))) {
            let text = format!("{year:04}-{month:02}-{day:02}T00:00:00Z");
            assert_eq!(pattern.is_match(&text), text.parse::<jiff::Timestamp>().is_ok(), "{text}");
        }
    }
    assert!(!pattern.is_match("9999-01-01T00:00:00Z"));
}

/// Texts that match the pattern.
fn generated(pattern: &str) -> impl Strategy<Value = String> {
    proptest::string::string_regex(pattern.trim_start_matches('^').trim_end_matches('$')).unwrap()
}

fn refused_everywhere(character: char, before: &str, after: &str) -> Result<(), TestCaseError> {
    let text = format!("{before}{character}{after}");
    for Text { path, patterns, .. } in TEXTS.iter().filter(|text| !is_safe_by_function(&text.schema)) {
        prop_assert!(patterns.iter().any(|pattern| !pattern.is_match(&text)), "{} takes {:?}", path, text);
    }
    Ok(())
}
