//! Client authentication (RFC 6749 §2.3): whether a presented credential is that of a client.
//!
//! ```text
//! request ─▶ presented (which method) ─▶ ClientCredential ─▶ one module per method ─▶ admit (the same rules for all)
//! ```
//!
//! A method finds the client and checks its credential; it does not decide whether the client may use it. So a new method is
//! a variant of [`ClientCredential`], a variant of [`Method`], and a module.
//!
//! The credential is checked before the rules. So the log reports "suspended" or "expired" only for a caller that has the
//! credential, and these refusals take as long as a wrong one. The purpose is checked last, and is the only rule that the
//! caller is informed of.

mod assertion;
mod audience;
mod certificate;
mod federated;
mod presented;
mod service_account;
mod shared_secret;
mod signed_assertion;
mod signing_key;

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use jiff::Timestamp;

use crate::crypto::install_key::InstallKeys;
use crate::oauth::client_record::{
    ClientRecord, Denial, Grant, ObjectRevision, Purpose, Usages, VersionMemory, has_ended,
};
use crate::oauth::client_store::ClientStore;
use crate::oauth::error::{ClientError, TokenError};
use crate::oauth::hash_pool::HashPool;

pub(super) use assertion::check_signature;
pub use assertion::{ASSERTION_TYPE, Assertion, AssertionPolicy, AssertionUse, Claims};
pub use certificate::{PresentedCertificate, TrustedCas};
pub(crate) use presented::basic;
pub use presented::{ClientCredential, SharedSecret, present, present_grant};

/// A method of client authentication.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Method {
    /// A shared secret in the Authorization header.
    ClientSecretBasic,
    /// A shared secret in the body.
    ClientSecretPost,
    /// An assertion signed with a private key.
    PrivateKeyJwt,
    /// The token of a Kubernetes ServiceAccount of this cluster.
    KubernetesServiceAccount,
    /// The token of another issuer.
    FederatedJwt,
    /// A certificate of a trusted CA.
    TlsClientAuth,
    /// A certificate that the client has registered itself.
    SelfSignedTlsClientAuth,
}

impl Method {
    /// Every method. The metadata lists those that the installation supports.
    pub const ALL: &[Self] = &[
        Self::ClientSecretBasic,
        Self::ClientSecretPost,
        Self::PrivateKeyJwt,
        Self::KubernetesServiceAccount,
        Self::FederatedJwt,
        Self::TlsClientAuth,
        Self::SelfSignedTlsClientAuth,
    ];

    /// Whether it works only where clients can present certificates.
    #[must_use]
    pub fn is_certificate(self) -> bool {
        matches!(self, Self::TlsClientAuth | Self::SelfSignedTlsClientAuth)
    }

    /// Whether its credential is a shared secret.
    #[must_use]
    pub fn is_secret(self) -> bool {
        matches!(self, Self::ClientSecretBasic | Self::ClientSecretPost)
    }

    /// Its name in `auth.methods`: that of RFC 7591 §2 and RFC 8705 §2 where there is one.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ClientSecretBasic => "client_secret_basic",
            Self::ClientSecretPost => "client_secret_post",
            Self::PrivateKeyJwt => "private_key_jwt",
            Self::KubernetesServiceAccount => "kubernetes_service_account",
            Self::FederatedJwt => "federated_jwt",
            Self::TlsClientAuth => "tls_client_auth",
            Self::SelfSignedTlsClientAuth => "self_signed_tls_client_auth",
        }
    }
}

/// The methods that a client may use at the token endpoint: `token_endpoint_auth_methods` (RFC 7591 §2).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct MethodSet(u8);

impl MethodSet {
    /// Whether it contains the method.
    #[must_use]
    pub fn contains(self, method: Method) -> bool {
        self.0 & Self::bit(method) != 0
    }

    /// Whether a method with a secret is among them.
    #[must_use]
    pub fn has_secrets(self) -> bool {
        self.contains(Method::ClientSecretBasic) || self.contains(Method::ClientSecretPost)
    }

    fn bit(method: Method) -> u8 {
        1 << method as u8
    }
}

impl FromIterator<Method> for MethodSet {
    fn from_iter<I: IntoIterator<Item = Method>>(methods: I) -> Self {
        Self(methods.into_iter().map(Self::bit).fold(0, std::ops::BitOr::bitor))
    }
}

/// A client that proved its identity, and the credential that it used.
#[derive(Debug)]
pub struct Authenticated {
    /// How it authenticated.
    pub method: Method,
    /// The client.
    pub record: Arc<ClientRecord>,
    /// The object with the credential.
    pub credential: ObjectRevision,
    /// Version of the credential.
    pub version_id: String,
    /// What a token issued for this credential may carry.
    pub grant: Arc<Grant>,
    /// Fingerprint of the credential and of the permissions that such a token represents.
    pub authority: Box<str>,
    /// No token issued for this credential lives longer.
    pub ends: Option<Timestamp>,
    /// Where the ServiceAccount token was used.
    pub workload: Option<Workload>,
    /// The issuer of the token that it presented, if not this cluster.
    pub token_issuer: Option<Box<str>>,
    /// Where the last use of the version is recorded; `None`: it is not a version of a ClientSecret.
    version_memory: Option<Arc<VersionMemory>>,
}

/// The pod that a ServiceAccount token was issued to.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Workload {
    /// Name of the pod.
    pub pod: Option<Box<str>>,
    /// Name of its node.
    pub node: Option<Box<str>>,
}

