//! Text output for a token, then for its client.

use std::io::{self, Write};

use jiff::Timestamp;

use super::table::{fields, heading, line, relative, table};
use super::{client, notes, origin};
use crate::explain::token::{ScopeNow, TokenReport};

/// Prints the explanation of a token.
pub(in crate::explain) fn token(token: &TokenReport, now: Timestamp, out: &mut impl Write) -> io::Result<()> {
    line(out, &format!("Token {} (the signature is not checked here)", token.id))?;
    let mut rows = vec![
        ("Issuer", token.issuer.clone()),
        ("Client", token.client_id.clone()),
        ("Subject", token.subject.clone()),
        ("Location", token.location.clone()),
    ];
    rows.extend(token.created_by.clone().map(|who| ("Created by", who)));
    rows.extend(token.bound_to.clone().map(|key| ("Bound to", key)));
    rows.push(("Issued", relative(token.issued_at, now)));
    rows.push(("Ends", relative(token.ends_at, now)));
    let epochs = &token.epochs;
    rows.push(("Epochs", format!("service user {}, application {}", epochs.service_user, epochs.application)));
    rows.extend(token.client_secret.clone().map(|name| ("Issued for", format!("ClientSecret {name}"))));
    fields(out, &rows)?;

    if token.faults.is_empty() {
        heading(out, "No reason to reject this token was found")?;
    } else {
        heading(out, "Postern refuses it")?;
        let rows = token.faults.iter().map(|fault| vec![fault.rule.name().to_owned(), fault.message.clone()]);
        table(out, &[], &rows.collect::<Vec<_>>())?;
        if token.ends_at > now {
            writeln!(out, "  An API that verifies it offline, without asking Postern, accepts it until its end.")?;
        }
    }
    heading(out, "Its scopes now")?;
    table(
        out,
        &["AUDIENCE", "SCOPE", "GRANTED", "FROM, OR WHY NOT"],
        &token.scopes.iter().map(row).collect::<Vec<_>>(),
    )?;
    notes(&token.notes, out)?;
    token.client.iter().try_for_each(|found| {
        writeln!(out)?;
        client(found, now, out)
    })
}

fn row(scope: &ScopeNow) -> Vec<String> {
    let from: Vec<String> = scope.from.iter().map(origin).collect();
    let granted = if scope.granted { "yes" } else { "no" };
    let why = match (&scope.why, &scope.audience) {
        (Some(why), _) => why.clone(),
        (None, Some(_)) => from.join(", "),
        (None, None) => "every client may request it".to_owned(),
    };
    let audience = scope.audience.clone().unwrap_or_else(|| "-".to_owned());
    vec![audience, scope.scope.clone(), granted.to_owned(), why]
}
