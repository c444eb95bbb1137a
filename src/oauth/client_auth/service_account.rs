//! Tokens of ServiceAccounts of this cluster (protocol F1-F3, F5): a pod presents its projected token, as client
//! authentication or as a JWT bearer grant. Order: signature → claims → client → entry → the rules of every method → review by
//! the API server. The token is a bearer token that its pod reuses, so it is not single-use.

use std::sync::Arc;

use jiff::Timestamp;
use serde::Deserialize;

use super::assertion::{Assertion, Claims, refused};
use super::{Authenticated, Authenticator, Method, ProvenCredential, Workload};
use crate::crypto::public_key::SignedJwt;
use crate::oauth::client_record::{ClientRecord, ServiceAccount};
use crate::oauth::client_store::{ClientRef, ClientStore, Lookup};
use crate::oauth::cluster_tokens::{ClusterIssuer, ReviewError};
use crate::oauth::denial_rule::DenialRule;
use crate::oauth::error::{ClientError, TokenError, Unavailable};

/// The name that every namespace has a ServiceAccount of, which pods without another one use.
const DEFAULT_ACCOUNT: &str = "default";

/// What Kubernetes writes into a token about the account and the objects that the token is bound to.
#[derive(Deserialize)]
struct Bound {
    #[serde(rename = "kubernetes.io")]
    kubernetes: KubernetesClaims,
}

#[derive(Deserialize)]
struct KubernetesClaims {
    namespace: String,
    serviceaccount: BoundObject,
    pod: Option<BoundObject>,
    node: Option<BoundObject>,
}

#[derive(Deserialize)]
struct BoundObject {
    name: String,
    uid: String,
}

/// A token whose signature was checked.
struct AccountToken<'a> {
    text: &'a str,
    /// `system:serviceaccount:<namespace>:<name>`
    subject: &'a str,
    account: &'a KubernetesClaims,
    exp: Timestamp,
}

impl<C: ClientStore> Authenticator<'_, C> {
    pub(super) async fn service_account(
        &self,
        presented: &Assertion,
        jwt: &SignedJwt<'_>,
        claims: &Claims,
        cluster: &ClusterIssuer,
    ) -> Result<Authenticated, TokenError> {
        self.verify_cluster_signature(jwt, cluster).await.map_err(refused)?;
        let bound: Bound = serde_json::from_slice(jwt.claims()).map_err(|_| refused(DenialRule::AssertionMalformed))?;
        let token = self.account_token(presented, claims, &bound.kubernetes).map_err(refused)?;
        let (namespace, name) = (token.account.namespace.as_str(), token.account.serviceaccount.name.as_str());
        let identity = match presented.client_id.as_deref() {
            Some(client_id) => ClientRef::Id(client_id),
            None => ClientRef::ServiceAccount { namespace, name },
        };
        let known = self.clients.find(&identity).map_err(refused)?;
        let mut outcome = self.try_account(&token, &known);
        if outcome.as_ref().is_err_and(ClientError::may_be_behind) {
            self.clients.catch_up(&identity, token.subject).await.map_err(Unavailable::from)?;
            let current = self.clients.find(&identity).map_err(refused)?;
            outcome = self.try_account(&token, &current);
        }
        let client = outcome?;
        match self.clients.review(token.text, self.issuer).await {
            Ok(()) => Ok(client),
            Err(ReviewError::Rejected(rule)) => {
                Err(ClientError::Assertion(rule, Some(client.record.application.clone())).into())
            }
            Err(ReviewError::Unavailable) => Err(Unavailable::Overloaded.into()),
        }
    }

    /// The keys of a cluster rotate: for an unknown one they are read again.
    async fn verify_cluster_signature(&self, jwt: &SignedJwt<'_>, known: &ClusterIssuer) -> Result<(), DenialRule> {
        match known.verify(jwt) {
            Err(DenialRule::AssertionKeyUnknown) => {}
            verified => return verified,
        }
        self.clients.refresh_cluster_issuer().await;
        let current = self.clients.cluster_issuer();
        current.map_or(Err(DenialRule::AssertionKeyUnknown), |current| current.verify(jwt))
    }

    fn account_token<'a>(
        &self,
        presented: &'a Assertion,
        claims: &'a Claims,
        account: &'a KubernetesClaims,
    ) -> Result<AccountToken<'a>, DenialRule> {
        let subject = claims.sub.as_deref().unwrap_or_default();
        if subject != format!("system:serviceaccount:{}:{}", account.namespace, account.serviceaccount.name) {
            return Err(DenialRule::AssertionMalformed);
        }
        // Exactly this issuer: a token for the API server must not be sent elsewhere, and one that is must not work here.
        if claims.only_audience() != Some(self.issuer) {
            return Err(DenialRule::AssertionAudience);
        }
        let exp = claims.check_unexpired(self.arrival.now)?;
        Ok(AccountToken { text: &presented.jwt, subject, account, exp })
    }

    fn try_account(&self, token: &AccountToken<'_>, client: &Lookup) -> Result<Authenticated, ClientError> {
        let record = client.live()?;
        let entry = listed(record, token.account)
            .map_err(|rule| ClientError::Assertion(rule, Some(record.application.clone())))?;
        let of_application = ProvenCredential::of_application(record, token.subject, &entry.authority);
        // No token outlives the one that it was requested with.
        let credential = ProvenCredential { expires_at: Some(token.exp), ..of_application };
        let mut client = self.admit(record, Method::KubernetesServiceAccount, &credential)?;
        let name = |object: &Option<BoundObject>| object.as_ref().map(|object| object.name.as_str().into());
        client.workload = Some(Workload { pod: name(&token.account.pod), node: name(&token.account.node) });
        Ok(client)
    }
}

/// The entry of the Application for the account of a token.
fn listed<'r>(record: &'r ClientRecord, token: &KubernetesClaims) -> Result<&'r Arc<ServiceAccount>, DenialRule> {
    let account = &token.serviceaccount;
    let is_account = |entry: &&Arc<ServiceAccount>| {
        *record.application.namespace == *token.namespace && *entry.name == *account.name
    };
    let Some(entry) = record.service_accounts.iter().find(is_account) else {
        let is_default = account.name == DEFAULT_ACCOUNT;
        return Err(if is_default { DenialRule::ServiceAccountDefault } else { DenialRule::ServiceAccountNotListed });
    };
    let is_same = entry.uid.as_ref().is_none_or(|uid| **uid == *account.uid);
    if is_same { Ok(entry) } else { Err(DenialRule::ServiceAccountRecreated) }
}
