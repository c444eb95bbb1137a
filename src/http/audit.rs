//! One line per decision, under the target `postern::audit`. It contains the caller, the request, the secret and the
//! reason of a refusal. It never contains a credential, and only a bounded, escaped part of a caller's text. Lines of
//! refused requests are rate-limited for each source network.

use std::borrow::Cow;
use std::net::IpAddr;

use crate::http::audit_limit::AuditLimit;
use crate::http::redact;
use crate::http::response::RequestId;
use crate::oauth::client_auth::Method;
use crate::oauth::client_record::ObjectRevision;
use crate::oauth::denial_rule::DenialRule;
use crate::oauth::error::TokenError;
use crate::oauth::forward_auth::AccessError;
use crate::oauth::introspection::Inactive;
use crate::oauth::revocation::Revocation;
use crate::oauth::token::AuditRecord;
use crate::telemetry::metrics::TokenMetrics;
use crate::telemetry::request_metrics::Outcome;

/// Writes the lines. A granted request always has a line.
pub(crate) struct Audit {
    limit: AuditLimit,
    is_client: Box<dyn Fn(&str) -> bool + Send + Sync>,
}

impl Audit {
    /// `is_client` returns whether a client has this id. Such an id is public, and is logged unchanged.
    pub(crate) fn new(metrics: TokenMetrics, is_client: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self { limit: AuditLimit::new(metrics), is_client: Box::new(is_client) }
    }

    pub(crate) fn issued(id: &RequestId, facts: &AuditRecord) {
        let fields = Fields::ours(facts);
        tracing::info!(
            target: "postern::audit",
            request_id = id.as_str(),
            outcome = Outcome::Issued.as_str(),
            client_id = fields.client_id.as_deref(),
            secret = fields.secret.as_deref(),
            secret_version = facts.version_id.as_deref(),
            key_id = facts.key_id.as_deref(),
            service_account = facts.service_account.as_deref(),
            token_issuer = facts.token_issuer.as_deref(),
            token_subject = facts.token_subject.as_deref(),
            pod = facts.pod(),
            node = facts.node(),
            certificate = facts.certificate.map(tracing::field::display),
            method = facts.method.map(Method::name),
            grant_type = fields.grant_type.as_deref(),
            scope = fields.scope.as_deref(),
            audience = fields.audience.as_deref(),
            jti = facts.jti.as_deref(),
            dpop_jkt = facts.dpop_jkt.as_deref(),
            x5t_s256 = facts.x5t_s256.as_deref(),
            created_by = facts.created_by.as_deref(),
            source = facts.source.map(tracing::field::display),
            "token issued"
        );
    }

