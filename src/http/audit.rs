//! One line per decision, under the target `postern::audit`. It says who, what, with which secret and why not; never a
//! credential, and never more of a caller's text than a bounded, escaped piece of it.

use std::borrow::Cow;

use crate::crypto::secret;
use crate::http::answer::RequestId;
use crate::oauth::client::ObjectRevision;
use crate::oauth::error::TokenError;
use crate::oauth::forward_auth::AccessError;
use crate::oauth::introspect::Inactive;
use crate::oauth::revoke::Revocation;
use crate::oauth::token::Facts;
use crate::telemetry::metrics::{AuthOutcome, Outcome};

/// Characters of a caller's text that a line may hold: more than any client id, grant type or usual list of scopes.
const SHOWN_MAX: usize = 512;

pub(crate) fn issued(id: &RequestId, facts: &Facts) {
    let fields = Fields::of(facts);
    tracing::info!(
        target: "postern::audit",
        request_id = id.as_str(),
        outcome = Outcome::Issued.as_str(),
        client_id = fields.client_id.as_deref(),
        secret = fields.secret.as_deref(),
        secret_version = facts.version_id.as_deref(),
        grant_type = fields.grant_type.as_deref(),
        scope = fields.scope.as_deref(),
        audience = fields.audience.as_deref(),
        jti = facts.jti.as_deref(),
        created_by = facts.created_by.as_deref(),
        source = facts.source.map(tracing::field::display),
        "token issued"
    );
}

pub(crate) fn refused(id: &RequestId, facts: &Facts, outcome: Outcome, error: &TokenError, what: &'static str) {
    let fields = Fields::of(facts);
    let object = match error {
        TokenError::Client(error) => error.object(),
        // The grant is compiled into the secret; the secret's Application and ServiceUser are a step away from there.
        TokenError::Authority(_) => facts.secret.as_ref(),
        _ => None,
    };
    let detail = match error {
        TokenError::Request(error) => Some(tracing::field::display(error)),
        _ => None,
    };
    tracing::info!(
        target: "postern::audit",
        request_id = id.as_str(),
        outcome = outcome.as_str(),
        client_id = fields.client_id.as_deref(),
        secret = fields.secret.as_deref(),
        secret_version = facts.version_id.as_deref(),
        grant_type = fields.grant_type.as_deref(),
        scope = fields.scope.as_deref(),
        audience = fields.audience.as_deref(),
        source = facts.source.map(tracing::field::display),
        rule = error.rule(),
        detail,
        object = object.map(name).as_deref(),
        revision = object.map(|object| tracing::field::display(object.resource_version)),
        message = what,
    );
}

pub(crate) fn introspected(id: &RequestId, caller: &Facts, token: &Facts, inactive: Option<&Inactive>) {
    let (fields, about) = (Fields::of(caller), Fields::of(token));
    tracing::info!(
        target: "postern::audit",
        request_id = id.as_str(),
        outcome = if inactive.is_none() { "active" } else { "inactive" },
        client_id = fields.client_id.as_deref(),
        secret = fields.secret.as_deref(),
        secret_version = caller.version_id.as_deref(),
        token_client_id = about.client_id.as_deref(),
        jti = token.jti.as_deref(),
        source = caller.source.map(tracing::field::display),
        rule = inactive.map(Inactive::rule),
        "token introspected"
    );
}

pub(crate) fn revoked(id: &RequestId, facts: &Facts, revocation: &Revocation) {
    let fields = Fields::of(facts);
    let (outcome, rule) = match revocation {
        Revocation::Ended => ("revoked", None),
        Revocation::Nothing(fault) => ("ignored", Some(fault.rule())),
    };
    tracing::info!(
        target: "postern::audit",
        request_id = id.as_str(),
        outcome,
        client_id = fields.client_id.as_deref(),
        secret = fields.secret.as_deref(),
        secret_version = facts.version_id.as_deref(),
        jti = facts.jti.as_deref(),
        source = facts.source.map(tracing::field::display),
        rule,
        "token revoked"
    );
}

