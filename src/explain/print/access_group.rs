//! Text output for an AccessGroup.

use std::io::{self, Write};

use kube::core::Selector;

use super::table::{fields, heading, line, table};
use super::{standing, status};
use crate::api::access_group::{Namespaces, Reach};
use crate::explain::access_group::{Checked, ExplainedGroup};

/// Prints the explanation of a group.
pub(in crate::explain) fn access_group(group: &ExplainedGroup, out: &mut impl Write) -> io::Result<()> {
    line(out, &format!("AccessGroup {}", group.name))?;
    let reach = match group.reach {
        Reach::Location => "exactly this location",
        Reach::Subtree => "this location and everything below it",
    };
    let mut rows = vec![
        ("Ready", group.ready.as_ref().map_or_else(|| "not reconciled yet".to_owned(), standing)),
        ("Role", format!("{} ({})", group.role, group.plane.as_str())),
        ("Location", format!("{}, for service users of {reach}", group.location)),
        ("Namespaces", namespaces(group.namespaces.as_ref())),
    ];
    rows.extend(group.members.map(|members| ("Members", members.to_string())));
    rows.extend(group.created_by.clone().map(|who| ("Created by", who)));
    rows.push(("Status", status(&group.status)));
    fields(out, &rows)?;
    heading(out, "Permissions")?;
    let permissions = group.permissions.iter().map(|at| vec![at.audience.clone(), at.scopes.join(" ")]);
    table(out, &["AUDIENCE", "SCOPES"], &permissions.collect::<Vec<_>>())?;
    heading(out, "Verbs that you need to create this group (API group postern.dev)")?;
    rights(&group.to_create, out)?;
    heading(out, "Verbs that you need to add this group to a service user")?;
    rights(&group.to_add, out)
}

fn namespaces(open_to: Option<&Namespaces>) -> String {
    let Some(open_to) = open_to else { return "none: no service user can have this group".to_owned() };
    let names = open_to.names.as_ref().map(|names| names.join(", "));
    let selector = open_to.selector.clone().map(|selector| match Selector::try_from(selector) {
        Ok(selector) if selector.selects_all() => "all".to_owned(),
        Ok(selector) => format!("with the labels {selector}"),
        Err(_) => "none by labels: the selector is malformed".to_owned(),
    });
    names.into_iter().chain(selector).collect::<Vec<_>>().join("; ")
}

fn rights(rights: &[Checked], out: &mut impl Write) -> io::Result<()> {
    let row = |checked: &Checked| {
        let granted = if checked.granted { "yes" } else { "no" };
        let right = &checked.right;
        vec![right.verb.to_owned(), right.resource.to_owned(), granted.to_owned(), right.name.clone()]
    };
    table(out, &["VERB", "RESOURCE", "GRANTED", "NAME"], &rights.iter().map(row).collect::<Vec<_>>())
}
