//! Each ClientSecret of a client: whether it is active, what it restricts, and which of its values are accepted.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt;
use serde::Serialize;

use super::Settings;
use super::permissions::{Origin, RestrictedPermissions};
use super::status::{Standing, StatusAge};
use crate::api::ClientSecret;
use crate::api::application::{ApplicationSpec, Restriction, Token};
use crate::api::client_secret::{CredentialType, Usage, VersionState};
use crate::api::conditions::{ConditionValue, reasons, types};
use crate::api::permissions::{Authority, narrow};
use crate::oauth::client_record::{SecretRecord, SecretVersion, has_ended};
use crate::plan::application::Disabled;
use crate::plan::client_secret::{ApplicationState, Delivered, Observed, Outcome, Policy, status};
use crate::plan::secret_content::{Client, Content, Endpoints};

/// A ClientSecret of the Application.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Secret {
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) type_: CredentialType,
    /// Whether it authenticates, and otherwise the rule that rejects it.
    pub(super) ready: Standing,
    /// Allowed purposes; absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) usages: Option<Vec<Usage>>,
    /// Allowed source networks; absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) networks: Option<Vec<String>>,
    /// The result of restrictTo; absent: all permissions of the Application.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) restricted: Option<RestrictedPermissions>,
    /// When the newest value expires; absent: never, or there is no value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) expires_at: Option<Timestamp>,
    /// When one of its values was last used; absent: never, according to status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_used_at: Option<Timestamp>,
    /// Values that are accepted now, the newest first.
    pub(super) versions: Vec<Accepted>,
    pub(super) status: StatusAge,
    /// The fingerprint of a token issued for it; `None`: its permissions are unknown.
    #[serde(skip)]
    pub(super) token_fingerprint: Option<Box<str>>,
    /// What a token issued for it may contain. If the groups are unknown: as far as status contains it.
    #[serde(skip)]
    pub(super) authority: Authority,
}

/// An accepted value.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Accepted {
    pub(super) id: String,
    pub(super) state: VersionState,
    /// Absent: it does not expire.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) until: Option<Timestamp>,
}

/// Properties that all ClientSecrets of an Application share.
pub(super) struct Siblings<'a> {
    /// The permissions of the Application. If the groups are unknown: those in status, without roles.
    pub(super) authority: &'a Authority,
    /// Where they come from; `None`: the groups are unknown.
    pub(super) origin: Option<Origin<'a>>,
    /// Whether the Application has its client id.
    pub(super) has_client_id: bool,
    /// The spec of the Application.
    pub(super) spec: &'a ApplicationSpec,
    /// Why the Application is rejected; `None`: it is not.
    pub(super) application_disabled: Option<Disabled>,
    pub(super) settings: &'a Settings,
    pub(super) now: Timestamp,
}

impl Siblings<'_> {
    /// Explains one ClientSecret. `record` is what the endpoint knows of it; `rank` is its place among those of the
    /// Application, oldest first.
    pub(super) fn explain(&self, secret: &ClientSecret, record: &SecretRecord, rank: usize) -> Secret {
        let restriction = secret.spec.restrict_to.as_deref();
        let versions = self.accepted(secret, record);
        let status = secret.status.clone().unwrap_or_default();
        Secret {
            name: secret.name_any(),
            type_: secret.spec.type_.unwrap_or_default(),
            ready: self.ready(secret, rank, &versions),
            usages: secret.spec.usages.clone(),
            networks: secret.spec.networks.as_ref().map(|networks| networks.iter().map(ToString::to_string).collect()),
            restricted: restriction.and_then(|_| Some(self.origin.as_ref()?.narrowed(self.authority, restriction))),
            expires_at: record.expires_at,
            last_used_at: status.last_used_at,
            versions,
            status: StatusAge::new(None, (status.observed_generation, secret.metadata.generation), None),
            token_fingerprint: self.origin.as_ref().map(|_| record.authority.clone()),
            authority: match self.origin {
                Some(_) => narrow(self.authority, restriction),
                None => narrow(self.authority, restriction.map(without_roles).as_ref()),
            },
        }
    }

    /// The controller's result. The controller also reads Secrets, so status knows more about what blocks the issue of
    /// a value.
    fn ready(&self, secret: &ClientSecret, rank: usize, versions: &[Accepted]) -> Standing {
        let policy = Policy {
            lifetime: self.settings.lifetime,
            limit: self.settings.secrets_per_application,
            ..Policy::default()
        };
        let observed = Observed {
            secret,
            application: self.application(secret),
            rank,
            has_older_claimant: false,
            delivered: Delivered::Unknown,
            secret_uid: None,
            import: None,
            uses: BTreeMap::new(),
            requested: None,
            workloads: Vec::new(),
            unavailable: Vec::new(),
            contested: None,
            // Only the controller has the install keys.
            rekeyed: BTreeMap::new(),
            unknown_install_key: None,
            policy: &policy,
            now: self.now,
        };
        let decided = Standing::ready(&status(&observed, &Outcome::Unchanged).conditions);
        let told = secret.status.as_ref().and_then(|status| Standing::ready(&status.conditions));
        let nothing = || {
            ConditionValue::new_false(types::READY, reasons::PENDING, "None of its values is accepted at present.")
                .into()
        };
        match (decided, told) {
            // The number of objects in the namespace is not checked here.
            (_, Some(told)) if told.reason == reasons::NAMESPACE_LIMIT_REACHED => told,
            (Some(decided), Some(told)) if decided.reason == reasons::PENDING && !told.active => told,
            (Some(decided), _) if decided.active && versions.is_empty() => nothing(),
            (Some(decided), _) => decided,
            (None, _) => nothing(),
        }
    }

    fn application(&self, secret: &ClientSecret) -> ApplicationState {
        if !self.has_client_id {
            return ApplicationState::WithoutClientId;
        }
        // The content to deliver does not affect whether the secret is active.
        let nobody = Client { id: "", subject: "", held: &Authority::new(), token: &Token::default() };
        let content = Content::new(&Endpoints::default(), &nobody, CredentialType::default(), None);
        let authority = self.origin.as_ref().map(|_| self.authority.clone());
        ApplicationState::Known {
            content,
            authority,
            disabled: self.application_disabled.clone(),
            accepts_type: self.spec.accepts(secret.spec.type_.unwrap_or_default()),
        }
    }

    /// The versions that the endpoint accepts now.
    fn accepted(&self, secret: &ClientSecret, record: &SecretRecord) -> Vec<Accepted> {
        let recorded = || secret.status.iter().flat_map(|status| &status.versions);
        let accepted = |version: &Arc<SecretVersion>| {
            let state = recorded().find(|recorded| recorded.id == version.id)?.state;
            Some(Accepted { id: version.id.clone(), state, until: record.end_of(version) })
        };
        let versions = record.versions.iter().filter_map(accepted);
        versions.filter(|version| !has_ended(version.until, self.now)).collect()
    }
}

/// The restriction of permissions whose roles are unknown: only an empty list of roles restricts them.
fn without_roles(restriction: &Restriction) -> Restriction {
    Restriction { roles: restriction.roles.clone().filter(Vec::is_empty), ..restriction.clone() }
}