    pub(crate) fn refused(
        &self,
        id: &RequestId,
        facts: &AuditRecord,
        outcome: Outcome,
        error: &TokenError,
        what: &'static str,
    ) {
        if !self.limit.allows(facts.source) {
            return;
        }
        let fields = self.presented(facts);
        let object = error.object();
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
            key_id = facts.key_id.as_deref(),
            service_account = facts.service_account.as_deref(),
            token_issuer = facts.token_issuer.as_deref(),
            token_subject = facts.token_subject.as_deref(),
            pod = facts.pod(),
            node = facts.node(),
            certificate = facts.certificate.map(tracing::field::display),
            method = facts.method.map(Method::name),
            grant_type = fields.grant_type.as_deref(),
            scope = fields.scope.as_deref(),
            audience = fields.audience.as_deref(),
            source = facts.source.map(tracing::field::display),
            rule = error.rule().name(),
            detail,
            object = object.map(name).as_deref(),
            revision = object.map(|object| tracing::field::display(object.resource_version)),
            message = what,
        );
    }

    /// A request that no handler sees.
    pub(crate) fn rejected(&self, id: &RequestId, source: Option<IpAddr>, rule: DenialRule) {
        if !self.limit.allows(source) {
            return;
        }
        tracing::info!(
            target: "postern::audit",
            request_id = id.as_str(),
            outcome = "rejected",
            source = source.map(tracing::field::display),
            rule = rule.name(),
            "request rejected"
        );
    }

    pub(crate) fn abandoned(&self, id: &RequestId, facts: &AuditRecord) {
        if !self.limit.allows(facts.source) {
            return;
        }
        let fields = self.presented(facts);
        tracing::info!(
            target: "postern::audit",
            request_id = id.as_str(),
            outcome = "abandoned",
            client_id = fields.client_id.as_deref(),
            secret = fields.secret.as_deref(),
            grant_type = fields.grant_type.as_deref(),
            scope = fields.scope.as_deref(),
            audience = fields.audience.as_deref(),
            source = facts.source.map(tracing::field::display),
            "client disconnected before the response"
        );
    }

    pub(crate) fn introspected(
        &self,
        id: &RequestId,
        caller: &AuditRecord,
        token: &AuditRecord,
        inactive: Option<&Inactive>,
    ) {
        if inactive.is_some() && !self.limit.allows(caller.source) {
            return;
        }
        // Postern issued the token, so the caller did not invent its client id.
        let (fields, about) = (Fields::ours(caller), Fields::ours(token));
        tracing::info!(
            target: "postern::audit",
            request_id = id.as_str(),
            outcome = if inactive.is_none() { "active" } else { "inactive" },
            client_id = fields.client_id.as_deref(),
            secret = fields.secret.as_deref(),
            secret_version = caller.version_id.as_deref(),
            key_id = caller.key_id.as_deref(),
            service_account = caller.service_account.as_deref(),
            token_issuer = caller.token_issuer.as_deref(),
            token_subject = caller.token_subject.as_deref(),
            pod = caller.pod(),
            node = caller.node(),
            certificate = caller.certificate.map(tracing::field::display),
            method = caller.method.map(Method::name),
            token_client_id = about.client_id.as_deref(),
            jti = token.jti.as_deref(),
            dpop_jkt = token.dpop_jkt.as_deref(),
            x5t_s256 = token.x5t_s256.as_deref(),
            source = caller.source.map(tracing::field::display),
            rule = inactive.map(|inactive| inactive.rule().name()),
            "token introspected"
        );
    }

    pub(crate) fn revoked(&self, id: &RequestId, facts: &AuditRecord, revocation: &Revocation) {
        let fields = self.presented(facts);
        let rule = revocation.rule().map(DenialRule::name);
        if rule.is_some() && !self.limit.allows(facts.source) {
            return;
        }
        let (outcome, message) =
            if rule.is_none() { ("revoked", "token revoked") } else { ("ignored", "revocation ignored") };
        tracing::info!(
            target: "postern::audit",
            request_id = id.as_str(),
            outcome,
            client_id = fields.client_id.as_deref(),
            secret = fields.secret.as_deref(),
            secret_version = facts.version_id.as_deref(),
            key_id = facts.key_id.as_deref(),
            service_account = facts.service_account.as_deref(),
            token_issuer = facts.token_issuer.as_deref(),
            token_subject = facts.token_subject.as_deref(),
            pod = facts.pod(),
            node = facts.node(),
            certificate = facts.certificate.map(tracing::field::display),
            method = facts.method.map(Method::name),
            jti = facts.jti.as_deref(),
            dpop_jkt = facts.dpop_jkt.as_deref(),
            x5t_s256 = facts.x5t_s256.as_deref(),
            source = facts.source.map(tracing::field::display),
            rule,
            message,
        );
    }

    pub(crate) fn allowed(&self, id: &RequestId, facts: &AuditRecord) {
        let fields = self.presented(facts);
        tracing::info!(
            target: "postern::audit",
            request_id = id.as_str(),
            outcome = Outcome::Allowed.as_str(),
            client_id = fields.client_id.as_deref(),
            secret = fields.secret.as_deref(),
            secret_version = facts.version_id.as_deref(),
            key_id = facts.key_id.as_deref(),
            certificate = facts.certificate.map(tracing::field::display),
            method = facts.method.map(Method::name),
            scope = fields.scope.as_deref(),
            audience = fields.audience.as_deref(),
            jti = facts.jti.as_deref(),
            dpop_jkt = facts.dpop_jkt.as_deref(),
            x5t_s256 = facts.x5t_s256.as_deref(),
            source = facts.source.map(tracing::field::display),
            "request allowed"
        );
    }

    pub(crate) fn denied(&self, id: &RequestId, facts: &AuditRecord, outcome: Outcome, error: &AccessError) {
        if !self.limit.allows(facts.source) {
            return;
        }
        let fields = self.presented(facts);
        let object = error.object();
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
            key_id = facts.key_id.as_deref(),
            certificate = facts.certificate.map(tracing::field::display),
            method = facts.method.map(Method::name),
            scope = fields.scope.as_deref(),
            audience = fields.audience.as_deref(),
            jti = facts.jti.as_deref(),
            dpop_jkt = facts.dpop_jkt.as_deref(),
            x5t_s256 = facts.x5t_s256.as_deref(),
            source = facts.source.map(tracing::field::display),
            rule = error.rule().name(),
            detail,
            object = object.map(name).as_deref(),
            revision = object.map(|object| tracing::field::display(object.resource_version)),
            "request denied"
        );
    }

    /// Some of them are text of a caller or a proxy.
    fn presented<'a>(&self, facts: &'a AuditRecord) -> Fields<'a> {
        let client_id = |id| if (self.is_client)(id) { Cow::Borrowed(id) } else { redact::unknown_client_id(id) };
        Fields {
            client_id: facts.client_id.as_deref().map(client_id),
            grant_type: facts.grant_type.as_deref().map(redact::grant_type),
            scope: facts.scope.as_deref().map(redact::text),
            audience: facts.audience.as_deref().map(redact::text),
            ..Fields::ours(facts)
        }
    }
}

struct Fields<'a> {
    client_id: Option<Cow<'a, str>>,
    grant_type: Option<Cow<'a, str>>,
    scope: Option<Cow<'a, str>>,
    audience: Option<Cow<'a, str>>,
    secret: Option<String>,
}

impl<'a> Fields<'a> {
    /// The caller is authenticated, and the request was granted: all values come from our objects.
    fn ours(facts: &'a AuditRecord) -> Self {
        Self {
            client_id: facts.client_id.as_deref().map(Cow::Borrowed),
            grant_type: facts.grant_type.as_deref().map(Cow::Borrowed),
            scope: facts.scope.as_deref().map(Cow::Borrowed),
            audience: facts.audience.as_deref().map(Cow::Borrowed),
            secret: facts.secret.as_ref().map(|secret| format!("{}/{}", secret.namespace, secret.name)),
        }
    }
}

fn name(object: &ObjectRevision) -> String {
    format!("{} {}/{}", object.kind, object.namespace, object.name)
}