pub(crate) fn allowed(id: &RequestId, facts: &Facts) {
    let fields = Fields::of(facts);
    tracing::info!(
        target: "postern::audit",
        request_id = id.as_str(),
        outcome = AuthOutcome::Allowed.as_str(),
        client_id = fields.client_id.as_deref(),
        secret = fields.secret.as_deref(),
        secret_version = facts.version_id.as_deref(),
        scope = fields.scope.as_deref(),
        audience = fields.audience.as_deref(),
        jti = facts.jti.as_deref(),
        source = facts.source.map(tracing::field::display),
        "request allowed"
    );
}

pub(crate) fn denied(id: &RequestId, facts: &Facts, outcome: AuthOutcome, error: &AccessError) {
    let fields = Fields::of(facts);
    let object = match error {
        AccessError::Insufficient { .. } => facts.secret.as_ref(),
        _ => error.object(),
    };
    let detail = match error {
        AccessError::Malformed(error) => Some(tracing::field::display(error)),
        _ => None,
    };
    tracing::info!(
        target: "postern::audit",
        request_id = id.as_str(),
        outcome = outcome.as_str(),
        client_id = fields.client_id.as_deref(),
        secret = fields.secret.as_deref(),
        secret_version = facts.version_id.as_deref(),
        scope = fields.scope.as_deref(),
        audience = fields.audience.as_deref(),
        jti = facts.jti.as_deref(),
        source = facts.source.map(tracing::field::display),
        rule = error.rule(),
        detail,
        object = object.map(name).as_deref(),
        revision = object.map(|object| tracing::field::display(object.resource_version)),
        "request denied"
    );
}

struct Fields<'a> {
    client_id: Option<Cow<'a, str>>,
    grant_type: Option<Cow<'a, str>>,
    scope: Option<Cow<'a, str>>,
    audience: Option<Cow<'a, str>>,
    secret: Option<String>,
}

impl<'a> Fields<'a> {
    fn of(facts: &'a Facts) -> Self {
        let of_client = facts.client_id.as_deref().map(shown);
        let shown = |text: &'a Option<String>| text.as_deref().map(shown);
        Self {
            client_id: of_client,
            grant_type: shown(&facts.grant_type),
            scope: shown(&facts.scope),
            audience: shown(&facts.audience),
            secret: facts.secret.as_ref().map(|secret| format!("{}/{}", secret.namespace, secret.name)),
        }
    }
}

fn name(object: &ObjectRevision) -> String {
    format!("{} {}/{}", object.kind, object.namespace, object.name)
}

/// A caller's text as a line may show it. Who mixes up the fields of a form sends a secret where an id belongs, so
/// nothing that looks like one is shown.
fn shown(text: &str) -> Cow<'_, str> {
    if text.contains(secret::PREFIX) {
        return Cow::Borrowed("[REDACTED]");
    }
    let plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\'));
    if plain && text.len() <= SHOWN_MAX {
        return Cow::Borrowed(text);
    }
    let mut escaped: String = text.chars().take(SHOWN_MAX).flat_map(char::escape_default).take(SHOWN_MAX).collect();
    escaped.push('…');
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::secret::SecretValue;

    #[test]
    fn q4_plain_text_is_shown_as_it_is() {
        assert_eq!(shown("3f0c3a52-9d55-4d0e-8b6a-0f1f2a6f5c1e"), "3f0c3a52-9d55-4d0e-8b6a-0f1f2a6f5c1e");
    }

    #[test]
    fn q4_other_text_is_escaped_and_bounded() {
        assert_eq!(shown("a\nb\u{1b}[31m\"é"), "a\\nb\\u{1b}[31m\\\"\\u{e9}…");
        assert!(shown(&"x".repeat(100_000)).len() < 600);
        assert!(shown(&"\u{1F600}".repeat(100_000)).len() < 600);
    }

    #[test]
    fn q4_a_secret_in_the_wrong_field_is_not_shown() {
        let (_, value) = SecretValue::generate();
        assert_eq!(shown(value.expose_secret()), "[REDACTED]");
        assert_eq!(shown(&format!("x {}", value.expose_secret())), "[REDACTED]");
    }
}
