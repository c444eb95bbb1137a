//! Text output: aligned, stable, without colours.

mod access_group;
mod audience;
mod table;
mod token;

use std::io::{self, Write};

use jiff::Timestamp;

use super::client::{ExplainedClient, Permissions};
use super::group::{Effect, Group};
use super::permissions::PermissionOrigin;
use super::secret::Secret;
use super::status::{Standing, StatusAge};
use super::user::User;
use crate::api::client_secret::{CredentialType, VersionState};
use crate::api::conditions::reasons;
use table::{fields, heading, line, relative, table};

pub(super) use access_group::access_group;
pub(super) use audience::audience;
pub(super) use token::token;

/// Prints the explanation of a client.
pub(super) fn client(client: &ExplainedClient, now: Timestamp, out: &mut impl Write) -> io::Result<()> {
    line(out, &format!("Client {}", client.client_id))?;
    let application = &client.application;
    let mut rows = vec![("Application", application.name.clone()), ("Ready", standing(&application.ready))];
    if client.claimants.len() > 1 {
        let first = client.claimants.first().map(String::as_str).unwrap_or_default();
        rows.push(("Claimed by", format!("{}; the oldest has it: {first}", client.claimants.join(", "))));
    }
    rows.extend(application.created_by.clone().map(|who| ("Created by", who)));
    rows.extend(application.sender_constraint.map(|constraint| ("Sender constraint", constraint.to_owned())));
    rows.extend(application.networks.as_ref().map(|networks| ("Only from", networks.join(", "))));
    rows.extend(application.locked.as_ref().map(|locked| ("Secrets", locked.text())));
    let limit = application.token_requests_per_minute;
    rows.extend(limit.map(|limit| ("Token requests", format!("at most {limit} a minute at each replica"))));
    rows.push(("Status", status(&application.status)));
    fields(out, &rows)?;
    match &client.service_user {
        Some(found) => user(found, out)?,
        None => heading(out, "ServiceUser: none")?,
    }
    heading(out, "Groups of the service user")?;
    groups(&client.groups, out)?;
    match &client.permissions {
        Permissions::Known(known) => {
            heading(out, "Permissions of the Application")?;
            permissions(&known.permissions, out)?;
            restricted(&known.taken_away, &known.not_granted, out)?;
        }
        Permissions::FromStatus { permissions } => {
            heading(out, "Permissions of the Application (from status)")?;
            let rows = permissions.iter().map(|at| vec![at.audience.clone(), at.scopes.join(" ")]);
            table(out, &["AUDIENCE", "SCOPES"], &rows.collect::<Vec<_>>())?;
        }
    }
    for one in &client.client_secrets {
        secret(one, now, out)?;
    }
    if client.client_secrets.is_empty() {
        heading(out, "ClientSecrets: none")?;
    }
    heading(out, "Client authentication")?;
    let rows = client.methods.iter().map(|method| {
        let accepted = if method.accepted { "accepted" } else { "not accepted" };
        let used = method.last_used_at.map(|at| format!("; last used {}", relative(at, now))).unwrap_or_default();
        vec![method.name.to_owned(), format!("{accepted}: {}{used}", method.detail)]
    });
    table(out, &[], &rows.collect::<Vec<_>>())?;
    notes(&client.notes, out)
}

fn user(user: &User, out: &mut impl Write) -> io::Result<()> {
    heading(out, &format!("ServiceUser {}", user.name))?;
    let ready = user.ready.as_ref().map_or_else(
        || "not reconciled yet".to_owned(),
        |ready| match ready.reason.as_str() {
            // The lines below give the reason for each.
            reasons::GROUPS_NOT_RESOLVED => format!("no, {}: see the groups below", ready.reason),
            _ => standing(ready),
        },
    );
    let mut rows = vec![("Ready", ready), ("Subject", user.subject.clone()), ("Location", user.location.clone())];
    rows.extend(user.created_by.clone().map(|who| ("Created by", who)));
    rows.push(("Status", status(&user.status)));
    fields(out, &rows)
}

