//! The explanation of an AccessGroup.

use serde_json::json;

use super::{AUDIENCE, group};
use crate::explain::access_group::{Checked, Right, explain, rights_to_add, rights_to_create};
use crate::explain::print;

fn right(verb: &'static str, resource: &'static str, name: &str) -> Right {
    Right { verb, resource, name: name.to_owned() }
}

#[test]
fn a_new_group_needs_a_verb_for_each_audience_for_introspection_and_for_the_role() {
    let ledger = "https://ledger.example.com";
    let permissions = json!([
        {"audience": AUDIENCE, "scopes": ["read"]},
        {"audience": ledger, "scopes": ["read", "introspect"]},
    ]);
    let (_, group) = group("readers", &json!({"permissions": permissions}));
    let expected = [
        right("grant", "roles", "billing.reader"),
        right("permit", "audiences", AUDIENCE),
        right("permit", "audiences", ledger),
        right("introspect", "audiences", ledger),
    ];
    assert_eq!(rights_to_create(&group), expected);
    assert_eq!(rights_to_add(&group), [right("bind", "accessgroups", "readers")]);
}

#[test]
fn a_group_is_printed_with_the_namespaces_it_admits_and_the_verbs_the_caller_lacks() {
    let said = |spec: serde_json::Value| {
        let (_, group) = group("readers", &spec);
        let to_create = rights_to_create(&group).into_iter();
        let to_create = to_create.map(|right| Checked { granted: right.verb == "grant", right }).collect();
        let mut out = Vec::new();
        print::access_group(&explain(&group, to_create, Vec::new()), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    };
    let text = said(
        json!({"reach": "Subtree", "namespaces": {"names": ["a", "b"], "selector": {"matchLabels": {"team": "x"}}}}),
    );
    for line in [
        "AccessGroup readers\n",
        "  Role          billing.reader (Operational)\n",
        "  Location      /emea/billing, for service users of this location and everything below it\n",
        "  Namespaces    a, b; with the labels team=x\n",
        "  grant   roles      yes      billing.reader\n",
        &format!("  permit  audiences  no       {AUDIENCE}\n"),
    ] {
        assert!(text.contains(line), "{line:?} is not in\n{text}");
    }
    assert!(said(json!({"namespaces": null})).contains("Namespaces    none: no service user can have this group\n"));
    assert!(said(json!({"namespaces": {"selector": {}}})).contains("Namespaces    all\n"));
}
