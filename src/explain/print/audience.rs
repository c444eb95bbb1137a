//! Text output for an API: a line for each credential, to sort and to search.

use std::io::{self, Write};

use jiff::Timestamp;

use super::table::{heading, line, table};
use super::{last_used, notes};
use crate::explain::audience::{Caller, ExplainedAudience};
use crate::explain::status::Standing;

/// Prints which clients can call an API.
pub(in crate::explain) fn audience(
    audience: &ExplainedAudience,
    now: Timestamp,
    out: &mut impl Write,
) -> io::Result<()> {
    line(out, &format!("Audience {}", audience.audience))?;
    heading(out, "Applications with a permission there")?;
    let rows: Vec<_> = audience.callers.iter().flat_map(|caller| rows(caller, now)).collect();
    table(out, &["APPLICATION", "SERVICE USER", "CLIENT SECRET", "ACTIVE", "LAST USED", "SCOPES"], &rows)?;
    notes(&audience.notes, out)
}

fn rows(caller: &Caller, now: Timestamp) -> Vec<Vec<String>> {
    let user = caller.service_user.as_ref().map_or("none", |user| &user.name);
    let row = |secret: &str, active: String, used: String, scopes: Vec<&str>| {
        vec![caller.application.clone(), user.to_owned(), secret.to_owned(), active, used, scopes.join(" ")]
    };
    if caller.client_secrets.is_empty() {
        let scopes = caller.scopes.iter().map(String::as_str).collect();
        let without_credential = caller.ready.active && !caller.has_own_credential;
        let active = if without_credential { "no".to_owned() } else { active(&caller.ready) };
        return vec![row("none", active, last_used(caller.last_used_at, now), scopes)];
    }
    let of_secrets = caller.client_secrets.iter().map(|secret| {
        let scopes = secret.scopes.iter().map(String::as_str).collect();
        row(&secret.name, active(&secret.ready), last_used(secret.last_used_at, now), scopes)
    });
    of_secrets.collect()
}

fn active(ready: &Standing) -> String {
    if ready.active { "yes".to_owned() } else { format!("no, {}", ready.reason) }
}