fn groups(groups: &[Group], out: &mut impl Write) -> io::Result<()> {
    let mut rows = Vec::new();
    for group in groups {
        let mut name = group.name.clone();
        match &group.standing {
            Effect::Active { role, plane, location, permissions } => {
                rows.push(vec![name, format!("active: {role} ({}) at {location}", plane.as_str())]);
                for permission in permissions {
                    rows.push(vec![
                        String::new(),
                        format!("  {}: {}", permission.audience, permission.scopes.join(" ")),
                    ]);
                }
            }
            Effect::GrantsNothing { reason, message } => {
                rows.push(vec![std::mem::take(&mut name), format!("grants nothing, {reason}: {message}")]);
            }
            Effect::NotReadable { message } => rows.push(vec![name, message.clone()]),
        }
    }
    table(out, &[], &rows)
}

fn secret(secret: &Secret, now: Timestamp, out: &mut impl Write) -> io::Result<()> {
    heading(out, &format!("ClientSecret {}", secret.name))?;
    let mut rows = vec![("Active", standing(&secret.ready))];
    rows.extend((secret.type_ == CredentialType::PrivateKey).then(|| ("Type", "PrivateKey".to_owned())));
    rows.extend(secret.usages.as_ref().map(|uses| {
        let uses: Vec<String> = uses.iter().map(|one| format!("{one:?}")).collect();
        ("Only for", uses.join(", "))
    }));
    rows.extend(secret.networks.as_ref().map(|networks| ("Only from", networks.join(", "))));
    rows.extend(secret.expires_at.map(|at| ("Ends", relative(at, now))));
    for version in &secret.versions {
        let until = version.until.map_or_else(|| "without end".to_owned(), |until| format!("until {until}"));
        let state = match version.state {
            VersionState::Active => "accepted",
            VersionState::Retiring | VersionState::Retired => "replaced, accepted",
        };
        rows.push(("Version", format!("{} {state} {until}", version.id)));
    }
    rows.push(("Last used", last_used(secret.last_used_at, now)));
    rows.push(("Status", status(&secret.status)));
    if secret.restricted.is_none() {
        rows.push(("Permissions", "those of the Application".to_owned()));
    }
    fields(out, &rows)?;
    let Some(left) = &secret.restricted else { return Ok(()) };
    permissions(&left.permissions, out)?;
    restricted(&left.taken_away, &left.not_granted, out)
}

fn permissions(permissions: &[PermissionOrigin], out: &mut impl Write) -> io::Result<()> {
    table(out, &["AUDIENCE", "SCOPE", "FROM"], &rows(permissions))
}

fn rows(permissions: &[PermissionOrigin]) -> Vec<Vec<String>> {
    let row = |one: &PermissionOrigin| vec![one.audience.clone(), one.scope.clone(), origin(one)];
    permissions.iter().map(row).collect()
}

fn restricted(taken_away: &[PermissionOrigin], not_granted: &[String], out: &mut impl Write) -> io::Result<()> {
    if !taken_away.is_empty() {
        writeln!(out, "  Taken away by spec.restrictTo:")?;
        table(out, &[], &rows(taken_away))?;
    }
    for entry in not_granted {
        line(out, &format!("  spec.restrictTo contains an entry that is not granted; it has no effect: {entry}"))?;
    }
    Ok(())
}

fn notes(notes: &[String], out: &mut impl Write) -> io::Result<()> {
    if notes.is_empty() {
        return Ok(());
    }
    heading(out, "Notes")?;
    notes.iter().try_for_each(|note| line(out, &format!("  {note}")))
}

/// `role (group, group)`
fn origin(permission: &PermissionOrigin) -> String {
    format!("{} ({})", permission.role, permission.groups.join(", "))
}

fn last_used(at: Option<Timestamp>, now: Timestamp) -> String {
    at.map_or_else(|| "never".to_owned(), |at| relative(at, now))
}

fn standing(standing: &Standing) -> String {
    let word = if standing.active { "yes" } else { "no" };
    format!("{word}, {}: {}", standing.reason, standing.message)
}

fn status(status: &StatusAge) -> String {
    let epoch = status.epoch.map(|epoch| format!("epoch {epoch}, ")).unwrap_or_default();
    match &status.behind {
        None => format!("{epoch}up to date"),
        Some(why) => format!("{epoch}behind: {why}"),
    }
}