impl Authenticated {
    fn record_use(&self, now: Timestamp) {
        self.record.method_uses.record(self.method, now);
        if let Some(memory) = &self.version_memory {
            memory.used(now);
        }
    }

    /// The object that excluded what this client requested. `without_secret`: the client would have been granted it if
    /// the credential did not restrict the application. What the ServiceUser does not have, the Application does not have
    /// either.
    pub(super) fn denying_object(&self, without_secret: bool) -> &ObjectRevision {
        if without_secret { &self.credential } else { &self.record.application }
    }
}

/// Authenticates against a read model.
pub(crate) struct Authenticator<'a, C> {
    pub(crate) clients: &'a C,
    pub(crate) hasher: &'a HashPool,
    pub(crate) keys: &'a Arc<InstallKeys>,
    /// Credentials may depend on install keys that this replica has not read yet.
    pub(crate) may_lack_keys: bool,
    pub(crate) arrival: RequestContext<'a>,
    pub(crate) purpose: Purpose,
    /// The issuer of this installation.
    pub(crate) issuer: &'a str,
    pub(crate) assertions: &'a AssertionPolicy,
    pub(crate) client_cas: &'a TrustedCas,
}

/// A credential that was checked, as far as the rules need it.
struct ProvenCredential<'r> {
    /// The object with the credential.
    object: &'r ObjectRevision,
    version_id: &'r str,
    disabled: Option<&'r Denial>,
    expires_at: Option<Timestamp>,
    accepted_until: Option<Timestamp>,
    /// `None`: all.
    networks: Option<&'r [IpNet]>,
    usages: Usages,
    grant: &'r Arc<Grant>,
    authority: &'r str,
    /// Where its last use is recorded.
    memory: Option<&'r Arc<VersionMemory>>,
}

impl<'r> ProvenCredential<'r> {
    /// A credential that the Application itself lists. It has no object, no end and no restrictions of its own.
    fn of_application(record: &'r ClientRecord, id: &'r str, authority: &'r str) -> Self {
        Self {
            object: &record.application,
            version_id: id,
            disabled: None,
            expires_at: None,
            accepted_until: None,
            networks: None,
            usages: Usages::ALL,
            grant: &record.grant,
            authority,
            memory: None,
        }
    }
}

/// Whether `networks` contain the source. What is bound to networks is not accepted from an unknown address.
fn allow_source(networks: Option<&[IpNet]>, source: Option<IpAddr>) -> bool {
    let Some(networks) = networks else { return true };
    source.is_some_and(|source| networks.iter().any(|network| network.contains(&source)))
}

/// Time and source of a request.
#[derive(Clone, Copy, Debug)]
pub struct RequestContext<'a> {
    /// Now.
    pub now: Timestamp,
    /// The address of the caller; `None`: unknown.
    pub source: Option<IpAddr>,
    /// The certificate of the caller.
    pub certificate: Option<&'a PresentedCertificate>,
}

impl<C: ClientStore> Authenticator<'_, C> {
    pub(crate) async fn authenticate(&self, credential: &ClientCredential) -> Result<Authenticated, TokenError> {
        let client = match credential {
            ClientCredential::SharedSecret(secret) => self.shared_secret(secret).await,
            ClientCredential::Assertion(assertion) => self.assertion(assertion).await,
            ClientCredential::Certificate { client_id } => self.certificate(client_id).await,
        }?;
        // After every check of the method: a repeated assertion passes the rules of `admit`, and is not a use.
        client.record_use(self.arrival.now);
        Ok(client)
    }

    /// The client whose credential was checked, if no rule refuses it.
    fn admit(
        &self,
        record: &Arc<ClientRecord>,
        method: Method,
        credential: &ProvenCredential<'_>,
    ) -> Result<Authenticated, ClientError> {
        self.check_policy(record, method, credential)?;
        Ok(Authenticated {
            method,
            credential: credential.object.clone(),
            version_id: credential.version_id.to_owned(),
            grant: Arc::clone(credential.grant),
            authority: credential.authority.into(),
            ends: credential.expires_at.into_iter().chain(credential.accepted_until).min(),
            record: Arc::clone(record),
            workload: None,
            token_issuer: None,
            version_memory: credential.memory.cloned(),
        })
    }

    /// The rules that can refuse a correct credential.
    fn check_policy(
        &self,
        record: &ClientRecord,
        method: Method,
        credential: &ProvenCredential<'_>,
    ) -> Result<(), ClientError> {
        let object = || credential.object.clone();
        // `auth.methods` of the Application applies to the token endpoint.
        let allowed = self.purpose != Purpose::Token || record.auth_methods.contains(method);
        if let Some(refusal) = credential.disabled {
            Err(ClientError::SecretDisabled(refusal.clone()))
        } else if has_ended(credential.expires_at, self.arrival.now) {
            Err(ClientError::SecretExpired(object()))
        } else if has_ended(credential.accepted_until, self.arrival.now) {
            Err(ClientError::VersionRetired(object()))
        } else if !allowed {
            Err(ClientError::MethodNotAllowed(record.application.clone()))
        } else if !allow_source(record.networks.as_deref(), self.arrival.source) {
            Err(ClientError::NetworkNotAllowed(record.application.clone()))
        } else if !allow_source(credential.networks, self.arrival.source) {
            Err(ClientError::NetworkNotAllowed(object()))
        } else if !credential.usages.allow(self.purpose) {
            Err(ClientError::UseNotAllowed(object()))
        } else {
            Ok(())
        }
    }
}
